#include "mmu/reserved_memory.h"

#include "base/bits.h"

#include <cstring>
#include <new>
#include <sys/mman.h>

namespace calque::mmu {

ReservedMemory::ReservedMemory(u64 bytes, [[maybe_unused]] Place place) : size_(bytes) {
    const auto map = [bytes](int where) {
        const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | where;
        return mmap(nullptr, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
    };
    void* data = MAP_FAILED;
#ifdef MAP_32BIT
    if (place == Place::low) data = map(MAP_32BIT);
#endif
    if (data == MAP_FAILED) data = map(0);
    if (data == MAP_FAILED) throw std::bad_alloc();
    data_ = static_cast<u8*>(data);
#ifdef MADV_NOHUGEPAGE
    madvise(data, bytes, MADV_NOHUGEPAGE); // Little of it is touched.
#endif
}

ReservedMemory::~ReservedMemory() { munmap(data_, size_); }

ReservedSpace::ReservedSpace(u64 bytes, u64 alignment) : size_(bytes + alignment) {
    void* const data = mmap(nullptr, size_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (data == MAP_FAILED) throw std::bad_alloc();
    mapping_ = static_cast<u8*>(data);
    data_ = reinterpret_cast<u8*>(align_up(reinterpret_cast<std::uintptr_t>(data), alignment));
}

ReservedSpace::~ReservedSpace() { munmap(mapping_, size_); }

void commit(u8* start, u64 bytes) {
    if (mprotect(start, bytes, PROT_READ | PROT_WRITE) != 0) throw std::bad_alloc();
#ifdef MADV_NOHUGEPAGE
    madvise(start, bytes, MADV_NOHUGEPAGE); // Little of it is touched.
#endif
}

bool map_file(u8* start, u64 bytes, int descriptor, u64 offset, [[maybe_unused]] bool all_used) {
    int flags = MAP_SHARED | MAP_FIXED;
#ifdef MAP_POPULATE
    if (all_used) flags |= MAP_POPULATE;
#endif
    return mmap(start, bytes, PROT_READ | PROT_WRITE, flags, descriptor, static_cast<off_t>(offset)) != MAP_FAILED;
}

void unmap(u8* start, u64 bytes) {
    // Never left to others. Where the host refuses, what is mapped stays so.
    (void)mmap(start, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
}

void discard(u8* start, u64 bytes) {
    if (madvise(start, bytes, MADV_DONTNEED) != 0) std::memset(start, 0, bytes);
}

} // namespace calque::mmu
