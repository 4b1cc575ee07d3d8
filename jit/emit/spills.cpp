// Operations on guest registers that have no host register (JitContext::spilled): on their slots, where the
// instruction has such a form, instead of by way of a temporary.
#include "jit/emit/unit_emitter.h"

namespace calque::jit {

namespace {

// ADD, OR, ADC, SBB, AND, SUB, XOR, CMP, as the opcodes number them.
constexpr x86::Inst::Id arithmetic[] = {x86::Inst::kIdAdd, x86::Inst::kIdOr,  x86::Inst::kIdAdc, x86::Inst::kIdSbb,
                                        x86::Inst::kIdAnd, x86::Inst::kIdSub, x86::Inst::kIdXor, x86::Inst::kIdCmp};
constexpr unsigned compare = 7;
constexpr bool commutes(unsigned number) { return number != 3 && number != 5 && number != compare; }
constexpr bool same_is_zero(unsigned number) { return number == 5 || number == 6; }

bool spilled(FieldClass field, unsigned guest) { return field == FieldClass::gpr && !pinned(guest); }

// Of two operands, the one that is written in ModRM's rm or reg: 01 and 03, 89 and 8B.
bool is_arithmetic(const ParsedInstruction& p) {
    return p.map == 0 && p.opcode < 0x40 && ((p.opcode & 7) == 1 || (p.opcode & 7) == 3);
}
bool is_move(const ParsedInstruction& p) { return p.map == 0 && (p.opcode == 0x89 || p.opcode == 0x8B); }

// One operand, ModRM's rm, and perhaps an immediate or CL; read only, or read and written.
bool only_reads_rm(const ParsedInstruction& p) {
    const unsigned digit = p.modrm_reg & 7;
    return ((p.opcode == 0x81 || p.opcode == 0x83) && digit == compare) || (p.opcode == 0xF7 && digit == 0);
}
bool changes_rm(const ParsedInstruction& p) {
    const unsigned digit = p.modrm_reg & 7;
    switch (p.opcode) {
    case 0x81:
    case 0x83:
    case 0xC1:
    case 0xD1:
    case 0xD3: return true;
    case 0xF7: return digit == 2 || digit == 3; // NOT, NEG.
    case 0xFF: return digit < 2;                // INC, DEC.
    default: return false;
    }
}

// The register in ModRM's reg is written whole, without a look at what it was; `rm` is read.
bool sets_reg(const ParsedInstruction& p) {
    if (p.map == 0) return p.opcode == 0x8B || p.opcode == 0x63 || p.opcode == 0x69 || p.opcode == 0x6B;
    if (p.map != 1) return false;
    switch (p.opcode) {
    case 0xB6: // MOVZX, MOVSX.
    case 0xB7:
    case 0xBE:
    case 0xBF: return p.pp == 0;
    case 0xB8: // POPCNT, TZCNT, LZCNT.
    case 0xBC:
    case 0xBD: return p.pp == 2;
    default: return false;
    }
}
// It is read as well: IMUL, CMOV.
bool changes_reg(const ParsedInstruction& p) {
    return p.map == 1 && p.pp == 0 && (p.opcode == 0xAF || (p.opcode & 0xF0) == 0x40);
}
// From ModRM's rm to a vector: CVTSI2SS, CVTSI2SD; MOVD, MOVQ.
bool sets_vector(const ParsedInstruction& p) {
    return p.map == 1 && ((p.opcode == 0x2A && p.pp >= 2) || (p.opcode == 0x6E && p.pp == 1));
}

} // namespace

// All of the register that the operation writes comes from elsewhere.
bool UnitEmitter::overwrites(const ir::Op& op) {
    const ParsedInstruction& p = op.parsed;
    if (p.vex && !op.vectors) return true;
    if (p.map == 0) {
        if (p.legacy_count != 0 || op.guest.operand_size < 4) return false;
        return p.opcode == 0x89 || p.opcode == 0xC7 || (p.opcode & 0xF8) == 0xB8 || sets_reg(p);
    }
    if (op.vectors) // Others write a vector, perhaps of the same number.
        return p.map == 1
               && (p.opcode == 0x2C || p.opcode == 0x2D || p.opcode == 0x50 || p.opcode == 0xD7 || p.opcode == 0x7E);
    return op.guest.operand_size >= 4 && sets_reg(p);
}

// The instruction with the slot in the place of ModRM's rm.
void UnitEmitter::on_slot(ParsedInstruction p, unsigned guest, u8 reg) {
    HostOperands operands;
    operands.reg = reg;
    operands.memory.base = x86::rsp.id() & 0xF;
    operands.memory.displacement = static_cast<i32>(offsetof(JitContext, spilled) + spilled_index(guest) * sizeof(u64));
    p.memory = true;
    emit_encoded(p, operands);
}

// Whether it was one of those that can do without; then it is emitted. Its memory operand is checked.
bool UnitEmitter::spilled_instruction(const ir::Op& op) {
    const ParsedInstruction& p = op.parsed;
    const u32 size = op.guest.operand_size;
    if (op.kind != Kind::host || p.vex || p.reg_high || p.rm_high || op.x87 != ir::X87Use::none) return false;
    if (p.register_in_opcode || !p.has_modrm) return false;
    if (op.vectors) {
        if (op.access != ir::MemoryAccess::none || !sets_vector(p) || pinned(p.modrm_rm)) return false;
        if (needs_host_flags(op)) flags_to_host();
        on_slot(p, p.modrm_rm, p.modrm_reg);
        return true;
    }
    if (size < 4 || (p.map == 0 && p.legacy_count != 0)) return false;
    if (op.access == ir::MemoryAccess::none) return spilled_registers(op);
    return op.access == ir::MemoryAccess::read && spilled(p.reg_class, p.modrm_reg) && spilled_with_memory(op);
}

bool UnitEmitter::spilled_registers(const ir::Op& op) {
    const ParsedInstruction& p = op.parsed;
    const u32 size = op.guest.operand_size;
    const bool rm_spilled = (p.rm_class == FieldClass::gpr || p.rm_class == FieldClass::gpr8) && !pinned(p.modrm_rm);
    const bool reg_spilled = spilled(p.reg_class, p.modrm_reg);
    if (!rm_spilled && !reg_spilled) return false;
    const auto begin = [&] {
        if (needs_host_flags(op)) flags_to_host();
    };
    if (is_move(p) || is_arithmetic(p)) {
        const bool to_rm = (p.opcode & 7) == 1;
        begin();
        if (is_move(p))
            move_spilled(to_rm ? p.modrm_rm : p.modrm_reg, to_rm ? p.modrm_reg : p.modrm_rm, size);
        else
            combine_spilled(p.opcode >> 3, to_rm ? p.modrm_rm : p.modrm_reg, to_rm ? p.modrm_reg : p.modrm_rm, size);
        return true;
    }
    if (p.map == 0 && p.opcode == 0x85) { // TEST
        begin();
        if (rm_spilled && reg_spilled) {
            load_spilled(p.modrm_reg, size);
            if (p.modrm_rm == p.modrm_reg)
                a_.test(sized(t0, size), sized(t0, size));
            else
                a_.test(spilled_slot(p.modrm_rm, size), sized(t0, size));
        } else {
            const unsigned other = rm_spilled ? p.modrm_reg : p.modrm_rm;
            a_.test(spilled_slot(rm_spilled ? p.modrm_rm : p.modrm_reg, size), sized(host_gpq(other), size));
        }
        return true;
    }
    if (p.map == 0 && changes_rm(p) && !only_reads_rm(p)) { // By way of T0 where it is there, or must be written whole.
        begin();
        if (size == 8 && !in_t0(p.modrm_rm)) {
            on_slot(p, p.modrm_rm, 0);
            return true;
        }
        load_spilled(p.modrm_rm, size);
        HostOperands operands;
        operands.rm = static_cast<u8>(t0.id());
        emit_encoded(p, operands);
        store_spilled(p.modrm_rm);
        return true;
    }
    if (p.map == 0 && only_reads_rm(p)) {
        begin();
        on_slot(p, p.modrm_rm, 0);
        return true;
    }
    if (p.map == 0 && p.opcode == 0xC7) { // MOV of an immediate, which must not become a negative one of 64 bits.
        if (size == 4 && static_cast<i32>(p.immediate) < 0) return false;
        begin();
        a_.mov(spilled_slot(p.modrm_rm), asmjit::Imm(i64{static_cast<i32>(p.immediate)}));
        return true;
    }
    if (!sets_reg(p) && !changes_reg(p)) return false;
    begin();
    if (reg_spilled && changes_reg(p)) load_spilled(p.modrm_reg, 8);
    const u8 reg = static_cast<u8>(reg_spilled ? t0.id() : host_of_guest[p.modrm_reg]);
    if (rm_spilled) {
        on_slot(p, p.modrm_rm, reg);
    } else {
        HostOperands operands;
        operands.reg = reg;
        operands.rm = host_of_guest[p.modrm_rm];
        emit_encoded(p, operands);
    }
    if (reg_spilled) store_spilled(p.modrm_reg);
    return true;
}

// To T0, unless it is there from before.
void UnitEmitter::load_spilled(unsigned guest, u32 size) {
    if (!in_t0(guest)) a_.mov(sized(t0, size), spilled_slot(guest, size));
}
// From T0. A slot is written whole, so that it can be read back at once.
void UnitEmitter::store_spilled(unsigned guest) {
    a_.mov(spilled_slot(guest), t0);
    t0_guest_ = guest;
    t0_offset_ = a_.offset();
}
asmjit::Operand UnitEmitter::spilled_source(unsigned guest, u32 size) const {
    if (pinned(guest)) return sized(host_gpq(guest), size);
    if (in_t0(guest)) return sized(t0, size);
    return spilled_slot(guest, size);
}

// Registers of which one is spilled, or both.
void UnitEmitter::move_spilled(unsigned to, unsigned from, u32 size) {
    const asmjit::Operand source = spilled_source(from, size);
    if (pinned(to)) {
        const bool kept = in_t0(from);
        a_.emit(x86::Inst::kIdMov, sized(host_gpq(to), size), source);
        if (kept) t0_offset_ = a_.offset();
    } else if (pinned(from) && size == 8) {
        a_.mov(spilled_slot(to), host_gpq(from));
    } else {
        if (!in_t0(from) || size != 8) a_.emit(x86::Inst::kIdMov, sized(t0, size), source);
        store_spilled(to);
    }
}

void UnitEmitter::combine_spilled(unsigned number, unsigned to, unsigned from, u32 size) {
    const x86::Gp temporary = sized(t0, size);
    const x86::Inst::Id id = arithmetic[number];
    if (to == from && same_is_zero(number)) {
        a_.emit(id, t0d, t0d);
        store_spilled(to);
    } else if (pinned(to)) {
        const bool kept = in_t0(from);
        a_.emit(id, sized(host_gpq(to), size), spilled_source(from, size));
        if (kept) t0_offset_ = a_.offset();
    } else if (in_t0(to) && to != from) {
        a_.emit(id, temporary, spilled_source(from, size));
        if (number != compare) store_spilled(to);
    } else if (number == compare || size == 8) {
        if (!pinned(from)) load_spilled(from, size);
        a_.emit(id, spilled_slot(to, size), pinned(from) ? sized(host_gpq(from), size) : temporary);
    } else {
        // The source, if it is in T0, is in its slot as well.
        const asmjit::Operand source =
            pinned(from) ? asmjit::Operand(sized(host_gpq(from), size)) : asmjit::Operand(spilled_slot(from, size));
        load_spilled(to, size);
        a_.emit(id, temporary, source);
        store_spilled(to);
    }
}

// ModRM's reg is spilled, rm is memory that is read.
bool UnitEmitter::spilled_with_memory(const ir::Op& op) {
    const ParsedInstruction& p = op.parsed;
    const u32 size = op.guest.operand_size;
    const unsigned number = p.opcode >> 3;
    const bool combines = is_arithmetic(p), test = p.map == 0 && p.opcode == 0x85;
    if (combines && number != compare && size == 4 && !commutes(number)) return false;
    if (!combines && !test && !sets_reg(p)) return false;
    if (needs_host_flags(op)) {
        free_t0();
        flags_to_host();
    }
    const x86::Mem slot = spilled_slot(p.modrm_reg, size);
    const x86::Gp value = sized(t0, size);
    if (sets_reg(p)) {
        HostOperands operands;
        operands.reg = static_cast<u8>(t0.id());
        operands.memory = encoded_operand();
        operand_prefixes();
        emit_encoded(p, operands);
        store_spilled(p.modrm_reg);
        return true;
    }
    a_.mov(value, operand(size));
    if (test) {
        a_.test(slot, value);
    } else if (number == compare && (p.opcode & 7) == 1) {
        a_.cmp(value, slot);
    } else if (number == compare || size == 8) {
        a_.emit(arithmetic[number], slot, value);
    } else {
        a_.emit(arithmetic[number], value, slot);
        store_spilled(p.modrm_reg);
    }
    return true;
}

} // namespace calque::jit
