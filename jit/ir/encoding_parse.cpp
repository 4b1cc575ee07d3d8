// The reading half of the re-encoder: bytes to fields.
#include "jit/ir/encoding.h"
#include "jit/ir/encoding_table.h"

#include <algorithm>

namespace calque::jit {

namespace {

constexpr std::size_t longest_instruction = 15;

class Parser {
  public:
    Parser(std::span<const u8> bytes, CodeBits code)
        : bytes_(bytes.first(std::min(bytes.size(), longest_instruction))), code64_(code == CodeBits::bits64),
          code16_(code == CodeBits::bits16) {}

    bool parse(ParsedInstruction& p) {
        read_prefixes(p);
        if (!read_opcode(p)) return false;
        if (code16_ && !p.vex && chooses_size(p)) operand_ = !operand_;
        write_prefixes(p);
        if (!p.vex) rewrite_accumulator_form(p);
        shape_ = opcode_shape(p.vex, p.map, p.pp, p.opcode);
        if (!shape_.known || (shape_.code64 && !code64_)) return false;
        if (!read_operands(p) || (shape_.group && !check_group(p))) return false;
        if (!classify(p) || !read_immediate(p)) return false;
        p.length = static_cast<u8>(at_);
        return !short_;
    }

  private:
    bool take_prefix(ParsedInstruction& p, u8 byte);
    void read_prefixes(ParsedInstruction& p);
    void write_prefixes(ParsedInstruction& p) const;
    static bool chooses_size(const ParsedInstruction& p);
    bool read_opcode(ParsedInstruction& p);
    bool read_vex(ParsedInstruction& p, u8 escape);
    void rewrite_accumulator_form(ParsedInstruction& p);
    void rewrite(ParsedInstruction& p, u8 opcode, u8 reg, u8 rm);
    bool read_operands(ParsedInstruction& p);
    bool read_memory(ParsedInstruction& p, u8 mod, u8 rm);
    void read_memory16(ParsedInstruction& p, u8 mod, u8 rm);
    bool check_group(ParsedInstruction& p);
    bool check_group_0fae(const ParsedInstruction& p) const;
    bool check_group_0fc7(const ParsedInstruction& p) const;
    bool classify(ParsedInstruction& p);
    void narrow(FieldClass c, u8& number, bool& high) const;
    bool read_immediate(ParsedInstruction& p);

    // Past the end: zeros, and the whole counts as short.
    u8 peek() const { return at_ < bytes_.size() ? bytes_[at_] : 0; }
    u8 next() {
        if (at_ < bytes_.size()) return bytes_[at_++];
        short_ = true;
        return 0;
    }
    u64 little_endian(unsigned count) {
        u64 value = 0;
        for (unsigned n = 0; n < count; ++n)
            value |= u64{next()} << 8 * n;
        return value;
    }
    i32 displacement(unsigned count) {
        const u64 raw = little_endian(count);
        if (count == 1) return static_cast<i8>(raw);
        if (count == 2) return static_cast<i16>(raw);
        return static_cast<i32>(raw);
    }

