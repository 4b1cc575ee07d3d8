#include "jit/emit/counting.h"

#include "jit/emit/unit_emitter.h"

namespace calque::jit {

namespace {
x86::Mem count_at(std::size_t offset) { return context_at(offsetof(JitContext, counts) + offset, 8); }
#define COUNT(field) count_at(offsetof(UnitCounts, field))
} // namespace

// Changes T1; EFLAGS are kept.
void UnitEmitter::count_by(const x86::Mem& counter, i32 distance) {
    a_.mov(t1, counter);
    a_.lea(t1, x86::ptr(t1, distance));
    a_.mov(counter, t1);
}

// To `leave` when there is no room for all of the unit, or one round of it. Changes T1 and EFLAGS.
void UnitEmitter::check_limit(Label leave) {
    if (request_.counting != Counting::bounded) return;
    a_.mov(t1, COUNT(instructions));
    a_.add(t1, static_cast<i32>(request_.unit.ops.size()));
    a_.cmp(t1, COUNT(limit));
    a_.long_().ja(leave);
}

// All entries lead through the check, with the flags packed.
void UnitEmitter::enter_bounded() {
    const Label packed = a_.newLabel(), leave = a_.newLabel();
    if (movable()) {
        emit_computed_entry();
        a_.short_().jmp(packed);
    }
    out_.entry_host = here();
    pack_flags(a_);
    a_.bind(packed);
    out_.entry_packed = here();
    flags_ = FlagsIn::packed;
    const u32 number = static_cast<u32>(out_.exits.size());
    Exit& exit = out_.exits.emplace_back();
    exit.target = request_.unit.linear;
    exit.unit = request_.unit_index;
    exit.rights = request_.mode.rights();
    check_limit(leave);
    a_.mov(context_at(offsetof(JitContext, counts) + offsetof(UnitCounts, last_unit), 4), request_.unit_index);
    later([this, leave, number] {
        a_.bind(leave);
        set_site(exit_bit | (request_.first_exit + number));
        a_.jmp(thunk(request_.thunks.leave));
    });
}

void UnitEmitter::count_unit() {
    if (request_.counting == Counting::all) count_by(COUNT(units), 1);
}

// An instruction counts when it begins; who finds that it does not complete takes it back: uncount_instruction() and
// Engine::interpret().
void UnitEmitter::count_instruction(const ir::Op& op) {
    if (request_.counting == Counting::speed) return count_run(op);
    if (request_.counting != Counting::none && op.guest.length != 0) count_by(COUNT(instructions), 1);
}
// At the first of a run: all of it, as if none of them faulted.
void UnitEmitter::count_run(const ir::Op& op) {
    const auto& ops = request_.unit.ops;
    const std::size_t first = static_cast<std::size_t>(&op - ops.data());
    const auto ends = [&](std::size_t n) {
        const Kind kind = ops[n].kind;
        return kind == Kind::branch || kind == Kind::branch_if_count_zero || kind == Kind::loop || ops[n].loops_back
               || kind == Kind::return_near;
    };
    if (first != 0 && first != request_.unit.loop_head && !ends(first - 1)) return;
    i32 run = 0;
    for (std::size_t n = first; n < ops.size() && (n == first || n != request_.unit.loop_head); ++n) {
        run += ops[n].guest.length != 0;
        if (ends(n)) break;
    }
    if (flags_ == FlagsIn::host)
        count_by(COUNT(instructions), run);
    else
        a_.add(COUNT(instructions), run);
}
void UnitEmitter::uncount_instruction() {
    if (request_.counting != Counting::none && request_.counting != Counting::speed) count_by(COUNT(instructions), -1);
}

void UnitEmitter::count_range_hit() {
    if (request_.counting == Counting::all) count_by(COUNT(range_hits), 1);
}

// EFLAGS change in these.
void UnitEmitter::count_tlb_hit() {
    if (request_.counting == Counting::all) a_.add(COUNT(tlb_hits), 1);
}
void UnitEmitter::count_computed(bool known) {
    if (request_.counting == Counting::all) a_.add(known ? COUNT(computed) : COUNT(looked_up), 1);
}

} // namespace calque::jit
