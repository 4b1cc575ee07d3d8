// The writing half of the re-encoder: fields to bytes.
#include "jit/emit/reencode.h"

namespace calque::jit {

namespace {

constexpr u8 rsp = 4, rbp = 5;

// Where RSP or R12 is the base, the encoding needs SIB; where RBP or R13 is, a displacement (SDM volume 2, table 2-5).
constexpr bool needs_sib(u8 base) { return (base & 7) == rsp; }
constexpr bool needs_displacement(u8 base) { return (base & 7) == rbp; }

class Encoder {
  public:
    Encoder(const ParsedInstruction& p, const HostOperands& host, std::span<u8, 16> out)
        : p_(p), host_(host), out_(out) {}

    unsigned encode() {
        if (!choose_numbers()) return 0;
        if (p_.vex)
            write_vex();
        else
            write_prefixes();
        put(static_cast<u8>(p_.register_in_opcode ? (p_.opcode & 0xF8) | (rm_ & 7) : p_.opcode));
        if (p_.has_modrm) write_modrm();
        const u64 immediate = p_.has_is4 ? (p_.immediate & 15) | u64{is4()} << 4 : p_.immediate;
        for (unsigned n = 0; n < p_.immediate_bytes; ++n)
            put(static_cast<u8>(immediate >> 8 * n));
        return length_;
    }

  private:
    // The number that a field gets. Class none is a field with no meaning, which the encodings want to be 0.
    static u8 number(FieldClass c, u8 guest, u8 host) {
        switch (c) {
        case FieldClass::none: return 0;
        case FieldClass::extension:
        case FieldClass::other: return guest;
        case FieldClass::mmx: return host & 7;
        default: return host & 15;
        }
    }
    u8 is4() const { return number(p_.is4_class, p_.is4, host_.is4); }

    // AH to BH are 4 to 7 where there is no REX prefix; SPL to DIL where there is one.
    bool choose_byte(FieldClass c, bool high, u8& field) {
        if (c != FieldClass::gpr8) return true;
        if (high) {
            no_rex_ = true;
            if (field >= 4) return false;
            field += 4;
        } else if (field >= 4 && field < 8) {
            rex_ = true;
        }
        return true;
    }

    bool choose_numbers() {
        reg_ = number(p_.reg_class, p_.modrm_reg, host_.reg);
        if (!choose_byte(p_.reg_class, p_.reg_high, reg_)) return false;
        if (p_.memory) {
            const auto& m = host_.memory;
            const bool indexed = m.index != no_register;
            if (p_.vsib ? !indexed : m.index == rsp) return false;
            x_ = indexed ? m.index >> 3 & 1 : 0;
            b_ = m.base != no_register ? m.base >> 3 & 1 : 0;
        } else {
            rm_ = p_.register_in_opcode ? number(p_.rm_class, p_.opcode_register, host_.opcode_register)
                                        : number(p_.rm_class, p_.modrm_rm, host_.rm);
            if (!choose_byte(p_.rm_class, p_.rm_high, rm_)) return false;
            b_ = rm_ >> 3;
        }
        r_ = reg_ >> 3;
        rex_ = rex_ || p_.w || r_ || x_ || b_;
        return !(rex_ && no_rex_);
    }

    void write_prefixes() {
        for (unsigned n = 0; n < p_.legacy_count; ++n)
            put(p_.legacy[n]);
        if (rex_) put(static_cast<u8>(0x40 | (p_.w ? 8 : 0) | r_ << 2 | x_ << 1 | b_));
        if (p_.map != 0) put(0x0F);
        if (p_.map > 1) put(p_.map == 2 ? 0x38 : 0x3A);
    }

    void write_vex() {
        const u8 vvvv = number(p_.vvvv_class, p_.vvvv, host_.vvvv);
        const u8 last = static_cast<u8>((~vvvv & 15) << 3 | (p_.l ? 4 : 0) | p_.pp);
        if (p_.map == 1 && !p_.w && !x_ && !b_) {
            put(0xC5);
            put(static_cast<u8>((r_ ? 0 : 0x80) | last));
            return;
        }
        put(0xC4);
        put(static_cast<u8>((r_ ? 0 : 0x80) | (x_ ? 0 : 0x40) | (b_ ? 0 : 0x20) | p_.map));
        put(static_cast<u8>((p_.w ? 0x80 : 0) | last));
    }

    void write_modrm() {
        const u8 reg = static_cast<u8>((reg_ & 7) << 3);
        if (!p_.memory) return put(static_cast<u8>(0xC0 | reg | (rm_ & 7)));
        const auto& m = host_.memory;
        const u8 index = m.index != no_register ? m.index & 7 : rsp;
        const u8 sib = static_cast<u8>((m.scale_shift & 3) << 6 | index << 3);
        if (m.base == no_register) { // Not the shorter form without SIB: that is relative to RIP.
            put(reg | rsp);
            put(sib | rbp);
            return write_displacement(4);
        }
        const u8 base = m.base & 7;
        const bool small = m.displacement == static_cast<i8>(m.displacement);
        const u8 mod = m.displacement == 0 && !needs_displacement(base) ? 0 : small ? 0x40 : 0x80;
        if (m.index != no_register || needs_sib(base)) {
            put(mod | reg | rsp);
            put(sib | base);
        } else {
            put(mod | reg | base);
        }
        if (mod != 0) write_displacement(mod == 0x40 ? 1 : 4);
    }

    void write_displacement(unsigned bytes) {
        for (unsigned n = 0; n < bytes; ++n)
            put(static_cast<u8>(static_cast<u32>(host_.memory.displacement) >> 8 * n));
    }

    // The longest there is has three prefixes, REX, opcode, ModRM, SIB, two times four bytes: 15. The check is for
    // fields that nobody parsed.
    void put(u8 byte) {
        if (length_ < out_.size()) out_[length_++] = byte;
    }

    const ParsedInstruction& p_;
    const HostOperands& host_;
    std::span<u8, 16> out_;
    unsigned length_ = 0;
    u8 reg_ = 0, rm_ = 0;
    u8 r_ = 0, x_ = 0, b_ = 0;
    bool rex_ = false, no_rex_ = false;
};

} // namespace

unsigned encode_instruction(const ParsedInstruction& instruction, const HostOperands& host, std::span<u8, 16> out) {
    return Encoder(instruction, host, out).encode();
}

bool with_register_form(ParsedInstruction& instruction, u8 rm) {
    const bool locked = instruction.legacy_count != 0 && instruction.legacy[0] == 0xF0;
    if (!instruction.memory || !instruction.same_forms || locked) return false;
    instruction.memory = instruction.same_forms = instruction.rip_relative = false;
    instruction.modrm_rm = rm;
    instruction.base = instruction.index = no_register;
    instruction.scale = 1;
    instruction.displacement = 0;
    instruction.segment_prefix = 0;
    instruction.address_prefix = false;
    return true;
}

} // namespace calque::jit
