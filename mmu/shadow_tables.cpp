#include "mmu/shadow_tables.h"

#include "base/bits.h"
#include "mmu/paging_levels.h"

namespace calque::mmu {

bool ShadowTables::note(u64 linear, const WalkTrace& trace) {
    bool same = true;
    for (const WalkTrace::Step& step : trace) {
        if (!comparable_) return false;
        if (!step.host || entries_.size() >= most_entries) {
            give_up();
            return false;
        }
        const Entry entry{step.host, step.entry, align_down(linear, u64{1} << step.shift), step.bytes, step.shift};
        const auto [at, fresh] = by_key_.try_emplace(entry.key(), static_cast<u32>(entries_.size()));
        if (fresh) {
            entries_.push_back(entry);
            continue;
        }
        Entry& known = entries_[at->second];
        if (!known.only_bits_set(entry)) {
            if (entry.shift == page_shift)
                same = false;
            else
                give_up(); // What was found by the old one can no longer be told.
        }
        if (comparable_) known = entry;
    }
    return same;
}

// Whether `later` is this entry, but for accessed and dirty bits that a walk has set.
bool ShadowTables::Entry::only_bits_set(const Entry& later) const {
    constexpr u64 may_be_set = paging::entry_accessed | paging::entry_dirty;
    return host == later.host && ((value ^ later.value) & ~(later.value & may_be_set)) == 0;
}

std::optional<std::span<const u64>> ShadowTables::verify() {
    changed_.clear();
    if (!comparable_) return std::nullopt;
    for (std::size_t n = 0; n < entries_.size();) {
        const Entry& entry = entries_[n];
        if (entry.same()) {
            ++n;
            continue;
        }
        if (entry.shift != page_shift || changed_.size() == most_changed) return std::nullopt;
        changed_.push_back(entry.linear);
        forget(n);
    }
    return changed_;
}

void ShadowTables::give_up() {
    comparable_ = false;
    entries_ = {};
    by_key_ = {};
}

void ShadowTables::forget(std::size_t n) {
    by_key_.erase(entries_[n].key());
    if (n + 1 != entries_.size()) {
        entries_[n] = entries_.back();
        by_key_[entries_[n].key()] = static_cast<u32>(n);
    }
    entries_.pop_back();
}

} // namespace calque::mmu
