#include "mmu/reserved_memory.h"

#include <cstring>
#include <new>
#include <sys/mman.h>

namespace calque::mmu {

ReservedMemory::ReservedMemory(u64 bytes) : size_(bytes) {
    void* const data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (data == MAP_FAILED) throw std::bad_alloc();
    data_ = static_cast<u8*>(data);
#ifdef MADV_NOHUGEPAGE
    madvise(data, bytes, MADV_NOHUGEPAGE); // Little of it is touched.
#endif
}

ReservedMemory::~ReservedMemory() { munmap(data_, size_); }

void discard(u8* start, u64 bytes) {
    if (madvise(start, bytes, MADV_DONTNEED) != 0) std::memset(start, 0, bytes);
}

} // namespace calque::mmu
