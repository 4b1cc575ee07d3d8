// What was decoded lately, in front of Zydis: instructions that differ only in displacement and immediate decode to the
// same record but for these two. Included in cpu/decode only.
#pragma once

#include "cpu/decode/decoder.h"
#include "mmu/large_memory.h"

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

    explicit DecodeMemory(std::size_t entries) : entries_(entries) {} // A power of two.

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
    std::size_t slot(u64 head, u64 mode) const {
        return ((head ^ mode << 60) * 0x9E37'79B9'7F4A'7C15 >> 40) & (entries_.size() - 1);
    }

    std::vector<Entry, mmu::LargeAllocator<Entry>> entries_;
    u32 stamps_ = 0;
};

} // namespace calque::cpu
