// A session on a processor in a flat machine (tests/cpu/harness.h), without sockets or threads.
#pragma once

#include "frontend/gdb/session.h"
#include "tests/cpu/harness.h"

namespace calque::gdb::testing {

// Lets the guest run for some instructions when the session lets it go on.
class Debugged final : public Control {
  public:
    using Guest = cpu::testing::Machine;
    explicit Debugged(Guest::Kind kind = Guest::Kind::long64)
        : guest(kind), session(*this, {&guest.cpu()}, guest.memory) {}

    void send(std::string_view bytes) override { sent += bytes; }
    void pause() override { paused = true; }
    void kill() override { killed = true; }
    void run_command(const std::string& line) override { commands.push_back(line); }
    void resume(std::vector<VcpuPlan> plans) override {
        ++resumed;
        auto& plan = plans.at(0);
        plan.stops.stop = guest.cpu().debug.stop;
        guest.cpu().debug = std::move(plan.stops);
        guest.cpu().update_slow_flag();
        guest.cpu().mmu.set_watchpoints(std::move(plan.watchpoints), [this](u64 address, bool write) {
            guest.cpu().debug_stop({cpu::DebugStop::Reason::watchpoint, address, write});
        });
        guest.interpreter().flush();
        running = true;
    }
    // What the machine's threads do after resume().
    void run() {
        while (std::exchange(running, false)) {
            guest.interpreter().run(guest.cpu(), 1000);
            guest.cpu().withdraw(cpu::event_stop);
            session.stopped();
        }
    }
    // The contents of the reply.
    std::string ask(std::string_view packet) {
        sent.clear();
        session.take(packet);
        run();
        const std::size_t begin = sent.rfind('$');
        return begin == sent.npos ? "" : expand(sent.substr(begin + 1, sent.rfind('#') - begin - 1));
    }

    static std::string expand(std::string_view contents) {
        std::string text;
        for (std::size_t at = 0; at < contents.size(); ++at) {
            if (contents[at] == '}')
                text += static_cast<char>(contents[++at] ^ 0x20);
            else if (contents[at] == '*')
                text.append(static_cast<std::size_t>(contents[++at] - 29), text.back());
            else
                text += contents[at];
        }
        return text;
    }

    Guest guest;
    std::string sent;
    bool paused = false, killed = false, running = false;
    unsigned resumed = 0;
    std::vector<std::string> commands;
    Session session;
};

} // namespace calque::gdb::testing
