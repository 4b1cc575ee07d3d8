// Guest memory operands: the effective address, and the inlined look into the software TLB.
#include "jit/emit/unit_emitter.h"
#include "mmu/mirror.h"
#include "mmu/tlb_layout.h"

namespace calque::jit {

namespace {
constexpr u64 read_tag = mmu::tlb_entries_offset + offsetof(mmu::TlbEntry, read_tag);
constexpr u64 write_tag = mmu::tlb_entries_offset + offsetof(mmu::TlbEntry, write_tag);
constexpr u64 host_page = mmu::tlb_entries_offset + offsetof(mmu::TlbEntry, host);
} // namespace

// The offset of the memory operand in its segment, less `back`, in T0. T1 is used where a register has no host
// register. Flags are kept.
void UnitEmitter::offset_to_t0(const ir::Op& op, i32 back) {
    const cpu::Instruction& i = op.guest;
    const u64 displacement = static_cast<u64>(i64{i.displacement} - back);
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
        lea(x86::ptr(u64{0}, index, i.scale()).cloneAdjusted(static_cast<i64>(displacement)));
    } else if (has_index) {
        lea(x86::ptr(base, index, i.scale(), static_cast<i32>(displacement)));
    } else if (displacement != 0) {
        lea(x86::ptr(base, static_cast<i32>(displacement)));
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

// T0: the linear address. Falls through with the operand found, or goes to `miss`: then address_again() has the
// address. In the mirror an access need not wait for what the table says; only whether it may stand does. `sum`: the
// registers that the address can be had from once more, if there are such; `there`: the operand is left where those
// say.
void UnitEmitter::find_page(bool write, u32 bytes, Label miss, const std::optional<x86::Mem>& sum, bool there) {
    operand_at_t1();
    split_ = !request_.mirror;
    const i32 last = static_cast<i32>(page_size - bytes);
    if (!request_.mirror) {
        a_.rorx(t1, t0, mmu::tlb_index_shift);
        a_.and_(t1d, context_at(offsetof(JitContext, index_masks) + request_.mode.is.rights * sizeof(u32), 4));
        a_.xor_(t0, table_at(t1, write ? write_tag : read_tag, 8));
        a_.cmp(t0, last);
        a_.long_().ja(miss);
        return a_.mov(t1, table_at(t1, host_page, 8));
    }
    static_assert(mmu::Mirror::window_bytes == u64{1} << 32);
    const x86::Mem tag = mirrored_tag(write);
    const std::size_t mask = offsetof(JitContext, mirror_masks) + request_.mode.is.rights * sizeof(u64);
    if (request_.fast_pext) {
        a_.pext(t1, t0, context_at(mask, 8));
    } else {
        a_.rorx(t1, t0, page_shift);
        a_.and_(t1d, context_at(mask, 4));
    }
    if (const auto address = constant(sum, bytes)) {
        a_.cmp(tag, static_cast<i32>(*address & ~page_offset_mask));
        a_.long_().jne(miss);
        if (there)
            there_ = sum;
        else
            a_.mov(t1d, t0d);
    } else if (sum) {
        a_.xor_(t0, tag);
        a_.cmp(t0, last);
        a_.long_().ja(miss);
        if (there)
            there_ = sum;
        else if (sum->hasIndex() || sum->offset() != 0)
            a_.lea(t1d, *sum);
        else
            a_.mov(t1d, x86::gpd(sum->baseId()));
    } else {
        a_.mov(t1, tag);
        a_.xor_(t1, t0);
        a_.cmp(t1, last);
        a_.long_().ja(miss);
        a_.mov(t1d, t0d);
    }
}

// The address, where it is known by now, and in one page with all that is accessed.
std::optional<u64> UnitEmitter::constant(const std::optional<x86::Mem>& sum, u32 bytes) {
    if (!sum || sum->hasBase() || sum->hasIndex()) return std::nullopt;
    const u64 address = static_cast<u64>(sum->offset());
    if ((address & page_offset_mask) > page_size - bytes) return std::nullopt;
    return address;
}

void UnitEmitter::address_again(bool write, bool by_sum) {
    if (!request_.mirror)
        a_.xor_(t0, table_at(t1, write ? write_tag : read_tag, 8));
    else if (by_sum)
        a_.xor_(t0, mirrored_tag(write));
}

// Of the entry whose number is in T1.
x86::Mem UnitEmitter::mirrored_tag(bool write) const {
    return table_at_scaled(t1, write ? mmu::tlb_mirrored_write_offset : mmu::tlb_mirrored_read_offset, 8);
}

void UnitEmitter::operand_at_t1() {
    split_ = false;
    in_mirror_ = request_.mirror;
    beside_ = no_register;
    distance_ = 0;
    there_.reset();
}

// After a miss, with the site set and the address in T0: goes on with the operand where find_page() would have it, or
// not at all. With `none` to that label, the address in T0, when the table has no such page.
void UnitEmitter::fill_page(bool write, u32 bytes, Label none) {
    const bool only = none.isValid();
    if (!request_.mirror) {
        if (only) return a_.long_().jmp(none);
        return a_.call(thunk(request_.thunks.refill));
    }
    a_.mov(t1d, static_cast<i32>(page_size - bytes));
    const auto& thunks = only ? request_.thunks.probe_only : request_.thunks.probe;
    a_.call(thunk(thunks[request_.mode.is.rights][write]));
    if (only) a_.long_().j(x86::CondCode::kB, none);
}

// T0: the linear address. Goes on as find_page() does; what is no plain hit goes to a thunk, which comes back with an
// address, or to the interpreter. With `access` that is emitted, too: twice where the operand is left with its
// registers, because what a thunk has found is not where those say.
void UnitEmitter::check_memory(const ir::Op& op, bool write, u32 bytes, bool aligned,
                               const std::optional<x86::Mem>& sum, Access access) {
    const Label slow = a_.newLabel(), found = a_.newLabel();
    Site& site = new_site(op);
    site.access_bytes = static_cast<u16>(bytes);
    site.window = op.window.used();
    site.write = write;
    site.aligned = aligned;
    const u32 number = site_number(site);
    if (aligned && bytes > 1) {
        const Label misaligned = a_.newLabel();
        a_.test(x86::al, static_cast<i32>(bytes - 1));
        a_.long_().jnz(misaligned);
        later([this, misaligned, number] {
            a_.bind(misaligned);
            set_site(number);
            a_.jmp(thunk(request_.thunks.interpret));
        });
    }
    const bool there = access && sum && request_.mirror;
    find_page(write, bytes, slow, sum, there);
    count_tlb_hit();
    const FlagsIn flags = flags_;
    const FlagRecipe recipe = recipe_;
    if (there) (this->*access)(op);
    a_.bind(found);
    // Where a read is checked for the writes behind it, nothing but a hit will do: a refill would make the page dirty.
    const bool refillable = !write || op.access != ir::MemoryAccess::read;
    const bool range = op.window.used() && !x87_note_;
    const Label alone = range ? leave_alone(op) : Label();
    later([this, &op, slow, found, write, number, range, alone, bytes, refillable, again = there ? access : nullptr,
           flags, recipe, by_sum = sum && !constant(sum, bytes)] {
        a_.bind(slow);
        address_again(write, by_sum);
        Label none = refillable ? Label() : alone;
        if (!refillable && !range) none = a_.newLabel();
        if (range && refillable) { // That crosses a page, most often.
            a_.mov(t1d, t0d);
            a_.and_(t1d, static_cast<i32>(page_offset_mask));
            a_.cmp(t1d, static_cast<i32>(page_size - bytes));
            a_.long_().ja(alone);
        }
        set_site(number);
        fill_page(write, bytes, none);
        if (again) {
            operand_at_t1();
            flags_ = flags; // As they were there.
            recipe_ = recipe;
            t0_guest_ = nobody;
            (this->*again)(op);
        }
        a_.jmp(found);
        if (refillable || range) return;
        a_.bind(none);
        a_.jmp(thunk(request_.thunks.interpret));
    });
    if (access && !there) (this->*access)(op);
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
        uncount_instruction();
        if (flags == FlagsIn::recipe) recompute_recipe(recipe);
        a_.long_().jmp(stub);
        out_.exits[number].jump = here() - 4;
    });
    exit_stub(number, stub);
    return leave;
}

