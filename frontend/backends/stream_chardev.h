// A character backend over file descriptors: what stdio, files, ptys and sockets have in common.
#pragma once

#include "frontend/backends/chardev.h"
#include "frontend/backends/unique_fd.h"

#include <atomic>
#include <mutex>
#include <string>
#include <vector>

namespace calque::backends {

// Owns an input and an output descriptor (either may be missing). Reads on the loop's thread when the receiver has
// room; queues output and writes it on the loop's thread.
class StreamChardev : public Chardev, protected PollSource {
  public:
    StreamChardev(IoLoop& loop, Log& log, std::string label, std::size_t queue_limit);
    ~StreamChardev() override;

    // Before start(), or on the loop's thread.
    void connect(UniqueFd in, UniqueFd out);
    void start();

    void transmit(std::span<const u8> bytes) override;
    std::size_t transmit_room() override;
    void set_receiver(Receiver receiver) override;
    void resume() override;
    u64 dropped_bytes() const override { return dropped_.load(std::memory_order_relaxed); }

  protected:
    void poll_set(std::vector<pollfd>& set) override;
    void poll_ready(std::span<const pollfd> ready) override;
    // The input ended, or the output could not be written; runs on the loop's thread. The default keeps the other.
    virtual void disconnected(bool output);
    // Reads as read() does. A kind whose other end can pass more than bytes takes that too.
    virtual ssize_t read_some(int fd, std::span<u8> bytes);
    bool has_peer() const { return in_ || out_; }
    void close_both();
    void close_output();
    // Takes the source off the loop and writes what is left. First thing in the destructor of each derived class.
    void shut_down();

    IoLoop& loop_;
    Log& log_;
    const std::string label_;

  private:
    void announce();
    void announce_drained();
    std::size_t receiver_room();
    void read_input();
    bool write_output(); // False when the output is broken.
    void drain();

    const std::size_t queue_limit_;
    UniqueFd in_;  // Used by the loop's thread only.
    UniqueFd out_; // Guarded by queue_mutex_ where it changes.
    bool started_ = false;

    std::mutex receiver_mutex_; // Held while the receiver runs.
    Receiver receiver_;
    std::atomic<bool> announced_{true}; // The receiver knows that there is somebody.
    std::atomic<bool> starved_{false};  // The receiver had no room: resume() must wake the loop.

    std::mutex queue_mutex_;
    std::vector<u8> queue_;
    std::size_t written_ = 0; // How much of the queue's front the host has taken.
    bool full_ = false;       // transmit_room() said so, and nobody was told that it is over.
    bool open_ = false;       // There is an output.
    std::atomic<u64> dropped_{0};
};

} // namespace calque::backends
