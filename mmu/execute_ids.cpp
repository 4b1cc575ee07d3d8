#include "mmu/execute_ids.h"

namespace calque::mmu {

ExecuteId ExecuteIds::id_of(LinearAddress page, const u8* host_page, std::optional<u64> shift) {
    const u64 host = reinterpret_cast<std::uintptr_t>(host_page);
    const std::lock_guard lock(mutex_);
    u64 place = page.value;
    if (movable(page.value)) {
        const u64 beside = page.value - shift.value_or(0);
        const bool fits = shift && beside >= places && beside < places_end;
        place = places_.try_emplace(host, fits ? beside : places + page.value % places).first->second;
    }
    const auto known = numbers_.find({place, host});
    if (known != numbers_.end()) return execute_id(known->second, page.value - place);
    if (last_ + 1 == u32{1} << execute_id_bits) return 0;
    if (numbers_.size() >= most_pairs) { // The ids that are about still name their pairs.
        numbers_.clear();
        places_.clear();
    }
    return execute_id(numbers_[{place, host}] = ++last_, page.value - place);
}

} // namespace calque::mmu
