// Guest memory operands: the effective address, and the inlined look into the software TLB.
#include "jit/emit/unit_emitter.h"
#include "mmu/tlb_layout.h"

namespace calque::jit {

namespace {
constexpr u64 read_tag = mmu::tlb_entries_offset + offsetof(mmu::TlbEntry, read_tag);
constexpr u64 write_tag = mmu::tlb_entries_offset + offsetof(mmu::TlbEntry, write_tag);
constexpr u64 host_page = mmu::tlb_entries_offset + offsetof(mmu::TlbEntry, host);
} // namespace

// The offset of the memory operand in its segment, in T0. T1 is used where a register has no host register. Flags are
// kept.
void UnitEmitter::offset_to_t0(const ir::Op& op) {
    const cpu::Instruction& i = op.guest;
    const u64 displacement = static_cast<u64>(static_cast<i64>(i.displacement));
    const bool has_base = i.base < 16, has_index = i.index < 16;
    if (!has_base && !has_index) {
        if (i.base == cpu::rip_slot && movable()) {
            address_of_code(t0, displacement + op.next_rip());
            if (i.address_bytes() == 4) a_.mov(t0d, t0d);
            return;
        }
        const u64 offset = displacement + (i.base == cpu::rip_slot ? op.next_rip() : 0);
        a_.mov(t0, asmjit::Imm(offset & cpu::address_mask(i.address_bytes())));
        return;
    }
    const auto lea = [&](const x86::Mem& sum) {
        if (i.address_bytes() == 8)
            a_.lea(t0, sum);
        else
            a_.lea(t0d, sum);
        if (i.address_bytes() == 2) a_.movzx(t0d, t0.r16());
    };
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
        lea(x86::ptr(u64{0}, index, i.scale()).cloneAdjusted(static_cast<i64>(i.displacement)));
    } else if (has_index) {
        lea(x86::ptr(base, index, i.scale(), i.displacement));
    } else if (i.displacement != 0) {
        lea(x86::ptr(base, i.displacement));
    } else if (i.address_bytes() == 2) {
        a_.movzx(t0d, base.r16());
    } else if (i.address_bytes() == 4) {
        a_.mov(t0d, base.r32());
    } else if (base != t0) {
        a_.mov(t0, base);
    }
}

// In 64-bit code FS and GS have a base; in other code each segment that is not flat has a base and a limit (SDM volume
// 3, 5.3), and the sum has 32 bits.
void UnitEmitter::add_segment(const ir::Op& op, unsigned segment, bool write, u32 bytes) {
    if (segment >= cpu::Segment::flat) return;
    if (op.guest.mode64()) {
        a_.mov(t1, segment == cpu::Segment::fs ? CALQUE_CONTEXT(fs_base) : CALQUE_CONTEXT(gs_base));
        a_.lea(t0, x86::ptr(t0, t1));
        return;
    }
    using Segment = JitContext::Segment;
    const std::size_t at = offsetof(JitContext, segments) + segment * sizeof(Segment);
    if (request_.unit.around.unlimited >> segment & 1) {
        if (bytes > 1) { // Beyond 4 GiB.
            const Label beyond = handler_label(op);
            a_.cmp(t0d, -static_cast<i32>(bytes));
            a_.long_().ja(beyond);
        }
    } else {
        const Label beyond = handler_label(op);
        a_.lea(t1, x86::ptr(t0, static_cast<i32>(bytes)));
        a_.cmp(t1, context_at(at + (write ? offsetof(Segment, write_end) : offsetof(Segment, read_end)), 8));
        a_.long_().ja(beyond);
    }
    a_.add(t0d, context_at(at + offsetof(Segment, base), 4));
}

// The linear address of the memory operand in T0.
void UnitEmitter::address_to_t0(const ir::Op& op, bool write, u32 bytes) {
    offset_to_t0(op);
    add_segment(op, op.segment, write, bytes);
}

// T0: the linear address. Falls through with the page in T1 and the offset in T0; what is no plain hit goes to the
// refill thunk, which comes back with an address, or to the interpreter.
void UnitEmitter::check_memory(const ir::Op& op, bool write, u32 bytes, bool aligned) {
    const u64 tag = write ? write_tag : read_tag;
    const Label slow = a_.newLabel(), found = a_.newLabel();
    a_.rorx(t1, t0, mmu::tlb_index_shift);
    a_.and_(t1d, context_at(offsetof(JitContext, index_masks) + request_.mode.is.rights * sizeof(u32), 4));
    a_.xor_(t0, table_at(t1, tag, 8));
    if (aligned && bytes > 1) {
        a_.test(x86::al, static_cast<i32>(bytes - 1));
        a_.long_().jnz(slow);
    }
    a_.cmp(t0, static_cast<i32>(page_size - bytes));
    a_.long_().ja(slow);
    a_.mov(t1, table_at(t1, host_page, 8));
    a_.bind(found);
    Site& site = new_site(op);
    site.access_bytes = static_cast<u16>(bytes);
    site.window = op.window.used();
    site.write = write;
    // Where a read is checked for the writes behind it, nothing but a hit will do: a refill would make the page dirty.
    const bool refillable = !write || op.access != ir::MemoryAccess::read;
    site.aligned = aligned;
    split_ = true;
    beside_ = no_register;
    const u32 number = site_number(site);
    const bool range = op.window.used() && !x87_note_;
    const Label alone = range ? leave_alone(op) : Label();
    later([this, slow, found, tag, number, range, alone, bytes, refillable] {
        a_.bind(slow);
        a_.xor_(t0, table_at(t1, tag, 8));
        if (!refillable) {
            if (range) {
                a_.long_().jmp(alone);
            } else {
                set_site(number);
                a_.jmp(thunk(request_.thunks.interpret));
            }
            return;
        }
        if (range) { // That crosses a page, most often.
            a_.mov(t1d, t0d);
            a_.and_(t1d, static_cast<i32>(page_offset_mask));
            a_.cmp(t1d, static_cast<i32>(page_size - bytes));
            a_.long_().ja(alone);
        }
        set_site(number);
        a_.call(thunk(request_.thunks.refill));
        a_.jmp(found);
    });
}

