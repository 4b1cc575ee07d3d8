// Instruction bytes in, records out. The only room that knows Zydis.
#pragma once

#include "cpu/cpu.h"
#include "cpu/table.h"

#include <memory>
#include <span>

namespace calque::cpu {

// What, besides the bytes, shapes a record.
struct DecodeMode {
    CodeSize code_size = CodeSize::bits64;
    bool real = false;    // Real or virtual-8086 mode: VEX instructions are undefined.
    bool careful = false; // Data breakpoints may be set: no form is `flat`.

    u64 key() const { return static_cast<u64>(code_size) | (real ? 4 : 0) | (careful ? 8 : 0); }
};

enum class DecodeStatus : u8 {
    ok,        // A record; one that raises #UD or #GP where the bytes are not an instruction of this CPU.
    need_more, // The bytes end inside the instruction.
};

// How a decoder that remembers knows an instruction: two that it knows the same way have the same form, and the same
// record but for displacement and immediate.
struct Recollection {
    u32 slot = 0;  // Below the number of instructions that it remembers.
    u32 stamp = 0; // 0: it does not know it.
};

class Decoder {
  public:
    // One that remembers so many instructions (a power of two, or 0) is quicker, and for one thread at a time.
    explicit Decoder(const CpuModel& model, std::size_t remembered = 0);
    ~Decoder();

    // Decodes the instruction that the bytes start with (at most 15 count). `form`, when given, gets what the selector
    // saw; `what`, how it will be known.
    DecodeStatus decode(std::span<const u8> bytes, const DecodeMode& mode, Instruction& out, Form* form = nullptr,
                        Recollection* what = nullptr) const;

    // The same for code at this guest-physical address: what was decoded there lately is known at once.
    DecodeStatus decode_at(u64 address, std::span<const u8> bytes, const DecodeMode& mode, Instruction& out,
                           Form* form = nullptr, Recollection* what = nullptr) const;
    bool knows_at(u64 address, std::span<const u8> bytes, const DecodeMode& mode) const;

    // Fetches what is remembered of the instructions that the bytes start with (up to as many as there are `slots`,
    // which get their Recollection::slot) into the caches, without waiting for it: of most there is nothing in them. A
    // guess, for decode() that follows. How many slots.
    unsigned look_ahead(std::span<const u8> bytes, const DecodeMode& mode, std::span<u32> slots) const;

    // For listings: Intel syntax.
    static std::string disassemble(std::span<const u8> bytes, CodeSize size, u64 address);

  private:
    struct Parts;
    DecodeStatus decode_all(std::span<const u8> bytes, const DecodeMode& mode, Instruction& out, Form* form_out,
                            Parts& parts) const;
    DecodeStatus decode_xchg_r8(std::span<const u8> bytes, const DecodeMode& mode, u8 length, Instruction& out,
                                Form* form_out) const;

    struct Impl;
    std::unique_ptr<Impl> impl_;
};

// The properties of a record's row (Property bits).
u16 properties_of(const Instruction& i);
inline constexpr unsigned longest_instruction = 15;

} // namespace calque::cpu
