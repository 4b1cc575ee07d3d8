#include "mmu/tlb_pool.h"

#include <algorithm>

namespace calque::mmu {

TlbPool::TlbPool() : memory_((count + 1) * tlb_table_size) {
    keys_.fill(no_key);
    tables_[count] = &TlbTable::create(memory_.data() + count * tlb_table_size);
}

TlbPool::Tables TlbPool::find(u64 key) {
    Tables found{};
    ++now_;
    for (unsigned n = 0; n < count; ++n) {
        const u64 mode = keys_[n] - key;
        if (mode >= rights_modes) continue;
        found[mode] = tables_[n];
        used_[n] = now_;
    }
    return found;
}

// Of free tables the one that was freed last: its memory is at hand.
TlbTable& TlbPool::take(u64 key, unsigned mode, u64 space, const Tables& kept) {
    unsigned best = count;
    for (unsigned n = 0; n < count; ++n) {
        const bool is_free = keys_[n] == no_key;
        if (!is_free && std::find(kept.begin(), kept.end(), tables_[n]) != kept.end()) continue;
        if (best == count) {
            best = n;
            continue;
        }
        const bool best_is_free = keys_[best] == no_key;
        if (is_free != best_is_free ? is_free : is_free ? used_[n] > used_[best] : used_[n] < used_[best]) best = n;
    }
    if (keys_[best] != no_key) release_one(best);
    if (!tables_[best]) tables_[best] = &TlbTable::create(memory_.data() + best * tlb_table_size);
    keys_[best] = key + mode;
    spaces_[best] = space;
    used_[best] = now_;
    ++in_use_;
    return *tables_[best];
}

void TlbPool::release_one(unsigned n) {
    tables_[n]->recycle();
    keys_[n] = no_key;
    used_[n] = now_;
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
