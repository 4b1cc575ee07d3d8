#include "frontend/gdb/server.h"

#include <algorithm>

namespace calque::gdb {

namespace {
constexpr std::size_t most_waiting = 64; // Tasks. A debugger sends a packet and waits for its answer.
} // namespace

Server::Server(machine::Machine& machine, devices::CharBackend& backend)
    : machine_(machine), backend_(backend), commands_(machine, {[this](std::string_view text) { printed_ += text; },
                                                                [this] {
                                                                    if (session_) session_->command_done(printed_);
                                                                }}) {
    machine_.set_debug_listener(this);
    backend_.set_receiver({[] { return std::size_t{4096}; },
                           [this](std::span<const u8> bytes) { receive(bytes); },
                           {},
                           [this] { opened(); },
                           [this] { closed(); }});
}

Server::~Server() {
    backend_.set_receiver({});
    machine_.set_debug_listener(nullptr);
}

// ---- The backend's thread

void Server::opened() {
    reader_ = {};
    attaching_ = false;
    acknowledges_ = true;
}

void Server::closed() {
    if (attaching_) machine_.request_stopped([this] { leave(); });
    attaching_ = false;
}

void Server::post(std::function<void(Session&)> task) {
    if (waiting_ >= most_waiting) return;
    ++waiting_;
    machine_.request_stopped([this, task = std::move(task)] {
        --waiting_;
        if (session_) task(*session_);
    });
}

void Server::receive(std::span<const u8> bytes) {
    for (const u8 byte : bytes) {
        const PacketReader::Event event = reader_.take(byte);
        if (event == PacketReader::Event::none) continue;
        if (event == PacketReader::Event::packet) {
            if (!attaching_) {
                machine_.request_stopped([this] { attach(); });
                machine_.request_pause();
            }
            attaching_ = true;
            if (acknowledges_ && waiting_ < most_waiting) send("+");
            post([this, packet = reader_.packet()](Session&) { take(packet); });
        } else if (event == PacketReader::Event::damaged) {
            if (acknowledges_) send("-");
        } else if (attaching_) {
            post([event](Session& session) {
                event == PacketReader::Event::interrupt ? session.interrupt() : session.send_again();
            });
        }
    }
}

// ---- The machine's thread

void Server::attach() {
    go_on_after_ = machine_.state() == machine::RunState::running;
    std::vector<cpu::Cpu*> cpus;
    for (auto& vcpu : machine_.vcpus())
        cpus.push_back(&vcpu->cpu());
    session_ = std::make_unique<Session>(static_cast<Control&>(*this), std::move(cpus), machine_.memory().map());
}

void Server::take(const std::string& packet) {
    session_->take(packet);
    acknowledges_ = session_->acknowledges();
    if (session_->detached()) leave();
}

void Server::leave() {
    if (!session_) return;
    apply(session_->leave());
    session_.reset();
    if (go_on_after_) machine_.request_resume();
}

void Server::apply(std::vector<VcpuPlan> plans) {
    for (std::size_t n = 0; n < plans.size(); ++n) {
        machine::Vcpu& vcpu = *machine_.vcpus()[n];
        vcpu.set_held(plans[n].held);
        vcpu.set_debug_stops(std::move(plans[n].stops), std::move(plans[n].watchpoints));
    }
}

void Server::resume(std::vector<VcpuPlan> plans) {
    apply(std::move(plans));
    go_on_after_ = true;
    if (machine_.state() == machine::RunState::shutdown) return session_->stopped(); // The guest has powered off.
    machine_.request_resume();
}

void Server::vcpu_stopped() {
    if (session_) return session_->stopped(); // Where it does not wait, it reports this when it next lets go on.
    for (auto& vcpu : machine_.vcpus())       // It has just ended.
        vcpu->cpu().debug.stop = {};
    machine_.request_resume();
}

void Server::paused() {
    if (session_) session_->stopped();
}

void Server::ended(int status) {
    if (session_) session_->ended(status);
}

void Server::send(std::string_view bytes) {
    backend_.transmit({reinterpret_cast<const u8*>(bytes.data()), bytes.size()});
}

} // namespace calque::gdb