// T0: the address of the range, of which `sum` is as for check_memory(). The whole range is checked, and found by the
// others in the context.
void UnitEmitter::open_window(const ir::Op& op, const std::optional<x86::Mem>& sum) {
    check_memory(op, op.window.write, op.window.span, false, sum);
    if (!in_mirror_) join_address();
    a_.mov(context_at(offsetof(JitContext, windows) + op.window.slot * 8u, 8), t1);
    keep_in_t1(op.window.slot);
    distance_ = op.window.distance;
}

void UnitEmitter::keep_in_t1(u8 window) {
    t1_window_ = window;
    t1_touches_ = a_.touches();
}

void UnitEmitter::use_window(const ir::Op& op) {
    count_range_hit();
    if (t1_window_ != op.window.slot || t1_touches_ != a_.touches()) {
        a_.mov(t1, context_at(offsetof(JitContext, windows) + op.window.slot * 8u, 8));
        keep_in_t1(op.window.slot);
    }
    operand_at_t1();
    distance_ = op.window.distance;
}

// Whether an address that lies this much lower can be written with another displacement: the whole of it counts, and no
// base is added.
bool UnitEmitter::can_go_back(const ir::Op& op, i32 back) {
    const i64 displacement = i64{op.guest.displacement} - back;
    return op.guest.address_bytes() == 8 && op.segment >= cpu::Segment::flat
           && displacement == static_cast<i32>(displacement);
}