void UnitEmitter::before_access(const ir::Op& op) {
    if (!op.checked()) before_clobber(op);
}

asmjit::Label UnitEmitter::leave_alone(const ir::Op& op) {
    const std::size_t number = out_.exits.size();
    Exit& exit = out_.exits.emplace_back();
    exit.target = op.rip;
    exit.flags = flags_ == FlagsIn::recipe ? FlagsIn::host : flags_;
    exit.unit = request_.unit_index;
    exit.rights = request_.mode.rights();
    exit.alone = true;
    const Label leave = a_.newLabel(), stub = a_.newLabel();
    later([this, number, leave, stub, flags = flags_, recipe = recipe_] {
        a_.bind(leave);
        if (flags == FlagsIn::recipe) recompute_recipe(recipe);
        a_.long_().jmp(stub);
        out_.exits[number].jump = here() - 4;
    });
    exit_stub(number, stub);
    return leave;
}

// T0: the address of this access. The whole range is checked, and found by the others in the context.
void UnitEmitter::open_window(const ir::Op& op) {
    if (op.window.distance != 0) {
        if (op.guest.mode64())
            a_.lea(t0, x86::ptr(t0, -op.window.distance));
        else
            a_.lea(t0d, x86::ptr(t0, -op.window.distance)); // Back over 0, where the check fails.
    }
    check_memory(op, op.window.write, op.window.span, false);
    join_address();
    a_.mov(context_at(offsetof(JitContext, windows) + op.window.slot * 8u, 8), t1);
    distance_ = op.window.distance;
}

void UnitEmitter::use_window(const ir::Op& op) {
    a_.mov(t1, context_at(offsetof(JitContext, windows) + op.window.slot * 8u, 8));
    split_ = false;
    beside_ = no_register;
    distance_ = op.window.distance;
}

void UnitEmitter::check_operand(const ir::Op& op) {
    const bool write = op.access != ir::MemoryAccess::read;
    if (!op.window.used()) {
        address_to_t0(op, write, op.access_bytes);
        return check_memory(op, write, op.access_bytes, op.aligned);
    }
    if (op.window.moving) return op.window.first ? check_moving(op) : use_moving(op, false);
    const bool aligned = op.aligned && op.access_bytes != 1;
    if (op.window.first) {
        address_to_t0(op, write, op.access_bytes);
        if (aligned) check_alignment(op); // First: what faults sets no accessed or dirty bit.
        return open_window(op);
    }
    use_window(op);
    if (!aligned || op.window.aligned) return;
    a_.lea(t0, operand(8)); // Pages are aligned as the guest's are.
    check_alignment(op);
}

// T0: an address that is aligned if the access is. The handler raises what misaligned ones do.
void UnitEmitter::check_alignment(const ir::Op& op) {
    const Label misaligned = a_.newLabel();
    a_.test(x86::al, op.access_bytes - 1);
    a_.long_().jnz(misaligned);
    const u32 number = site_number(new_site(op));
    later([this, misaligned, number] {
        a_.bind(misaligned);
        set_site(number);
        a_.jmp(thunk(request_.thunks.interpret));
    });
}

void UnitEmitter::check_stack(const ir::Op& op, const x86::Gpq& pointer, i32 offset, bool write) {
    if (op.window.used() && !op.window.first) return use_window(op);
    const ir::Surroundings& around = request_.unit.around;
    if (around.stack_address_bytes != 8)
        a_.lea(t0d, x86::ptr(pointer, offset));
    else if (offset != 0)
        a_.lea(t0, x86::ptr(pointer, offset));
    else
        a_.mov(t0, pointer);
    if (around.stack_address_bytes == 2) a_.movzx(t0d, t0.r16());
    add_segment(op, around.stack_segment, write, stack_bytes(op));
    if (op.window.used()) return open_window(op);
    check_memory(op, write, stack_bytes(op), false);
}

x86::Mem UnitEmitter::operand(u32 size) const {
    if (beside_ != no_register) return x86::ptr(t1, x86::gpq(beside_), 0, distance_, size);
    return split_ ? x86::ptr(t1, t0, 0, 0, size) : x86::ptr(t1, distance_, size);
}

void UnitEmitter::join_address() {
    if (beside_ != no_register)
        a_.lea(t1, operand(8));
    else if (split_)
        a_.lea(t1, x86::ptr(t1, t0));
    else if (distance_ != 0)
        a_.lea(t1, x86::ptr(t1, distance_));
    split_ = false;
    beside_ = no_register;
    distance_ = 0;
}

} // namespace calque::jit
