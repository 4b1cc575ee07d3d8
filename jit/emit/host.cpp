// Operations that are the guest's own instructions on the host.
#include "cpu/table.h"
#include "jit/emit/unit_emitter.h"

namespace calque::jit {

namespace {

bool is_gpr(FieldClass field) { return field == FieldClass::gpr || field == FieldClass::gpr8; }

// One register operand that needs a temporary: it has no host register, or it is AH, CH, DH or BH.
struct Temporary {
    unsigned guest;
    bool high;
    x86::Gpq host;
    unsigned fields = 1; // That name it.
};

// Has no more than 15 bytes with them.
bool takes_two_prefixes(const ParsedInstruction& p) { return p.vex || p.legacy_count < 2; }

} // namespace

void UnitEmitter::read_guest(const x86::Gpq& to, unsigned guest) {
    if (pinned(guest))
        a_.mov(to, host_gpq(guest));
    else
        a_.mov(to, spilled_slot(guest));
}
void UnitEmitter::write_guest(unsigned guest, const x86::Gpq& from) {
    if (pinned(guest))
        a_.mov(host_gpq(guest), from);
    else
        a_.mov(spilled_slot(guest), from);
}

void UnitEmitter::emit_encoded(const ParsedInstruction& parsed, const HostOperands& operands) {
    const unsigned length = encode_instruction(parsed, operands, a_.place_for_one());
    if (length == 0) {
        a_.ud2(); // The translator takes only what can be encoded; tests/jit tries all forms.
        return;
    }
    a_.embedded(length);
    for (const u8 number : {operands.reg, operands.rm, operands.vvvv, operands.opcode_register})
        if (number == t1.id()) a_.touched();
}

// The memory operand is checked: [T1 + T0]. Registers without a host register go through temporaries.
void UnitEmitter::host_instruction(const ir::Op& op) {
    if (spilled_instruction(op)) return;
    const bool t0_kept = op.kind == Kind::host && op.access == ir::MemoryAccess::none && in_t0(t0_guest_);
    ParsedInstruction p = op.parsed;
    HostOperands operands;
    const bool access = op.access != ir::MemoryAccess::none;
    std::array<Temporary, 2> temporaries;
    unsigned count = 0;
    const auto place = [&](FieldClass field, unsigned number, bool& high) -> u8 {
        if (!is_gpr(field)) return static_cast<u8>(number);
        if (!high && pinned(number)) return host_of_guest[number];
        const bool wanted_high = high;
        high = false;
        for (unsigned n = 0; n < count; ++n)
            if (temporaries[n].guest == number && temporaries[n].high == wanted_high) {
                ++temporaries[n].fields;
                return static_cast<u8>(temporaries[n].host.id());
            }
        const x86::Gpq host = count == 0 ? t0 : t1;
        temporaries[count++] = {number, wanted_high, host};
        return static_cast<u8>(host.id());
    };
    operands.reg = place(p.reg_class, p.modrm_reg, p.reg_high);
    bool never = false;
    operands.vvvv = place(p.vvvv_class, p.vvvv, never);
    operands.is4 = p.is4;
    if (p.register_in_opcode)
        operands.opcode_register = place(p.rm_class, p.opcode_register, p.rm_high);
    else if (!p.memory)
        operands.rm = place(p.rm_class, p.modrm_rm, p.rm_high);
    const bool flags = needs_host_flags(op);
    const bool both = op.written_gprs == 3;
    const auto written = [&](const Temporary& t) {
        const u8 record = static_cast<u8>(t.guest | (t.high ? cpu::high_byte : 0));
        return op.written_gprs != 0 && (both || record == op.guest.dest);
    };
    if (access && split_ && (count > 0 || flags)) join_address();
    operands.memory = encoded_operand();
    if (flags) flags_to_host();
    for (unsigned n = 0; n < count; ++n) {
        const Temporary& t = temporaries[n];
        if (!both && !t.high && t.fields == 1 && written(t) && overwrites(op)) continue;
        read_guest(t.host, t.guest);
        if (t.high) a_.rorx(t.host, t.host, 8);
    }
    if (access) operand_prefixes();
    emit_encoded(p, operands);
    if (t0_kept && count == 0 && !flags) t0_offset_ = a_.offset();
    for (unsigned n = 0; n < count; ++n) {
        if (!written(temporaries[n])) continue;
        if (temporaries[n].high) a_.rorx(temporaries[n].host, temporaries[n].host, 56);
        write_guest(temporaries[n].guest, temporaries[n].host);
    }
}

void UnitEmitter::emit_host(const ir::Op& op) {
    if (op.access != ir::MemoryAccess::none) before_access(op);
    if (op.vectors) need_vectors();
    if (op.x87 != ir::X87Use::none) need_x87();
    const bool access = op.access != ir::MemoryAccess::none;
    const bool repeatable = op.x87 == ir::X87Use::none && takes_two_prefixes(op.parsed);
    if (access) check_operand(op, repeatable ? &UnitEmitter::host_instruction : nullptr);
    if (!access || !repeatable) host_instruction(op);
    after_execution(op);
}

// MUL, IMUL, DIV, IDIV of one operand: the guest's RAX is moved where the host wants it.
void UnitEmitter::emit_multiply_divide(const ir::Op& op) {
    before_clobber(op);
    const ParsedInstruction& p = op.parsed;
    HostOperands operands;
    operands.memory.base = t1.id() & 0xF;
    if (op.access != ir::MemoryAccess::none) {
        check_operand(op);
        join_address();
    } else if (pinned(p.modrm_rm)) {
        operands.rm = host_of_guest[p.modrm_rm];
    } else {
        a_.mov(t1, spilled_slot(p.modrm_rm));
        operands.rm = t1.id() & 0xF;
    }
    const FlagsIn flags = flags_; // For the handler: EFLAGS do not outlive the trap.
    if (needs_host_flags(op)) flags_to_host();
    a_.mov(x86::rax, host_gpq(cpu::rax));
    const u32 at = here();
    emit_encoded(p, operands);
    if (op.may_trap) {
        Site& site = new_site(op);
        site.flags = flags;
        site.trap = at;
        const u32 number = site_number(site);
        later([this, number] {
            out_.sites[number - request_.first_site].trap_stub = here();
            set_site(number);
            a_.jmp(thunk(request_.thunks.interpret));
        });
    }
    a_.mov(host_gpq(cpu::rax), x86::rax);
    after_execution(op);
}

void UnitEmitter::emit_compare_exchange(const ir::Op& op) {
    before_clobber(op);
    ParsedInstruction p = op.parsed;
    HostOperands operands;
    operands.memory.base = t1.id() & 0xF;
    const bool access = op.access != ir::MemoryAccess::none;
    if (access) {
        check_operand(op);
        join_address();
    }
    if (needs_host_flags(op)) flags_to_host(); // CMPXCHG8B keeps all but ZF.
    // With a memory operand only T0 is free, which is the accumulator: a register without a host register then has
    // none. The translator leaves those to the handler, but for one source, which is read from its slot into R... see
    // below.
    const auto reg_of = [&](unsigned guest) -> u8 {
        if (pinned(guest)) return host_of_guest[guest];
        a_.mov(t1, spilled_slot(guest));
        return t1.id() & 0xF;
    };
    if (is_gpr(p.reg_class)) operands.reg = reg_of(p.modrm_reg);
    if (!p.memory) operands.rm = reg_of(p.modrm_rm);
    a_.mov(x86::rax, host_gpq(cpu::rax));
    emit_encoded(p, operands);
    a_.mov(host_gpq(cpu::rax), x86::rax);
    if (!p.memory && !pinned(p.modrm_rm)) a_.mov(spilled_slot(p.modrm_rm), t1);
    after_execution(op);
}

void UnitEmitter::emit_widen(const ir::Op& op) {
    const x86::Gpq a = host_gpq(cpu::rax);
    const std::string_view name = cpu::instruction_table()[op.guest.row].name;
    if (needs_host_flags(op)) flags_to_host();
    if (name == "CBW") {
        a_.movsx(t0d, a.r8());
        a_.mov(a.r16(), t0.r16());
    } else if (name == "CWDE") {
        a_.movsx(a.r32(), a.r16());
    } else if (name == "CDQE") {
        a_.movsxd(a, a.r32());
    } else if (name == "CWD") {
        a_.movsx(t0d, a.r16());
        a_.mov(t1d, 31);
        a_.sarx(t0d, t0d, t1d);
        a_.mov(x86::dx, x86::ax);
    } else if (name == "CDQ") {
        a_.mov(t0d, 31);
        a_.sarx(x86::edx, a.r32(), t0d);
    } else {
        a_.mov(t0d, 63);
        a_.sarx(x86::rdx, a, t0);
    }
    after_execution(op);
}

void UnitEmitter::emit_load_address(const ir::Op& op) {
    const cpu::Instruction& i = op.guest;
    if (needs_host_flags(op)) flags_to_host();
    const unsigned dest = i.dest;
    const bool wide = i.operand_size == 8 && i.address_bytes() == 8;
    const bool direct = i.operand_size >= 4 && i.address_bytes() >= 4 && pinned(dest) && i.base < 16 && pinned(i.base)
                        && (i.index >= 16 || pinned(i.index));
    if (direct) {
        const x86::Mem m = i.index < 16 ? x86::ptr(host_gpq(i.base), host_gpq(i.index), i.scale(), i.displacement)
                                        : x86::ptr(host_gpq(i.base), i.displacement);
        if (wide)
            a_.lea(host_gpq(dest), m);
        else
            a_.lea(host_gpq(dest).r32(), m);
    } else {
        offset_to_t0(op);
        if (i.operand_size == 4) a_.mov(t0d, t0d);
        if (i.operand_size != 2)
            write_guest(dest, t0);
        else if (pinned(dest))
            a_.mov(host_gpq(dest).r16(), t0.r16());
        else
            a_.mov(spilled_slot(dest, 2), t0.r16());
    }
    after_execution(op);
}

void UnitEmitter::emit_nothing(const ir::Op&) {}

} // namespace calque::jit
