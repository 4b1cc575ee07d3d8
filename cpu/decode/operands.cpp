#include "cpu/decode/operands.h"

namespace calque::cpu {

namespace {

struct RegisterInfo {
    OperandKind kind = OperandKind::none;
    u8 number = 0;
};

// By ZydisRegister: what kind of operand it is, and its number as the record has it.
struct RegisterMap {
    std::array<RegisterInfo, ZYDIS_REGISTER_MAX_VALUE + 1> info{};

    constexpr void range(unsigned first, unsigned count, OperandKind kind, unsigned number = 0) {
        for (unsigned n = 0; n < count; ++n)
            info[first + n] = {kind, static_cast<u8>(number + n)};
    }
    constexpr RegisterMap() {
        range(ZYDIS_REGISTER_AL, 4, OperandKind::gpr);
        range(ZYDIS_REGISTER_AH, 4, OperandKind::gpr, high_byte);
        range(ZYDIS_REGISTER_SPL, 12, OperandKind::gpr, 4);
        range(ZYDIS_REGISTER_AX, 16, OperandKind::gpr);
        range(ZYDIS_REGISTER_EAX, 16, OperandKind::gpr);
        range(ZYDIS_REGISTER_RAX, 16, OperandKind::gpr);
        range(ZYDIS_REGISTER_ST0, 8, OperandKind::x87);
        range(ZYDIS_REGISTER_MM0, 8, OperandKind::mmx);
        range(ZYDIS_REGISTER_XMM0, 32, OperandKind::xmm);
        range(ZYDIS_REGISTER_YMM0, 32, OperandKind::ymm);
        range(ZYDIS_REGISTER_ES, 6, OperandKind::segment);
        range(ZYDIS_REGISTER_CR0, 16, OperandKind::control);
        range(ZYDIS_REGISTER_DR0, 16, OperandKind::debug);
    }
};
constexpr RegisterMap register_map;

struct Extension {
    unsigned x, b; // REX.X and REX.B, or their VEX equivalents, as bit 3 of a register number.
};

Extension extension_bits(const ZydisDecodedInstruction& in, unsigned code_bits) {
    if (code_bits != 64) return {0, 0};
    if (in.attributes & ZYDIS_ATTRIB_HAS_VEX) // Stored inverted, as in the prefix.
        return {in.raw.vex.X ? 0u : 8u, in.raw.vex.B ? 0u : 8u};
    if (in.attributes & ZYDIS_ATTRIB_HAS_REX) return {in.raw.rex.X ? 8u : 0u, in.raw.rex.B ? 8u : 0u};
    return {0, 0};
}

// The last segment override that counts, or -1. In 64-bit mode only FS and GS do (SDM volume 1, 3.4.2.1).
int segment_override(const ZydisDecodedInstruction& in, unsigned code_bits) {
    int found = -1;
    for (unsigned n = 0; n < in.raw.prefix_count; ++n) {
        switch (in.raw.prefixes[n].value) {
        case 0x26: found = code_bits == 64 ? found : Segment::es; break;
        case 0x2E: found = code_bits == 64 ? found : Segment::cs; break;
        case 0x36: found = code_bits == 64 ? found : Segment::ss; break;
        case 0x3E: found = code_bits == 64 ? found : Segment::ds; break;
        case 0x64: found = Segment::fs; break;
        case 0x65: found = Segment::gs; break;
        default: break;
        }
    }
    return found;
}

u8 repeat_flags(const ZydisDecodedInstruction& in) {
    u8 flags = 0; // Of several, the last one counts.
    for (unsigned n = 0; n < in.raw.prefix_count; ++n) {
        if (in.raw.prefixes[n].value == 0xF3) flags = insn_rep;
        if (in.raw.prefixes[n].value == 0xF2) flags = insn_repne;
    }
    return flags;
}

unsigned default_segment(unsigned code_bits, bool stack) {
    if (code_bits == 64) return stack ? Segment::flat_stack : Segment::flat;
    return stack ? Segment::ss : Segment::ds;
}

void set_segment(const ZydisDecodedInstruction& in, const Form& form, bool stack, unsigned scale, Instruction& out) {
    const int override = segment_override(in, form.code_bits);
    const unsigned segment = override >= 0 ? static_cast<unsigned>(override) : default_segment(form.code_bits, stack);
    out.memory = Instruction::pack_memory(scale, form.address_size, segment);
    if (stack) out.flags |= insn_stack_address;
}

// 16-bit addressing forms (SDM volume 2, table 2-1).
void address16(const ZydisDecodedInstruction& in, const Form& form, Instruction& out) {
    static constexpr u8 base[8] = {rbx, rbx, rbp, rbp, rsi, rdi, rbp, rbx};
    static constexpr u8 index[8] = {rsi, rdi, rsi, rdi, zero_slot, zero_slot, zero_slot, zero_slot};
    const unsigned rm = in.raw.modrm.rm;
    const bool direct = rm == 6 && in.raw.modrm.mod == 0;
    out.base = direct ? static_cast<u8>(zero_slot) : base[rm];
    out.index = direct ? static_cast<u8>(zero_slot) : index[rm];
    set_segment(in, form, out.base == rbp, 0, out);
}

// 32- and 64-bit addressing forms, from the raw fields: Zydis 4.0.0 names the wrong base for 32-bit addresses with SIB
// base 5, REX.B and mod 0.
void address32(const ZydisDecodedInstruction& in, const Form& form, bool vsib, Instruction& out) {
    const auto [x, b] = extension_bits(in, form.code_bits);
    const unsigned rm = in.raw.modrm.rm, mod = in.raw.modrm.mod;
    unsigned base = rm | b, index = zero_slot, scale = 0;
    if (rm == 4) {
        base = in.raw.sib.base == 5 && mod == 0 ? zero_slot : in.raw.sib.base | b;
        index = in.raw.sib.index | x;
        if (index == 4 && !vsib) index = zero_slot;
        scale = in.raw.sib.scale;
    } else if (rm == 5 && mod == 0) {
        base = form.code_bits == 64 ? rip_slot : zero_slot;
    }
    out.base = static_cast<u8>(base);
    out.index = static_cast<u8>(index);
    set_segment(in, form, base == rsp || base == rbp, scale, out);
}

void describe_memory(const ZydisDecodedInstruction& in, const ZydisDecodedOperand& operand, const Form& form,
                     Instruction& out) {
    if (operand.encoding == ZYDIS_OPERAND_ENCODING_DISP16_32_64) { // moffs
        out.immediate = static_cast<u64>(in.raw.disp.value) & address_mask(form.address_size);
        return;
    }
    if (!(in.attributes & ZYDIS_ATTRIB_HAS_MODRM) || in.raw.modrm.mod == 3)
        return; // Implied by the opcode, as rDI of STOS.
    out.displacement = static_cast<i32>(in.raw.disp.value);
    if (form.address_size == 2)
        address16(in, form, out);
    else
        address32(in, form, operand.mem.type == ZYDIS_MEMOP_TYPE_VSIB, out);
}

} // namespace

void describe_instruction(const ZydisDecodedInstruction& in, Form& form, Instruction& out) {
    form.operand_size = static_cast<u8>(in.operand_width / 8);
    form.address_size = static_cast<u8>(in.address_width / 8);
    form.opcode = in.opcode;
    out.operand_size = form.operand_size;
    out.flags = repeat_flags(in);
    if (in.attributes & ZYDIS_ATTRIB_HAS_LOCK) out.flags |= insn_lock;
    if (form.code_bits == 64) out.flags |= insn_mode64;
    if (in.attributes & ZYDIS_ATTRIB_HAS_VEX) {
        out.flags |= insn_vex;
        if (in.raw.vex.L) out.flags |= insn_l256;
        if (in.raw.vex.W) out.flags |= insn_rex_w;
    } else if ((in.attributes & ZYDIS_ATTRIB_HAS_REX) && in.raw.rex.W) {
        out.flags |= insn_rex_w;
    }
    // An x87 instruction keeps the 11 bits of its opcode, for the FPU's last-opcode register (SDM volume 1, 8.1.9).
    if (in.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && (in.opcode & 0xF8) == 0xD8)
        out.immediate = (in.opcode & 7u) << 8 | in.raw.modrm.mod << 6 | in.raw.modrm.reg << 3 | in.raw.modrm.rm;
    set_segment(in, form, false, 0, out);
    form.flags = out.flags;
}

void describe_operands(const ZydisDecodedInstruction& in, std::span<const ZydisDecodedOperand> operands, Form& form,
                       Instruction& out) {
    u8* const numbers[4] = {&out.dest, &out.source, &out.third, &out.fourth};
    unsigned immediates = 0;
    for (const ZydisDecodedOperand& operand : operands) {
        if (form.count == form.kind.size()) break;
        const unsigned n = form.count++;
        form.size[n] = static_cast<u8>(operand.size / 8);
        switch (operand.type) {
        case ZYDIS_OPERAND_TYPE_REGISTER: {
            const RegisterInfo info = register_map.info[operand.reg.value];
            form.kind[n] = info.kind;
            *numbers[n] = info.number;
            if (info.kind == OperandKind::xmm && out.operand_size < 16) out.operand_size = 16;
            if (info.kind == OperandKind::ymm) out.operand_size = 32;
            break;
        }
        case ZYDIS_OPERAND_TYPE_MEMORY:
            form.kind[n] = OperandKind::memory;
            describe_memory(in, operand, form, out);
            break;
        case ZYDIS_OPERAND_TYPE_POINTER:
            form.kind[n] = OperandKind::far_pointer;
            out.immediate = (static_cast<u64>(operand.ptr.segment) << 32) | operand.ptr.offset;
            break;
        case ZYDIS_OPERAND_TYPE_IMMEDIATE:
            form.kind[n] = operand.imm.is_relative ? OperandKind::relative : OperandKind::immediate;
            // ENTER has two: its level goes above its size.
            out.immediate |= operand.imm.value.u << (immediates++ != 0 ? 16 : 0);
            break;
        default: break;
        }
    }
    form.flags = out.flags;
}

} // namespace calque::cpu
