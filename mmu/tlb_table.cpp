#include "mmu/tlb_table.h"

#include "mmu/reserved_memory.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

namespace calque::mmu {

struct TlbLayoutCheck {
    static_assert(std::is_standard_layout_v<TlbTable> && sizeof(TlbTable) <= tlb_execute_ids_offset);
    static_assert(tlb_returns_offset + tlb_return_count * sizeof(TlbTarget) <= tlb_targets_offset);
    static_assert(offsetof(TlbTable, index_mask_) == tlb_index_mask_offset);
    static_assert(offsetof(TlbTable, code_key_) == tlb_code_key_offset);
    static_assert(offsetof(TlbTable, any_target_) == tlb_any_target_offset && sizeof(bool) == 1);
    static_assert(offsetof(TlbTable, targets_touched_) == tlb_targets_touched_offset);
    static_assert(tlb_execute_ids_offset + 2 * tlb_execute_id_count * sizeof(ExecuteId) <= tlb_execute_pages_offset);
    static_assert(tlb_execute_pages_offset + tlb_execute_id_count * sizeof(TlbExecutePage) <= tlb_target_chunks_offset);
    static_assert(tlb_target_chunks_offset + tlb_target_chunk_bits / 8 <= tlb_returns_offset);
    static_assert(tlb_targets_offset + tlb_target_count * sizeof(TlbTarget) <= tlb_entries_offset);
};

namespace {

// Beyond this many entries a recycled table's memory goes back to the host; below it, clearing is quicker.
constexpr u64 most_cleared = 4096;

constexpr u64 empty_target(u64 slot) { return slot == 0 ? 1 : 0; }

} // namespace

TlbTable& TlbTable::create(u8* memory, Mirror* mirror) {
    TlbTable& table = *new (memory) TlbTable;
    table.mirror_ = mirror;
    table.make_empty(0);
    table.targets()[0].linear = empty_target(0);
    table.fills_to_halving_ = 16 * tlb_smallest;
    return table;
}

void TlbTable::make_empty(u64 n) {
    const u64 tag = tlb_empty_tag(n);
    entries()[n] = {tag, tag, tag, 0};
    mirrored_read()[n] = mirrored_write()[n] = tag;
}

void TlbTable::match_mirror_at(u64 n) {
    const TlbEntry& entry = entries()[n];
    const u64 none = tlb_empty_tag(n), tag = live_tag(entry, n);
    const bool has = mirror_ && tag != none && mirror_->has(tag, reinterpret_cast<const u8*>(entry.host));
    const auto or_none = [&](u64 of) { return has && of == tag ? tag : none; };
    mirrored_read()[n] = or_none(entry.read_tag);
    mirrored_write()[n] = or_none(entry.write_tag);
}

u64 TlbTable::live_tag(const TlbEntry& entry, u64 n) const {
    if (live(entry.read_tag, n)) return entry.read_tag;
    if (live(entry.execute_tag, n)) return entry.execute_tag;
    return live(entry.write_tag, n) ? entry.write_tag : tlb_empty_tag(n);
}

void TlbTable::put(u64 n, const TlbEntry& entry, u32 frame) {
    touched_[n / group / 64] |= u64{1} << (n / group % 64);
    entries()[n] = entry;
    frames()[n] = frame;
    match_mirror_at(n);
}

// ---- The mirror ----

TlbTable::Run TlbTable::mirror(u64 linear, bool unused) {
    constexpr u64 longest = u64{2} << 20; // The run lies in one piece of that size.
    const u64 page = linear & ~page_offset_mask;
    if (!mirror_ || !holds(page)) return {};
    const auto mirrored = [&](u64 other) {
        return mirror_->has(other, reinterpret_cast<const u8*>(entry(other).host));
    };
    if (mirrored(page)) return {};
    const u64 host = entry(page).host;
    const auto add = [&](Run run, bool all_used) -> Run {
        if (unused && !mirror_->unused(run.linear, run.pages)) return {};
        const u8* const first = reinterpret_cast<const u8*>(host - (page - run.linear));
        const auto more = mirror_->add(run.linear, first, run.pages, all_used);
        return more ? Run{run.linear, run.pages, *more} : Run{};
    };
    if (const u32 frame = frames()[slot(page)]; frame & large_frame) { // Of the kernel's it need not all be in use.
        const Run run = add({align_down(page, longest), longest >> page_shift}, !(frame & global_frame));
        if (run.pages != 0 || unused) return run;
    }
    const auto follows = [&](u64 other) {
        return other / longest == page / longest && holds(other) && entry(other).host - host == other - page
               && !mirrored(other);
    };
    Run run{page, 1};
    while (follows(run.linear - page_size))
        run = {run.linear - page_size, run.pages + 1};
    while (follows(run.linear + run.pages * page_size))
        ++run.pages;
    return add(run, true);
}

void TlbTable::match_mirror(const Run& run) {
    for (u64 n = 0; n < run.pages; ++n)
        match_mirror_at(slot(run.linear + n * page_size));
}

void TlbTable::match_mirror() {
    for_each_touched([&](u64 first) {
        for (u64 n = first; n < first + group; ++n)
            match_mirror_at(n);
    });
}

// ---- Entries ----

TlbTable::Filled TlbTable::fill(u64 linear, const Filling& page) {
    const u64 tag = linear & ~page_offset_mask, n = slot(linear), none = tlb_empty_tag(n);
    const u64 old = live_tag(entries()[n], n);
    put(n,
        {.read_tag = page.read ? tag : none,
         .write_tag = page.write  ? tag
                      : page.code ? tlb_code_tag(tag)
                                  : none,
         .execute_tag = page.execute ? tag : none,
         .host = reinterpret_cast<std::uintptr_t>(page.host)},
        static_cast<u32>(page.frame.page_number()) | (page.global ? global_frame : 0) | (page.large ? large_frame : 0));
    if (page.write) add(writable_frames_, page.frame.page_number());
    if (fills_to_halving_-- == 0) {
        fills_to_halving_ = 16 * size();
        pressure_ /= 2;
    }
    if (old == none || old == tag) return Filled::free;
    if (++pressure_ <= size() / 2) return Filled::evicted;
    pressure_ = 0;
    return Filled::crowded;
}

void TlbTable::drop_page(u64 linear) {
    const u64 page = linear & ~page_offset_mask;
    if (holds(page)) make_empty(slot(page));
    const u64 id = id_slot(page);
    if (execute_pages()[id].linear == page) put_id(id, 0);
    drop_targets(page, page_size);
}

void TlbTable::drop_region(u64 linear, u64 length) {
    const u64 pages = length >> page_shift, begin = pages < size() ? slot(linear) : 0;
    const u64 end = pages < size() ? begin + pages : size();
    for_each_touched([&](u64 first) {
        if (first < begin || first >= end) return;
        for (u64 n = first; n < first + group; ++n) {
            const u64 tag = live_tag(entries()[n], n);
            if (tag != tlb_empty_tag(n) && tag - linear < length) make_empty(n);
        }
    });
    drop_ids(linear, length);
    drop_targets(linear, length);
}

void TlbTable::drop_writable(PhysicalAddress frame) {
    if (!has(writable_frames_, frame.page_number())) return;
    const u32 wanted = static_cast<u32>(frame.page_number());
    for_each_touched([&](u64 first) {
        const u32* const held = frames() + first;
        u32 found = 0; // Looked through without branches.
        for (u64 n = 0; n < group; ++n)
            found |= (held[n] & frame_number) == wanted;
        if (!found) return;
        for (u64 n = first; n < first + group; ++n) {
            u64& tag = entries()[n].write_tag;
            if ((frames()[n] & frame_number) != wanted || !live(tag, n)) continue;
            tag = tlb_code_tag(tag);
            mirrored_write()[n] = tlb_empty_tag(n);
        }
    });
}

void TlbTable::drop_all_writable() {
    for_each_touched([&](u64 first) {
        for (u64 n = first; n < first + group; ++n)
            entries()[n].write_tag = mirrored_write()[n] = tlb_empty_tag(n);
    });
    writable_frames_.fill(0);
}

// Every entry stays where it is or moves by half of the new size, into slots that nothing has used.
bool TlbTable::grow() {
    const u64 before = size();
    if (before == tlb_largest) return false;
    index_mask_ = (before * 2 - 1) * sizeof(TlbEntry);
    pressure_ = 0;
    for (u64 n = 0; n < before; ++n) {
        const u64 moved = n + before;
        const u64 tag = live_tag(entries()[n], moved);
        if (tag == tlb_empty_tag(moved)) continue;
        const TlbEntry old = entries()[n];
        const auto renewed = [&](u64 old_tag) { return old_tag == tag ? tag : tlb_empty_tag(moved); };
        put(moved, {renewed(old.read_tag), renewed(old.write_tag), renewed(old.execute_tag), old.host}, frames()[n]);
        make_empty(n);
    }
    return true;
}

// ---- Execute ids ----

void TlbTable::set_execute_id(u64 linear, const u8* host_page, ExecuteId id) {
    const u64 n = id_slot(linear), page = linear & ~page_offset_mask;
    if (execute_pages()[n].linear == page && execute_ids()[n] != 0) drop_targets(page, page_size); // Of other memory.
    execute_pages()[n] = {page, reinterpret_cast<std::uintptr_t>(host_page)};
    put_id(n, id);
    ids_touched_ |= u64{1} << (n / id_group);
}

void TlbTable::drop_ids(u64 first, u64 length) {
    for (u64 left = ids_touched_; left != 0; left &= left - 1) {
        const u64 begin = static_cast<u64>(std::countr_zero(left)) * id_group;
        for (u64 n = begin; n < begin + id_group; ++n)
            if (execute_pages()[n].linear - first < length) put_id(n, 0);
    }
}

void TlbTable::clear_ids() {
    for (u64 left = ids_touched_; left != 0; left &= left - 1) {
        const u64 first = static_cast<u64>(std::countr_zero(left)) * id_group;
        std::fill_n(execute_ids() + first, id_group, ExecuteId{0});
        std::fill_n(execute_ids() + first + tlb_execute_id_count, id_group, ExecuteId{0});
    }
    ids_touched_ = 0;
}

// ---- Targets ----

void TlbTable::remember_target(u64 linear, const void* code) {
    const u64 n = tlb_target_slot(linear);
    targets()[n] = {linear, code};
    targets_touched_[n / tlb_target_group / 64] |= u64{1} << (n / tlb_target_group % 64);
    any_target_ = true;
    const u64 bit = linear / tlb_target_chunk % tlb_target_chunk_bits;
    target_chunks()[bit / 64] |= u64{1} << (bit % 64);
}

// Those of one page follow each other in the table, a slot for each byte of it. Pages that share its bits, 16 MiB
// apart, lose theirs, too: the bits can be cleared then.
void TlbTable::drop_targets_of_page(u64 page) {
    const u64 word = (page >> page_shift) % (tlb_target_chunk_bits / 64);
    const u64 chunks = std::exchange(target_chunks()[word], 0);
    const u64 first = tlb_target_slot(page);
    for (u64 left = chunks; left != 0; left &= left - 1) {
        const u64 chunk = static_cast<u64>(std::countr_zero(left));
        for (u64 alias = 0; alias < tlb_target_count; alias += page_size) {
            const u64 begin = first + alias + chunk * tlb_target_chunk;
            for (u64 k = begin; k < begin + tlb_target_chunk; ++k) {
                const u64 n = k & (tlb_target_count - 1);
                if (targets()[n].linear / tlb_target_chunk % tlb_target_chunk_bits == word * 64 + chunk)
                    targets()[n] = {empty_target(n), nullptr};
            }
        }
    }
}

void TlbTable::drop_targets(u64 first, u64 length) {
    drop_returns();
    if (length <= page_size) {
        drop_targets_of_page(first - page_size);
        return drop_targets_of_page(first);
    }
    const u64 from = first - page_size;
    const auto matches = [&](u64 linear) { // Whatever stands above 32 bits.
        const u64 distance = linear - from;
        return distance < length + page_size || static_cast<u32>(distance) < length + page_size;
    };
    for_each_target_group([&](u64 begin) {
        for (u64 n = begin; n < begin + tlb_target_group; ++n)
            if (matches(targets()[n].linear)) targets()[n] = {empty_target(n), nullptr};
    });
}

void TlbTable::forget_target(u64 linear) {
    const u64 n = tlb_target_slot(linear);
    if (targets()[n].linear == linear) targets()[n] = {empty_target(n), nullptr};
}

void TlbTable::forget_targets() {
    drop_returns();
    if (!any_target_) return;
    for_each_target_group([&](u64 begin) { std::fill_n(targets() + begin, tlb_target_group, TlbTarget{}); });
    targets()[0].linear = empty_target(0);
    targets_touched_.fill(0);
    any_target_ = false;
    std::fill_n(target_chunks(), tlb_target_chunk_bits / 64, u64{0});
}

// ---- Recycling ----

void TlbTable::take_globals(TlbTable& from) {
    from.for_each_touched([&](u64 first) {
        for (u64 n = first; n < first + group; ++n) {
            if (!(from.frames()[n] & global_frame)) continue;
            const TlbEntry& entry = from.entries()[n];
            const u64 page = from.live_tag(entry, n), to = slot(page);
            if (page == tlb_empty_tag(n) || live_tag(entries()[to], to) != tlb_empty_tag(to)) continue;
            const auto renewed = [&](u64 tag) {
                return tag == page || tag == tlb_code_tag(page) ? tag : tlb_empty_tag(to);
            };
            put(to, {renewed(entry.read_tag), renewed(entry.write_tag), renewed(entry.execute_tag), entry.host},
                from.frames()[n]);
            if (entry.write_tag == page) add(writable_frames_, from.frames()[n] & frame_number);
            const ExecuteId id = entry.execute_tag == page ? from.execute_id(page) : 0;
            if (id != 0) set_execute_id(page, reinterpret_cast<const u8*>(entry.host), id);
        }
    });
}

void TlbTable::clear_entries() {
    if (size() > most_cleared) {
        discard(reinterpret_cast<u8*>(entries()), size() * sizeof(TlbEntry));
        discard(reinterpret_cast<u8*>(frames()), size() * sizeof(u32));
        for (u64* const tags : {mirrored_read(), mirrored_write()})
            discard(reinterpret_cast<u8*>(tags), size() * sizeof(u64));
    } else {
        for_each_touched([&](u64 first) {
            std::fill_n(entries() + first, group, TlbEntry{});
            for (u64* const tags : {mirrored_read(), mirrored_write()})
                std::fill_n(tags + first, group, u64{0});
        });
    }
    make_empty(0);
    touched_.fill(0);
    writable_frames_.fill(0);
}

void TlbTable::recycle() {
    clear_entries();
    clear_ids();
    forget_targets();
    index_mask_ = (tlb_smallest - 1) * sizeof(TlbEntry);
    code_key_ = 0;
    pressure_ = 0;
    fills_to_halving_ = 16 * tlb_smallest;
}

} // namespace calque::mmu
