#include "devices/nvme/prp.h"

#include "base/byte_order.h"

#include <algorithm>
#include <array>

namespace calque::devices {

using namespace nvme;

void PrpList::add(u64 address, u64 length) {
    if (!parts_.empty() && parts_.back().address + parts_.back().length == address)
        parts_.back().length += length;
    else
        parts_.push_back({address, length});
}

Status PrpList::collect(DmaPort& dma, u64 prp1, u64 prp2, u64 length, u32 page) {
    parts_.clear();
    if (length == 0) return success;
    if (prp1 % 4 != 0) return invalid_prp_offset;
    const u64 first = std::min<u64>(length, page - prp1 % page);
    add(prp1, first);
    length -= first;
    if (length == 0) return success;
    if (length <= page) { // The second entry is a page itself.
        if (prp2 % page != 0) return invalid_prp_offset;
        add(prp2, length);
        return success;
    }
    // Else a list, whose last entry in a page goes on to another list while there is more than one page to come.
    if (prp2 % 8 != 0) return invalid_prp_offset;
    u64 list = prp2;
    while (length != 0) {
        std::array<u8, 8> bytes;
        if (!dma.dma_read(PhysicalAddress(list), bytes)) return data_transfer_error;
        const u64 entry = little64(bytes, 0);
        if (entry % page != 0) return invalid_prp_offset;
        if (list % page == page - 8 && length > page) {
            list = entry;
            continue;
        }
        const u64 part = std::min<u64>(length, page);
        add(entry, part);
        length -= part;
        list += 8;
    }
    return success;
}

bool PrpList::read(DmaPort& dma, std::span<u8> data) const {
    for (const Part& part : parts_) {
        const auto here = data.first(std::min<u64>(part.length, data.size()));
        if (!dma.dma_read(PhysicalAddress(part.address), here)) return false;
        data = data.subspan(here.size());
    }
    return true;
}

bool PrpList::write(DmaPort& dma, std::span<const u8> data) const {
    for (const Part& part : parts_) {
        const auto here = data.first(std::min<u64>(part.length, data.size()));
        if (!dma.dma_write(PhysicalAddress(part.address), here)) return false;
        data = data.subspan(here.size());
    }
    return true;
}

} // namespace calque::devices
