// Bytes of code that are rewritten again and again while they are code: the immediates of programs that patch
// themselves, the targets of patched calls.
//
// A *field* is a range of up to eight bytes whose contents nothing that is decoded or translated depends on: whoever
// caches code leaves out the instructions that a field touches, or reads the field each time they run. So a write that
// lies within a field changes no cached code, and is told to nobody. Keyed by host memory, as the marks are.
#pragma once

#include "base/types.h"

#include <array>
#include <atomic>
#include <mutex>
#include <optional>

namespace calque::mmu {

class PatchFields {
  public:
    static constexpr u64 longest = 8; // Bytes.

    struct Field {
        const u8* host = nullptr;
        u8 size = 0;
        bool operator==(const Field&) const = default;
    };

    // Any thread, all of these.

    // Notes a write to bytes that were marked as code. True when just these bytes have been written so often that it is
    // better to make them a field.
    bool note_write(const u8* host, u64 length);
    // Bytes among these that were written so often. Not yet a field, perhaps.
    std::optional<Field> often_written(const u8* host, u64 length) const;

    // PhysicalMap::make_patch_field() is the way to do it. False when there is no room for it.
    bool add(const Field& field);
    u64 added() const { return added_.load(); } // Changes with each add().
    // The fields that have a byte among these are none any more.
    void forget(const u8* host, u64 length);
    // Whether the bytes lie in one field; a field that has a byte among these.
    bool covers(const u8* host, u64 length) const;
    std::optional<Field> find(const u8* host, u64 length) const;

  private:
    static constexpr unsigned often = 8;
    static constexpr u64 soon = 64; // Writes to code: one that comes later does not count as again.
    static constexpr unsigned table_bits = 10, history_bits = 8;
    struct Written {
        u64 address = 0;
        u64 last = 0; // As `writes_` was.
        u8 size = 0;
        u16 times = 0;
    };

    // Entries are the address shifted left, with the size below it; 0 is none.
    static constexpr unsigned size_bits = 4;
    static u64 pack(u64 address, u64 size) { return address << size_bits | size; }
    static u64 slot(u64 address, unsigned bits) { return address * 0x9E37'79B9'7F4A'7C15 >> (64 - bits); }
    const std::atomic<u64>& entry(u64 address) const { return fields_[slot(address, table_bits)]; }
    // The size of the field that begins at the address, or 0.
    u64 size_at(u64 address) const;

    mutable std::mutex mutex_; // For changes of the fields, and for the history.
    std::array<std::atomic<u64>, std::size_t{1} << table_bits> fields_{};
    std::atomic<u64> added_{0};
    u64 writes_ = 0;
    std::array<Written, std::size_t{1} << history_bits> history_{};
};

} // namespace calque::mmu
