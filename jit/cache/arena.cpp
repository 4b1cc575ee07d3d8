#include "jit/cache/arena.h"

#include <chrono>
#include <cstring>
#include <new>
#include <sys/mman.h>
#include <system_error>
#include <unistd.h>

namespace calque::jit {

namespace {

struct TwoViews {
    std::byte *writable, *executable;
};

constexpr int advice_collapse = 25; // MADV_COLLAPSE of Linux 6.1, which not every libc knows.

// Addresses for `bytes` and what makes them a multiple of a large page, at such a multiple.
std::byte* reserve(std::size_t bytes) {
    void* const start =
        ::mmap(nullptr, bytes + large_page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (start == MAP_FAILED) throw std::bad_alloc();
    std::byte* const first = static_cast<std::byte*>(start);
    const std::size_t before = -reinterpret_cast<std::uintptr_t>(start) & (large_page - 1);
    if (before != 0) ::munmap(first, before);
    ::munmap(first + before + bytes, large_page - before);
    return first + before;
}

void map_at(std::byte* address, std::size_t bytes, int protection, int flags, int fd) {
    if (::mmap(address, bytes, protection, flags | MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED) throw std::bad_alloc();
}

void map_file(const TwoViews& views, std::size_t bytes) {
    const int fd = ::memfd_create("calque-code", MFD_CLOEXEC);
    if (fd < 0 || ::ftruncate(fd, static_cast<off_t>(bytes)) != 0) throw std::bad_alloc();
    map_at(views.writable, bytes, PROT_READ | PROT_WRITE, 0, fd);
    map_at(views.executable, bytes, PROT_READ | PROT_EXEC, 0, fd);
    ::close(fd);
}

// mremap(2): with an old size of 0, a shared mapping is mapped once more.
void map_anonymous(const TwoViews& views, std::size_t bytes) {
    map_at(views.writable, bytes, PROT_READ | PROT_WRITE, MAP_ANONYMOUS, -1);
    if (::mremap(views.writable, 0, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, views.executable) == MAP_FAILED
        || ::mprotect(views.executable, bytes, PROT_READ | PROT_EXEC) != 0)
        throw std::bad_alloc();
}

} // namespace

CodeArena::CodeArena(std::size_t bytes, Mapping mapping) : size_(bytes) {
    const TwoViews views{reserve(bytes), reserve(bytes)};
    if (mapping == Mapping::file)
        map_file(views, bytes);
    else
        map_anonymous(views, bytes);
    writable_ = views.writable;
    executable_ = views.executable;
}

CodeArena::~CodeArena() {
    if (collapsing_.valid()) collapsing_.wait();
    ::munmap(writable_, size_);
    ::munmap(executable_, size_);
}

void CodeArena::collapse(Part& part, std::size_t end) {
    using namespace std::chrono_literals;
    if (collapsing_.valid() && collapsing_.wait_for(0s) != std::future_status::ready) return;
    const std::size_t from = part.start + part.collapsed, bytes = end - part.collapsed;
    part.collapsed = end;
    // The pages first, then what maps them. Where the host cannot do it, or has no thread to spare, nothing is lost.
    const auto work = [writable = writable_ + from, executable = executable_ + from, bytes] {
        if (::madvise(writable, bytes, advice_collapse) == 0) (void)::madvise(executable, bytes, advice_collapse);
    };
    try {
        collapsing_ = std::async(std::launch::async, work);
    } catch (const std::system_error&) {
    }
}

const std::byte* CodeArena::append(std::span<const u8> code) {
    const std::byte* const at = next();
    std::memcpy(writable_ + used_, code.data(), code.size());
    used_ = (used_ + code.size() + alignment - 1) & ~(alignment - 1);
    note_used(hot_, used_);
    return at;
}

const std::byte* CodeArena::append_cold(std::span<const u8> code) {
    const std::byte* const at = next_cold();
    std::memcpy(writable_ + cold_.start + cold_used_, code.data(), code.size());
    cold_used_ += code.size();
    note_used(cold_, cold_used_);
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
