// Guest memory operands: the effective address, and the inlined look into the software TLB.
#include "jit/emit/unit_emitter.h"
#include "mmu/tlb_layout.h"

namespace calque::jit {

namespace {
constexpr u64 read_tag = mmu::tlb_entries_offset + offsetof(mmu::TlbEntry, read_tag);
constexpr u64 write_tag = mmu::tlb_entries_offset + offsetof(mmu::TlbEntry, write_tag);
constexpr u64 host_page = mmu::tlb_entries_offset + offsetof(mmu::TlbEntry, host);
} // namespace

// The linear address of the memory operand in T0. T1 is used where a register has no host register.
void UnitEmitter::address_to_t0(const ir::Op& op) {
    const cpu::Instruction& i = op.guest;
    const unsigned segment = i.segment();
    const bool based = segment == cpu::Segment::fs || segment == cpu::Segment::gs;
    const auto add_base = [&] {
        if (!based) return;
        a_.mov(t1, segment == cpu::Segment::fs ? CALQUE_CONTEXT(fs_base) : CALQUE_CONTEXT(gs_base));
        a_.lea(t0, x86::ptr(t0, t1));
    };
    const u64 displacement = static_cast<u64>(static_cast<i64>(i.displacement));
    const bool has_base = i.base < 16, has_index = i.index < 16;
    if (!has_base && !has_index) {
        a_.mov(t0, asmjit::Imm(displacement + (i.base == cpu::rip_slot ? op.next_rip() : 0)));
        return add_base();
    }
    x86::Gpq base, index;
    if (has_base) {
        base = pinned(i.base) ? host_gpq(i.base) : t0;
        if (!pinned(i.base)) a_.mov(t0, spilled_slot(i.base));
    }
    if (has_index) {
        index = pinned(i.index) ? host_gpq(i.index) : has_base && !pinned(i.base) ? t1 : t0;
        if (!pinned(i.index)) a_.mov(index, spilled_slot(i.index));
    }
    if (!has_base) {
        // RIP-relative operands have no index; an address without a base has a 32-bit displacement.
        a_.lea(t0, x86::ptr(u64{0}, index, i.scale()).cloneAdjusted(static_cast<i64>(i.displacement)));
    } else if (has_index) {
        a_.lea(t0, x86::ptr(base, index, i.scale(), i.displacement));
    } else if (i.displacement != 0) {
        a_.lea(t0, x86::ptr(base, i.displacement));
    } else if (base != t0) {
        a_.mov(t0, base);
    }
    add_base();
}

// T0: the linear address. Falls through with the page in T1 and the offset in T0; what is no plain hit goes to the
// refill thunk, which comes back with an address, or to the interpreter.
void UnitEmitter::check_memory(const ir::Op& op, bool write, u8 bytes, bool aligned) {
    const u64 tag = write ? write_tag : read_tag;
    const Label slow = a_.newLabel(), found = a_.newLabel();
    a_.rorx(t1, t0, mmu::tlb_index_shift);
    a_.and_(t1d, table_at(mmu::tlb_index_mask_offset, 4));
    a_.xor_(t0, table_at(t1, tag, 8));
    if (aligned && bytes > 1) {
        a_.test(x86::al, bytes - 1);
        a_.long_().jnz(slow);
    }
    a_.cmp(t0, static_cast<i32>(page_size - bytes));
    a_.long_().ja(slow);
    a_.mov(t1, table_at(t1, host_page, 8));
    a_.bind(found);
    Site& site = new_site(op);
    site.access_bytes = bytes;
    site.write = write;
    site.aligned = aligned;
    const u32 number = site_number(site);
    later([this, slow, found, tag, number] {
        a_.bind(slow);
        a_.xor_(t0, table_at(t1, tag, 8));
        set_site(number);
        a_.call(thunk(request_.thunks.refill));
        a_.jmp(found);
    });
}

void UnitEmitter::check_operand(const ir::Op& op) {
    address_to_t0(op);
    check_memory(op, op.access != ir::MemoryAccess::read, op.access_bytes, op.aligned);
}

void UnitEmitter::check_push(const ir::Op& op) {
    a_.lea(t0, x86::ptr(host_gpq(cpu::rsp), -8));
    check_memory(op, true, 8, false);
}

void UnitEmitter::join_address() { a_.lea(t1, x86::ptr(t1, t0)); }

} // namespace calque::jit
