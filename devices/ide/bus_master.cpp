#include "devices/ide/bus_master.h"

#include <algorithm>
#include <array>

namespace calque::devices {

u8 BusMaster::read(unsigned offset) const {
    switch (offset) {
    case 0: return state_.command;
    case 2: return state_.status;
    case 4:
    case 5:
    case 6:
    case 7: return static_cast<u8>(state_.table >> (8 * (offset - 4)));
    default: return 0;
    }
}

BusMaster::Change BusMaster::write(unsigned offset, u8 value) {
    switch (offset) {
    case 0: {
        const u8 before = state_.command;
        state_.command = value & (COMMAND_START | COMMAND_TO_MEMORY);
        if (!((before ^ value) & COMMAND_START)) return Change::none;
        if (value & COMMAND_START) {
            state_.status |= STATUS_ACTIVE;
            state_.next = state_.table;
            state_.left = state_.descriptors = 0;
            state_.last = false;
            return Change::started;
        }
        stop(0);
        return Change::stopped;
    }
    case 2: // Bits 1 and 2 are cleared by ones, bits 5 and 6 are software's own.
        state_.status = static_cast<u8>((state_.status & ~(value & (STATUS_ERROR | STATUS_INTERRUPT)) & ~STATUS_CAPABLE)
                                        | (value & STATUS_CAPABLE));
        return Change::none;
    case 4:
    case 5:
    case 6:
    case 7: {
        const unsigned shift = 8 * (offset - 4);
        state_.table = ((state_.table & ~(0xFFu << shift)) | u32{value} << shift) & ~3u;
        return Change::none;
    }
    default: return Change::none;
    }
}

// A PRD: the address of a region, its length (0 is 64 KiB), and in its last bit whether it ends the table.
bool BusMaster::next_descriptor() {
    constexpr u32 most = 65536 / 8;
    std::array<u8, 8> bytes;
    if (state_.descriptors >= most || !dma_.dma_read(PhysicalAddress(state_.next), bytes)) return false;
    const auto word = [&](unsigned at) {
        return u32{bytes[at]} | u32{bytes[at + 1]} << 8 | u32{bytes[at + 2]} << 16 | u32{bytes[at + 3]} << 24;
    };
    state_.address = word(0) & ~1u;
    state_.left = word(4) & 0xFFFE;
    if (state_.left == 0) state_.left = 65536;
    state_.last = word(4) >> 31;
    state_.next += 8;
    ++state_.descriptors;
    return true;
}

DmaOutcome BusMaster::transfer(std::span<u8> bytes, bool to_memory) {
    if (to_memory != this->to_memory()) {
        stop(STATUS_ERROR);
        return DmaOutcome::bad_address;
    }
    while (!bytes.empty()) {
        if (state_.left == 0) {
            if (state_.last) {
                stop(0);
                return DmaOutcome::table_ends;
            }
            if (!next_descriptor()) {
                stop(STATUS_ERROR);
                return DmaOutcome::bad_address;
            }
        }
        const auto part = bytes.first(std::min<std::size_t>(bytes.size(), state_.left));
        const PhysicalAddress at(state_.address);
        if (!(to_memory ? dma_.dma_write(at, part) : dma_.dma_read(at, part))) {
            stop(STATUS_ERROR);
            return DmaOutcome::bad_address;
        }
        state_.address += static_cast<u32>(part.size());
        state_.left -= static_cast<u32>(part.size());
        bytes = bytes.subspan(part.size());
    }
    return DmaOutcome::done;
}

// Table 3-4: still active after the drive's interrupt when the table described more than the drive transferred.
void BusMaster::interrupt() {
    state_.status |= STATUS_INTERRUPT;
    if (active() && state_.left == 0 && state_.last) stop(0);
}

void BusMaster::serialize(Archive& archive, std::string_view section) {
    archive.section(section, 1, [&](u32) {
        archive.field("command", state_.command);
        archive.field("status", state_.status);
        archive.field("table", state_.table);
        archive.field("next", state_.next);
        archive.field("address", state_.address);
        archive.field("left", state_.left);
        archive.field("descriptors", state_.descriptors);
        archive.field("last", state_.last);
        if (archive.loading() && state_.left > 65536) archive.fail("a region of more than 64 KiB");
    });
}

} // namespace calque::devices
