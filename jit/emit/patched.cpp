// Instructions whose immediate is patched: it is read from guest memory each time (mmu/patch_fields.h). Where it lies
// is fixed: a unit goes when its code's page is no longer where it was.
#include "jit/emit/unit_emitter.h"

namespace calque::jit {

// Sign-extended to 64 bits. EFLAGS are kept.
void UnitEmitter::load_literal(const x86::Gpq& to, const ir::Op& op) {
    a_.mov(to, asmjit::Imm(reinterpret_cast<std::uintptr_t>(op.literal.host)));
    switch (op.literal.size) {
    case 1: a_.movsx(to, x86::byte_ptr(to)); break;
    case 2: a_.movsx(to, x86::word_ptr(to)); break;
    case 4: a_.movsxd(to, x86::dword_ptr(to)); break;
    default: a_.mov(to, x86::qword_ptr(to)); break;
    }
}

// The address that a jump or a call goes to, in T0.
void UnitEmitter::load_literal_target(const ir::Op& op) {
    load_literal(t0, op);
    address_of_code(t1, op.next_rip());
    a_.lea(t0, x86::ptr(t0, t1));
}

namespace {

// The same with the immediate in a register: `reg` of ModRM is then its place.
void take_register_form(ParsedInstruction& p) {
    const bool byte = p.rm_class == FieldClass::gpr8;
    if (p.register_in_opcode) { // MOV.
        p.register_in_opcode = false;
        p.has_modrm = true;
        p.modrm_rm = p.opcode_register;
        p.opcode = 0x89;
    } else if (p.opcode == 0xC6 || p.opcode == 0xC7) {
        p.opcode = 0x89;
    } else if (p.opcode == 0xF6 || p.opcode == 0xF7) { // TEST.
        p.opcode = 0x85;
    } else { // 80, 81, 83: the operation is in ModRM.reg.
        p.opcode = static_cast<u8>((p.modrm_reg & 7) << 3 | 1);
    }
    if (byte) --p.opcode;
    p.reg_class = p.rm_class;
    p.reg_high = false;
    p.immediate_bytes = 0;
}

} // namespace

// IMUL of three operands: the immediate times the other source, and from T0 to where it belongs.
void UnitEmitter::multiply_literal(const ir::Op& op, HostOperands operands) {
    ParsedInstruction p = op.parsed;
    const unsigned dest = p.modrm_reg;
    p.map = 1;
    p.opcode = 0xAF;
    p.immediate_bytes = 0;
    operands.reg = t0.id() & 0xF;
    emit_encoded(p, operands);
    if (op.guest.operand_size != 2) return write_guest(dest, t0); // Of 32 bits: the rest of T0 is zero.
    if (pinned(dest))
        a_.mov(host_gpq(dest).r16(), x86::ax);
    else
        a_.mov(spilled_slot(dest, 2), x86::ax);
}

// T0 is the immediate; T1 the memory operand's address, or a register that has no host register or is a high byte.
void UnitEmitter::emit_patched(const ir::Op& op) {
    ParsedInstruction p = op.parsed;
    const bool multiply = p.opcode == 0x69 || p.opcode == 0x6B;
    HostOperands operands;
    operands.memory.base = t1.id() & 0xF;
    if (op.access != ir::MemoryAccess::none) {
        before_access(op);
        check_operand(op);
        join_address();
    }
    if (needs_host_flags(op)) flags_to_host();
    if (!multiply) take_register_form(p);
    const unsigned rm = p.modrm_rm;
    const bool high = p.rm_high, moved = !p.memory && (high || !pinned(rm));
    if (moved) {
        read_guest(t1, rm);
        if (high) a_.rorx(t1, t1, 8);
        p.rm_high = false;
        operands.rm = t1.id() & 0xF;
    } else if (!p.memory) {
        operands.rm = host_of_guest[rm];
    }
    load_literal(t0, op);
    if (multiply) {
        multiply_literal(op, operands);
    } else {
        operands.reg = t0.id() & 0xF;
        emit_encoded(p, operands);
        if (moved && op.written_gprs != 0) {
            if (high) a_.rorx(t1, t1, 56);
            write_guest(rm, t1);
        }
    }
    after_execution(op);
}

} // namespace calque::jit
