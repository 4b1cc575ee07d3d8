// Where the arithmetic flags are kept.
#include "cpu/table.h"
#include "jit/emit/unit_emitter.h"

#include <algorithm>

namespace calque::jit {

using cpu::OperandKind;

namespace {
constexpr u8 flags_at = offsetof(JitContext, flags);
static_assert(offsetof(JitContext, flags) < 0x80 && sizeof(JitContext::flags) == 4);
} // namespace

// LAHF leaves SF:ZF:0:AF:0:PF:1:CF in AH. OF comes back by an addition that overflows when AL was 1.
void pack_flags(UnitAssembler& a) {
    // LAHF; SETO AL; MOV [RSP + flags], EAX
    a.embed(std::array<u8, 8>{0x9F, 0x0F, 0x90, 0xC0, 0x89, 0x44, 0x24, flags_at});
}
void unpack_flags(UnitAssembler& a) {
    // MOV EAX, [RSP + flags]; ADD AL, 0x7F; SAHF
    a.embed(std::array<u8, 7>{0x8B, 0x44, 0x24, flags_at, 0x04, 0x7F, 0x9E});
}

// The host's EFLAGS serve when the first operation that cares reads them, or when none does before the unit ends.
FlagsIn UnitEmitter::entry_preference() const {
    if (!request_.unit.ops.front().flags_needed && request_.second_page_id == 0) return FlagsIn::dead;
    for (const ir::Op& op : request_.unit.ops) {
        if (op.kind == Kind::jump || op.kind == Kind::fall_through || op.kind == Kind::branch
            || op.kind == Kind::branch_if_count_zero || op.kind == Kind::loop)
            return FlagsIn::host;
        if (op.observes_flags()) return FlagsIn::packed;
        if (op.reads != 0) return FlagsIn::host;
        if (op.writes == ir::all_flags && request_.second_page_id == 0) return FlagsIn::dead;
        if (op.writes != 0) return FlagsIn::host;
    }
    return FlagsIn::packed;
}

void UnitEmitter::before_clobber(const ir::Op& op) {
    if (flags_ != FlagsIn::host) return;
    if (!op.flags_needed) {
        flags_ = FlagsIn::dead;
    } else if (recipe_.kind != FlagRecipe::Kind::none) {
        flags_ = FlagsIn::recipe;
    } else {
        pack_flags(a_);
        flags_ = FlagsIn::packed;
    }
}

void UnitEmitter::clobber_with(const ir::Op& op, std::initializer_list<unsigned> written) {
    const bool lost = std::any_of(written.begin(), written.end(), [&](unsigned guest) { return recipe_.uses(guest); });
    if (lost && flags_ == FlagsIn::recipe) {
        if (op.flags_needed)
            flags_to_packed();
        else
            flags_ = FlagsIn::dead;
    }
    if (lost) recipe_.kind = FlagRecipe::Kind::none;
    before_clobber(op);
}

void UnitEmitter::flags_to_host() {
    if (flags_ == FlagsIn::packed) unpack_flags(a_);
    if (flags_ == FlagsIn::recipe) recompute_recipe(recipe_);
    flags_ = FlagsIn::host;
}

void UnitEmitter::flags_to_packed() {
    if (flags_ == FlagsIn::packed) return;
    flags_to_host();
    pack_flags(a_);
    flags_ = FlagsIn::packed;
}

// The operation again, on what its registers say its operands were; the results go nowhere.
void UnitEmitter::recompute_recipe(const FlagRecipe& recipe) {
    const auto sized = [&](unsigned number) -> x86::Gp {
        return recipe.size == 8 ? x86::Gp(x86::gpq(number)) : x86::Gp(x86::gpd(number));
    };
    const auto operand_of = [&](unsigned guest) -> asmjit::Operand {
        if (pinned(guest)) return sized(host_of_guest[guest]);
        return spilled_slot(guest, recipe.size);
    };
    const x86::Gp temporary = sized(host_t0);
    const asmjit::Operand result = operand_of(recipe.result);
    const asmjit::Operand second = recipe.operand_is_register
                                       ? operand_of(recipe.operand)
                                       : asmjit::Operand(asmjit::Imm(static_cast<i32>(recipe.immediate)));
    switch (recipe.kind) {
    case FlagRecipe::Kind::compare:
    case FlagRecipe::Kind::test: {
        asmjit::Operand first = result;
        if (first.isMem() && second.isMem()) {
            a_.mov(temporary, first);
            first = temporary;
        }
        const bool test = recipe.kind == FlagRecipe::Kind::test;
        if (test)
            a_.test(first, second);
        else
            a_.cmp(first, second);
        break;
    }
    case FlagRecipe::Kind::logic:
        a_.mov(temporary, result);
        a_.test(temporary, temporary);
        break;
    case FlagRecipe::Kind::add: // The first operand was result - second.
        a_.mov(temporary, result);
        a_.sub(temporary, second);
        a_.add(temporary, second);
        break;
    case FlagRecipe::Kind::subtract:
        a_.mov(temporary, result);
        a_.add(temporary, second);
        a_.sub(temporary, second);
        break;
    case FlagRecipe::Kind::none: break;
    }
}

bool UnitEmitter::invalidates_recipe(const ir::Op& op) const {
    if (recipe_.kind == FlagRecipe::Kind::none) return false;
    const u32 used = 1u << recipe_.result | (recipe_.operand_is_register ? 1u << recipe_.operand : 0);
    return (ir::written_registers(op) & used) != 0;
}

// Before the operation runs, EFLAGS must be the guest's: it reads them, keeps some of them, or takes away what a recipe
// is made of.
bool UnitEmitter::needs_host_flags(const ir::Op& op) const {
    if (flags_ == FlagsIn::host || flags_ == FlagsIn::dead) return false;
    if (op.reads != 0) return true;
    if (op.writes == ir::all_flags) return false;
    if (op.writes != 0) return op.flags_needed_after;
    return flags_ == FlagsIn::recipe && op.flags_needed_after && invalidates_recipe(op);
}

FlagRecipe UnitEmitter::recipe_of(const ir::Op& op) const {
    FlagRecipe recipe;
    if (op.kind != Kind::host || op.vectors || op.access != ir::MemoryAccess::none || op.parsed.vex) return recipe;
    const unsigned size = op.guest.operand_size;
    if (size < 4) return recipe;
    const ParsedInstruction& p = op.parsed;
    if (p.map != 0 || p.memory || p.register_in_opcode) return recipe;
    // Opcodes 01, 03, 81, 83 of the eight operations; 85, F7 of TEST.
    using RecipeKind = FlagRecipe::Kind;
    static constexpr RecipeKind kinds[] = {RecipeKind::add,   RecipeKind::logic,  RecipeKind::none,
                                           RecipeKind::none,  RecipeKind::logic,  RecipeKind::subtract,
                                           RecipeKind::logic, RecipeKind::compare};
    recipe.size = static_cast<u8>(size);
    if (p.opcode < 0x40 && ((p.opcode & 7) == 1 || (p.opcode & 7) == 3)) {
        recipe.kind = kinds[p.opcode >> 3];
        const bool to_rm = (p.opcode & 7) == 1;
        recipe.result = to_rm ? p.modrm_rm : p.modrm_reg;
        recipe.operand = to_rm ? p.modrm_reg : p.modrm_rm;
        recipe.operand_is_register = true;
        const bool changes = recipe.kind == RecipeKind::add || recipe.kind == RecipeKind::subtract;
        if (changes && recipe.result == recipe.operand) recipe.kind = RecipeKind::none; // The operand is gone.
    } else if (p.opcode == 0x81 || p.opcode == 0x83) {
        recipe.kind = kinds[p.modrm_reg & 7];
        recipe.result = p.modrm_rm;
        recipe.immediate = p.immediate_bytes == 1 ? static_cast<i8>(p.immediate) : static_cast<i32>(p.immediate);
    } else if (p.opcode == 0x85) {
        recipe.kind = RecipeKind::test;
        recipe.result = p.modrm_rm;
        recipe.operand = p.modrm_reg;
        recipe.operand_is_register = true;
    } else if (p.opcode == 0xF7 && (p.modrm_reg & 7) < 2) {
        recipe.kind = RecipeKind::test;
        recipe.result = p.modrm_rm;
        recipe.immediate = static_cast<i32>(p.immediate);
    }
    if (recipe.kind == RecipeKind::logic) recipe.operand_is_register = false;
    return recipe;
}

void UnitEmitter::after_execution(const ir::Op& op) {
    if (op.writes == 0) {
        if (recipe_.kind != FlagRecipe::Kind::none && invalidates_recipe(op)) {
            recipe_.kind = FlagRecipe::Kind::none;
            if (flags_ == FlagsIn::recipe) flags_ = FlagsIn::dead; // Else needs_host_flags() was true.
        }
        return;
    }
    const bool partial = op.writes != ir::all_flags;
    if (partial && flags_ != FlagsIn::host) {
        flags_ = FlagsIn::dead; // Nobody looks.
        recipe_.kind = FlagRecipe::Kind::none;
        return;
    }
    flags_ = FlagsIn::host;
    recipe_ = recipe_of(op);
}

} // namespace calque::jit