// The address of an access in T0 becomes that of its range.
void UnitEmitter::back_to_range(const ir::Op& op) {
    if (op.window.distance == 0) return;
    if (op.guest.mode64())
        a_.lea(t0, x86::ptr(t0, -op.window.distance));
    else
        a_.lea(t0d, x86::ptr(t0, -op.window.distance)); // Back over 0, where the check fails.
}

// The operand's address, less `back`, as a sum of registers that have host registers, good for its low half.
std::optional<x86::Mem> UnitEmitter::low_sum(const ir::Op& op, i32 back) const {
    const cpu::Instruction& i = op.guest;
    const bool has_base = i.base < 16, has_index = i.index < 16;
    if (op.segment < cpu::Segment::flat || i.address_bytes() == 2) return std::nullopt;
    if ((has_base && !pinned(i.base)) || (has_index && !pinned(i.index))) return std::nullopt;
    if (i.base == cpu::rip_slot && movable()) return std::nullopt;
    const i32 displacement = static_cast<i32>(i64{i.displacement} - back);
    if (has_index) {
        const x86::Gpq index = host_gpq(i.index);
        if (has_base) return x86::ptr(host_gpq(i.base), index, i.scale(), displacement);
        return x86::ptr(u64{0}, index, i.scale()).cloneAdjusted(displacement);
    }
    if (has_base) return x86::ptr(host_gpq(i.base), displacement);
    const u64 sum = static_cast<u64>(i64{i.displacement} - back) + (i.base == cpu::rip_slot ? op.next_rip() : 0);
    const u64 address = sum & cpu::address_mask(i.address_bytes());
    if (address >> 31 != 0) return std::nullopt; // It would have to be extended with zeros.
    return x86::ptr(address);
}

void UnitEmitter::check_operand(const ir::Op& op, Access access) {
    if (!op.window.used()) {
        const bool write = op.access != ir::MemoryAccess::read;
        address_to_t0(op, write, op.access_bytes);
        return check_memory(op, write, op.access_bytes, op.aligned, low_sum(op), access);
    }
    check_range(op);
    if (access) (this->*access)(op);
}

