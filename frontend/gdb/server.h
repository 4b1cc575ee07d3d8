// The debugger's end of a machine: sessions on a character backend, one after the other.
#pragma once

#include "devices/char_backend.h"
#include "frontend/gdb/session.h"
#include "frontend/machine/machine.h"
#include "frontend/monitor/commands.h"

#include <atomic>
#include <memory>
#include <string>
#include <vector>

namespace calque::gdb {

// Whoever connects does nothing to the guest before its first good packet, which stops it. When it goes, by D or
// without a word, its breakpoints go too, and the guest goes on if it ran before, or since.
class Server final : machine::DebugListener, Control {
  public:
    // Both outlive it. Made before the machine runs, destroyed after it has ended.
    Server(machine::Machine& machine, devices::CharBackend& backend);
    ~Server() override;
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

  private:
    // On the backend's thread.
    void receive(std::span<const u8> bytes);
    void opened();
    void closed();
    void post(std::function<void(Session&)> task);
    // On the machine's thread, with the guest stopped.
    void attach();
    void take(const std::string& packet);
    void leave();
    void apply(std::vector<VcpuPlan> plans);

    // machine::DebugListener
    void vcpu_stopped() override;
    void paused() override;
    void ended(int status) override;

    // Control
    void send(std::string_view bytes) override;
    void pause() override { machine_.request_pause(); }
    void resume(std::vector<VcpuPlan> plans) override;
    void kill() override { machine_.request_quit(0); }
    void run_command(const std::string& line) override {
        printed_.clear();
        commands_.execute(line);
    }

    machine::Machine& machine_;
    devices::CharBackend& backend_;
    PacketReader reader_;
    bool attaching_ = false; // The client has sent a packet.
    std::atomic<bool> acknowledges_{true};
    std::atomic<std::size_t> waiting_{0}; // Tasks for the machine's thread.
    // The rest belongs to the machine's thread.
    monitor::Commands commands_;
    std::string printed_; // By the command under way.
    std::unique_ptr<Session> session_;
    bool go_on_after_ = false; // The guest ran before the session, or was let go on by it.
};

} // namespace calque::gdb
