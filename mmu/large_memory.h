// Memory of tables that are looked into here and there: in the host's large pages, if it has some, so that a look does
// not cost a walk of the host's page tables besides.
#pragma once

#include <cstddef>
#include <memory>

namespace calque::mmu {

// `bytes`, aligned for anything up to a page. Not zeroed; committed as it is touched, in pieces of 2 MiB. Throws
// std::bad_alloc.
void* allocate_large(std::size_t bytes);
void free_large(void* memory) noexcept;

// For std::vector.
template <class T> struct LargeAllocator {
    using value_type = T;
    LargeAllocator() = default;
    template <class U> LargeAllocator(const LargeAllocator<U>&) {}
    T* allocate(std::size_t count) { return static_cast<T*>(allocate_large(count * sizeof(T))); }
    void deallocate(T* memory, std::size_t) noexcept { free_large(memory); }
    bool operator==(const LargeAllocator&) const { return true; }
};

struct LargeDeleter {
    void operator()(std::byte* memory) const noexcept { free_large(memory); }
};
using LargeBytes = std::unique_ptr<std::byte[], LargeDeleter>;
inline LargeBytes large_bytes(std::size_t bytes) { return LargeBytes(static_cast<std::byte*>(allocate_large(bytes))); }

} // namespace calque::mmu
