// The mirror of an address space: guest pages mapped once more in the host's memory, each at the low 32 bits of its
// linear address from the mirror's base. Where an access goes follows there from the address alone, so that translated
// code need not wait for what a TLB entry says: it has the entry say no more than whether to go.
//
// A page is put there when it has been used often; that costs some microseconds. What the mirror has at a place stays
// true whatever the guest's tables say (these bytes of the guest's memory are mapped there), so that nothing has to be
// undone when translations change: TLB tables match what they hold against it. The mirror itself changes only while
// nobody has an address in it at hand: between two units of translated code.
#pragma once

#include "base/types.h"

#include <optional>

namespace calque::mmu {

// The guest's RAM as a file of the host that can be mapped again.
struct RamFile {
    u8* data = nullptr; // Where all of it is mapped.
    u64 size = 0;
    int descriptor = -1; // Not owned; -1: there is none.
};

class Mirror {
  public:
    static constexpr u64 window_bytes = u64{1} << 32;
    static constexpr u64 places = window_bytes >> page_shift;
    static constexpr u64 index_bytes = places * sizeof(u32);

    Mirror() = default;
    // `window` is address space that nothing else uses; `index` has index_bytes bytes of zeros. Neither is owned.
    Mirror(u8* window, u32* index, const RamFile& file) : window_(window), index_(index), file_(file) {}

    u8* base() const { return window_; }
    // Whether the linear page is mirrored, as this page of the guest's RAM.
    bool has(u64 linear, const u8* page) const {
        const u32 number = number_of(page);
        return number != 0 && index_[place(linear)] == number;
    }
    // Nothing has been mirrored at these pages' places.
    bool unused(u64 linear, u64 pages) const;
    // Mirrors `pages` pages that follow each other in both. By how many the host's mappings have become more (one,
    // unless they continue others); nothing when the pages are not RAM, or the host refuses. `all_used`: the guest uses
    // them all, so that the host may do all of the work at once.
    std::optional<int> add(u64 linear, const u8* page, u64 pages, bool all_used);
    // Forgets all.
    void clear();

  private:
    static u64 place(u64 linear) { return linear >> page_shift & (places - 1); }
    // Of a page in the file, from 1; 0 for any other.
    u32 number_of(const u8* page) const {
        const u64 offset = static_cast<u64>(page - file_.data);
        return offset < file_.size ? static_cast<u32>(offset >> page_shift) + 1 : 0;
    }

    u8* window_ = nullptr;
    u32* index_ = nullptr; // By place: number_of() what is mapped there.
    RamFile file_;
};

} // namespace calque::mmu
