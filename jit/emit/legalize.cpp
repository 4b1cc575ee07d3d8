#include "jit/emit/legalize.h"

#include "jit/emit/registers.h"

#include <algorithm>
#include <array>

namespace calque::jit {

namespace {

bool is_gpr(FieldClass field) { return field == FieldClass::gpr || field == FieldClass::gpr8; }

// Registers without a host register of their own, and high bytes, need one of the two temporaries each, of which a
// memory operand leaves one.
bool enough_temporaries(const ir::Op& op) {
    const ParsedInstruction& p = op.parsed;
    std::array<int, 4> seen{};
    unsigned count = 0;
    const auto add = [&](FieldClass field, unsigned number, bool high) {
        if (!is_gpr(field) || (!high && pinned(number))) return;
        const int id = static_cast<int>(number) + (high ? 100 : 0);
        if (std::find(seen.begin(), seen.begin() + count, id) == seen.begin() + count) seen[count++] = id;
    };
    add(p.reg_class, p.modrm_reg, p.reg_high);
    if (!p.memory) add(p.rm_class, p.register_in_opcode ? p.opcode_register : p.modrm_rm, p.rm_high);
    add(p.vvvv_class, p.vvvv, false);
    return count <= (op.access != ir::MemoryAccess::none ? 1u : 2u);
}

// The accumulator takes one temporary, the memory operand the other.
bool exchange_fits(const ParsedInstruction& p) {
    if (p.memory) return !is_gpr(p.reg_class) || pinned(p.modrm_reg);
    if (p.modrm_rm == cpu::rax) return false; // It would be in two places.
    return pinned(p.modrm_reg) || pinned(p.modrm_rm);
}

bool possible(const ir::Op& op) {
    switch (op.kind) {
    case ir::OpKind::host: return enough_temporaries(op);
    case ir::OpKind::compare_exchange: return exchange_fits(op.parsed);
    default: return true;
    }
}

} // namespace

void legalize(ir::Unit& unit) {
    for (ir::Op& op : unit.ops)
        if (!possible(op)) ir::interpret_instead(op);
}

} // namespace calque::jit
