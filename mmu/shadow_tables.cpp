#include "mmu/shadow_tables.h"

#include "base/bits.h"

namespace calque::mmu {

void ShadowTables::note(u64 linear, const WalkTrace& trace) {
    if (!comparable_) return;
    for (const WalkTrace::Step& step : trace) {
        if (!step.host || entries_.size() >= most_entries) return give_up();
        const Entry entry{step.host, step.entry, align_down(linear, u64{1} << step.shift), step.bytes, step.shift};
        const auto [at, fresh] = by_key_.try_emplace(entry.key(), static_cast<u32>(entries_.size()));
        if (fresh)
            entries_.push_back(entry);
        else
            entries_[at->second] = entry;
    }
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
