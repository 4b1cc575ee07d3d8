// A small machine of memory only: RAM from 0, a log, and helpers that build page tables.
#pragma once

#include "mmu/guest_ram.h"
#include "mmu/mmu.h"

#include <gtest/gtest.h>

namespace calque::mmu {

struct Memory {
    explicit Memory(u64 size = 16 << 20) : ram(std::move(GuestRam::create(size).value())), map(log) {
        map.set_ram_file(ram.file());
        map.set_regions({ram_region(0, size)});
    }
    Region ram_region(u64 base, u64 length, u64 offset = 0) {
        Region region;
        region.base = PhysicalAddress(base);
        region.length = length;
        region.kind = RegionKind::ram;
        region.host = ram.data() + offset;
        region.name = "ram";
        return region;
    }
    template <class T> T get(u64 address) const {
        T value;
        std::memcpy(&value, ram.data() + address, sizeof value);
        return value;
    }
    template <class T> void put(u64 address, T value) { std::memcpy(ram.data() + address, &value, sizeof value); }

    Log log;
    GuestRam ram;
    PhysicalMap map;
};

// Entry bits, as a test writes them.
inline constexpr u64 P = 1, W = 2, U = 4, A = 0x20, D = 0x40, PS = 0x80, G = 0x100, XD = u64{1} << 63;

inline constexpr u64 cr0_pe = 1;

inline PagingContext long_mode(u64 cr3) {
    PagingContext context;
    context.cr0 = cr0_pg | cr0_pe | cr0_wp;
    context.cr3 = cr3;
    context.cr4 = cr4_pae | cr4_pge;
    context.efer = efer_lma | efer_nxe;
    return context;
}

// Builds 4-level tables from a bump allocator. Upper levels allow everything.
class LongTables {
  public:
    LongTables(Memory& memory, u64 pool) : memory_(memory), next_(pool) { root_ = take(); }
    u64 root() const { return root_; }
    // Where the 8-byte entry that maps `linear` is; `shift` 12, 21 or 30 for 4 KiB, 2 MiB, 1 GiB.
    u64 entry(u64 linear, unsigned shift = 12) {
        u64 table = root_;
        for (unsigned level = 39; level > shift; level -= 9) {
            const u64 at = table + ((linear >> level) & 511) * 8;
            u64 value = memory_.get<u64>(at);
            if (!(value & P)) {
                value = take() | P | W | U;
                memory_.put(at, value);
            }
            table = value & 0x000F'FFFF'FFFF'F000;
        }
        return table + ((linear >> shift) & 511) * 8;
    }
    void map(u64 linear, u64 value, unsigned shift = 12) { memory_.put(entry(linear, shift), value); }

  private:
    u64 take() {
        const u64 page = next_;
        next_ += page_size;
        std::memset(memory_.ram.data() + page, 0, page_size);
        return page;
    }
    Memory& memory_;
    u64 next_;
    u64 root_;
};

// Records what reaches it; reads give a pattern of the address.
struct RecordingTarget : IoTarget {
    struct Call {
        bool write;
        u64 address;
        u64 value;
        unsigned size;
        bool operator==(const Call&) const = default;
    };
    u64 read(PhysicalAddress address, unsigned size) override {
        u64 value = 0;
        for (unsigned i = 0; i < size; ++i)
            value |= static_cast<u64>(static_cast<u8>(address.value + i)) << (8 * i);
        calls.push_back({false, address.value, 0, size});
        return value;
    }
    void write(PhysicalAddress address, u64 value, unsigned size) override {
        calls.push_back({true, address.value, value, size});
    }
    std::vector<Call> calls;
};

inline Region io_region(u64 base, u64 length, IoTarget& target, int priority = 1) {
    Region region;
    region.base = PhysicalAddress(base);
    region.length = length;
    region.kind = RegionKind::io;
    region.target = &target;
    region.priority = priority;
    region.name = "io";
    return region;
}

} // namespace calque::mmu
