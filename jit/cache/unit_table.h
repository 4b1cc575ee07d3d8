// Which unit stands for a key, by tags: a lookup touches one cache line of this and then the unit, which is the one
// nearly always; a key that has none touches no unit.
#pragma once

#include "base/types.h"
#include "mmu/large_memory.h"

#include <optional>
#include <vector>

namespace calque::jit {

// Open addressing. Whoever asks hashes the keys and compares them.
class UnitTable {
  public:
    // True when there may be too little room for another unit.
    bool full() const { return used_ >= count / 4 * 3; }

    // `is_it`: whether a unit, by number, has the key.
    template <class F> std::optional<u32> find(u64 hash, F&& is_it) const {
        for (u32 n = first(hash); places_[n].unit != none; n = next(n))
            if (places_[n].tag == tag(hash) && places_[n].unit != gone && is_it(places_[n].unit - 1))
                return places_[n].unit - 1;
        return std::nullopt;
    }
    void insert(u64 hash, u32 unit) {
        u32 n = first(hash);
        while (places_[n].unit != none && places_[n].unit != gone)
            n = next(n);
        used_ += places_[n].unit == none;
        places_[n] = {tag(hash), unit + 1};
    }
    void remove(u64 hash, u32 unit) {
        u32 n = first(hash);
        while (places_[n].unit != unit + 1)
            n = next(n);
        places_[n].unit = gone;
        if (places_[next(n)].unit != none) return;
        for (; places_[n].unit == gone; n = (n - 1) & (count - 1)) { // Nothing is looked for beyond these any more.
            places_[n].unit = none;
            --used_;
        }
    }
    void clear() {
        if (used_ != 0) places_.assign(count, {});
        used_ = 0;
    }

  private:
    static constexpr u32 count = 1u << 18, none = 0, gone = ~u32{0};
    struct Place {
        u32 tag = 0;
        u32 unit = none; // Its number plus one; `none`: nor is there anything further on; `gone`: there may be.
    };
    static u32 tag(u64 hash) { return static_cast<u32>(hash); }
    static u32 first(u64 hash) { return static_cast<u32>(hash >> 46); }
    static u32 next(u32 n) { return (n + 1) & (count - 1); }

    std::vector<Place, mmu::LargeAllocator<Place>> places_ = std::vector<Place, mmu::LargeAllocator<Place>>(count);
    u32 used_ = 0; // Places that are not `none`.
};

} // namespace calque::jit
