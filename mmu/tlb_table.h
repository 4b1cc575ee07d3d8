// One table of the first level of the TLB.
#pragma once

#include "mmu/mirror.h"
#include "mmu/tlb_layout.h"

#include <algorithm>
#include <array>
#include <bit>

namespace calque::mmu {

// Which pair of a linear and a host page an execute id in the table stands for: the Mmu's own.
struct TlbExecutePage {
    u64 linear;
    u64 host;
};

// The header of a table, with the Mmu's own bookkeeping. It stands at the start of the table's memory, is made there,
// and is used by its vCPU's thread only. A `linear` of a page may be of any byte of it.
class TlbTable {
  public:
    struct Filling {
        bool read, write, execute;
        u8* host;
        PhysicalAddress frame; // Guest-physical.
        bool code = false;     // May be written, but for the code on it. Not with `write`.
        bool global = false;   // Of every address space.
        bool large = false;    // Translated by 2 MiB or more at once.
    };

    TlbTable(const TlbTable&) = delete;
    TlbTable& operator=(const TlbTable&) = delete;

    // Makes an empty table at the start of `tlb_table_size` bytes of zeros, which it does not own; nor does it own the
    // mirror of its address space, which may be null.
    static TlbTable& create(u8* memory, Mirror* mirror);

    u64 index_mask() const { return index_mask_; }
    u64 code_key() const { return code_key_; }
    void set_code_key(u64 key) { code_key_ = key; }
    u64 size() const { return index_mask_ / sizeof(TlbEntry) + 1; }
    TlbEntry* entries() { return at<TlbEntry>(tlb_entries_offset); }
    TlbEntry& entry(u64 linear) { return entries()[slot(linear)]; }
    u64* mirrored_read() { return at<u64>(tlb_mirrored_read_offset); }
    u64* mirrored_write() { return at<u64>(tlb_mirrored_write_offset); }
    ExecuteId* execute_ids() { return at<ExecuteId>(tlb_execute_ids_offset); }
    TlbTarget* targets() { return at<TlbTarget>(tlb_targets_offset); }
    TlbTarget* returns() { return at<TlbTarget>(tlb_returns_offset); }
    // What the return stack has as the code where it has nothing: that for address 0, which looks the target up.
    void set_no_return(const void* code) {
        no_return_ = code;
        drop_returns();
    }
    // Of use only while a tag of the entry for `linear` matches.
    PhysicalAddress frame(u64 linear) {
        return PhysicalAddress(static_cast<u64>(frames()[slot(linear)] & frame_number) << page_shift);
    }

    // What a fill came to: whether a live entry of another page had to go, and whether that has happened so often that
    // the working set must be larger than the table.
    enum class Filled : u8 { free, evicted, crowded };
    Filled fill(u64 linear, const Filling& page);
    // The id of the page, or 0 when there is none or it was for other host memory.
    ExecuteId execute_id(u64 linear, const u8* host_page) {
        const u64 n = id_slot(linear);
        const TlbExecutePage& page = execute_pages()[n];
        const bool same =
            page.linear == (linear & ~page_offset_mask) && page.host == reinterpret_cast<std::uintptr_t>(host_page);
        return same ? execute_ids()[n] : 0;
    }
    // The same for whatever host memory it is.
    ExecuteId execute_id(u64 linear) {
        const u64 n = id_slot(linear);
        return execute_pages()[n].linear == (linear & ~page_offset_mask) ? execute_ids()[n] : 0;
    }
    void set_execute_id(u64 linear, const u8* host_page, ExecuteId id);
    void remember_target(u64 linear, const void* code);

    // The entry, the execute id and the targets of a page; of a region aligned to its length, a power of two of at
    // least 512 pages. Targets whose code may have begun on the page before go, too, and so does the return stack
    // whenever targets do.
    void drop_page(u64 linear);
    void drop_region(u64 linear, u64 length);
    void drop_writable(PhysicalAddress frame); // Write tags of a guest-physical page, which has code now.
    void drop_all_writable();
    void forget_targets();
    void forget_target(u64 linear);
    // Puts the page of a live entry into the mirror, if it is not there: with all that is near it in a large page, or
    // those around it whose entries show that they follow it in the guest's RAM too. No pages when that cannot be.
    struct Run {
        u64 linear = 0, pages = 0;
        int mappings = 0; // By how many the host's mappings have become more.
    };
    // With `unused`: none either when something else has been at their places.
    Run mirror(u64 linear, bool unused = false);
    // The mirror has changed: at these pages; anywhere.
    void match_mirror(const Run& run);
    void match_mirror();
    // Twice the entries, which keep what they hold. False at the largest size.
    bool grow();
    // The global pages and their execute ids that `from` has, which is for another address space with the same rights.
    // This one is new.
    void take_globals(TlbTable& from);
    // Empties everything and returns to the smallest size, giving memory back if there was much.
    void recycle();

