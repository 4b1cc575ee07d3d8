#include "jit/translate/system_ops.h"

namespace calque::jit {

using cpu::OperandKind;
using ir::Op;
using ir::OpKind;
using ir::StateField;

namespace {

std::string_view name_of(const Op& op) { return cpu::instruction_table()[op.guest.row].name; }

} // namespace

bool as_state_read(Op& op, const cpu::Form& form, const UnitMode& mode) {
    if (!mode.code64() || !form.is(0, OperandKind::gpr) || form.size[0] < 4) return false;
    if (form.is(1, OperandKind::control)) {
        if (!mode.is.ring0) return false;
        switch (op.guest.source) {
        case 0: op.field = StateField::cr0; break;
        case 2: op.field = StateField::cr2; break;
        case 3: op.field = StateField::cr3; break;
        case 4: op.field = StateField::cr4; break;
        default: return false;
        }
    } else if (form.is(1, OperandKind::segment)) {
        switch (op.guest.source) {
        case cpu::es: op.field = StateField::es; break;
        case cpu::cs: op.field = StateField::cs; break;
        case cpu::ss: op.field = StateField::ss; break;
        case cpu::ds: op.field = StateField::ds; break;
        case cpu::fs: op.field = StateField::fs; break;
        case cpu::gs: op.field = StateField::gs; break;
        default: return false;
        }
    } else {
        return false;
    }
    op.kind = OpKind::read_state;
    return true;
}

bool as_base(Op& op, const UnitMode& mode) {
    if (!mode.code64()) return false;
    const std::string_view name = name_of(op);
    op.field = name.substr(2, 2) == "FS" ? StateField::fs_base : StateField::gs_base;
    op.kind = name.substr(0, 2) == "RD" ? OpKind::read_state : OpKind::write_base;
    return true;
}

bool as_bit_string(Op& op, const cpu::Form& form, const UnitMode& mode, bool addressable) {
    const std::string_view name = name_of(op);
    const bool bits = name == "BT" || name == "BTS" || name == "BTR" || name == "BTC";
    if (!bits || !addressable || !mode.code64() || !form.memory(0) || !form.is(1, OperandKind::gpr)) return false;
    if (form.size[0] < 4 || op.guest.address_bytes() != 8) return false;
    op.access = name == "BT" ? ir::MemoryAccess::read : ir::MemoryAccess::modify;
    op.access_bytes = form.size[0];
    op.kind = OpKind::bit_string;
    return true;
}

bool as_repeated_string(Op& op, const cpu::Form& form, RowKind row, const UnitMode& mode, bool addressable) {
    switch (row) {
    case RowKind::string_move: op.kind = OpKind::copy; break;
    case RowKind::string_store: op.kind = OpKind::fill; break;
    case RowKind::string_scan: op.kind = OpKind::scan; break;
    case RowKind::string_compare: op.kind = OpKind::compare_strings; break;
    default: return false;
    }
    if (!mode.code64() || op.guest.address_bytes() != 8 || !(op.guest.rep() || op.guest.repne())) return false;
    const bool at_rsi = row == RowKind::string_move || row == RowKind::string_compare;
    if (at_rsi && (!addressable || op.segment != cpu::Segment::flat)) return false;
    const bool writes = row == RowKind::string_move || row == RowKind::string_store;
    op.access = writes ? ir::MemoryAccess::write : ir::MemoryAccess::read;
    op.access_bytes = form.opcode & 1 ? form.operand_size : 1;
    return true;
}

bool as_access(Op& op, const UnitMode& mode, mmu::RightsMode wanted) {
    if (!mode.code64() || !mode.is.ring0 || !mode.is.smap) return false;
    op.kind = OpKind::nothing;
    if (mode.rights() == wanted) return true;
    op.target = op.next_rip();
    op.kind = OpKind::change_access;
    return true;
}

} // namespace calque::jit
