#include "devices/vga/video_memory.h"

#include "base/bits.h"

#include <algorithm>
#include <cstring>
#include <new>

namespace calque::devices::vga {

namespace {
constexpr u8 looks = 2; // A stretch counts as written at the look that closes it, and at the next one.
} // namespace

VideoMemory::VideoMemory(u64 size) : size_(size) {
    block_.reset(static_cast<u8*>(std::calloc(size + page, 1)));
    if (!block_) throw std::bad_alloc();
    data_ = reinterpret_cast<u8*>(align_up(reinterpret_cast<std::uintptr_t>(block_.get()), std::uintptr_t{page}));
    written_.resize(size / page);
    open_.resize(size / stretch);
}

std::vector<DirectMemory> VideoMemory::direct_memory() const {
    if (!watched()) return {{0, size_, data_, true}};
    std::lock_guard lock(mutex_);
    std::vector<DirectMemory> ranges;
    for (u64 i = 0; i < open_.size(); ++i) {
        const bool writable = open_[i] == looks;
        if (!ranges.empty() && ranges.back().writable == writable)
            ranges.back().length += stretch;
        else
            ranges.push_back({i * stretch, stretch, data_ + i * stretch, writable});
    }
    return ranges;
}

void VideoMemory::note_write(u64 offset, u64 length) {
    if (!watched() || offset >= size_ || length == 0) return;
    std::lock_guard lock(mutex_);
    const u64 last = std::min(offset + length, size_) - 1;
    for (u64 at = offset / page; at <= last / page; ++at)
        written_[at] = true;
}

// Who writes a lot opens more and more at a time: each change of the map empties the processors' TLBs.
bool VideoMemory::open_for_write(u64 offset, u64 length) {
    if (!watched() || offset >= size_ || length == 0) return false;
    std::lock_guard lock(mutex_);
    const u64 first = offset / stretch, last = (std::min(offset + length, size_) - 1) / stretch;
    if (open_[first] == looks && open_[last] == looks) return false;
    const u64 count = std::max(last - first + 1, opened_);
    for (u64 i = first; i < std::min<u64>(first + count, open_.size()); ++i)
        open_[i] = looks;
    opened_ += count;
    return true;
}

std::vector<bool> VideoMemory::collect(bool& changed) {
    std::lock_guard lock(mutex_);
    std::vector<bool> pages(written_.size(), !watched());
    changed = !watched_.exchange(true);
    opened_ = 0;
    if (changed) {
        // What was written on the way to being watched shows at the next look.
        std::fill(open_.begin(), open_.end(), looks - 1);
        std::fill(written_.begin(), written_.end(), false);
        return pages;
    }
    pages.swap(written_);
    for (u64 i = 0; i < open_.size(); ++i) {
        if (open_[i] == 0) continue;
        changed |= open_[i] == looks;
        --open_[i];
        for (u64 at = i * (stretch / page); at < (i + 1) * (stretch / page); ++at)
            pages[at] = true;
    }
    return pages;
}

bool VideoMemory::stop_watching() { return watched_.exchange(false); }

void VideoMemory::serialize(Archive& archive) {
    static constexpr std::array<u8, page> zeros{};
    u64 size = size_;
    archive.field("size", size);
    if (size != size_)
        return archive.fail("the saved display adapter has another amount of memory; start with the same vgamem_mb=");
    std::vector<u8> present((size_ / page + 7) / 8);
    for (u64 i = 0; i < size_ / page && !archive.loading(); ++i)
        if (std::memcmp(data_ + i * page, zeros.data(), page) != 0) present[i / 8] |= static_cast<u8>(1u << (i % 8));
    archive.bytes("present", present);
    for (u64 i = 0; i < size_ / page && archive.ok(); ++i) {
        const bool saved = present[i / 8] & (1u << (i % 8));
        const std::span<u8> bytes(data_ + i * page, page);
        if (saved)
            archive.bytes("page", bytes);
        else if (archive.loading() && std::memcmp(bytes.data(), zeros.data(), page) != 0)
            std::memset(bytes.data(), 0, page);
    }
}

} // namespace calque::devices::vga
