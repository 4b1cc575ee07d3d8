#include "mmu/tlb_pool.h"

#include <algorithm>

namespace calque::mmu {

TlbPool::TlbPool(const RamFile& file)
    : stride_(tlb_mirror_distance + (file.descriptor < 0 ? 0 : Mirror::window_bytes)),
      memory_(count * stride_ + tlb_table_size, tlb_mirror_alignment), places_(count * Mirror::index_bytes) {
    keys_.fill(no_key);
    u8* const last = memory_.data() + count * stride_;
    commit(last, tlb_table_size);
    never_ = &TlbTable::create(last, nullptr);
    for (unsigned n = 0; n < count; ++n) {
        u8* const first = memory_.data() + n * stride_;
        commit(first, tlb_mirror_distance);
        if (mirrors())
            mirror_[n] = Mirror(first + tlb_mirror_distance,
                                reinterpret_cast<u32*>(places_.data() + n * Mirror::index_bytes), file);
    }
}

TlbPool::Tables TlbPool::select(u64 key, u64 space, u64 rights) {
    const auto at = std::find(keys_.begin(), keys_.end(), key);
    const unsigned n = at != keys_.end() ? static_cast<unsigned>(at - keys_.begin()) : take(key, space, rights);
    used_[n] = ++now_;
    return tables_[n];
}

void TlbPool::set_no_return(const void* code) {
    no_return_ = code;
    never_->set_no_return(code);
    for (const Tables& tables : tables_)
        for (TlbTable* const table : tables)
            if (table) table->set_no_return(code);
}

bool TlbPool::has(u64 key) const { return std::find(keys_.begin(), keys_.end(), key) != keys_.end(); }

// Of free ones those that were freed last: their memory is at hand.
unsigned TlbPool::take(u64 key, u64 space, u64 rights) {
    unsigned best = 0;
    for (unsigned n = 1; n < count; ++n) {
        const bool is_free = keys_[n] == no_key, best_is_free = keys_[best] == no_key;
        if (is_free != best_is_free ? is_free : is_free ? used_[n] > used_[best] : used_[n] < used_[best]) best = n;
    }
    if (keys_[best] != no_key) release_one(best);
    for (unsigned mode = 0; mode < rights_modes; ++mode) {
        TlbTable*& table = tables_[best][mode];
        if (table) continue;
        table = &TlbTable::create(memory_.data() + best * stride_ + mode * tlb_table_size,
                                  mirrors() ? &mirror_[best] : nullptr);
        table->set_no_return(no_return_);
    }
    unsigned last = count;
    for (unsigned n = 0; n < count; ++n)
        if (keys_[n] != no_key && rights_[n] == rights && (last == count || used_[n] > used_[last])) last = n;
    if (last != count)
        for (unsigned mode = 0; mode < rights_modes; ++mode)
            tables_[best][mode]->take_globals(*tables_[last][mode]);
    keys_[best] = key;
    spaces_[best] = space;
    rights_[best] = rights;
    ++in_use_;
    return best;
}

unsigned TlbPool::number_of(const TlbTable& table) const {
    const auto offset = static_cast<u64>(reinterpret_cast<const u8*>(&table) - memory_.data());
    return static_cast<unsigned>(offset / stride_);
}

u64 TlbPool::mirror(TlbTable& table, u64 linear, bool unused) {
    if (mappings_ >= most_mappings) {
        if (unused) return 0;
        clear_mirrors();
    }
    const TlbTable::Run run = table.mirror(linear, unused);
    if (run.pages == 0) return 0;
    mappings_ += run.mappings;
    for_tables_of(number_of(table), [&](TlbTable& of_key) { of_key.match_mirror(run); });
    return run.pages;
}

void TlbPool::clear_mirrors() {
    mappings_ = 0;
    for (unsigned n = 0; n < count; ++n) {
        if (!tables_[n][0]) continue;
        mirror_[n].clear();
        for_tables_of(n, [](TlbTable& table) { table.match_mirror(); });
    }
}

void TlbPool::release_one(unsigned n) {
    for_tables_of(n, [](TlbTable& table) { table.recycle(); });
    keys_[n] = no_key;
    used_[n] = ++now_;
    --in_use_;
}

void TlbPool::release(u64 space) {
    for (unsigned n = 0; n < count; ++n)
        if (keys_[n] != no_key && spaces_[n] == space) release_one(n);
}

void TlbPool::release_all() {
    for (unsigned n = 0; n < count; ++n)
        if (keys_[n] != no_key) release_one(n);
}

} // namespace calque::mmu
