#include "devices/ahci/prd_walk.h"

#include "base/byte_order.h"
#include "devices/ahci/registers.h"

#include <algorithm>
#include <array>

namespace calque::devices {

bool PrdWalk::next(DmaPort& dma) {
    std::array<u8, ahci::descriptor_size> bytes;
    if (!dma.dma_read(PhysicalAddress(table_ + u64{index_} * ahci::descriptor_size), bytes)) return false;
    address_ = little64(bytes, 0) & ~u64{1};
    const u32 last = little32(bytes, 12);
    left_ = ((last & 0x3F'FFFF) | 1) + 1; // A count of bytes, less one, that is even.
    wants_interrupt_ = last >> 31;
    ++index_;
    return true;
}

DmaOutcome PrdWalk::transfer(DmaPort& dma, std::span<u8> bytes, bool to_memory) {
    while (!bytes.empty()) {
        if (left_ == 0) {
            if (index_ >= entries_) return DmaOutcome::table_ends;
            if (!next(dma)) return DmaOutcome::bad_address;
        }
        const auto part = bytes.first(std::min<std::size_t>(bytes.size(), left_));
        const PhysicalAddress at(address_);
        if (!(to_memory ? dma.dma_write(at, part) : dma.dma_read(at, part))) return DmaOutcome::bad_address;
        address_ += part.size();
        left_ -= static_cast<u32>(part.size());
        moved_ += static_cast<u32>(part.size());
        bytes = bytes.subspan(part.size());
        if (left_ == 0 && wants_interrupt_) interrupt_ = true;
    }
    return DmaOutcome::done;
}

void PrdWalk::serialize(Archive& archive) {
    archive.field("table", table_);
    archive.field("entries", entries_);
    archive.field("index", index_);
    archive.field("address", address_);
    archive.field("left", left_);
    archive.field("moved", moved_);
    archive.field("wants_interrupt", wants_interrupt_);
    if (archive.loading() && (index_ > 65535 || left_ > 1u << 22)) archive.fail("a region beyond its table");
}

} // namespace calque::devices
