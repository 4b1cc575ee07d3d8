// Saving and loading guest RAM. A chunk of RAM is a field that holds runs of pages that are not zero: the number of the
// first page within the chunk and the number of pages, 4 bytes each, little-endian, then the pages.
#include "base/bits.h"
#include "mmu/guest_ram.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace calque::mmu {

namespace {

constexpr u64 chunk_size = u64{16} << 20;

bool is_zero(const u8* page) { return page[0] == 0 && std::memcmp(page, page + 1, page_size - 1) == 0; }

void put32(std::vector<u8>& out, u32 value) {
    for (unsigned i = 0; i < 4; ++i)
        out.push_back(static_cast<u8>(value >> (8 * i)));
}

u32 get32(const u8* in) {
    u32 value = 0;
    for (unsigned i = 0; i < 4; ++i)
        value |= static_cast<u32>(in[i]) << (8 * i);
    return value;
}

// The first address from `start` on that may hold anything but zeros: looking at pages that were never touched would
// commit them.
u64 next_data(int fd, u64 start, u64 end) {
#ifdef SEEK_DATA
    if (fd >= 0) {
        const off_t data = lseek(fd, static_cast<off_t>(start), SEEK_DATA);
        if (data < 0) return errno == ENXIO ? end : start;
        return std::min(align_down(static_cast<u64>(data), page_size), end);
    }
#endif
    return start;
}

} // namespace

void GuestRam::save_chunk(u64 start, u64 length, std::vector<u8>& out) const {
    const u64 end = start + length;
    for (u64 at = next_data(fd_, start, end); at < end; at = next_data(fd_, at, end)) {
        u64 last = at;
        while (last < end && !is_zero(data_ + last))
            last += page_size;
        if (last == at) {
            at += page_size;
            continue;
        }
        put32(out, static_cast<u32>((at - start) / page_size));
        put32(out, static_cast<u32>((last - at) / page_size));
        out.insert(out.end(), data_ + at, data_ + last);
        at = last;
    }
}

bool GuestRam::load_chunk(u64 start, u64 length, const std::vector<u8>& in) {
    const u64 pages = length / page_size;
    std::size_t at = 0;
    while (at < in.size()) {
        if (in.size() - at < 8) return false;
        const u64 first = get32(&in[at]), count = get32(&in[at + 4]);
        at += 8;
        if (first >= pages || count > pages - first || in.size() - at < count * page_size) return false;
        std::memcpy(data_ + start + first * page_size, &in[at], count * page_size);
        at += count * page_size;
    }
    return true;
}

void GuestRam::zero() {
#ifdef FALLOC_FL_PUNCH_HOLE
    if (fd_ >= 0 && fallocate(fd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, static_cast<off_t>(size_)) == 0)
        return;
#endif
    if (fd_ < 0 && madvise(data_, size_, MADV_DONTNEED) == 0) return;
    std::memset(data_, 0, size_);
}

void GuestRam::serialize(Archive& archive) {
    archive.section("ram", 1, [&](u32) {
        u64 size = size_;
        archive.field("size", size);
        if (size != size_) {
            return archive.fail(
                fmt::format("the machine that was saved has {} MiB of RAM, this one {}", size >> 20, size_ >> 20));
        }
        if (archive.loading()) zero();
        for (u64 start = 0; start < size_ && archive.ok(); start += chunk_size) {
            const u64 length = std::min(chunk_size, size_ - start);
            std::vector<u8> packed;
            if (!archive.loading()) save_chunk(start, length, packed);
            archive.field("chunk", packed);
            if (archive.loading() && archive.ok() && !load_chunk(start, length, packed))
                archive.fail(fmt::format("RAM at {:x} does not unpack", start));
        }
    });
}

} // namespace calque::mmu
