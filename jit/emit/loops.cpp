// The rounds of a unit's own loop (ir::Unit::loop_head).
#include "jit/emit/unit_emitter.h"

#include <algorithm>

namespace calque::jit {

void UnitEmitter::begin_rounds() {
    if (x87_note_ || request_.second_page_id != 0) return prepare_moving();
    // The vectors are loaded before the first round, unless a handler takes them away in each.
    const auto& ops = request_.unit.ops;
    const auto first = ops.begin() + static_cast<std::ptrdiff_t>(request_.unit.loop_head);
    const auto back = std::find_if(first, ops.end(), [](const ir::Op& op) { return op.loops_back; });
    const bool vectors = std::any_of(first, back, [](const ir::Op& op) { return op.vectors; });
    const bool handlers = std::any_of(first, back, [](const ir::Op& op) { return op.kind == Kind::interpret; });
    // Of flags that a recipe can give back EFLAGS need not tell.
    if (flags_ == FlagsIn::host && !first->flags_needed) flags_ = FlagsIn::dead;
    if (flags_ == FlagsIn::host && recipe_.kind != FlagRecipe::Kind::none) flags_ = FlagsIn::recipe;
    if (vectors && !handlers) need_vectors();
    t0_guest_ = nobody;
    prepare_moving();
    rounds_ = {true, a_.newLabel(), flags_, recipe_, vectors_here_, x87_here_};
    a_.bind(rounds_.head);
}

// The way back, for the next round, when nothing waits. False when the round would find things otherwise than the last
// one did; then nothing is emitted. What the emitter knows is as it was, for the other way.
bool UnitEmitter::next_round(const ir::Op& op) {
    if (!rounds_.known || x87_note_ || (rounds_.vectors && !vectors_here_) || (rounds_.x87 && !x87_here_)) return false;
    const bool recipe_kept = rounds_.recipe.kind == FlagRecipe::Kind::none || rounds_.recipe == recipe_;
    if (!recipe_kept) return false;
    const FlagsIn flags = flags_;
    if (rounds_.flags == FlagsIn::packed) flags_to_packed();
    if (rounds_.flags == FlagsIn::host) flags_to_host();
    const std::size_t number = out_.exits.size();
    Exit& exit = out_.exits.emplace_back();
    exit.target = op.target;
    exit.unit = request_.unit_index;
    exit.rights = request_.mode.rights();
    const Label stub = a_.newLabel();
    // EFLAGS may go when they are not needed, or can be had again.
    const bool recompute =
        flags_ != FlagsIn::packed && rounds_.flags != FlagsIn::host && recipe_.kind != FlagRecipe::Kind::none;
    if (flags_ == FlagsIn::packed || recompute) {
        const Label leave = a_.newLabel();
        exit.flags = flags_ == FlagsIn::packed ? FlagsIn::packed : FlagsIn::host;
        a_.cmp(events(2), 0);
        if (request_.counting == Counting::bounded) {
            a_.long_().jne(leave);
            check_limit(leave);
            a_.long_().jmp(rounds_.head);
        } else {
            a_.long_().je(rounds_.head);
            a_.long_().jmp(leave);
        }
        later([this, leave, stub, recompute, recipe = recipe_] {
            a_.bind(leave);
            if (recompute) recompute_recipe(recipe);
            a_.long_().jmp(stub);
        });
    } else if (request_.counting == Counting::bounded) {
        flags_to_host();
        pack_flags(a_);
        exit.flags = FlagsIn::packed;
        poll_or(stub);
        check_limit(stub);
        unpack_flags(a_);
        a_.long_().jmp(rounds_.head);
    } else {
        flags_to_host();
        exit.flags = FlagsIn::host;
        poll_backward(stub);
        a_.long_().jmp(rounds_.head);
    }
    exit_stub(number, stub);
    flags_ = flags;
    return true;
}

} // namespace calque::jit
