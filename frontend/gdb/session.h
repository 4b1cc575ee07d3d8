// One debugger's session: packets in, packets out, and what is asked of the machine meanwhile. Knows neither sockets
// nor threads.
#pragma once

#include "frontend/gdb/packet.h"
#include "frontend/gdb/registers.h"
#include "frontend/machine/inspect.h"

#include <bitset>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace calque::gdb {

// What becomes of one vCPU when the guest goes on.
struct VcpuPlan {
    bool held = false; // It stands while others run.
    cpu::DebugStops stops;
    std::vector<mmu::Watchpoint> watchpoints;
};

// The machine as a session uses it. Everything but send() takes effect after the session's function has returned.
class Control {
  public:
    virtual ~Control() = default;
    virtual void send(std::string_view bytes) = 0;
    // The guest stops, and a stop is reported (Session::stopped()).
    virtual void pause() = 0;
    virtual void resume(std::vector<VcpuPlan> plans) = 0; // One for each vCPU.
    virtual void kill() = 0;
    // A command of the monitor; Session::command_done() has its output.
    virtual void run_command(const std::string& line) = 0;
};

// Runs with the guest stopped, but for interrupt(). The processors and the memory outlive it.
class Session {
  public:
    Session(Control& control, std::vector<cpu::Cpu*> cpus, mmu::PhysicalMap& memory);

    // The contents of a packet that came whole. While the guest runs for the debugger none is listened to.
    void take(std::string_view packet);
    bool acknowledges() const { return acknowledges_; }
    void interrupt();  // 03h.
    void send_again(); // The debugger did not understand.

    // The guest has stopped: at a stop of a vCPU (DebugStops::stop, which is cleared), or as asked or for reasons of
    // its own.
    void stopped();
    void ended(int status);
    void command_done(std::string_view output);
    // Takes away whatever was set, as D does: nobody is there any more. The caller lets the guest go on.
    std::vector<VcpuPlan> leave();
    bool running() const { return running_; }
    // The debugger is to be left to itself: it has detached.
    bool detached() const { return detached_; }

  private:
    enum class Action : u8 { held, resume, step };
    struct Breakpoint {
        unsigned type; // Of Z: 0 software, 1 hardware, 2 write, 3 read, 4 access.
        u64 address, length;
        bool operator==(const Breakpoint&) const = default;
    };

    void reply(std::string_view contents);
    void ok() { reply("OK"); }
    void fail(unsigned number) { reply(fmt::format("E{:02x}", number)); }
    void handle(std::string_view packet);

    machine::AddressSpace space() const {
        return physical_ ? machine::AddressSpace::physical : machine::AddressSpace::linear;
    }

    // queries.cpp
    void query(Fields fields);
    void set(Fields fields);
    void read_description(Fields fields);
    void list_threads();
    void describe_thread(Fields fields);

    // commands.cpp: of `monitor`.
    void command(const std::string& line);
    // What there is to say; nothing when the command is the monitor's.
    std::optional<std::string> own_command(std::string_view line);
    std::string catch_exceptions(std::string_view names);
    std::string choose_memory(std::string_view name);
    std::string model_specific(std::string_view arguments, bool write);

    void select_thread(Fields fields);
    void read_memory(Fields fields);
    void write_memory(Fields fields, bool binary);
    void read_register(Fields fields);
    void write_register(Fields fields);
    void breakpoint(Fields fields, bool insert);

    // resume.cpp
    void resume_actions(Fields fields);            // vCont;...
    void resume_one(Fields fields, Action action); // c, s, C, S.
    void resume(const std::vector<Action>& actions);
    bool report_pending(const std::vector<Action>& actions);
    std::string describe(unsigned cpu, const cpu::DebugStop& stop) const;
    cpu::DebugStops stops_of(unsigned cpu) const;
    void settle_sticky(bool steps);

    // Threads are vCPUs, from 1; 0 and -1 are any. Nothing: there is no such thread.
    std::optional<unsigned> thread(Fields& fields) const;

    Control& control_;
    std::vector<cpu::Cpu*> cpus_;
    mmu::PhysicalMap& memory_;
    Registers registers_;
    unsigned selected_ = 0; // The vCPU of g, G, m, M and so on.
    std::size_t listed_ = 0;
    bool acknowledges_ = true, running_ = false, physical_ = false, detached_ = false;
    bool knows_breakpoint_reasons_ = false;
    bool commanding_ = false; // A reply to qRcmd is due.
    std::string last_sent_, last_stop_ = "T05thread:1;";
    std::vector<Breakpoint> breakpoints_;
    u32 vectors_ = 0;
    // What is passed over when the vCPU goes on: the breakpoint that its stop was reported for.
    std::vector<std::optional<u64>> reported_;
    // What the engines were last told; it stays while a debugger takes its breakpoints out and in between stops.
    std::bitset<page_size> offsets_;
    bool single_instructions_ = false;
};

} // namespace calque::gdb
