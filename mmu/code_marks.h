// Which 128-byte granules of host memory hold bytes that were decoded or translated, and which pages some vCPU may have
// a writable TLB entry for. Keyed by host memory, not by guest-physical address: aliases of a page share their marks.
#pragma once

#include "base/types.h"

#include <array>
#include <atomic>
#include <memory>

namespace calque::mmu {

// One 64-bit word per page, changed only by atomic read-modify-write:
//   bits 31:0  a mark per granule
//   bit 32     writers: some vCPU may have a writable entry or pointer for the page
//   bit 33     patched: some of its code is written again and again (mmu/patch_fields.h)
//   bit 34     dirty: it may have been written, or may be by a writer that was admitted, since take_dirty()
//   bits 63:40 version: changes whenever a new writer may have come in while marks came and went
// The invariant that everything rests on: a page has marks and no `writers` only when no vCPU can write to it without
// coming through the slow path. mark() therefore asks for a rendezvous when `writers` is set, and the rendezvous clears
// `writers` only if the version has not changed since it began.
// `dirty` is set before a writer is admitted, and after a write by whoever takes no part in the rendezvous. So pages
// that are copied after take_dirty() and a rendezvous that takes all writable entries away are dirty again if they
// change.
class CodeMarks {
  public:
    static constexpr u64 granule = 128;

    CodeMarks();
    ~CodeMarks();
    CodeMarks(const CodeMarks&) = delete;
    CodeMarks& operator=(const CodeMarks&) = delete;

    // Marks the bytes, which lie in one page. True when writers may be about.
    bool mark(const u8* host, u64 length);
    // Every granule of the bytes is (still) marked.
    bool all_marked(const u8* host, u64 length) const;
    bool any_marked(const u8* host, u64 length) const;
    bool page_marked(const u8* host) const;
    // For a store to a page that the caller has no writable entry of: notes it, then looks for marks. `only_one`: no
    // other vCPU could mark these bytes meanwhile.
    struct Store {
        bool on_page = false; // Marks, anywhere; without them the store is not noted.
        bool on_bytes = false;
    };
    Store note_store(const u8* host, u64 length, bool only_one);
    // Takes away the marks of the touched granules. True when there were any.
    bool clear(const u8* host, u64 length);

    // Before a vCPU makes a writable TLB entry: false when the page has marks.
    bool admit_writer(const u8* host);
    // Whether admit_writer() would change nothing and succeed: on the way of a read, when a write is likely to follow.
    bool writer_admitted(const u8* host) const;
    // Before a vCPU makes a pointer that it writes through within the same instruction, marks or not.
    void note_writer(const u8* host);

    void note_dirty(const u8* host);
    // Whether the page was dirty; it is clean from now on.
    bool take_dirty(const u8* host);

    void note_patched(const u8* host);
    bool patched(const u8* host) const;

    // Around a rendezvous that takes every writable entry of the page away: version() before it, writers_gone() after.
    // The version of a page without marks is `no_version`: then writers may come in at any time, and nothing is gone.
    static constexpr u32 no_version = ~u32{0};
    u32 version(const u8* host) const;
    void writers_gone(const u8* host, u32 version);

  private:
    using Word = std::atomic<u64>;
    static constexpr unsigned chunk_bits = 12; // Pages to a chunk: 16 MiB of RAM in 32 KiB.
    static constexpr unsigned fan_bits = 12;
    struct Chunk {
        std::array<Word, std::size_t{1} << chunk_bits> words{};
    };
    struct Directory {
        std::array<std::atomic<Chunk*>, std::size_t{1} << fan_bits> chunks{};
    };

    const Word* find(const u8* host) const; // Null when nothing was ever recorded near it.
    Word& get(const u8* host);

    // Host addresses of 48 bits; beyond, pages would share words, which is safe.
    std::unique_ptr<std::array<std::atomic<Directory*>, std::size_t{1} << fan_bits>> root_;
};

} // namespace calque::mmu
