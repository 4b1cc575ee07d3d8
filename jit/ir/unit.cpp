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
    case OpKind::host:
    case OpKind::x87_status:
    case OpKind::x87_load_control:
    case OpKind::multiply_divide:
    case OpKind::compare_exchange: return access != MemoryAccess::none || may_trap;
    case OpKind::widen:
    case OpKind::load_address:
    case OpKind::nothing: return false;
    default: return true;
    }
}

void interpret_instead(Op& op) {
    Op interpreted;
    interpreted.kind = OpKind::interpret;
    interpreted.rip = op.rip;
    interpreted.guest = op.guest;
    interpreted.x87_state = op.x87_state;
    interpreted.reads = interpreted.writes = all_flags;
    op = interpreted;
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
        if (op.target) text += fmt::format(" -> {:x}", op.target);
        if (op.flags_needed) text += " [flags]";
        text += '\n';
    }
    return text;
}

namespace {
bool ends_unit(OpKind kind) {
    switch (kind) {
    case OpKind::interpret_and_leave:
    case OpKind::jump:
    case OpKind::call:
    case OpKind::call_indirect:
    case OpKind::jump_indirect:
    case OpKind::return_near:
    case OpKind::fall_through: return true;
    default: return false;
    }
}
} // namespace

std::string verify(const Unit& unit) {
    if (unit.ops.empty()) return "no operations";
    u64 at = unit.linear;
    for (std::size_t n = 0; n < unit.ops.size(); ++n) {
        const Op& op = unit.ops[n];
        if (op.rip != at) return fmt::format("operation {} is of {:x}, {:x} was due", n, op.rip, at);
        if (ends_unit(op.kind) != (n + 1 == unit.ops.size()))
            return fmt::format("operation {} ends or does not end", n);
        if ((op.access == MemoryAccess::none) != (op.access_bytes == 0))
            return fmt::format("operation {} has an access without size", n);
        if (n + 1 < unit.ops.size() && op.flags_needed_after != unit.ops[n + 1].flags_needed)
            return fmt::format("operations {} and {} differ about flags", n, n + 1);
        if (op.kind != OpKind::fall_through) at = op.next_rip();
    }
    return {};
}

} // namespace calque::jit::ir
