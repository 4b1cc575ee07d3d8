#include "jit/emit/unit_emitter.h"

#include <algorithm>

namespace calque::jit {

UnitEmitter::UnitEmitter(const EmitRequest& request, EmitMemory& memory)
    : request_(request), table_(table_of(request.mode.rights())), out_(memory.unit), a_(memory.assembler),
      cold_(memory.cold) {
    out_.sites.clear();
    out_.exits.clear();
    out_.entry_host = out_.entry_packed = 0;
    a_.start(request.base);
}

void UnitEmitter::emit(const ir::Op& op) {
    switch (op.kind) {
#define OP(name, meaning)                                                                                              \
    case Kind::name:                                                                                                   \
        return emit_##name(op);
#include "jit/ir/ops.inc"
#undef OP
    }
}

namespace {
bool ends_unit(const ir::Op& op) {
    using ir::OpKind;
    if (op.follows) return false;
    const OpKind kind = op.kind;
    return kind == OpKind::interpret_and_leave || kind == OpKind::call_indirect || kind == OpKind::jump_indirect
           || kind == OpKind::return_near || kind == OpKind::system_call || kind == OpKind::system_return
           || kind == OpKind::change_access;
}
} // namespace

// All entries but the computed one lead to what follows, with the flags where the unit likes them best.
void UnitEmitter::enter_unit() {
    const FlagsIn preference = entry_preference();
    Label packed;
    if (movable()) {
        emit_computed_entry();
        if (preference == FlagsIn::packed) a_.short_().jmp(packed = a_.newLabel());
    }
    switch (preference) {
    case FlagsIn::host:
        out_.entry_packed = here();
        unpack_flags(a_);
        out_.entry_host = here();
        flags_ = FlagsIn::host;
        break;
    case FlagsIn::dead:
        out_.entry_host = out_.entry_packed = here();
        flags_ = FlagsIn::dead;
        break;
    default:
        out_.entry_host = here();
        pack_flags(a_);
        if (packed.isValid()) a_.bind(packed);
        out_.entry_packed = here();
        flags_ = FlagsIn::packed;
        break;
    }
}

EmittedUnit& UnitEmitter::run() {
    a_.watch(t1);
    if (request_.counting == Counting::bounded)
        enter_bounded();
    else
        enter_unit();
    if (!movable()) out_.entry_computed = out_.entry_packed;
    if (request_.second_page_id != 0) guard_second_page();
    count_unit();
    for (const ir::Op& op : request_.unit.ops) {
        const std::size_t number = static_cast<std::size_t>(&op - request_.unit.ops.data());
        if (!in_stack_run(op) || op.window.first || number == request_.unit.loop_head) settle_stack();
        if (number == request_.unit.loop_head) begin_rounds();
        const std::size_t first_site = out_.sites.size();
        const bool shadow = interrupts_on_;
        interrupts_on_ = false;
        count_instruction(op);
        keep_x87_notes(op);
        emit(op);
        note_x87(op);
        if (shadow && !ends_unit(op)) {
            if (x87_note_) write_x87_notes();
            settle_stack();
            poll_before(op.next_rip());
        }
        if (op.access == ir::MemoryAccess::none && !op.may_trap) continue;
        // Where a handler did the instruction, translated code goes on with things as they are here.
        const FlagsIn flags = flags_;
        const bool vectors = vectors_here_, x87 = x87_here_;
        const bool continues =
            op.kind == Kind::host || op.kind == Kind::patched || op.kind == Kind::x87_load_control
            || op.kind == Kind::multiply_divide || op.kind == Kind::compare_exchange || op.kind == Kind::push_register
            || op.kind == Kind::push_immediate || op.kind == Kind::push_memory || op.kind == Kind::pop_register
            || op.kind == Kind::leave_frame || op.kind == Kind::push_all || op.kind == Kind::pop_all
            || op.kind == Kind::push_segment || op.kind == Kind::load_segment || op.kind == Kind::pop_segment
            || op.kind == Kind::load_far_pointer || op.kind == Kind::string_load || op.kind == Kind::string_store
            || op.kind == Kind::string_move || op.kind == Kind::bit_string || op.kind == Kind::copy
            || op.kind == Kind::fill || op.kind == Kind::scan || op.kind == Kind::compare_strings
            || op.kind == Kind::gather;
        // Where windows stay open from round to round there is no end to what handlers may have changed meanwhile.
        if (!continues || request_.unit.loop_windows) continue;
        const bool handled = std::any_of(out_.sites.begin() + static_cast<std::ptrdiff_t>(first_site), out_.sites.end(),
                                         [](const Site& site) { return !site.window; });
        if (!handled) continue;
        const Label back = a_.newLabel();
        a_.bind(back);
        t0_guest_ = nobody;
        const std::size_t last_site = out_.sites.size();
        later([this, first_site, last_site, flags, vectors, x87, back] {
            const u32 resume = here();
            if (vectors) a_.call(thunk(request_.thunks.load_vectors));
            if (x87) a_.call(thunk(request_.thunks.load_x87));
            if (flags == FlagsIn::host) unpack_flags(a_);
            a_.jmp(back);
            for (std::size_t n = first_site; n < last_site; ++n) {
                out_.sites[n].resumes = true;
                out_.sites[n].resume = resume;
            }
        });
    }
    a_.begin_cold(request_.cold);
    cold_.run();
    out_.complete = a_.finish(out_.code, out_.cold);
    return out_;
}

} // namespace calque::jit
