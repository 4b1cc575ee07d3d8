// Code that is mapped at different addresses, as libraries are: units of it are made for the place of their page
// (mmu/execute_ids.h), and find in the context how far from there they run. Only what comes to them by a computed
// address says how far that is; from unit to unit nothing changes.
#include "jit/emit/unit_emitter.h"

namespace calque::jit {

// T0: the linear address where the unit was entered. Flags are packed.
void UnitEmitter::emit_computed_entry() {
    out_.entry_computed = here();
    // CodeCache::kill() writes a jump over the first five bytes.
    check_shift(request_.unit.linear);
}

// T0: the linear address of the code at `place`, by which it was come to.
void UnitEmitter::check_shift(u64 place) {
    const Label moved = a_.newLabel(), here_already = a_.newLabel();
    a_.lea(t0, x86::ptr(t0, static_cast<i32>(-static_cast<i64>(place)))); // Up to 2 GiB, where a page ends.
    a_.cmp(t0, CALQUE_CONTEXT(shift));
    a_.long_().jne(moved);
    a_.bind(here_already);
    later([this, moved, here_already] {
        a_.bind(moved);
        a_.call(thunk(request_.thunks.set_shift));
        a_.jmp(here_already);
    });
}

void UnitEmitter::address_of_code(const x86::Gpq& to, u64 address) {
    if (!movable()) {
        a_.mov(to, asmjit::Imm(address));
        return;
    }
    i64 distance = static_cast<i64>(address);
    a_.mov(to, CALQUE_CONTEXT(shift));
    if (distance != static_cast<i32>(distance)) { // Hardly ever: from 2 to 4 GiB.
        a_.lea(to, x86::ptr(to, static_cast<i32>(distance / 2)));
        distance -= distance / 2;
    }
    a_.lea(to, x86::ptr(to, static_cast<i32>(distance)));
}

} // namespace calque::jit
