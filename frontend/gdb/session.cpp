#include "frontend/gdb/session.h"

#include <algorithm>

namespace calque::gdb {

namespace {
// Errors: their numbers are for people who look at packets; gdb shows them.
constexpr unsigned bad_packet = 1, no_memory = 14, no_register = 3, no_room = 28;
constexpr std::size_t most_breakpoints = 1024;
constexpr u64 longest_watch = page_size;
constexpr u64 no_number = ~u64{0};
} // namespace

Session::Session(Control& control, std::vector<cpu::Cpu*> cpus, mmu::PhysicalMap& memory)
    : control_(control), cpus_(std::move(cpus)), memory_(memory), registers_(*cpus_.at(0)), reported_(cpus_.size()) {}

void Session::reply(std::string_view contents) {
    last_sent_ = make_packet(contents);
    control_.send(last_sent_);
}

void Session::send_again() {
    if (acknowledges_ && !last_sent_.empty()) control_.send(last_sent_);
}

void Session::interrupt() {
    if (running_) control_.pause();
}

void Session::take(std::string_view packet) {
    if (running_ || commanding_ || detached_) return;
    handle(packet);
}

void Session::handle(std::string_view packet) {
    Fields fields(packet.empty() ? packet : packet.substr(1));
    switch (packet.empty() ? 0 : packet[0]) {
    case '?': return reply(last_stop_);
    case 'g': return reply(registers_.read_general(*cpus_[selected_]));
    case 'G': {
        const auto bytes = bytes_of_hex(fields.rest());
        return bytes && registers_.write_general(*cpus_[selected_], *bytes) ? ok() : fail(no_register);
    }
    case 'p': return read_register(fields);
    case 'P': return write_register(fields);
    case 'm': return read_memory(fields);
    case 'M': return write_memory(fields, false);
    case 'X': return write_memory(fields, true);
    case 'H': return select_thread(fields);
    case 'T': return thread(fields) ? ok() : fail(bad_packet);
    case 'c': return resume_one(fields, Action::resume);
    case 's': return resume_one(fields, Action::step);
    case 'C':
    case 'S': // With a signal, of which there are none here: up to the address.
        fields.until(';');
        return resume_one(fields, packet[0] == 'C' ? Action::resume : Action::step);
    case 'v':
        if (fields.rest() == "Cont?") return reply("vCont;c;C;s;S");
        if (fields.skip("Cont;")) return resume_actions(fields);
        if (fields.skip("Kill")) {
            ok();
            return control_.kill();
        }
        return reply(""); // There is no such packet.
    case 'Z': return breakpoint(fields, true);
    case 'z': return breakpoint(fields, false);
    case 'q': return query(fields);
    case 'Q': return set(fields);
    case 'k': return control_.kill();
    case 'D': detached_ = true; return ok();
    default: return reply("");
    }
}

std::optional<unsigned> Session::thread(Fields& fields) const {
    if (fields.skip("-1")) return 0;
    const auto id = fields.number();
    if (!id || *id > cpus_.size()) return std::nullopt;
    return *id == 0 ? 0 : static_cast<unsigned>(*id - 1);
}

void Session::select_thread(Fields fields) {
    const bool for_resume = fields.skip('c');
    if (!for_resume && !fields.skip('g')) return fail(bad_packet);
    const bool any = fields.rest() == "0" || fields.rest() == "-1";
    const auto chosen = thread(fields);
    if (!chosen) return fail(bad_packet);
    if (!for_resume && !any) selected_ = *chosen;
    ok();
}

void Session::read_register(Fields fields) {
    const auto number = fields.number();
    const std::string value = number ? registers_.read(*cpus_[selected_], *number) : "";
    value.empty() ? fail(no_register) : reply(value);
}

void Session::write_register(Fields fields) {
    const auto number = fields.number();
    const auto bytes = fields.skip('=') ? bytes_of_hex(fields.rest()) : std::nullopt;
    const bool written = number && bytes && registers_.write(*cpus_[selected_], *number, *bytes);
    written ? ok() : fail(no_register);
}

void Session::read_memory(Fields fields) {
    const auto address = fields.number();
    const auto length = fields.skip(',') ? fields.number() : std::nullopt;
    if (!address || !length || !fields.empty()) return fail(bad_packet);
    std::vector<u8> bytes(std::min<u64>(*length, longest_packet / 2));
    bytes.resize(machine::peek(*cpus_[selected_], memory_, space(), *address, bytes));
    if (bytes.empty() && *length != 0) return fail(no_memory);
    reply(to_hex(bytes));
}

void Session::write_memory(Fields fields, bool binary) {
    const auto address = fields.number();
    const auto length = fields.skip(',') ? fields.number() : std::nullopt;
    if (!address || !length || !fields.skip(':')) return fail(bad_packet);
    const auto bytes = binary ? std::string(fields.rest()) : bytes_of_hex(fields.rest());
    if (!bytes || bytes->size() != *length) return fail(bad_packet);
    const std::span in(reinterpret_cast<const u8*>(bytes->data()), bytes->size());
    machine::poke(*cpus_[selected_], memory_, space(), *address, in) ? ok() : fail(no_memory);
}

// Z and z: TYPE,ADDRESS,KIND. What follows (conditions, commands) was not offered.
void Session::breakpoint(Fields fields, bool insert) {
    const u64 type = fields.number().value_or(no_number);
    const u64 address = fields.skip(',') ? fields.number().value_or(no_number) : no_number;
    const u64 length = fields.skip(',') ? fields.number().value_or(no_number) : no_number;
    if (type == no_number || address == no_number || length == no_number) return fail(bad_packet);
    if (type > 4) return reply("");
    if (type >= 2 && (length == 0 || length > longest_watch || address + length < address)) return fail(bad_packet);
    const Breakpoint wanted{static_cast<unsigned>(type), address, type < 2 ? 1 : length};
    const auto there = std::find(breakpoints_.begin(), breakpoints_.end(), wanted);
    if (!insert) {
        if (there != breakpoints_.end()) breakpoints_.erase(there);
        return ok();
    }
    if (there != breakpoints_.end()) return ok();
    if (breakpoints_.size() >= most_breakpoints) return fail(no_room);
    breakpoints_.push_back(wanted);
    ok();
}

void Session::command_done(std::string_view output) {
    if (!commanding_) return;
    commanding_ = false;
    // A reply holds only so much; what comes before it goes as output.
    constexpr std::size_t piece = longest_packet / 2 - 8;
    for (; output.size() > piece; output.remove_prefix(piece))
        control_.send(make_packet("O" + to_hex(output.substr(0, piece))));
    output.empty() ? ok() : reply(to_hex(output));
}

void Session::ended(int status) {
    if (!running_) return;
    running_ = false;
    reply(fmt::format("W{:02x}", status & 0xFF));
}

} // namespace calque::gdb
