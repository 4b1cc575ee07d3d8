#include "jit/cache/arena.h"

#include <atomic>
#include <cstring>
#include <new>
#include <sys/mman.h>
#include <unistd.h>

namespace calque::jit {

CodeArena::CodeArena(std::size_t bytes) : size_(bytes) {
    const int fd = ::memfd_create("calque-code", MFD_CLOEXEC);
    if (fd < 0 || ::ftruncate(fd, static_cast<off_t>(bytes)) != 0) throw std::bad_alloc();
    void* const writable = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    void* const executable = ::mmap(nullptr, bytes, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
    ::close(fd);
    if (writable == MAP_FAILED || executable == MAP_FAILED) throw std::bad_alloc();
    writable_ = static_cast<std::byte*>(writable);
    executable_ = static_cast<std::byte*>(executable);
}

CodeArena::~CodeArena() {
    ::munmap(writable_, size_);
    ::munmap(executable_, size_);
}

const std::byte* CodeArena::append(std::span<const u8> code) {
    const std::byte* const at = next();
    std::memcpy(writable_ + used_, code.data(), code.size());
    used_ = (used_ + code.size() + alignment - 1) & ~(alignment - 1);
    return at;
}

const std::byte* CodeArena::append_cold(std::span<const u8> code) {
    const std::byte* const at = next_cold();
    std::memcpy(writable_ + size_ / 2 + cold_used_, code.data(), code.size());
    cold_used_ += code.size();
    return at;
}

void CodeArena::patch(const std::byte* at, u32 value) {
    std::memcpy(writable_ + (at - executable_), &value, sizeof value);
}

void CodeArena::patch_jump(const std::byte* at, const std::byte* target) {
    constexpr std::byte jump{0xE9};
    writable_[at - executable_] = jump;
    patch(at + 1, static_cast<u32>(static_cast<i32>(target - (at + 5))));
}

} // namespace calque::jit
