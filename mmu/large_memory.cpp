#include "mmu/large_memory.h"

#include <cstdlib>
#include <new>
#include <sys/mman.h>

namespace calque::mmu {

namespace {
constexpr std::size_t large_page = std::size_t{2} << 20, small_page = 4096;
// Less than that is not worth a page.
constexpr std::size_t fewest_bytes = large_page / 2;
} // namespace

void* allocate_large(std::size_t bytes) {
    const bool large = bytes >= fewest_bytes;
    const std::size_t rounded = large ? (bytes + large_page - 1) & ~(large_page - 1) : bytes;
    void* const memory =
        std::aligned_alloc(large ? large_page : small_page, (rounded + small_page - 1) & ~(small_page - 1));
    if (memory == nullptr) throw std::bad_alloc();
#ifdef MADV_HUGEPAGE
    if (large) madvise(memory, rounded, MADV_HUGEPAGE);
#endif
    return memory;
}

void free_large(void* memory) noexcept { std::free(memory); }

} // namespace calque::mmu
