#include "mmu/guest_ram.h"

#include <cerrno>
#include <cstring>
#include <sys/mman.h>
#include <unistd.h>
#include <utility>

namespace calque::mmu {

namespace {

// An anonymous file of `bytes`, or -1 where the host has none (an old kernel, a sandbox): RAM is then a private
// mapping.
int make_memory_file(u64 bytes) {
    const int fd = memfd_create("calque-ram", MFD_CLOEXEC);
    if (fd >= 0 && ftruncate(fd, static_cast<off_t>(bytes)) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

} // namespace

Result<GuestRam> GuestRam::create(u64 bytes) {
    if (bytes == 0 || (bytes & page_offset_mask) != 0)
        return error("The size of guest RAM, {} bytes, is not a multiple of {}; give whole megabytes.", bytes,
                     page_size);
    GuestRam ram;
    ram.fd_ = make_memory_file(bytes);
    const int sharing = ram.fd_ >= 0 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS;
    void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, sharing | MAP_NORESERVE, ram.fd_, 0);
    if (data == MAP_FAILED)
        return error("Cannot reserve {} MiB for guest RAM: {}; try a smaller size.", bytes >> 20, std::strerror(errno));
    ram.data_ = static_cast<u8*>(data);
    ram.size_ = bytes;
#ifdef MADV_HUGEPAGE
    madvise(data, bytes, MADV_HUGEPAGE); // Fewer host TLB misses, where the host allows it.
#endif
    return ram;
}

GuestRam::GuestRam(GuestRam&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)),
      fd_(std::exchange(other.fd_, -1)) {}

GuestRam& GuestRam::operator=(GuestRam&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(fd_, other.fd_);
    return *this;
}

GuestRam::~GuestRam() {
    if (data_) munmap(data_, size_);
    if (fd_ >= 0) close(fd_);
}

RamFile GuestRam::file() const {
#if defined(__x86_64__)
    return {data_, size_, fd_};
#else
    return {data_, size_, -1};
#endif
}

} // namespace calque::mmu
