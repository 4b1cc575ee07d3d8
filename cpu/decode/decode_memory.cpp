#include "cpu/decode/decode_memory.h"

#include "base/bits.h"

#include <bit>
#include <cstring>

namespace calque::cpu {

namespace {

// One bit per opcode that has ModRM (SDM volume 2, tables ). A wrong bit costs time only: what does not add
// up is not remembered.
using OpcodeSet = std::array<u32, 8>;
constexpr bool has(const OpcodeSet& set, u8 opcode) { return set[opcode / 32] >> opcode % 32 & 1; }
constexpr OpcodeSet modrm_one_byte{0x0F0F0F0F, 0x0F0F0F0F, 0x00000000, 0x00000A0C,
                                   0x0000FFFF, 0x00000000, 0xFF0F00F3, 0xC0C00000};
constexpr OpcodeSet modrm_0f{0xFFFFA00F, 0xFF00FFFF, 0xFFFFFFFF, 0xFF7FFFFF,
                             0xFFFF0000, 0xFFFFF8F8, 0xFFFF00FF, 0xFFFFFFFF};

// Prefixes, VEX, EVEX, XOP and 0F; the escapes behind 0F.
constexpr OpcodeSet other_one_byte{1u << 15, 0x40404040, 0xFFFF, 0x000000F4, 1u << 15, 0, 0x00000030, 0x000D0000};
constexpr OpcodeSet other_0f{0, 1u << 24 | 1u << 26, 0, 0, 0, 0, 0, 0};

// The sets together, by opcode of one byte, then after 0F.
struct OpcodeKinds {
    static constexpr u8 modrm = 1, other = 2;
    std::array<u8, 512> of{};
    constexpr OpcodeKinds() {
        for (unsigned opcode = 0; opcode < 256; ++opcode) {
            const u8 byte = static_cast<u8>(opcode);
            of[opcode] = (has(modrm_one_byte, byte) ? modrm : 0) | (has(other_one_byte, byte) ? other : 0);
            of[256 + opcode] = (has(modrm_0f, byte) ? modrm : 0) | (has(other_0f, byte) ? other : 0);
        }
    }
};
constexpr OpcodeKinds opcode_kinds;

class Scanner {
  public:
    Scanner(std::span<const u8> bytes, const DecodeMode& mode) : bytes_(bytes), mode_(mode) {}

    InstructionHead head() {
        bool small_address = mode_.code_size == CodeSize::bits16;
        u8 byte = next();
        while (is_prefix(byte)) {
            if (byte == 0x67) small_address = mode_.code_size == CodeSize::bits32;
            byte = next();
        }
        const bool modrm = opcode(byte);
        if (modrm) operand(next(), small_address && mode_.code_size != CodeSize::bits64);
        if (bad_ || length_ > 8) return {};
        InstructionHead head;
        for (unsigned n = 0; n < length_; ++n)
            head.bytes |= u64{bytes_[n]} << 8 * n;
        head.length = length_;
        return head;
    }

  private:
    u8 next() {
        if (length_ < bytes_.size() && length_ < 9) return bytes_[length_++];
        bad_ = true;
        return 0;
    }
    bool is_prefix(u8 byte) const {
        switch (byte) {
        case 0x26:
        case 0x2E:
        case 0x36:
        case 0x3E:
        case 0x64:
        case 0x65:
        case 0x66:
        case 0x67:
        case 0xF0:
        case 0xF2:
        case 0xF3: return true;
        default: return mode_.code_size == CodeSize::bits64 && (byte & 0xF0) == 0x40;
        }
    }
    // Whether ModRM follows.
    bool opcode(u8 byte) {
        const bool vex =
            (byte == 0xC4 || byte == 0xC5)
            && (mode_.code_size == CodeSize::bits64 || (length_ < bytes_.size() && (bytes_[length_] & 0xC0) == 0xC0));
        if (byte == 0x62 || byte == 0x8F) { // EVEX, XOP.
            bad_ = true;
            return false;
        }
        if (vex) {
            next();
            if (byte == 0xC4) next();
            return next() != 0x77 || byte == 0xC4; // VZEROUPPER.
        }
        if (byte != 0x0F) return has(modrm_one_byte, byte);
        byte = next();
        if (byte != 0x38 && byte != 0x3A) return has(modrm_0f, byte);
        next();
        return true;
    }
    void operand(u8 modrm, bool small_address) {
        if (modrm < 0xC0 && (modrm & 7) == 4 && !small_address) next();
    }