void UnitEmitter::check_range(const ir::Op& op) {
    const bool write = op.access != ir::MemoryAccess::read;
    if (op.window.moving) return op.window.first ? check_moving(op) : use_moving(op, false);
    const bool aligned = op.aligned && op.access_bytes != 1;
    if (op.window.first) {
        const i32 distance = op.window.distance;
        if (!aligned && can_go_back(op, distance)) {
            offset_to_t0(op, distance);
            return open_window(op, low_sum(op, distance));
        }
        address_to_t0(op, write, op.access_bytes);
        if (aligned) check_alignment(op); // First: what faults sets no accessed or dirty bit.
        back_to_range(op);
        return open_window(op, {});
    }
    use_window(op);
    if (!aligned || op.window.aligned) return;
    a_.lea(t0, x86::ptr(t1, distance_)); // Pages are aligned as the guest's are.
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

void UnitEmitter::check_stack(const ir::Op& op, const x86::Gpq& pointer, i32 offset, bool write, Access access) {
    const auto do_access = [&] {
        if (access) (this->*access)(op);
    };
    if (op.window.used() && !op.window.first) {
        use_window(op);
        return do_access();
    }
    const ir::Surroundings& around = request_.unit.around;
    const bool plain = around.stack_address_bytes == 8 && around.stack_segment >= cpu::Segment::flat;
    const bool range = op.window.used();
    if (range && plain) offset -= op.window.distance;
    if (around.stack_address_bytes != 8)
        a_.lea(t0d, x86::ptr(pointer, offset));
    else if (offset != 0)
        a_.lea(t0, x86::ptr(pointer, offset));
    else
        a_.mov(t0, pointer);
    if (around.stack_address_bytes == 2) a_.movzx(t0d, t0.r16());
    add_segment(op, around.stack_segment, write, stack_bytes(op));
    if (range && !plain) {
        back_to_range(op);
        open_window(op, {});
        return do_access();
    }
    std::optional<x86::Mem> sum;
    if (around.stack_address_bytes != 2 && around.stack_segment >= cpu::Segment::flat) sum = x86::ptr(pointer, offset);
    if (range) {
        open_window(op, sum);
        return do_access();
    }
    check_memory(op, write, stack_bytes(op), false, sum, access);
}

x86::Mem UnitEmitter::operand(u32 size) const {
    if (there_) {
        x86::Mem m = x86::ptr(u64{0}, size).cloneAdjusted(there_->offsetLo32());
        if (there_->hasBase()) m.setBase(x86::gpd(there_->baseId()));
        if (there_->hasIndex()) m.setIndex(x86::gpd(there_->indexId()), there_->shift());
        m.setSegment(x86::gs);
        return m;
    }
    if (in_mirror_) {
        x86::Mem m = x86::ptr(t1, distance_, size);
        m.setSegment(x86::gs);
        return m;
    }
    if (beside_ != no_register) return x86::ptr(t1, x86::gpq(beside_), 0, distance_, size);
    return split_ ? x86::ptr(t1, t0, 0, 0, size) : x86::ptr(t1, distance_, size);
}

// The same for an instruction that is encoded again, after its prefixes.
HostOperands::Memory UnitEmitter::encoded_operand() const {
    if (there_) {
        const u8 index = there_->hasIndex() ? static_cast<u8>(there_->indexId()) : no_register;
        const u8 base = there_->hasBase() ? static_cast<u8>(there_->baseId()) : no_register;
        return {base, index, static_cast<u8>(there_->shift()), there_->offsetLo32()};
    }
    const u8 index = split_ ? static_cast<u8>(t0.id()) : beside_;
    return {static_cast<u8>(t1.id()), index, 0, split_ ? 0 : distance_};
}

void UnitEmitter::operand_prefixes() {
    if (in_mirror_) a_.gs();
    if (there_) a_.address32();
}

void UnitEmitter::free_t0() {
    if (!in_mirror_) join_address();
}

void UnitEmitter::join_address() {
    if (in_mirror_) {
        if (there_) a_.lea(t1d, *there_);
        a_.mov(t0, CALQUE_CONTEXT(mirror));
        a_.lea(t1, x86::ptr(t1, t0, 0, distance_));
    } else if (beside_ != no_register)
        a_.lea(t1, operand(8));
    else if (split_)
        a_.lea(t1, x86::ptr(t1, t0));
    else if (distance_ != 0)
        a_.lea(t1, x86::ptr(t1, distance_));
    operand_at_t1();
    in_mirror_ = false;
}

} // namespace calque::jit