    // Of the page, whether a tag for any access is live.
    bool holds(u64 linear) {
        const u64 n = slot(linear);
        return live_tag(entries()[n], n) == (linear & ~page_offset_mask);
    }
    // Calls body(linear page, entry) for each entry that has a live tag.
    template <class Body> void for_each_live(Body body) {
        for_each_touched([&](u64 first) {
            for (u64 n = first; n < first + group; ++n) {
                const u64 tag = live_tag(entries()[n], n);
                if (tag != tlb_empty_tag(n)) body(tag, entries()[n]);
            }
        });
    }
    bool live(u64 tag, u64 n) const { return slot(tag) == n; }

  private:
    // What was touched is known by groups, so that an address space that lives briefly is cheap to forget.
    static constexpr u64 group = 32;                  // Entries: 1 KiB.
    static constexpr u64 id_group = 64;               // Execute ids.
    static constexpr u32 global_frame = u32{1} << 31; // In a frame's number: the page is global,
    static constexpr u32 large_frame = u32{1} << 30;  // part of a large one.
    static constexpr u32 frame_number = large_frame - 1;
    static constexpr u64 page_bits = 4096;
    using PageSet = std::array<u64, page_bits / 64>;

    TlbTable() = default;

    template <class T> T* at(u64 offset) { return reinterpret_cast<T*>(reinterpret_cast<u8*>(this) + offset); }
    u32* frames() { return at<u32>(tlb_frames_offset); }
    u64* target_chunks() { return at<u64>(tlb_target_chunks_offset); }
    TlbExecutePage* execute_pages() { return at<TlbExecutePage>(tlb_execute_pages_offset); }
    u64 slot(u64 linear) const { return (linear >> page_shift) & (index_mask_ / sizeof(TlbEntry)); }
    static u64 id_slot(u64 linear) { return (linear >> page_shift) & (tlb_execute_id_count - 1); }

    static bool has(const PageSet& set, u64 page_number) {
        return set[page_number % page_bits / 64] >> (page_number % 64) & 1;
    }
    static void add(PageSet& set, u64 page_number) {
        set[page_number % page_bits / 64] |= u64{1} << (page_number % 64);
    }
    // The linear page of an entry, by any of its tags; the empty tag when none is live.
    u64 live_tag(const TlbEntry& entry, u64 n) const;
    void make_empty(u64 n);
    void match_mirror_at(u64 n);
    void put(u64 n, const TlbEntry& entry, u32 frame);
    void drop_targets(u64 first, u64 length); // Of whole pages, and of the page before them.
    void drop_targets_of_page(u64 page);
    void drop_returns() { std::fill_n(returns(), tlb_return_count, TlbTarget{0, no_return_}); }
    void put_id(u64 n, ExecuteId id) { execute_ids()[n] = execute_ids()[n + tlb_execute_id_count] = id; }
    void drop_ids(u64 first, u64 length);
    void clear_ids();
    void clear_entries();
    template <class Body> void for_each_target_group(Body body) {
        for (u64 word = 0; word < targets_touched_.size(); ++word)
            for (u64 left = targets_touched_[word]; left != 0; left &= left - 1)
                body((word * 64 + static_cast<u64>(std::countr_zero(left))) * tlb_target_group);
    }
    // Calls body(first slot) for each touched group.
    template <class Body> void for_each_touched(Body body) {
        for (u64 word = 0; word < size() / group / 64 + (size() < group * 64); ++word)
            for (u64 left = touched_[word]; left != 0; left &= left - 1)
                body((word * 64 + static_cast<u64>(std::countr_zero(left))) * group);
    }

    u64 index_mask_ = (tlb_smallest - 1) * sizeof(TlbEntry);
    u64 code_key_ = 0;
    bool any_target_ = false;
    std::array<u64, tlb_target_count / tlb_target_group / 64> targets_touched_{};
    u64 ids_touched_ = 0;
    u64 pressure_ = 0; // Recent evictions, halved now and then.
    u64 fills_to_halving_ = 0;
    std::array<u64, tlb_largest / group / 64> touched_{};
    PageSet writable_frames_{}; // Guest-physical pages that may have a write tag.
    Mirror* mirror_ = nullptr;
    const void* no_return_ = nullptr;

    friend struct TlbLayoutCheck;
};

// The table that the fast path uses now; translated code reads these fields by offset.
struct TlbView {
    TlbTable* table = nullptr;
    TlbEntry* entries = nullptr; // The table's.
    u64 index_mask = 0;          // The table's.

    TlbView() = default;
    explicit TlbView(TlbTable& of) : table(&of), entries(of.entries()), index_mask(of.index_mask()) {}
    TlbEntry& entry(u64 address) const {
        return *reinterpret_cast<TlbEntry*>(reinterpret_cast<u8*>(entries)
                                            + ((address >> tlb_index_shift) & index_mask));
    }
};
static_assert(std::is_standard_layout_v<TlbView> && offsetof(TlbView, table) == 0 && offsetof(TlbView, entries) == 8
              && offsetof(TlbView, index_mask) == 16 && sizeof(TlbView) == 24);

} // namespace calque::mmu