    std::span<const u8> bytes_;
    const bool code64_, code16_;
    std::size_t at_ = 0;
    bool short_ = false;
    bool lock_ = false, operand_ = false; // F0, 66.
    u8 repeat_ = 0;                       // F2 or F3.
    bool rex_ = false;                    // A REX prefix, of whatever bits: SPL instead of AH.
    u8 r_ = 0, x_ = 0, b_ = 0;
    u8 raw_vvvv_ = 0;        // Not inverted any more; 0 without VEX.
    bool rewritten_ = false; // ModRM is given by rewrite(), not read.
    OpcodeShape shape_;
};

// SDM volume 2, 2.1.1. False for a byte that is no legacy prefix.
bool Parser::take_prefix(ParsedInstruction& p, u8 byte) {
    switch (byte) {
    case 0x66: operand_ = true; return true;
    case 0x67: p.address_prefix = true; return true;
    case 0xF0: lock_ = true; return true;
    case 0xF2:
    case 0xF3: repeat_ = byte; return true;
    case 0x26:
    case 0x2E:
    case 0x36:
    case 0x3E:
        if (!code64_) p.segment_prefix = byte;
        return true;
    case 0x64:
    case 0x65: p.segment_prefix = byte; return true;
    default: return false;
    }
}

// REX counts only right before the opcode (SDM volume 2, 2.2.1).
void Parser::read_prefixes(ParsedInstruction& p) {
    u8 rex = 0;
    for (; at_ < bytes_.size(); ++at_) {
        const u8 byte = bytes_[at_];
        if (code64_ && (byte & 0xF0) == 0x40)
            rex = byte;
        else if (take_prefix(p, byte))
            rex = 0;
        else
            break;
    }
    rex_ = rex != 0;
    p.w = rex & 8;
    r_ = rex << 1 & 8;
    x_ = rex << 2 & 8;
    b_ = rex << 3 & 8;
}

void Parser::write_prefixes(ParsedInstruction& p) const {
    if (p.vex) return;
    if (lock_) p.legacy[p.legacy_count++] = 0xF0;
    if (operand_) p.legacy[p.legacy_count++] = 0x66;
    if (repeat_) p.legacy[p.legacy_count++] = repeat_;
    p.pp = repeat_ == 0xF3 ? 2 : repeat_ == 0xF2 ? 3 : operand_ ? 1 : 0;
}

// Of the opcodes that the re-encoder has, those to which 66 is an operand size; to the others it is nothing, or a part
// of the opcode. In 16-bit code it means 32 bits (SDM volume 1, table 3-4).
bool Parser::chooses_size(const ParsedInstruction& p) {
    const u8 op = p.opcode;
    switch (p.map) {
    case 0: return (op & 0xF8) != 0xD8; // x87.
    case 1:
        return op < 4 || (op & 0xF0) == 0x40 || (op >= 0xA0 && op < 0xC2 && op != 0xAE)
               || (op & 0xF8) == 0xC8;       // CMOV, BT, ...
    case 2: return op == 0xF0 || op == 0xF1; // MOVBE, CRC32.
    default: return false;
    }
}

bool Parser::read_opcode(ParsedInstruction& p) {
    p.opcode = next();
    // In 32-bit code, C4 and C5 with a memory operand are LES and LDS.
    if ((p.opcode == 0xC4 || p.opcode == 0xC5) && (code64_ || peek() >= 0xC0)) return read_vex(p, p.opcode);
    if (p.opcode != 0x0F) return true;
    p.map = 1;
    p.opcode = next();
    if (p.opcode != 0x38 && p.opcode != 0x3A) return true;
    p.map = p.opcode == 0x38 ? 2 : 3;
    p.opcode = next();
    return true;
}

// SDM volume 2, 2.3.5: the fields are inverted, but W, L and pp.
bool Parser::read_vex(ParsedInstruction& p, u8 escape) {
    if (rex_ || lock_ || operand_ || repeat_ != 0) return false; // #UD
    p.vex = true;
    u8 byte = next();
    r_ = ~byte >> 4 & 8;
    p.map = 1;
    if (escape == 0xC4) {
        x_ = ~byte >> 3 & 8;
        b_ = ~byte >> 2 & 8;
        p.map = byte & 0x1F;
        if (p.map < 1 || p.map > 3) return false;
        byte = next();
        p.w = byte & 0x80;
    }
    raw_vvvv_ = ~byte >> 3 & 15;
    p.l = byte & 4;
    p.pp = byte & 3;
    p.opcode = next();
    if (!code64_) r_ = x_ = b_ = 0;
    return true;
}

void Parser::rewrite(ParsedInstruction& p, u8 opcode, u8 reg, u8 rm) {
    p.opcode = opcode;
    p.has_modrm = rewritten_ = true;
    p.modrm_reg = reg;
    p.modrm_rm = rm;
}

void Parser::rewrite_accumulator_form(ParsedInstruction& p) {
    if (p.map != 0) return;
    const u8 op = p.opcode;
    if (op < 0x40 && (op & 6) == 4) return rewrite(p, 0x80 + (op & 1), op >> 3, 0);
    if (op >= 0x40 && op < 0x50) return rewrite(p, 0xFF, op >> 3 & 1, op & 7); // In 64-bit code they are prefixes.
    if (op == 0x82 && !code64_) p.opcode = 0x80;
    if (op == 0xA8 || op == 0xA9) return rewrite(p, 0xF6 + (op & 1), 0, 0);
    // 90 itself is NOP (or PAUSE), and does not clear the upper half of RAX.
    const u8 first_xchg = b_ != 0 ? 0x90 : 0x91;
    if (op >= first_xchg && op < 0x98) rewrite(p, 0x87, 0, (op & 7) | b_);
}

bool Parser::read_operands(ParsedInstruction& p) {
    if (shape_.no_modrm) return true;
    if (shape_.register_in_opcode) {
        p.register_in_opcode = true;
        p.opcode_register = (p.opcode & 7) | b_;
        return true;
    }
    if (rewritten_) return true;
    const u8 modrm = next();
    p.has_modrm = true;
    p.modrm_reg = (modrm >> 3 & 7) | r_;
    const u8 mod = modrm >> 6;
    p.memory = mod != 3 && !shape_.modrm_always_register;
    if (p.memory ? shape_.register_only : shape_.memory_only) return false;
    if (p.memory) return read_memory(p, mod, modrm & 7);
    p.modrm_rm = (modrm & 7) | b_;
    return !short_;
}

// SDM volume 2, tables 2-2 and 2-3.
bool Parser::read_memory(ParsedInstruction& p, u8 mod, u8 rm) {
    p.vsib = shape_.vsib;
    if (!code64_ && p.address_prefix != code16_) {
        read_memory16(p, mod, rm);
        return !p.vsib;
    }
    u8 base = rm;
    if (rm == 4) {
        const u8 sib = next();
        base = sib & 7;
        p.scale = static_cast<u8>(1 << (sib >> 6));
        p.index = (sib >> 3 & 7) | x_;
        if (p.index == 4 && !p.vsib) {
            p.index = no_register;
            p.scale = 1;
        }
    } else if (p.vsib) {
        return false; // #UD
    }
    if (mod == 0 && base == 5) {
        p.rip_relative = code64_ && rm == 5;
        p.displacement = displacement(4);
        return true;
    }
    p.base = base | b_;
    if (mod != 0) p.displacement = displacement(mod == 1 ? 1 : 4);
    return true;
}

// SDM volume 2, table 2-1.
void Parser::read_memory16(ParsedInstruction& p, u8 mod, u8 rm) {
    static constexpr u8 bases[] = {3, 3, 5, 5, 6, 7, 5, 3};
    if (mod == 0 && rm == 6) {
        p.displacement = displacement(2);
        return;
    }
    p.base = bases[rm];
    if (rm < 4) p.index = rm & 1 ? 7 : 6;
    if (mod != 0) p.displacement = displacement(mod);
}

// Opcodes that the /digit divides (SDM volume 2, table A-6).
bool Parser::check_group(ParsedInstruction& p) {
    const u8 digit = p.modrm_reg & 7;
    if (p.vex) return p.map == 2 ? digit >= 1 && digit <= 3 : digit == 2 || digit == 3; // BLSR..., VLDMXCSR...
    switch (p.map << 8 | p.opcode) {
    case 0x0C6:
    case 0x0C7: return digit == 0; // XABORT, XBEGIN.
    case 0x0F6:
    case 0x0F7: // TEST alone has an immediate.
        if (digit < 2)
            shape_.immediate = static_cast<u8>(p.opcode == 0xF6 ? ImmediateKind::byte : ImmediateKind::operand);
        return true;
    case 0x0FE:
    case 0x0FF: return digit < 2; // Calls, jumps, PUSH.
    case 0x100: return digit < 6;
    case 0x118: return digit < 4;
    case 0x1AE: return check_group_0fae(p);
    case 0x1BA: return digit >= 4;
    case 0x1C7: return check_group_0fc7(p);
    default: return false;
    }
}

bool Parser::check_group_0fae(const ParsedInstruction& p) const {
    const u8 digit = p.modrm_reg & 7;
    if (p.pp == 2) return digit < 4;                              // RDFSBASE to WRGSBASE.
    if (p.pp == 1) return p.memory && digit >= 6;                 // CLWB, CLFLUSHOPT.
    if (!p.memory) return digit >= 5;                             // Fences.
    const bool by_mode = digit < 2 || (digit >= 4 && digit <= 6); // FXSAVE to XSAVEOPT: XMM8 to XMM15 or not.
    return code64_ || !by_mode;
}

bool Parser::check_group_0fc7(const ParsedInstruction& p) const {
    const u8 digit = p.modrm_reg & 7;
    if (!p.memory) return p.pp < 2 ? digit >= 6 : p.pp == 2 && digit == 7 && code64_; // RDRAND, RDSEED; RDPID.
    return digit == 1 || (digit == 4 && p.pp == 0 && code64_);                        // CMPXCHG8B; XSAVEC.
}

// A field's number, as far as its class reaches.
void Parser::narrow(FieldClass c, u8& number, bool& high) const {
    if (c == FieldClass::mmx || c == FieldClass::extension) number &= 7;
    if (c == FieldClass::gpr8 && !rex_ && number >= 4) {
        number -= 4;
        high = true;
    }
}

bool Parser::classify(ParsedInstruction& p) {
    p.reg_class = static_cast<FieldClass>(shape_.reg);
    p.rm_class = static_cast<FieldClass>(shape_.rm);
    if (!shape_.vvvv_with_register || !p.memory) p.vvvv_class = static_cast<FieldClass>(shape_.vvvv);
    p.same_forms = p.memory && !shape_.memory_only && !shape_.forms_differ;
    narrow(p.reg_class, p.modrm_reg, p.reg_high);
    if (p.register_in_opcode)
        narrow(p.rm_class, p.opcode_register, p.rm_high);
    else if (!p.memory)
        narrow(p.rm_class, p.modrm_rm, p.rm_high);
    // Segment registers and the x87 stack have three bits; control registers (0F 20 to 23) four.
    if (p.map == 0 && p.reg_class == FieldClass::other) p.modrm_reg &= 7;
    if (p.rm_class == FieldClass::other) p.modrm_rm &= 7;
    if (!p.vex) return true;

    if (p.vvvv_class == FieldClass::none && raw_vvvv_ != 0) return false; // #UD
    p.vvvv = code64_ ? raw_vvvv_ : raw_vvvv_ & 7;
    // Outside 64-bit mode VEX.W does not widen general-purpose registers.
    if (!code64_ && (p.reg_class == FieldClass::gpr || p.rm_class == FieldClass::gpr)) p.w = false;
    return true;
}

bool Parser::read_immediate(ParsedInstruction& p) {
    const bool word = operand_ && !p.w;
    switch (static_cast<ImmediateKind>(shape_.immediate)) {
    case ImmediateKind::none: return true;
    case ImmediateKind::byte:
    case ImmediateKind::is4: p.immediate_bytes = 1; break;
    case ImmediateKind::operand: p.immediate_bytes = word ? 2 : 4; break;
    case ImmediateKind::full: p.immediate_bytes = p.w ? 8 : word ? 2 : 4; break;
    }
    p.immediate = little_endian(p.immediate_bytes);
    if (static_cast<ImmediateKind>(shape_.immediate) == ImmediateKind::is4) {
        p.has_is4 = true;
        p.is4_class = FieldClass::vector;
        p.is4 = static_cast<u8>(p.immediate >> 4 & (code64_ ? 15 : 7));
    }
    return true;
}

} // namespace

std::optional<ParsedInstruction> parse_instruction(std::span<const u8> bytes, CodeBits code) {
    std::optional<ParsedInstruction> parsed(std::in_place);
    if (!Parser(bytes, code).parse(*parsed)) parsed.reset();
    return parsed;
}

} // namespace calque::jit
