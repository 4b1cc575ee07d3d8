#include "jit/translate/gather.h"

#include "cpu/table.h"

namespace calque::jit {

bool as_gather(ir::Op& op, const UnitMode& mode, bool addressable) {
    const cpu::Instruction& i = op.guest;
    const unsigned index = i.index & 15, mask = i.third & 15, dest = i.dest & 15;
    if (!addressable || !mode.code64() || mode.is.avx_off || i.base == cpu::rip_slot) return false;
    if (dest == index || dest == mask || index == mask) return false; // #UD
    const std::string_view name = cpu::instruction_table()[i.row].name;
    const bool integer = name[1] == 'P'; // VPGATHERDD to VPGATHERQQ; else VGATHERDPS to VGATHERQPD.
    op.access = ir::MemoryAccess::read;
    op.access_bytes = name.back() == (integer ? 'Q' : 'D') ? 8 : 4;
    op.vectors = true;
    op.kind = ir::OpKind::gather;
    return true;
}

} // namespace calque::jit
