// A console in the program's window ("vc"): bytes to and from whoever shows it.
#pragma once

#include "frontend/backends/chardev.h"

#include <atomic>
#include <deque>
#include <mutex>
#include <vector>

namespace calque::backends {

// Output waits for the window, up to a bound; of more than that, the oldest is dropped. Input waits for the device, up
// to a bound; of more than that, the newest is dropped.
class VcChardev final : public Chardev, private PollSource {
  public:
    static constexpr std::size_t output_limit = 256 << 10, input_limit = 64 << 10;

    explicit VcChardev(IoLoop& loop);
    ~VcChardev() override;

    void transmit(std::span<const u8> bytes) override;
    void set_receiver(Receiver receiver) override;
    void resume() override;
    u64 dropped_bytes() const override;

    // For the window, any thread: what was sent since the last call; what a person types.
    std::vector<u8> take_output();
    void type(std::span<const u8> bytes);

  private:
    void poll_set(std::vector<pollfd>&) override;
    void poll_ready(std::span<const pollfd>) override {}

    IoLoop& loop_;
    mutable std::mutex output_mutex_; // Guards what follows.
    std::vector<u8> output_;
    u64 dropped_ = 0;
    std::mutex input_mutex_; // Guards what follows; held while the receiver runs.
    std::deque<u8> input_;
    Receiver receiver_;
    bool greeted_ = false;             // The receiver knows that somebody is there.
    std::atomic<bool> starved_{false}; // Input waits for room.
};

} // namespace calque::backends
