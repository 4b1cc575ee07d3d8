// Accesses of a loop whose addresses move up by a constant each round, or stay (ir::Window::moving).
#include "jit/emit/unit_emitter.h"

namespace calque::jit {

namespace {

constexpr i32 farthest = static_cast<i32>(page_size);

// The address is a register with a host register, and a constant.
bool is_register(const cpu::Instruction& i) {
    return i.base < 16 && pinned(i.base) && i.index >= 16 && i.displacement <= farthest && i.displacement >= -farthest;
}
// The operation whose address is the one that is compared: of a table, without the index.
ir::Op compared(const ir::Op& op) {
    ir::Op of = op;
    if (op.window.table) of.guest.index = cpu::zero_slot;
    return of;
}
bool by_register(const ir::Op& op) { return is_register(compared(op).guest) && !(op.aligned && op.access_bytes != 1); }

} // namespace

UnitEmitter::MovingWindow UnitEmitter::moving_window(const ir::Op& op) {
    using Moving = JitContext::MovingWindow;
    const std::size_t at = offsetof(JitContext, moving_windows) + op.window.slot * sizeof(Moving);
    return {context_at(at + offsetof(Moving, limit), 8), context_at(at + offsetof(Moving, distance), 8)};
}

// In front of the rounds, which change EFLAGS no more than this does: by now the flags are elsewhere, or nothing can be
// prepared.
void UnitEmitter::prepare_moving() {
    for (const ir::MovingRange& range : request_.unit.moving) {
        a_.mov(moving_window(request_.unit.ops[range.first]).limit, 0); // Below which nothing is.
        if (flags_ != FlagsIn::host) find_moving(range);
    }
}

// A hit in the TLB makes the range known for the first round. All else is left to that.
void UnitEmitter::find_moving(const ir::MovingRange& range) {
    const ir::Op& op = request_.unit.ops[range.first];
    const i32 displacement = static_cast<i32>(range.displacement);
    const bool has_base = range.base < 16, has_index = range.index < 16;
    if (displacement != range.displacement || (!has_base && !has_index)) return;
    if ((has_base && !pinned(range.base)) || (has_index && !pinned(range.index))) return;
    x86::Mem address = has_base ? x86::ptr(host_gpq(range.base), displacement)
                                : x86::ptr(u64{0}, host_gpq(range.index), range.scale).cloneAdjusted(displacement);
    if (has_base && has_index)
        address = x86::ptr(host_gpq(range.base), host_gpq(range.index), range.scale, displacement);
    const Label none = a_.newLabel();
    a_.lea(t0, address);
    find_page(op.window.write, op.window.span, none);
    join_address();
    a_.lea(t0, address);
    a_.sub(t1, t0);
    a_.mov(moving_window(op).distance, t1);
    limit_moving(op, by_register(op), none);
    a_.mov(moving_window(op).limit, t0);
    a_.bind(none);
}

// T0: an address of the range, in a page that has all of it. The limit in T0, or to `none` near either end of all
// addresses, where a sum may begin anew. T1 is used.
void UnitEmitter::limit_moving(const ir::Op& op, bool by_register, Label none) {
    a_.or_(t0, static_cast<i32>(page_offset_mask)); // The page's last byte;
    // behind the last address of this access for which the range fits.
    a_.lea(t0, x86::ptr(t0, 2 - static_cast<i32>(op.window.span) + op.window.distance));
    a_.lea(t1, x86::ptr(t0, -4 * farthest));
    a_.cmp(t1, -8 * farthest);
    a_.long_().ja(none);
    if (by_register && op.guest.displacement != 0) a_.lea(t0, x86::ptr(t0, -op.guest.displacement));
}

// The first access in a round. What is compared only grows, by less than a page at once, and does not begin anew
// (limit_moving): what is below the limit is in the page that an earlier round found.
void UnitEmitter::check_moving(const ir::Op& op) {
    const bool in_register = by_register(op);
    if (!in_register) offset_to_t0(compared(op));
    if (op.aligned && op.access_bytes != 1) check_alignment(op); // First: what faults sets no accessed or dirty bit.
    const Label moved = a_.newLabel(), settled = a_.newLabel();
    a_.cmp(in_register ? host_gpq(op.guest.base) : t0, moving_window(op).limit);
    a_.long_().jae(moved);
    a_.bind(settled);
    later([this, &op, in_register, flags = flags_, recipe = recipe_, moved, settled] {
        a_.bind(moved);
        flags_ = flags; // As they were there.
        recipe_ = recipe;
        settle_moving(op, in_register, settled);
    });
    use_moving(op, !in_register && !op.window.table);
}

void UnitEmitter::use_moving(const ir::Op& op, bool address_in_t0) {
    const bool in_register = is_register(op.guest) && !address_in_t0;
    if (!in_register && !address_in_t0) offset_to_t0(op);
    count_range_hit();
    const u8 number = static_cast<u8>(ir::windows + op.window.slot);
    if (t1_window_ != number || t1_touches_ != a_.touches()) {
        a_.mov(t1, moving_window(op).distance);
        keep_in_t1(number);
    }
    operand_at_t1();
    split_ = !in_register;
    in_mirror_ = false;
    beside_ = in_register ? host_of_guest[op.guest.base] : no_register;
    distance_ = in_register ? op.guest.displacement : 0;
    if (!op.aligned || op.access_bytes == 1 || op.window.aligned || op.window.first) return;
    join_address();
    a_.mov(t0, t1); // Pages are aligned as the guest's are.
    check_alignment(op);
}

// Finds the page, as any check does. From a hit in the TLB on it is known until the range leaves it; what a refill
// finds may be good for these bytes only.
void UnitEmitter::settle_moving(const ir::Op& op, bool by_register, Label settled) {
    const bool write = op.window.write;
    const MovingWindow window = moving_window(op);
    const i32 distance = op.window.distance, span = op.window.span;
    const Label miss = a_.newLabel(), found = a_.newLabel(), unknown = a_.newLabel(), keep = a_.newLabel(),
                drop = a_.newLabel(), alone = leave_alone(op);
    const auto range_to_t0 = [&] {
        offset_to_t0(compared(op));
        if (distance != 0) a_.lea(t0, x86::ptr(t0, -distance));
    };
    const auto keep_distance = [&] { // T1: the host's address of the range; T0 becomes the guest's.
        a_.mov(window.distance, t1);
        range_to_t0();
        a_.mov(t1, window.distance);
        a_.sub(t1, t0);
        a_.mov(window.distance, t1);
    };
    range_to_t0();
    find_page(write, op.window.span, miss);
    a_.bind(found);
    join_address();
    keep_distance();
    limit_moving(op, by_register, drop);
    a_.bind(keep);
    a_.mov(window.limit, t0);
    if (!by_register) offset_to_t0(compared(op));
    a_.long_().jmp(settled);
    a_.bind(drop);
    a_.xor_(t0d, t0d);
    a_.long_().jmp(keep);

    a_.bind(miss);
    address_again(write);
    Site& site = new_site(op);
    site.access_bytes = static_cast<u16>(span);
    site.window = true;
    site.write = write;
    if (request_.mirror) {
        set_site(site_number(site));
        fill_page(write, op.window.span, unknown);
        a_.long_().jmp(found);
        a_.bind(unknown);
    }
    // Where a read is checked for the writes behind it, nothing but a hit will do: a refill would make the page dirty.
    if (write && op.access == ir::MemoryAccess::read) return static_cast<void>(a_.long_().jmp(alone));
    a_.mov(t1d, t0d);
    a_.and_(t1d, static_cast<i32>(page_offset_mask));
    a_.cmp(t1d, static_cast<i32>(page_size) - span);
    a_.long_().ja(alone);
    set_site(site_number(site));
    a_.call(thunk(request_.thunks.refill));
    a_.add(t1, t0);
    keep_distance();
    a_.long_().jmp(drop);
}

} // namespace calque::jit
