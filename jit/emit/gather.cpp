// VGATHER, element by element.
#include "cpu/table.h"
#include "jit/emit/unit_emitter.h"

namespace calque::jit {

namespace {

constexpr std::size_t register_bytes = 32;
constexpr std::size_t dest_at = offsetof(JitContext, gather), mask_at = dest_at + register_bytes,
                      index_at = mask_at + register_bytes;

bool indexes_are_wide(const ir::Op& op) { // VGATHERQ..., not VGATHERD...
    constexpr std::string_view stem = "GATHER";
    const std::string_view name = cpu::instruction_table()[op.guest.row].name;
    return name[name.find(stem) + stem.size()] == 'Q';
}

} // namespace

// The linear address of the element with the index at that place of the context, in T0.
void UnitEmitter::gather_address(const ir::Op& op, std::size_t index, bool wide) {
    const cpu::Instruction& i = op.guest;
    if (wide)
        a_.mov(t0, context_at(index, 8));
    else
        a_.movsxd(t0, context_at(index, 4));
    x86::Mem sum = x86::ptr(u64{0}, t0, i.scale()).cloneAdjusted(i.displacement);
    if (i.base < 16) {
        if (!pinned(i.base)) a_.mov(t1, spilled_slot(i.base));
        sum = x86::ptr(pinned(i.base) ? host_gpq(i.base) : t1, t0, i.scale(), i.displacement);
    }
    if (i.address_bytes() == 8)
        a_.lea(t0, sum);
    else
        a_.lea(t0d, sum);
    add_segment(op, op.segment, false, op.access_bytes);
}

// The registers change when all elements are there: until then the handler can begin anew, and does where one of them
// is no plain memory.
void UnitEmitter::emit_gather(const ir::Op& op) {
    const cpu::Instruction& i = op.guest;
    const u32 size = op.access_bytes;
    const bool wide = indexes_are_wide(op);
    const u32 count = (i.l256() ? 32 : 16) / (wide ? 8 : size);
    const x86::Ymm dest = x86::ymm(i.dest & 15), mask = x86::ymm(i.third & 15);
    before_clobber(op);
    need_vectors();
    a_.vmovups(context_at(dest_at, 32), dest);
    a_.vmovups(context_at(mask_at, 32), mask);
    a_.vmovups(context_at(index_at, 32), x86::ymm(i.index & 15));
    for (u32 n = 0; n < count; ++n) {
        const Label masked = a_.newLabel();
        a_.cmp(context_at(mask_at + n * size + size - 1, 1), 0);
        a_.long_().jns(masked);
        gather_address(op, index_at + n * (wide ? 8u : 4u), wide);
        check_memory(op, false, size, false);
        a_.mov(sized(t0, size), operand(size));
        a_.mov(context_at(dest_at + n * size, size), sized(t0, size));
        a_.bind(masked);
    }
    const u32 bytes = count * size;
    if (bytes == 32)
        a_.vmovups(dest, context_at(dest_at, 32));
    else if (bytes == 16)
        a_.vmovups(dest.xmm(), context_at(dest_at, 16)); // The rest of the register becomes 0.
    else
        a_.vmovq(dest.xmm(), context_at(dest_at, 8));
    a_.vpxor(mask.xmm(), mask.xmm(), mask.xmm());
}

} // namespace calque::jit
