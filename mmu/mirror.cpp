#include "mmu/mirror.h"

#include "mmu/reserved_memory.h"

#include <algorithm>

namespace calque::mmu {

bool Mirror::unused(u64 linear, u64 pages) const {
    const u64 first = place(linear);
    return first + pages <= places && std::all_of(index_ + first, index_ + first + pages, [](u32 n) { return n == 0; });
}

std::optional<int> Mirror::add(u64 linear, const u8* page, u64 pages, bool all_used) {
    const u32 number = number_of(page);
    const u64 first = place(linear);
    if (number == 0 || first + pages > places || (u64{number} - 1 + pages) << page_shift > file_.size)
        return std::nullopt;
    if (!map_file(window_ + (first << page_shift), pages << page_shift, file_.descriptor,
                  (u64{number} - 1) << page_shift, all_used))
        return std::nullopt;
    const bool continues = first != 0 && number != 1 && index_[first - 1] == number - 1;
    const bool continued = first + pages < places && index_[first + pages] == number + pages;
    for (u64 n = 0; n < pages; ++n)
        index_[first + n] = number + static_cast<u32>(n);
    return 1 - continues - continued;
}

void Mirror::clear() {
    unmap(window_, window_bytes);
    discard(reinterpret_cast<u8*>(index_), index_bytes);
}

} // namespace calque::mmu
