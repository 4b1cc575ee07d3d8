// Several users of one terminal, and the Ctrl-A prefix that switches between them (as with -serial mon:stdio).
#pragma once

#include "frontend/backends/chardev.h"

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace calque::backends {

// Ctrl-A then:  x quits,  c gives the input to the next user,  b sends a break,  s writes disks back,  t toggles
// timestamps,  h or ? shows this list,  Ctrl-A sends Ctrl-A. Output of every user is shown, whoever has the input.
//
// Input waits in a queue per user until the user has room. When a person types more than the queue takes, the rest is
// dropped, so that Ctrl-A is always seen; a pipe or file is held back instead.
class Multiplexer final : private PollSource {
  public:
    // Each runs on the I/O thread and must not destroy the multiplexer. Empty ones do nothing.
    struct Commands {
        std::function<void()> quit;
        std::function<void()> save_disks;
        std::function<void(bool monitor)> focus_changed; // Whether the user that has the input now is a monitor.
        std::function<u64()> milliseconds;               // For timestamps: since power-on.
    };
    Multiplexer(IoLoop& loop, std::unique_ptr<Chardev> terminal, Commands commands);
    ~Multiplexer() override; // The users must have let go of their channels.

    // Adds a user; the first one has the input. The channel is owned by the multiplexer. Before input arrives for it.
    devices::CharBackend& add_channel(bool monitor);
    void focus(std::size_t channel); // Any thread.
    std::size_t focused() const;
    Chardev& terminal() { return *terminal_; }

  private:
    class Channel;
    void poll_set(std::vector<pollfd>& set) override;
    void poll_ready(std::span<const pollfd>) override {}
    std::size_t room();
    void receive(std::span<const u8> bytes);
    void command(u8 key);
    void show(std::string_view text);
    void transmit(std::span<const u8> bytes);
    Channel* focused_channel() const;

    IoLoop& loop_;
    std::unique_ptr<Chardev> terminal_;
    Commands commands_;
    mutable std::mutex mutex_; // Guards the list and the focus; not held while a receiver or a command runs.
    std::vector<std::unique_ptr<Channel>> channels_;
    std::size_t focused_ = 0;
    bool prefix_ = false;     // Ctrl-A was the last key. I/O thread only.
    std::mutex output_mutex_; // Guards what follows, and keeps lines whole.
    bool timestamps_ = false;
    bool line_start_ = true;
};

} // namespace calque::backends
