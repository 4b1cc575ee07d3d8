#include "jit/translate/translate.h"

#include "jit/translate/gather.h"
#include "jit/translate/row_class.h"
#include "jit/translate/segments.h"
#include "jit/translate/system_ops.h"
#include "jit/translate/x87.h"

#include <algorithm>
#include <array>

namespace calque::jit {

namespace {

using cpu::Form;
using cpu::OperandKind;
using ir::MemoryAccess;
using ir::Op;
using ir::OpKind;

struct Source {
    const Form& form;
    const RowClass& row;
    const UnitMode& mode;
    std::span<const u8> bytes;

    int memory_operand() const {
        for (unsigned n = 0; n < form.count; ++n)
            if (form.memory(n)) return static_cast<int>(n);
        return -1;
    }
    bool has(OperandKind kind) const {
        return std::find(form.kind.begin(), form.kind.begin() + form.count, kind) != form.kind.begin() + form.count;
    }
    bool wide(unsigned n) const { return form.count > n && form.size[n] == 8; }
    // Of the default size of stack operands and near branches, or of the other that they may have outside 64-bit mode.
    bool stack_sized(unsigned bytes) const {
        return mode.code64() ? bytes == 8 : (bytes == 2 || bytes == 4) && form.operand_size == bytes;
    }
};

// The memory operand can be addressed by the inlined check. Sets its segment.
bool addressable(Op& op, const Source& source) {
    if (source.mode.decode.careful) return false;
    op.segment = segment_in(source.mode, op.guest.segment());
    return true;
}

// Sets access, access_bytes and aligned. False when the handler has to do it.
bool describe_access(Op& op, const Source& source) {
    const int n = source.memory_operand();
    if (n < 0) return true;
    if (!addressable(op, source)) return false;
    const Form& form = source.form;
    op.access_bytes = form.size[static_cast<unsigned>(n)];
    if (op.access_bytes == 0 || op.access_bytes > 32) return false;
    if (n != 0) {
        op.access = source.row.writes == Writes::both && n == 1 && source.row.reads_first ? MemoryAccess::modify
                                                                                          : MemoryAccess::read;
    } else if (source.row.writes == Writes::none) {
        op.access = MemoryAccess::read;
    } else {
        op.access = source.row.reads_first ? MemoryAccess::modify : MemoryAccess::write;
    }
    const bool vex = form.flags & cpu::insn_vex;
    op.aligned = source.row.aligned || (!vex && op.vectors && op.access_bytes == 16 && !source.row.unaligned);
    return true;
}

bool shift_by_constant(const Source& source, std::string_view name) {
    const u8 opcode = source.form.opcode;
    return (opcode == 0xC0 || opcode == 0xC1 || opcode == 0xD0 || opcode == 0xD1 || opcode == 0xA4 || opcode == 0xAC)
           && (name == "SHL" || name == "SHR" || name == "SAR" || name == "ROL" || name == "ROR" || name == "SHLD"
               || name == "SHRD");
}

// The flags that the instruction really reads: a shift by a constant that is not zero keeps none that it writes.
void refine_flags(Op& op, const Source& source) {
    const std::string_view name = cpu::instruction_table()[op.guest.row].name;
    if (name == "INC" || name == "DEC") op.reads = 0; // CF is kept, not read.
    if (!shift_by_constant(source, name)) return;
    const u64 count = source.form.opcode == 0xD0 || source.form.opcode == 0xD1 ? 1 : op.parsed.immediate & 0x3F;
    const u64 mask = source.wide(0) ? 63 : 31; // Not REX.W: byte operands stay bytes.
    if ((count & mask) != 0)
        op.reads = 0;
    else
        op.writes = 0;
}

bool parse(Op& op, const Source& source) {
    const auto code = source.mode.decode.code_size;
    const auto parsed = parse_instruction(source.bytes, code == cpu::CodeSize::bits64   ? CodeBits::bits64
                                                        : code == cpu::CodeSize::bits32 ? CodeBits::bits32
                                                                                        : CodeBits::bits16);
    if (!parsed || parsed->length != op.guest.length || parsed->vsib) return false;
    op.parsed = *parsed;
    return true;
}

// `host` with everything that it needs known, or not possible.
bool as_host(Op& op, const Source& source) {
    if (source.has(OperandKind::x87) || source.has(OperandKind::segment) || source.has(OperandKind::control)
        || source.has(OperandKind::debug))
        return false;
    const bool vex = source.form.flags & cpu::insn_vex;
    if (!parse(op, source)) return false;
    const ParsedInstruction& p = op.parsed;
    const auto vector_field = [&](FieldClass field) { return field == FieldClass::vector; };
    op.vectors = vector_field(p.reg_class) || vector_field(p.rm_class) || vector_field(p.vvvv_class)
                 || source.row.kind == RowKind::host_float || source.has(OperandKind::xmm)
                 || source.has(OperandKind::ymm);
    if (vex && p.map == 1 && p.opcode == 0x77) { // VZEROUPPER, VZEROALL: outside 64-bit mode of eight registers.
        if (!source.mode.code64()) return false;
        op.vectors = true;
    }
    if (op.vectors && (vex ? source.mode.is.avx_off : source.mode.is.sse_off)) return false;
    if (p.reg_class == FieldClass::other || (!p.memory && p.rm_class == FieldClass::other)) return false;
    // BT and its kin with a register count address memory beyond their operand.
    const u8 opcode = source.form.opcode;
    const std::string_view name = cpu::instruction_table()[op.guest.row].name;
    if (source.has(OperandKind::mmx) || name == "EMMS") {
        if (source.mode.is.mmx_off || source.mode.is.x87_traps) return false;
        op.x87 = ir::X87Use::mmx;
    }
    if (p.memory && (name == "BT" || name == "BTS" || name == "BTR" || name == "BTC") && opcode != 0xBA) return false;
    // With F3 these are other instructions on a host that has them (LZCNT, TZCNT).
    if ((name == "BSF" || name == "BSR") && p.pp == 2) return false;
    if (!describe_access(op, source)) return false;
    if ((p.reg_high || p.rm_high) && source.row.writes == Writes::both) return false;
    op.written_gprs = source.row.writes == Writes::none ? 0 : source.row.writes == Writes::both ? 3 : 1;
    op.kind = OpKind::host;
    refine_flags(op, source);
    return true;
}

bool as_x87(Op& op, const Source& source) {
    if (source.row.kind != RowKind::x87_wait && (!parse(op, source) || !describe_access(op, source))) return false;
    return as_x87(op, source.form, source.row.kind, source.mode);
}

bool as_accumulator(Op& op, const Source& source) {
    if (!parse(op, source) || op.parsed.rm_high || !describe_access(op, source)) return false;
    if (op.access != MemoryAccess::none && source.row.kind != RowKind::compare_exchange) op.access = MemoryAccess::read;
    op.may_trap = source.row.kind == RowKind::divide;
    op.kind = source.row.kind == RowKind::compare_exchange ? OpKind::compare_exchange : OpKind::multiply_divide;
    if (source.row.kind == RowKind::divide) op.reads = 0;
    if (op.kind != OpKind::compare_exchange) return true;
    return !op.parsed.reg_high;
}

bool as_load_address(Op& op, const Source& source) {
    if (!source.form.is(0, OperandKind::gpr)) return false;
    op.access = MemoryAccess::none;
    op.kind = OpKind::load_address;
    return true;
}

// MOV between the accumulator and an address in the instruction (A0 to A3): as the form with ModRM.
bool as_offset_move(Op& op, const Source& source) {
    const i32 offset = static_cast<i32>(op.guest.immediate);
    if (op.guest.address_bytes() == 8 && op.guest.immediate != static_cast<u64>(i64{offset})) return false;
    if (!describe_access(op, source)) return false;
    op.guest.displacement = offset; // The handler takes the immediate.
    ParsedInstruction& p = op.parsed;
    if (op.guest.operand_size == 2) p.legacy[p.legacy_count++] = 0x66;
    p.w = op.guest.operand_size == 8;
    p.opcode = static_cast<u8>((source.form.opcode & 1) | (source.form.opcode & 2 ? 0x88 : 0x8A));
    p.has_modrm = p.memory = p.same_forms = true;
    p.reg_class = p.rm_class = source.form.opcode & 1 ? FieldClass::gpr : FieldClass::gpr8;
    op.written_gprs = source.form.opcode & 2 ? 0 : 1;
    op.kind = OpKind::host;
    return true;
}

bool as_push(Op& op, const Source& source) {
    if (!source.stack_sized(op.guest.operand_size)) return false;
    if (source.form.is(0, OperandKind::gpr)) {
        op.kind = OpKind::push_register;
    } else if (source.form.is(0, OperandKind::immediate)) {
        op.kind = OpKind::push_immediate;
    } else if (source.form.memory(0) && source.stack_sized(source.form.size[0]) && addressable(op, source)) {
        op.kind = OpKind::push_memory;
    } else {
        return false;
    }
    op.access = MemoryAccess::write;
    op.access_bytes = op.guest.operand_size;
    return true;
}

bool as_pop(Op& op, const Source& source) {
    if (!source.form.is(0, OperandKind::gpr) || !source.stack_sized(op.guest.operand_size)) return false;
    op.kind = OpKind::pop_register;
    op.access = MemoryAccess::read;
    op.access_bytes = op.guest.operand_size;
    return true;
}

bool as_leave_frame(Op& op, const Source& source) {
    if (!source.stack_sized(op.guest.operand_size)) return false;
    op.kind = OpKind::leave_frame;
    op.access = MemoryAccess::read;
    op.access_bytes = op.guest.operand_size;
    return true;
}

bool as_branch(Op& op, const Source& source, OpKind kind) {
    if (!source.form.is(0, OperandKind::relative)) return false;
    const UnitMode& mode = source.mode;
    op.target = op.next_rip() + op.guest.immediate;
    if (mode.code64()) {
        if (op.guest.operand_size != 8 || !aim(op)) return false;
    } else {
        const u64 rip = (op.target - mode.code_base) & (op.guest.operand_size == 2 ? 0xFFFF : 0xFFFFFFFF);
        if (rip > mode.code_limit) return false;
        op.target = mode.code_base + rip;
    }
    op.kind = kind;
    op.condition = source.form.opcode & 0xF;
    op.guest.displacement = 1; // The handler goes on with the record there.
    return true;
}

bool as_indirect(Op& op, const Source& source, OpKind kind) {
    if (source.form.count == 0 || !source.stack_sized(source.form.size[0])) return false; // Or far.
    if (source.form.memory(0)) {
        if (!addressable(op, source) || source.form.opcode != 0xFF) return false;
        op.access = MemoryAccess::read;
        op.access_bytes = source.form.size[0];
    } else if (!source.form.is(0, OperandKind::gpr)) {
        return false;
    }
    op.kind = kind;
    return true;
}

// By which flag, as in the opcode of a branch: 0 stands for none. AMD's processors let REPE and REPNE decide.
bool as_loop(Op& op, const Source& source, unsigned condition) {
    if (!as_branch(op, source, OpKind::loop)) return false;
    constexpr unsigned zero = 4, not_zero = 5;
    if (condition == zero && op.guest.repne()) condition = not_zero;
    if (condition == not_zero && op.guest.rep()) condition = zero;
    op.condition = static_cast<u8>(condition);
    return true;
}

bool as_call(Op& op, const Source& source) {
    if (!as_branch(op, source, OpKind::call)) return as_indirect(op, source, OpKind::call_indirect);
    op.access = MemoryAccess::write;
    op.access_bytes = op.guest.operand_size;
    return true;
}

bool as_return(Op& op, const Source& source) {
    if (source.form.opcode != 0xC3 && source.form.opcode != 0xC2) return false;
    if (!source.stack_sized(op.guest.operand_size)) return false;
    op.kind = OpKind::return_near;
    op.access = MemoryAccess::read;
    op.access_bytes = op.guest.operand_size;
    return true;
}

bool as_stacked_flags(Op& op, const Source& source, OpKind kind) {
    if (!source.stack_sized(op.guest.operand_size) || source.mode.vm86()) return false;
    op.kind = kind;
    op.access = kind == OpKind::push_flags ? MemoryAccess::write : MemoryAccess::read;
    op.access_bytes = op.guest.operand_size;
    return true;
}

bool as(Op& op, OpKind kind) {
    op.kind = kind;
    return true;
}

bool classify(Op& op, const Source& source) {
    switch (source.row.kind) {
    case RowKind::interpret: return false;
    case RowKind::host_float:
        if (source.mode.is.float_traps) return false;
        [[fallthrough]];
    case RowKind::host:
        return as_host(op, source) || as_bit_string(op, source.form, source.mode, addressable(op, source));
    case RowKind::move:
        if (source.has(OperandKind::segment))
            return as_segment_move(op, source.form, source.row.kind, source.mode)
                   || as_state_read(op, source.form, source.mode);
        if ((source.form.opcode & 0xFC) == 0xA0) return as_offset_move(op, source);
        return as_host(op, source) || as_state_read(op, source.form, source.mode);
    case RowKind::multiply: return source.form.count == 1 ? as_accumulator(op, source) : as_host(op, source);
    case RowKind::divide:
    case RowKind::compare_exchange: return as_accumulator(op, source);
    case RowKind::widen: return as(op, OpKind::widen);
    case RowKind::load_address: return as_load_address(op, source);
    case RowKind::push:
    case RowKind::pop:
        if (source.has(OperandKind::segment)) return as_segment_move(op, source.form, source.row.kind, source.mode);
        return source.row.kind == RowKind::push ? as_push(op, source) : as_pop(op, source);
    case RowKind::leave_frame: return as_leave_frame(op, source);
    case RowKind::nothing: return as(op, OpKind::nothing);
    case RowKind::swap_gs: return source.mode.is.ring0 && source.mode.code64() && as(op, OpKind::swap_gs);
    case RowKind::disable_interrupts: return source.mode.is.ring0 && as(op, OpKind::disable_interrupts);
    case RowKind::enable_interrupts: return source.mode.is.ring0 && as(op, OpKind::enable_interrupts);
    case RowKind::read_timestamp: return !source.mode.timestamp_off() && as(op, OpKind::read_timestamp);
    case RowKind::system_call: return source.mode.rights() == mmu::RightsMode::user && as(op, OpKind::system_call);
    case RowKind::system_return:
        return source.mode.code64() && source.mode.is.ring0 && source.mode.rights() == mmu::RightsMode::supervisor
               && op.guest.operand_size == 8 && as(op, OpKind::system_return);
    case RowKind::allow_access: return as_access(op, source.mode, mmu::RightsMode::supervisor_ac);
    case RowKind::forbid_access: return as_access(op, source.mode, mmu::RightsMode::supervisor);
    case RowKind::pause: return as(op, OpKind::pause);
    case RowKind::memory_fence: return as(op, OpKind::memory_fence);
    case RowKind::segment_base: return as_base(op, source.mode);
    case RowKind::read_keys: return source.mode.code64() && as(op, OpKind::read_keys);
    case RowKind::write_keys: return source.mode.code64() && as(op, OpKind::write_keys);
    case RowKind::push_flags: return as_stacked_flags(op, source, OpKind::push_flags);
    case RowKind::pop_flags: return as_stacked_flags(op, source, OpKind::pop_flags);
    case RowKind::branch: return as_branch(op, source, OpKind::branch);
    case RowKind::branch_if_count_zero: return as_branch(op, source, OpKind::branch_if_count_zero);
    case RowKind::loop: return as_loop(op, source, 0);
    case RowKind::loop_equal: return as_loop(op, source, 4);
    case RowKind::loop_not_equal: return as_loop(op, source, 5);
    case RowKind::far_pointer: return as_segment_move(op, source.form, source.row.kind, source.mode);
    case RowKind::push_all:
    case RowKind::pop_all: return as_all_registers(op, source.row.kind);
    case RowKind::string_load:
    case RowKind::string_store:
    case RowKind::string_move:
        return as_string(op, source.form, source.row.kind, source.mode)
               || as_repeated_string(op, source.form, source.row.kind, source.mode, addressable(op, source));
    case RowKind::string_scan:
    case RowKind::string_compare:
        return as_repeated_string(op, source.form, source.row.kind, source.mode, addressable(op, source));
    case RowKind::direction: op.condition = source.form.opcode & 1; return as(op, OpKind::set_direction);
    case RowKind::gather: return as_gather(op, source.mode, addressable(op, source));
    case RowKind::flags_to_ah: return as(op, OpKind::flags_to_ah);
    case RowKind::flags_from_ah: return as(op, OpKind::flags_from_ah);
    case RowKind::jump: return as_branch(op, source, OpKind::jump) || as_indirect(op, source, OpKind::jump_indirect);
    case RowKind::call: return as_call(op, source);
    case RowKind::return_near: return as_return(op, source);
    case RowKind::x87:
    case RowKind::x87_control:
    case RowKind::x87_transcendental:
    case RowKind::x87_wait: return as_x87(op, source);
    }
    return false;
}

bool ends(OpKind kind) {
    return kind == OpKind::interpret_and_leave || kind == OpKind::jump || kind == OpKind::call
           || kind == OpKind::call_indirect || kind == OpKind::jump_indirect || kind == OpKind::return_near
           || kind == OpKind::system_call || kind == OpKind::system_return || kind == OpKind::change_access;
}

void make_interpreted(Op& op, const Form& form) {
    ir::interpret_instead(op);
    const u16 properties = cpu::properties_of(op.guest);
    const bool relative = (properties & cpu::p_relative) && form.is(0, OperandKind::relative);
    if (relative) op.guest.displacement = 1; // The record that ends the block stands there.
    if (relative || (properties & cpu::p_ends_block)) op.kind = OpKind::interpret_and_leave;
}

// The instruction after STI runs before any interrupt; of a REP that is one iteration. Where that one leaves without a
// look at the events, the handler does the STI, and the engine what follows.
void settle_shadows(ir::Unit& unit) {
    for (std::size_t n = 0; n < unit.ops.size(); ++n) {
        if (unit.ops[n].kind != OpKind::enable_interrupts) continue;
        const bool last = n + 1 == unit.ops.size();
        const OpKind next = last ? OpKind::fall_through : unit.ops[n + 1].kind;
        if (next == OpKind::jump || next == OpKind::branch || next == OpKind::branch_if_count_zero
            || next == OpKind::loop || next == OpKind::call || next == OpKind::fall_through
            || next == OpKind::enable_interrupts || next == OpKind::change_access || next == OpKind::copy
            || next == OpKind::fill || next == OpKind::scan || next == OpKind::compare_strings
            || (next == OpKind::interpret && (unit.ops[n + 1].guest.rep() || unit.ops[n + 1].guest.repne())))
            ir::interpret_instead(unit.ops[n]);
    }
}

// The operation of op.guest.
void make(Op& op, const Source& source) {
    op.reads = source.row.reads;
    op.writes = source.row.written;
    op.x87_state = uses_x87_state(source.form, cpu::instruction_table()[op.guest.row].name);
    if (!classify(op, source)) make_interpreted(op, source.form);
}

// What take_tail() knows how to make again; of which there is much.
bool worth_remembering(const Op& op, const Source& source) {
    switch (source.row.kind) {
    case RowKind::host:
    case RowKind::host_float:
    case RowKind::move:
    case RowKind::multiply:
    case RowKind::divide:
    case RowKind::compare_exchange:
    case RowKind::widen:
    case RowKind::load_address:
    case RowKind::push:
    case RowKind::pop:
    case RowKind::leave_frame:
    case RowKind::nothing:
    case RowKind::branch:
    case RowKind::jump:
    case RowKind::call:
    case RowKind::return_near: break;
    default: return false;
    }
    switch (op.kind) {
    case OpKind::host:
        return !shift_by_constant(source, cpu::instruction_table()[op.guest.row].name)
               || (op.parsed.immediate & 31) != 0;
    case OpKind::branch:
    case OpKind::jump:
    case OpKind::call: return source.mode.code64(); // Elsewhere the code segment counts.
    case OpKind::multiply_divide:
    case OpKind::compare_exchange:
    case OpKind::widen:
    case OpKind::load_address:
    case OpKind::push_register:
    case OpKind::push_immediate:
    case OpKind::push_memory:
    case OpKind::pop_register:
    case OpKind::leave_frame:
    case OpKind::nothing:
    case OpKind::jump_indirect:
    case OpKind::call_indirect:
    case OpKind::return_near: return true;
    default: return false;
    }
}

const Op none; // To copy: to clear is slower.

// Of the mode, what shapes those.
u64 memory_key(UnitMode mode) {
    mode.is.ring0 = mode.is.alone = mode.is.tsd = mode.is.smap = 0;
    mode.is.rights = 0;
    return mode.key();
}

} // namespace

UnitMode system_mode(UnitMode mode) {
    mode.is.ring0 = true;
    mode.set_rights(mmu::RightsMode::supervisor);
    return mode;
}
UnitMode program_mode(UnitMode mode) {
    mode.is.ring0 = false;
    mode.set_rights(mmu::RightsMode::user);
    return mode;
}
UnitMode access_mode(UnitMode mode, bool allowed) {
    mode.set_rights(allowed ? mmu::RightsMode::supervisor_ac : mmu::RightsMode::supervisor);
    return mode;
}

ir::Unit translate(const cpu::Decoder& decoder, std::span<const u8> bytes, u64 linear, PhysicalAddress physical,
                   const UnitMode& mode, unsigned longest, const PatchedCode& patched, OpMemory* memory) {
    ir::Unit unit;
    constexpr unsigned ahead = 16;
    unsigned to_look = 0; // Operations until the next look ahead.
    if (memory) unit.ops = memory->take();
    const u64 key = memory_key(mode);
    unit.linear = linear;
    unit.physical = physical;
    unit.ops.reserve(24);
    if (!mode.code64()) {
        const u8 stack = segment_in(mode, cpu::Segment::ss);
        unit.around = {mode.code_segment, mode.code_base, mode.is.stack32 ? u8{4} : u8{2}, stack,
                       static_cast<u8>(mode.is.unlimited)};
    }
    while (unit.ops.size() < longest) {
        cpu::Instruction record;
        Form form;
        cpu::Recollection what;
        const auto rest = bytes.subspan(unit.bytes);
        const u64 address = physical.value + unit.bytes;
        if (memory && to_look-- == 0) {
            std::array<u32, ahead> slots;
            if (!decoder.knows_at(address, rest, mode.decode))
                memory->fetch(std::span(slots).first(decoder.look_ahead(rest, mode.decode, slots)));
            to_look = ahead - 1;
        }
        if (rest.empty()
            || decoder.decode_at(address, rest, mode.decode, record, &form, &what) != cpu::DecodeStatus::ok)
            break;
        const u64 rip = linear + unit.bytes;
        const ir::OpShape* const known = memory && !patched.memory ? memory->recall(what, key) : nullptr;
        Op& op = unit.ops.emplace_back(none);
        if (known) static_cast<ir::OpShape&>(op) = *known;
        if (!known || !take_tail(op, record, rip)) {
            op = none;
            op.guest = record;
            op.rip = rip;
            const Source source{form, class_of_row(record.row), mode, rest};
            make(op, source);
            if (memory && worth_remembering(op, source)) memory->remember(what, key, op);
            if (patched.memory && read_patched(op, form, patched, unit.bytes) == Patched::unknown) {
                unit.ops.pop_back();
                break;
            }
        }
        unit.bytes += record.length;
        if (ends(op.kind)) {
            settle_shadows(unit);
            return unit;
        }
    }
    if (unit.ops.empty()) return unit;
    Op end;
    end.kind = OpKind::fall_through;
    end.rip = end.target = linear + unit.bytes;
    unit.ops.push_back(end);
    settle_shadows(unit);
    return unit;
}

} // namespace calque::jit
