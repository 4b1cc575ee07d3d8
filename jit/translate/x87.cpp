#include "jit/translate/x87.h"

#include <algorithm>

namespace calque::jit {

using cpu::OperandKind;

bool uses_x87_state(const cpu::Form& form, std::string_view name) {
    const auto in_registers = [](OperandKind kind) { return kind == OperandKind::mmx || kind == OperandKind::x87; };
    if (std::any_of(form.kind.begin(), form.kind.begin() + form.count, in_registers)) return true;
    if (name.starts_with('F')) return true; // All of cpu/table/x87.inc, and no others.
    // XGETBV shows what is in its initial state.
    return name == "EMMS" || name.starts_with("XSAVE") || name.starts_with("XRSTOR") || name == "XGETBV";
}

bool as_x87(ir::Op& op, const cpu::Form& form, RowKind row, const UnitMode& mode) {
    if (mode.is.x87_traps) return false;
    if (row == RowKind::x87_wait) {
        op.kind = ir::OpKind::nothing;
        return !mode.is.wait_off;
    }
    if (mode.is.x87_off || (row == RowKind::x87_transcendental && !mode.is.x87_transcendentals)) return false;
    op.x87 = row == RowKind::x87_control ? ir::X87Use::control : ir::X87Use::noted;
    op.kind = ir::OpKind::host;
    const std::string_view name = cpu::instruction_table()[op.guest.row].name;
    if (name == "FLDCW") op.kind = ir::OpKind::x87_load_control;
    if (name == "FNSTSW" && form.is(0, OperandKind::gpr)) op.kind = ir::OpKind::x87_status;
    // Prefixes of operand size mean nothing to the instructions that come here.
    op.parsed.legacy_count = 0;
    op.parsed.w = false;
    return true;
}

} // namespace calque::jit
