#include "mmu/execute_ids.h"

namespace calque::mmu {

u32 ExecuteIds::id_of(LinearAddress page, const u8* host_page) {
    const Pair pair{page.value, reinterpret_cast<std::uintptr_t>(host_page)};
    std::lock_guard lock(mutex_);
    if (const auto at = ids_.find(pair); at != ids_.end()) return at->second;
    if (last_ == ~u32{0}) return 0;
    if (ids_.size() >= most_pairs) ids_.clear(); // The ids that are about still name their pairs.
    return ids_[pair] = ++last_;
}

} // namespace calque::mmu
