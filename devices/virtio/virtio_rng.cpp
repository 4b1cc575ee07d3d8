#include "devices/virtio/virtio_rng.h"

#include <algorithm>

namespace calque::devices {

namespace {
constexpr u16 queue_size = 8;
constexpr std::size_t most_at_once = 64 << 10; // A guest asks for a page at most; more is cut.
} // namespace

VirtioRng::VirtioRng(Log& log, DmaPort& memory, Clock& clock, Worker& worker, EntropySource& source, Limit limit,
                     std::string name)
    : VirtioDevice(log, memory, virtio::Id::entropy, std::move(name), 0), source_(source), clock_(clock), limit_(limit),
      buffer_(most_at_once) {
    add_queue(worker, queue_size, [this] { serve(); });
    timer_ = clock_.make_timer([this] { schedule(0); });
}

// Every buffer is filled as far as there is entropy; at least a byte, or it waits.
void VirtioRng::serve() {
    VirtioChain chain;
    while (pop(0, chain)) {
        const Nanoseconds now = clock_.now();
        if (now >= period_end_) {
            period_end_ = now + limit_.period;
            left_ = limit_.max_bytes;
        }
        const std::size_t wanted = std::min<u64>({chain.writable_bytes(), buffer_.size(), left_});
        const std::size_t count = source_.fill(std::span(buffer_).first(wanted));
        if (count == 0 && chain.writable_bytes() != 0) {
            virtqueue(0).unpop(1);
            constexpr Nanoseconds retry = 10'000'000;
            timer_->arm(left_ == 0 ? period_end_ : now + retry);
            break;
        }
        left_ -= count;
        if (!chain.write(memory(), 0, std::span(buffer_).first(count))) return needs_reset("a buffer is not in memory");
        push(0, chain.head, static_cast<u32>(count));
    }
    interrupt_if_wanted(0);
}

void VirtioRng::stopped() {
    left_ = 0;
    period_end_ = 0;
    if (timer_) timer_->disarm();
}

void VirtioRng::save(Archive& archive) {
    archive.field("left", left_);
    archive.field("period_end", period_end_);
}

} // namespace calque::devices
