#include "frontend/backends/vc_chardev.h"

#include <algorithm>

namespace calque::backends {

VcChardev::VcChardev(IoLoop& loop) : loop_(loop) { loop_.add(*this); }

VcChardev::~VcChardev() { loop_.remove(*this); }

void VcChardev::transmit(std::span<const u8> bytes) {
    std::lock_guard lock(output_mutex_);
    output_.insert(output_.end(), bytes.begin(), bytes.end());
    if (output_.size() <= 2 * output_limit) return;
    // Half at a time, so that a window that does not look costs little.
    const std::size_t surplus = output_.size() - output_limit;
    output_.erase(output_.begin(), output_.begin() + static_cast<std::ptrdiff_t>(surplus));
    dropped_ += surplus;
}

void VcChardev::set_receiver(Receiver receiver) {
    {
        std::lock_guard lock(input_mutex_);
        receiver_ = std::move(receiver);
        greeted_ = false;
    }
    loop_.wake();
}

void VcChardev::resume() {
    if (starved_.exchange(false)) loop_.wake();
}

u64 VcChardev::dropped_bytes() const {
    std::lock_guard lock(output_mutex_);
    return dropped_;
}

std::vector<u8> VcChardev::take_output() {
    std::lock_guard lock(output_mutex_);
    return std::exchange(output_, {});
}

void VcChardev::type(std::span<const u8> bytes) {
    {
        std::lock_guard lock(input_mutex_);
        const std::size_t count = std::min(bytes.size(), input_limit - std::min(input_limit, input_.size()));
        input_.insert(input_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(count));
    }
    loop_.wake();
}

// On the loop's thread, before each wait.
void VcChardev::poll_set(std::vector<pollfd>&) {
    std::lock_guard lock(input_mutex_);
    if (!receiver_.room || !receiver_.deliver) return;
    if (!std::exchange(greeted_, true) && receiver_.opened) receiver_.opened();
    while (!input_.empty()) {
        starved_ = true; // Before asking, so that room made meanwhile is not missed.
        const std::size_t count = std::min(receiver_.room(), input_.size());
        if (count == 0) return; // resume() comes here again.
        const std::vector<u8> bytes(input_.begin(), input_.begin() + static_cast<std::ptrdiff_t>(count));
        input_.erase(input_.begin(), input_.begin() + static_cast<std::ptrdiff_t>(count));
        receiver_.deliver(bytes);
    }
    starved_ = false;
}

} // namespace calque::backends
