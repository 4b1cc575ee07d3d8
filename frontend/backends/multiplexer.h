// Several users of one terminal, and the Ctrl-A prefix that switches between them (as with -serial mon:stdio).
#pragma once

#include "frontend/backends/chardev.h"

#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace calque::backends {

// Ctrl-A then:  x quits,  c gives the input to the next user,  b sends a break,  s writes disks back,  t toggles
// timestamps,  h or ? shows this list,  Ctrl-A sends Ctrl-A. Output of every user is shown, whoever has the input.
class Multiplexer {
  public:
    // Each runs on the I/O thread and must not destroy the multiplexer. Empty ones do nothing.
    struct Commands {
        std::function<void()> quit;
        std::function<void()> save_disks;
        std::function<void(bool monitor)> focus_changed; // Whether the user that has the input now is a monitor.
        std::function<u64()> milliseconds;               // For timestamps: guest or host time since power-on.
    };
    Multiplexer(std::unique_ptr<Chardev> terminal, Commands commands);
    ~Multiplexer(); // The users must have let go of their channels.

    // Adds a user; the first one has the input. The channel is owned by the multiplexer.
    devices::CharBackend& add_channel(std::string name, bool monitor);
    void focus(std::size_t channel);
    std::size_t focused() const;

  private:
    class Channel;
    std::size_t room();
    void receive(std::span<const u8> bytes);
    void command(u8 key);
    void pump();
    void focus_next();
    void show(std::string_view text);
    void transmit(std::span<const u8> bytes);

    std::unique_ptr<Chardev> terminal_;
    Commands commands_;
    mutable std::mutex mutex_; // Guards what follows; never held while a receiver runs.
    std::vector<std::unique_ptr<Channel>> channels_;
    std::size_t focused_ = 0;
    bool prefix_ = false; // Ctrl-A was the last key.
    bool timestamps_ = false;
    bool line_start_ = true;
    std::mutex receive_mutex_; // Orders deliveries.
};

} // namespace calque::backends
