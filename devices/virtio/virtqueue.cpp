#include "devices/virtio/virtqueue.h"

#include "base/bits.h"
#include "base/byte_order.h"

#include <algorithm>
#include <array>
#include <atomic>

namespace calque::devices {

using namespace virtio;

namespace {

// Virtio 1.1, 2.6.5, 2.6.6 and 2.6.8.
constexpr u16 DESC_F_NEXT = 1, DESC_F_WRITE = 2, DESC_F_INDIRECT = 4;
constexpr u16 AVAIL_F_NO_INTERRUPT = 1, USED_F_NO_NOTIFY = 1;
constexpr u64 descriptor_size = 16, used_element_size = 8;
constexpr u64 ring_index = 2, ring_entries = 4; // Offsets in both rings.
constexpr std::size_t most_indirect = 1024;     // Descriptors in an indirect table.

struct Descriptor {
    u64 address;
    u32 length;
    u16 flags;
    u16 next;
};

Descriptor descriptor(std::span<const u8> bytes) {
    return {little64(bytes, 0), little32(bytes, 8), little16(bytes, 12), little16(bytes, 14)};
}

u64 sum(const std::vector<VirtioChain::Part>& parts) {
    u64 bytes = 0;
    for (const auto& part : parts)
        bytes += part.length;
    return bytes;
}

// Calls body(address, where, count) for each piece of [offset, offset + length) of the parts.
template <class F> bool for_each_piece(const std::vector<VirtioChain::Part>& parts, u64 offset, u64 length, F body) {
    u64 done = 0;
    for (const auto& part : parts) {
        if (done == length) break;
        if (offset >= part.length) {
            offset -= part.length;
            continue;
        }
        const u64 count = std::min<u64>(part.length - offset, length - done);
        if (!body(part.address + offset, done, count)) return false;
        done += count;
        offset = 0;
    }
    return done == length;
}

} // namespace

u64 VirtioChain::readable_bytes() const { return sum(readable); }
u64 VirtioChain::writable_bytes() const { return sum(writable); }

bool VirtioChain::read(DmaPort& memory, u64 offset, std::span<u8> data) const {
    return for_each_piece(readable, offset, data.size(), [&](PhysicalAddress at, u64 where, u64 count) {
        return memory.dma_read(at, data.subspan(where, count));
    });
}

bool VirtioChain::write(DmaPort& memory, u64 offset, std::span<const u8> data) const {
    return for_each_piece(writable, offset, data.size(), [&](PhysicalAddress at, u64 where, u64 count) {
        return memory.dma_write(at, data.subspan(where, count));
    });
}

void Virtqueue::reset() {
    layout_ = {};
    layout_.size = maximum_;
    event_index_ = indirect_ = signalled_valid_ = news_ = false;
    available_ = taken_ = used_ = signalled_ = 0;
    why_ = {};
}

void Virtqueue::set_features(u64 features) {
    event_index_ = bit(features, F_EVENT_IDX);
    indirect_ = bit(features, F_INDIRECT_DESC);
}

bool Virtqueue::read16(u64 address, u16& value) {
    std::array<u8, 2> bytes{};
    if (!memory_->dma_read(PhysicalAddress(address), bytes)) return false;
    value = little16(bytes, 0);
    return true;
}

bool Virtqueue::write16(u64 address, u16 value) {
    std::array<u8, 2> bytes{};
    store_little(bytes, 0, value, bytes.size());
    return memory_->dma_write(PhysicalAddress(address), bytes);
}

Virtqueue::Popped Virtqueue::broken(std::string_view why) {
    why_ = why;
    return Popped::broken;
}

// Reads the driver's index. What it published before writing the index is read after it.
bool Virtqueue::refresh() {
    u16 available = 0;
    if (!read16(layout_.driver + ring_index, available)) {
        why_ = "the available ring is not in memory";
        return false;
    }
    std::atomic_thread_fence(std::memory_order_acquire);
    if (static_cast<u16>(available - taken_) > layout_.size) {
        why_ = "more chains are available than the queue has entries";
        return false;
    }
    available_ = available;
    return true;
}

u16 Virtqueue::waiting() { return usable() && refresh() ? static_cast<u16>(available_ - taken_) : 0; }

Virtqueue::Popped Virtqueue::pop(VirtioChain& chain) {
    if (!usable()) return Popped::nothing;
    if (available_ == taken_) {
        if (!refresh()) return Popped::broken;
        if (available_ == taken_) return Popped::nothing;
    }
    u16 head = 0;
    if (!read16(layout_.driver + ring_entries + 2 * u64(taken_ % layout_.size), head))
        return broken("the available ring is not in memory");
    if (head >= layout_.size) return broken("a head lies outside the descriptor table");
    const Popped popped = collect(chain, head);
    if (popped == Popped::chain) ++taken_;
    return popped;
}

// Virtio 1.1, 2.6.5: a chain in the table, or one descriptor that names a table of its own.
Virtqueue::Popped Virtqueue::collect(VirtioChain& chain, u16 head) {
    chain.head = head;
    chain.readable.clear();
    chain.writable.clear();
    std::vector<u8> indirect;
    std::size_t limit = layout_.size, steps = 0;
    u64 total = 0;
    for (u16 at = head;; ++steps) {
        if (steps >= limit) return broken("a chain of descriptors has a loop");
        if (at >= limit) return broken("a descriptor's successor lies outside the table");
        std::array<u8, descriptor_size> raw{};
        if (!indirect.empty())
            std::copy_n(indirect.begin() + static_cast<std::ptrdiff_t>(at * descriptor_size), raw.size(), raw.begin());
        else if (!memory_->dma_read(PhysicalAddress(layout_.descriptors + at * descriptor_size), raw))
            return broken("the descriptor table is not in memory");
        const Descriptor d = descriptor(raw);
        if (d.flags & DESC_F_INDIRECT) {
            if (!indirect_ || !indirect.empty()) return broken("an indirect table where none may be");
            if (d.length == 0 || d.length % descriptor_size || d.length > most_indirect * descriptor_size)
                return broken("an indirect table has an impossible length");
            indirect.resize(d.length);
            if (!memory_->dma_read(PhysicalAddress(d.address), indirect))
                return broken("an indirect table is not in memory");
            limit = d.length / descriptor_size;
            steps = static_cast<std::size_t>(-1); // The table is counted by itself.
            at = 0;
            continue;
        }
        total += d.length;
        if (total > ~u32{0}) return broken("a chain is longer than 4 GiB");
        if (d.flags & DESC_F_WRITE)
            chain.writable.push_back({PhysicalAddress(d.address), d.length});
        else if (!chain.writable.empty())
            return broken("a readable buffer follows a writable one");
        else
            chain.readable.push_back({PhysicalAddress(d.address), d.length});
        if (!(d.flags & DESC_F_NEXT)) return Popped::chain;
        at = d.next;
    }
}

void Virtqueue::unpop(u16 count) { taken_ = static_cast<u16>(taken_ - count); }

bool Virtqueue::fill(u16 ahead, u16 head, u32 written) {
    if (!usable()) return false;
    std::array<u8, used_element_size> element{};
    store_little(element, 0, head, 4);
    store_little(element, 4, written, 4);
    const u64 place = static_cast<u16>(used_ + ahead) % layout_.size;
    return memory_->dma_write(PhysicalAddress(layout_.device + ring_entries + used_element_size * place), element);
}

bool Virtqueue::publish(u16 count) {
    if (!usable()) return false;
    std::atomic_thread_fence(std::memory_order_release);
    used_ = static_cast<u16>(used_ + count);
    news_ = true;
    return write16(layout_.device + ring_index, used_);
}

// Virtio 1.1, 2.6.7.2: with the event index, when used_event lies among the entries that were published since.
bool Virtqueue::wants_interrupt() {
    if (!usable() || !news_) return false;
    news_ = false;
    std::atomic_thread_fence(std::memory_order_seq_cst);
    const u16 before = signalled_;
    const bool known = signalled_valid_;
    signalled_ = used_;
    signalled_valid_ = true;
    if (event_index_) {
        u16 event = 0;
        if (!read16(layout_.driver + ring_entries + 2 * u64{layout_.size}, event)) return true;
        return !known || static_cast<u16>(used_ - event - 1) < static_cast<u16>(used_ - before);
    }
    u16 flags = 0;
    return !read16(layout_.driver, flags) || !(flags & AVAIL_F_NO_INTERRUPT);
}

void Virtqueue::set_notifications(bool on) {
    if (!usable()) return;
    if (event_index_) {
        // An index that was passed already asks for nothing; and the next chain is the one behind all that were seen,
        // taken or not.
        if (on) write16(layout_.device + ring_entries + used_element_size * layout_.size, available_);
    } else {
        write16(layout_.device, on ? 0 : USED_F_NO_NOTIFY);
    }
    std::atomic_thread_fence(std::memory_order_seq_cst);
}

void Virtqueue::serialize(Archive& archive) {
    archive.field("size", layout_.size);
    archive.field("descriptors", layout_.descriptors);
    archive.field("driver", layout_.driver);
    archive.field("device", layout_.device);
    archive.field("enabled", layout_.enabled);
    archive.field("vector", layout_.vector);
    archive.field("taken", taken_);
    archive.field("used", used_);
    archive.field("signalled", signalled_);
    archive.field("signalled_valid", signalled_valid_);
    if (!archive.loading()) return;
    available_ = taken_;
    news_ = used_ != signalled_;
    if (layout_.size > maximum_ || (layout_.size & (layout_.size - 1)))
        archive.fail("the saved virtqueue has a size that this device's has not");
}

} // namespace calque::devices
