#include "jit/ir/unit.h"

#include "cpu/table.h"

#include <fmt/format.h>

namespace calque::jit::ir {

std::string_view name_of(OpKind kind) {
    switch (kind) {
#define OP(name, meaning)                                                                                              \
    case OpKind::name:                                                                                                 \
        return #name;
#include "jit/ir/ops.inc"
#undef OP
    }
    return "?";
}

bool Op::observes_flags() const {
    switch (kind) {
    case OpKind::push_register:
    case OpKind::push_immediate:
    case OpKind::pop_register:
    case OpKind::leave_frame: return !checked();
    case OpKind::host:
    case OpKind::patched: return (access != MemoryAccess::none && !checked()) || may_trap;
    case OpKind::x87_status:
    case OpKind::x87_load_control:
    case OpKind::multiply_divide:
    case OpKind::compare_exchange: return access != MemoryAccess::none || may_trap;
    case OpKind::load_segment: return true; // The handler may do it.
    case OpKind::widen:
    case OpKind::load_address:
    case OpKind::read_segment:
    case OpKind::set_direction:
    case OpKind::flags_to_ah:
    case OpKind::flags_from_ah:
    case OpKind::nothing: return false;
    case OpKind::call: return !comes_back || !checked();
    default: return true;
    }
}

void interpret_instead(Op& op) {
    Op interpreted;
    interpreted.kind = OpKind::interpret;
    interpreted.rip = op.rip;
    interpreted.guest = op.guest;
    interpreted.literal = op.literal;
    interpreted.x87_state = op.x87_state;
    interpreted.reads = interpreted.writes = all_flags;
    op = interpreted;
}

bool leads_back(const Op& op, const Unit& unit) {
    return (op.kind == OpKind::branch || op.kind == OpKind::jump) && op.target == unit.linear && !op.literal.host
           && !op.follows;
}

u32 written_registers(const Op& op) {
    using Kind = OpKind;
    constexpr u32 a = 1u << cpu::rax, c = 1u << cpu::rcx, d = 1u << cpu::rdx, b = 1u << cpu::rbx, sp = 1u << cpu::rsp,
                  bp = 1u << cpu::rbp, si = 1u << cpu::rsi, di = 1u << cpu::rdi;
    switch (op.kind) {
    case Kind::host:
    case Kind::patched: {
        const ParsedInstruction& p = op.parsed;
        u32 written = 0;
        const auto add = [&](FieldClass field, unsigned number) {
            if (field == FieldClass::gpr || field == FieldClass::gpr8) written |= 1u << number;
        };
        if (op.written_gprs == 0) return op.vectors ? c : 0; // PCMPISTRI's index.
        add(p.reg_class, p.modrm_reg);
        if (!p.memory) add(p.rm_class, p.register_in_opcode ? p.opcode_register : p.modrm_rm);
        add(p.vvvv_class, p.vvvv);
        if (op.written_gprs == 1) written &= 1u << (op.guest.dest & 15); // Operand 0.
        return written;
    }
    case Kind::multiply_divide: return a | d;
    case Kind::compare_exchange: {
        const ParsedInstruction& p = op.parsed;
        u32 written = a | d | b;
        if (!p.memory && (p.rm_class == FieldClass::gpr || p.rm_class == FieldClass::gpr8)) written |= 1u << p.modrm_rm;
        return written;
    }
    case Kind::widen: return a | d;
    case Kind::x87_status: return a;
    case Kind::load_address: return 1u << (op.guest.dest & 15);
    case Kind::pop_register: return sp | 1u << (op.guest.dest & 15);
    case Kind::push_register:
    case Kind::push_immediate:
    case Kind::push_memory: return sp;
    case Kind::leave_frame: return sp | bp;
    case Kind::push_all:
    case Kind::push_segment:
    case Kind::pop_segment: return sp;
    case Kind::pop_all: return 0xFF;
    case Kind::read_segment:
    case Kind::load_far_pointer: return 1u << (op.guest.dest & 15);
    case Kind::string_load: return a | si;
    case Kind::string_store: return di;
    case Kind::string_move: return si | di;
    case Kind::flags_to_ah: return a;
    case Kind::interpret:
    case Kind::interpret_and_leave: return 0xFFFF;
    case Kind::push_flags:
    case Kind::pop_flags:
    case Kind::call:
    case Kind::call_indirect:
    case Kind::return_near: return sp;
    case Kind::loop: return c;
    case Kind::read_timestamp: return a | c | d;
    case Kind::system_call: return c | 1u << 11;
    case Kind::copy:
    case Kind::fill:
    case Kind::scan:
    case Kind::compare_strings: return c | 1u << cpu::rsi | 1u << cpu::rdi;
    case Kind::read_state: return 1u << (op.guest.dest & 15);
    case Kind::read_keys: return a | d;
    default: return 0;
    }
}

std::string print(const Unit& unit) {
    std::string text =
        fmt::format("unit {:x} (physical {:x}, {} bytes)\n", unit.linear, unit.physical.value, unit.bytes);
    constexpr std::string_view accesses[] = {"", "read", "write", "modify"};
    for (const Op& op : unit.ops) {
        text +=
            fmt::format("  {:x} {:<20} {:<12}", op.rip, name_of(op.kind), cpu::instruction_table()[op.guest.row].name);
        if (op.access != MemoryAccess::none)
            text += fmt::format(" {} {}", accesses[static_cast<unsigned>(op.access)], op.access_bytes);
        if (op.window.used())
            text += fmt::format(" {}window {}{} {:+}", op.window.moving ? "moving " : "", op.window.slot,
                                op.window.first ? fmt::format(" of {}", op.window.span) : "", op.window.distance);
        if (op.target) text += fmt::format(" -> {:x}", op.target);
        if (op.flags_needed) text += " [flags]";
        if (op.follows) text += " followed";
        if (op.loops_back) text += fmt::format(" round {:x}", unit.ops[unit.loop_head].rip);
        text += '\n';
    }
    return text;
}

namespace {
bool ends_unit(const Op& op) {
    if (op.follows) return false;
    switch (op.kind) {
    case OpKind::interpret_and_leave:
    case OpKind::jump:
    case OpKind::call:
    case OpKind::call_indirect:
    case OpKind::jump_indirect:
    case OpKind::return_near:
    case OpKind::system_call:
    case OpKind::system_return:
    case OpKind::change_access:
    case OpKind::fall_through: return true;
    default: return false;
    }
}
} // namespace

std::string verify(const Unit& unit) {
    if (unit.ops.empty()) return "no operations";
    u64 at = unit.linear;
    std::size_t ways_back = 0;
    for (std::size_t n = 0; n < unit.ops.size(); ++n) {
        const Op& op = unit.ops[n];
        if (op.rip != at) return fmt::format("operation {} is of {:x}, {:x} was due", n, op.rip, at);
        if (ends_unit(op) != (n + 1 == unit.ops.size())) return fmt::format("operation {} ends or does not end", n);
        if ((op.access == MemoryAccess::none) != (op.access_bytes == 0))
            return fmt::format("operation {} has an access without size", n);
        if (n + 1 < unit.ops.size() && op.flags_needed_after != unit.ops[n + 1].flags_needed)
            return fmt::format("operations {} and {} differ about flags", n, n + 1);
        if (op.loops_back) {
            ++ways_back;
            if (unit.loop_head > n || unit.ops[unit.loop_head].rip != op.target)
                return fmt::format("operation {} leads back to elsewhere", n);
        }
        if (n + 1 == unit.ops.size()) break;
        at = op.loops_on ? unit.linear : op.follows ? unit.ops[n + 1].rip : op.next_rip();
    }
    if (ways_back != (unit.loop_head == Unit::no_loop ? 0 : 1)) return fmt::format("{} ways back", ways_back);
    return {};
}

} // namespace calque::jit::ir
