#include "jit/translate/segments.h"

#include <string_view>

namespace calque::jit {

using cpu::OperandKind;
using ir::MemoryAccess;
using ir::OpKind;

namespace {

void access(ir::Op& op, MemoryAccess kind, unsigned bytes) {
    op.access = kind;
    op.access_bytes = static_cast<u8>(bytes);
}

// A load is just a selector and a base in real and virtual-8086 mode, while nothing else about segments is unusual.
bool loadable(const UnitMode& mode, unsigned segment) {
    return mode.is.paragraphs && segment != cpu::Segment::ss && segment != cpu::Segment::cs;
}

} // namespace

u8 segment_in(const UnitMode& mode, unsigned segment) {
    const bool flat = segment >= cpu::Segment::flat || (mode.is.flat_segments >> segment & 1);
    return flat ? u8{cpu::Segment::flat} : static_cast<u8>(segment);
}

bool as_segment_move(ir::Op& op, const cpu::Form& form, RowKind row, const UnitMode& mode) {
    const unsigned size = op.guest.operand_size;
    switch (row) {
    case RowKind::push:
        op.kind = OpKind::push_segment;
        access(op, MemoryAccess::write, size);
        return mode.code64() ? size == 8 : size == 2 || size == 4;
    case RowKind::pop:
        op.kind = OpKind::pop_segment;
        access(op, MemoryAccess::read, size);
        return loadable(mode, op.guest.dest);
    case RowKind::far_pointer: {
        const std::string_view name = cpu::instruction_table()[op.guest.row].name;
        op.kind = OpKind::load_far_pointer;
        op.far_segment = name == "LES"   ? u8{cpu::Segment::es}
                         : name == "LDS" ? u8{cpu::Segment::ds}
                         : name == "LFS" ? u8{cpu::Segment::fs}
                         : name == "LGS" ? u8{cpu::Segment::gs}
                                         : u8{cpu::Segment::ss};
        op.segment = segment_in(mode, op.guest.segment());
        access(op, MemoryAccess::read, size + 2);
        return form.memory(1) && loadable(mode, op.far_segment);
    }
    default: break;
    }
    if (form.is(1, OperandKind::segment)) {
        op.kind = OpKind::read_segment;
        // After SYSCALL and SYSRET the state may not have CS and SS yet (JitContext::unsynced).
        if (mode.code64() && (op.guest.source == cpu::Segment::cs || op.guest.source == cpu::Segment::ss)) return false;
        return form.is(0, OperandKind::gpr);
    }
    op.kind = OpKind::load_segment;
    if (form.memory(1)) {
        op.segment = segment_in(mode, op.guest.segment());
        access(op, MemoryAccess::read, 2);
    }
    return loadable(mode, op.guest.dest);
}

bool as_string(ir::Op& op, const cpu::Form& form, RowKind row, const UnitMode& mode) {
    if (op.guest.rep() || op.guest.repne() || mode.decode.careful) return false;
    const unsigned size = form.opcode & 1 ? op.guest.operand_size : 1;
    op.kind = row == RowKind::string_load    ? OpKind::string_load
              : row == RowKind::string_store ? OpKind::string_store
                                             : OpKind::string_move;
    op.segment = segment_in(mode, op.guest.segment());
    op.far_segment = mode.code64() ? u8{cpu::Segment::flat} : segment_in(mode, cpu::Segment::es);
    access(op, row == RowKind::string_load ? MemoryAccess::read : MemoryAccess::write, size);
    return true;
}

bool as_all_registers(ir::Op& op, RowKind row) {
    const bool push = row == RowKind::push_all;
    op.kind = push ? OpKind::push_all : OpKind::pop_all;
    access(op, push ? MemoryAccess::write : MemoryAccess::read, 8u * op.guest.operand_size);
    return true;
}

} // namespace calque::jit
