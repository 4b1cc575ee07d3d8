#include "devices/virtio/virtio_balloon.h"

#include "base/byte_order.h"

#include <algorithm>
#include <array>

namespace calque::devices {

using namespace virtio;

namespace {

// Virtio 1.2, 5.5.2 to 5.5.4.
constexpr unsigned inflate_queue = 0;
constexpr unsigned F_DEFLATE_ON_OOM = 2;
constexpr u64 actual_offset = 4;
constexpr std::size_t chunk = 1024;         // Bytes of page numbers that are read at once.
constexpr u64 longest_list = 1 << 20;       // Bytes of page numbers in a chain.
constexpr unsigned most_chains_a_turn = 16; // A chain of Linux names 256 pages.

} // namespace

VirtioBalloon::VirtioBalloon(Log& log, DmaPort& memory, Worker& worker, RamDiscard& ram, const Options& options,
                             std::string name)
    : VirtioDevice(log, memory, Id::balloon, std::move(name), u64{options.deflate_on_oom} << F_DEFLATE_ON_OOM),
      ram_(ram), options_(options) {
    for (unsigned q = 0; q < queues; ++q)
        add_queue(worker, 128, [this, q] { take_pages(q, q == inflate_queue); });
}

void VirtioBalloon::set_target(u64 bytes) {
    std::lock_guard lock(mutex());
    const u64 given = options_.ram - std::min(options_.ram, bytes);
    wanted_ = static_cast<u32>(std::min<u64>(given / page, ~u32{0}));
    config_changed();
}

u64 VirtioBalloon::target() const {
    std::lock_guard lock(mutex());
    return options_.ram - std::min(options_.ram, u64{wanted_} * page);
}

u64 VirtioBalloon::actual() const {
    std::lock_guard lock(mutex());
    return bytes_left();
}

u64 VirtioBalloon::bytes_left() const { return options_.ram - std::min(options_.ram, u64{actual_} * page); }

// 5.5.6: page numbers of 32 bits, in units of 4 KiB. Pages that are taken back need nothing: they are there when
// touched.
void VirtioBalloon::take_pages(unsigned queue, bool give) {
    VirtioChain chain;
    for (unsigned taken = 0; pop(queue, chain); ++taken) {
        const u64 length = std::min(chain.readable_bytes() / 4 * 4, longest_list);
        std::array<u8, chunk> bytes;
        for (u64 at = 0; give && at < length; at += chunk) {
            const auto part = std::span(bytes).first(std::min<u64>(chunk, length - at));
            if (!chain.read(memory(), at, part)) return needs_reset("a list of pages is not in memory");
            for (std::size_t i = 0; i < part.size(); i += 4)
                ram_.discard_page(PhysicalAddress(u64{little32(part, i)} * page));
        }
        push(queue, chain.head, 0);
        if (taken == most_chains_a_turn) {
            schedule(queue);
            break;
        }
    }
    interrupt_if_wanted(queue);
}

std::vector<u8> VirtioBalloon::config() {
    std::vector<u8> bytes(config_size);
    store_little(bytes, 0, wanted_, 4);
    store_little(bytes, actual_offset, actual_, 4);
    return bytes;
}

void VirtioBalloon::config_written(u64 offset, u64 value, unsigned size) {
    const u32 before = actual_;
    for (unsigned i = 0; i < size; ++i) {
        const u64 at = offset + i;
        if (at < actual_offset || at >= config_size) continue;
        const unsigned shift = 8 * static_cast<unsigned>(at - actual_offset);
        actual_ = (actual_ & ~(0xFFu << shift)) | static_cast<u32>(value >> (8 * i) & 0xFF) << shift;
    }
    if (observer_ && actual_ != before) observer_(bytes_left());
}

void VirtioBalloon::save(Archive& archive) {
    archive.field("wanted", wanted_);
    archive.field("actual", actual_);
}

} // namespace calque::devices
