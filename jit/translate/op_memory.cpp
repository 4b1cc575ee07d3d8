#include "jit/translate/op_memory.h"

#include "cpu/system/canonical.h"

namespace calque::jit {

namespace {

// A shift or rotation by an immediate, which leaves the flags alone when that is 0.
bool shift_by_immediate(const ParsedInstruction& p) {
    if (p.vex || p.immediate_bytes == 0) return false;
    return p.map == 0 ? (p.opcode & 0xFE) == 0xC0 : p.map == 1 && (p.opcode == 0xA4 || p.opcode == 0xAC);
}

} // namespace

bool aim(ir::Op& op) {
    op.target = op.next_rip() + op.guest.immediate;
    op.guest.displacement = 1; // The handler goes on with the record there.
    return cpu::is_canonical(op.target);
}

bool take_tail(ir::Op& op, const cpu::Instruction& record, u64 rip) {
    op.rip = rip;
    op.guest = record;
    switch (op.kind) {
    case ir::OpKind::branch:
    case ir::OpKind::jump:
    case ir::OpKind::call: return aim(op);
    default: break;
    }
    ParsedInstruction& p = op.parsed;
    if (p.memory) p.displacement = record.displacement;
    if (p.immediate_bytes != 0) p.immediate = record.immediate & (~u64{0} >> (64 - 8 * p.immediate_bytes));
    return !shift_by_immediate(p) || (p.immediate & 31) != 0;
}

} // namespace calque::jit
