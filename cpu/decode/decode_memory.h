// What was decoded lately, in front of Zydis: instructions that differ only in displacement and immediate decode to the
// same record but for these two. Included in cpu/decode only.
#pragma once

#include "base/bits.h"
#include "cpu/decode/decoder.h"
#include "mmu/large_memory.h"

#include <bit>
#include <cstring>
#include <optional>
#include <vector>

namespace calque::cpu {

// An instruction up to and with ModRM and SIB: its prefixes, opcode and these, as they lie in memory. No such head is
// the beginning of another, so zeros behind it take nothing away.
struct InstructionHead {
    u64 bytes = 0;
    u8 length = 0; // 0: longer than fits, or of an encoding that is left to Zydis.
};
InstructionHead head_of(std::span<const u8> bytes, const DecodeMode& mode);
// How many bytes the instruction with this head has, most likely, in 64-bit code; 0 where nothing follows it (a jump, a
// return), or nobody knows. Only to look ahead.
unsigned likely_length(const InstructionHead& head);

class DecodeMemory {
  public:
    // How the displacement and the immediate lie behind the head, sizes in bytes.
    struct Tail {
        u8 displacement = 0;
        u8 immediate = 0;
        bool immediate_signed = false;
    };

    explicit DecodeMemory(std::size_t entries) : entries_(entries), decoded_(most_decoded) {} // A power of two.

    // False when it does not know the head, or the instruction goes on past the bytes.
    bool recall(const InstructionHead& head, const DecodeMode& mode, std::span<const u8> bytes, Instruction& out,
                Form* form, Recollection* what) const;
    // The place of this head's instruction, which is fetched into the caches meanwhile.
    u32 fetch(const InstructionHead& head, const DecodeMode& mode) const {
        const std::size_t at = slot(head.bytes, mode.key());
        __builtin_prefetch(&entries_[at]);
        return static_cast<u32>(at);
    }
    // An instruction that Zydis has decoded. Nothing is kept of one whose parts do not add up to its length.
    Recollection remember(const InstructionHead& head, const DecodeMode& mode, std::span<const u8> bytes,
                          const Tail& tail, const Instruction& record, const Form& form);

    // Whole instructions, by where they were decoded lately: code that is new is decoded again soon, for a block that
    // begins elsewhere in it and for the translator. The bytes are compared; so any number will do for the address.
    bool recall_at(u64 address, const DecodeMode& mode, std::span<const u8> bytes, Instruction& out, Form* form,
                   Recollection* what) const {
        const Decoded& known = decoded_[address % most_decoded];
        if (!matches(known, mode, bytes)) return false;
        out = known.record;
        if (form) *form = known.form;
        if (what) *what = known.what;
        return true;
    }
    bool knows_at(u64 address, const DecodeMode& mode, std::span<const u8> bytes) const {
        return matches(decoded_[address % most_decoded], mode, bytes);
    }
    void remember_at(u64 address, const DecodeMode& mode, std::span<const u8> bytes, const Instruction& record,
                     const Form& form, const Recollection& what);

  private:
    struct alignas(64) Entry {
        u64 head = 0;
        u32 stamp = 0;
        u8 head_length = 0; // 0: empty.
        u8 mode = 0;
        Tail tail;
        Form form;
        Instruction record;
    };
    static_assert(sizeof(Entry) == 64); // A cache line: most of them are cold when they are wanted.
    static constexpr std::size_t most_decoded = 512;
    struct alignas(64) Decoded {
        u64 bytes = 0; // Those of the instruction, zeros behind them.
        Recollection what;
        u8 mode = 0;
        Form form;
        Instruction record;
    };
    static_assert(sizeof(Decoded) == 64);
    static u64 first_bytes(std::span<const u8> bytes, unsigned length) {
        u64 value = 0;
        std::memcpy(&value, bytes.data(), sizeof value);
        if constexpr (std::endian::native == std::endian::big) value = __builtin_bswap64(value);
        return value & low_mask(8 * length);
    }
    static bool matches(const Decoded& known, const DecodeMode& mode, std::span<const u8> bytes) {
        return known.what.stamp != 0 && known.mode == mode.key() && bytes.size() >= sizeof known.bytes
               && known.bytes == first_bytes(bytes, known.record.length);
    }
    std::size_t slot(u64 head, u64 mode) const {
        return ((head ^ mode << 60) * 0x9E37'79B9'7F4A'7C15 >> 40) & (entries_.size() - 1);
    }

    std::vector<Entry, mmu::LargeAllocator<Entry>> entries_;
    std::vector<Decoded, mmu::LargeAllocator<Decoded>> decoded_;
    u32 stamps_ = 0;
};

} // namespace calque::cpu