    std::span<const u8> bytes_;
    const DecodeMode& mode_;
    u8 length_ = 0;
    bool bad_ = false;
};

u64 little_endian(const u8* from, unsigned size) {
    u64 value = 0;
    std::memcpy(&value, from, size);
    if constexpr (std::endian::native == std::endian::big) value = __builtin_bswap64(value);
    return value;
}
u64 sign_extended(u64 value, unsigned size) {
    const unsigned unused = 64 - 8 * size;
    return static_cast<u64>(static_cast<i64>(value << unused) >> unused);
}

void put_tail(const DecodeMemory::Tail& tail, const u8* at, Instruction& out) {
    if (tail.displacement != 0)
        out.displacement = static_cast<i32>(sign_extended(little_endian(at, tail.displacement), tail.displacement));
    if (tail.immediate == 0) return;
    const u64 immediate = little_endian(at + tail.displacement, tail.immediate);
    out.immediate = tail.immediate_signed ? sign_extended(immediate, tail.immediate) : immediate;
}

} // namespace

// The commonest in 64-bit code: at most REX before the opcode, of one byte or after 0F. Nothing: it is another. Without
// branches: which of them an instruction is, hardly anything foretells.
static InstructionHead short_head(const u8* bytes) {
    const u64 word = little_endian(bytes, 8);
    const unsigned rex = (word & 0xF0) == 0x40;
    const u64 opcode = word >> 8 * rex;
    const unsigned escape = (opcode & 0xFF) == 0x0F;
    const u64 last = opcode >> 8 * escape; // The opcode's last byte, and what follows.
    const u8 kind = opcode_kinds.of[escape << 8 | (last & 0xFF)];
    const unsigned modrm = kind & OpcodeKinds::modrm;
    const unsigned sib = modrm & ((last & 0x0700) == 0x0400) & ((last & 0xC000) != 0xC000);
    const unsigned length = rex + escape + 1 + modrm + sib;
    return {word & low_mask(8 * length), kind & OpcodeKinds::other ? u8{0} : static_cast<u8>(length)};
}

InstructionHead head_of(std::span<const u8> bytes, const DecodeMode& mode) {
    if (mode.code_size == CodeSize::bits64 && bytes.size() >= 8) {
        const InstructionHead head = short_head(bytes.data());
        if (head.length != 0) return head;
    }
    return Scanner(bytes, mode).head();
}

namespace {

// Immediates in 64-bit code without 66, in bytes, by opcode of one byte and after 0F (SDM volume 2, tables ).
unsigned immediate_one_byte(u8 opcode, u8 modrm, bool wide) {
    if (opcode < 0x40) return (opcode & 7) == 4 ? 1 : (opcode & 7) == 5 ? 4 : 0;
    switch (opcode) {
    case 0x68:
    case 0x69:
    case 0x81:
    case 0xA9:
    case 0xC7: return 4;
    case 0x6A:
    case 0x6B:
    case 0x80:
    case 0x83:
    case 0xA8:
    case 0xC0:
    case 0xC1:
    case 0xC6: return 1;
    case 0xF6: return modrm & 0x30 ? 0 : 1;
    case 0xF7: return modrm & 0x30 ? 0 : 4;
    default: break;
    }
    if ((opcode & 0xF0) == 0x70) return 1;
    if ((opcode & 0xF8) == 0xB0) return 1;
    if ((opcode & 0xF8) == 0xB8) return wide ? 8 : 4;
    return 0;
}
unsigned immediate_0f(u8 opcode) {
    if ((opcode & 0xF0) == 0x80) return 4;
    if ((opcode & 0xFC) == 0x70) return 1;
    return opcode == 0xA4 || opcode == 0xAC || opcode == 0xBA || opcode == 0xC2 || (opcode >= 0xC4 && opcode <= 0xC6);
}
bool ends_code(u8 opcode, u8 modrm) {
    switch (opcode) {
    case 0xC2:
    case 0xC3:
    case 0xCC:
    case 0xE8:
    case 0xE9:
    case 0xEB: return true;
    case 0xFF: return (modrm >> 3 & 7) >= 2 && (modrm >> 3 & 7) <= 5;
    default: return false;
    }
}
unsigned displacement_of(u8 modrm, u8 sib) {
    switch (modrm >> 6) {
    case 0: return (modrm & 7) == 5 || ((modrm & 7) == 4 && (sib & 7) == 5) ? 4 : 0;
    case 1: return 1;
    case 2: return 4;
    default: return 0;
    }
}

} // namespace

unsigned likely_length(const InstructionHead& head) {
    unsigned n = 0;
    const auto byte = [&] { return static_cast<u8>(head.bytes >> 8 * n); };
    bool word = false, wide = false;
    for (; byte() == 0x66 || byte() == 0xF2 || byte() == 0xF3 || byte() == 0x64 || byte() == 0x65; ++n)
        word |= byte() == 0x66;
    if (byte() == 0xC4 || byte() == 0xC5) return 0;
    if ((byte() & 0xF0) == 0x40) {
        wide = byte() & 8;
        ++n;
    }
    const bool two_bytes = byte() == 0x0F;
    n += two_bytes;
    const u8 opcode = byte();
    if (two_bytes && (opcode == 0x38 || opcode == 0x3A)) return 0;
    ++n;
    const bool modrm = has(two_bytes ? modrm_0f : modrm_one_byte, opcode);
    const u8 value = modrm ? byte() : 0xC0;
    ++n;
    if (!two_bytes && ends_code(opcode, value)) return 0;
    unsigned immediate = two_bytes ? immediate_0f(opcode) : immediate_one_byte(opcode, value, wide);
    if (word && immediate == 4 && !two_bytes) immediate = 2;
    return head.length + displacement_of(value, byte()) + immediate;
}

bool DecodeMemory::recall(const InstructionHead& head, const DecodeMode& mode, std::span<const u8> bytes,
                          Instruction& out, Form* form, Recollection* what) const {
    const std::size_t at = slot(head.bytes, mode.key());
    const Entry& entry = entries_[at];
    if (entry.head != head.bytes || entry.head_length != head.length || entry.mode != mode.key()
        || entry.record.length > bytes.size())
        return false;
    out = entry.record;
    put_tail(entry.tail, bytes.data() + head.length, out);
    if (form) *form = entry.form;
    if (what) *what = {static_cast<u32>(at), entry.stamp};
    return true;
}

Recollection DecodeMemory::remember(const InstructionHead& head, const DecodeMode& mode, std::span<const u8> bytes,
                                    const Tail& tail, const Instruction& record, const Form& form) {
    if (record.length != head.length + tail.displacement + tail.immediate || tail.displacement > 4) return {};
    Instruction again = record;
    put_tail(tail, bytes.data() + head.length, again);
    if (again.displacement != record.displacement || again.immediate != record.immediate) return {};
    if (++stamps_ == 0) ++stamps_;
    const std::size_t at = slot(head.bytes, mode.key());
    entries_[at] = {head.bytes, stamps_, head.length, static_cast<u8>(mode.key()), tail, form, record};
    return {static_cast<u32>(at), stamps_};
}

void DecodeMemory::remember_at(u64 address, const DecodeMode& mode, std::span<const u8> bytes,
                               const Instruction& record, const Form& form, const Recollection& what) {
    if (record.length > 8 || bytes.size() < 8) return;
    decoded_[address % most_decoded] = {first_bytes(bytes, record.length), what, static_cast<u8>(mode.key()), form,
                                        record};
}

} // namespace calque::cpu
