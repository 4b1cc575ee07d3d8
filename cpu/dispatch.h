// From one block to the next without the interpreter's loop: chain records, and a jump cache for computed targets.
#pragma once

#include "cpu/block.h"

namespace calque::cpu {

// A computed target seen before. `host` proves that the linear address still leads to the same memory.
struct JumpEntry {
    u64 linear = 0;
    u64 key = 0;
    const u8* host = nullptr;
    const Instruction* first = nullptr;
};
inline constexpr unsigned jump_entries = 8192;
inline u64 jump_slot(u64 linear) { return (linear ^ (linear >> 13)) & (jump_entries - 1); }

// Where the compiler does not turn calls in tail position into jumps, the loop has to be returned to after each block.
#if defined(__has_feature)
#define CALQUE_HAS_FEATURE(x) __has_feature(x)
#else
#define CALQUE_HAS_FEATURE(x) 0
#endif
#if !defined(__OPTIMIZE__) || defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)                            \
    || CALQUE_HAS_FEATURE(address_sanitizer) || CALQUE_HAS_FEATURE(thread_sanitizer)                                   \
    || CALQUE_HAS_FEATURE(memory_sanitizer)
inline constexpr bool tail_calls = false;
#else
inline constexpr bool tail_calls = true;
#endif
#undef CALQUE_HAS_FEATURE

inline bool may_go_on(const Cpu& cpu, u64 instructions) {
    return tail_calls && instructions < cpu.dispatch.limit && cpu.events.load(std::memory_order_relaxed) == 0;
}
// The host address of the code at `linear` by the TLB, or null when that is not known at once.
inline const u8* code_host(const Cpu& cpu, u64 linear) {
    const mmu::TlbView& view = cpu.mmu.view(mmu::Privilege::current);
    const mmu::TlbEntry& entry = view.entry(linear);
    if (!mmu::tlb_hit(entry.execute_tag, linear, 1)) [[unlikely]]
        return nullptr;
    return reinterpret_cast<const u8*>(entry.host + (linear ^ entry.execute_tag));
}
inline void enter(Cpu& cpu, const Instruction* first) {
    cpu.dispatch.first = first;
    return first->handler(cpu, first);
}
// Whether the block is still cold: once its heat is used up, the loop decides about it (Interpreter::run_blocks).
inline bool cold(const Instruction* first) { return --Block::of(first).heat > 0; }
inline void leave(Cpu& cpu, Flow flow, const Instruction* last) { cpu.exit_ = {flow, last}; }

// To the block at RIP, if it is in the jump cache and nothing wants the loop; `instructions` are then complete.
inline void go_seen64(Cpu& cpu, u64 instructions, const Instruction* last) {
    const u64 linear = cpu.state.rip();
    const JumpEntry& entry = cpu.dispatch.jumps[jump_slot(linear)];
    if (may_go_on(cpu, instructions) && entry.linear == linear && entry.key == cpu.dispatch.code_key
        && entry.host == code_host(cpu, linear) && cold(entry.first)) [[likely]] {
        cpu.instructions = instructions;
        return enter(cpu, entry.first);
    }
    return leave(cpu, Flow::jump, last);
}
inline void go_seen32(Cpu& cpu, u64 instructions, const Instruction* last) {
    const SegmentRegister& code = cpu.state.segment[cs];
    const u64 rip = cpu.state.rip(), linear = static_cast<u32>(code.base + rip);
    const JumpEntry& entry = cpu.dispatch.jumps[jump_slot(linear)];
    if (may_go_on(cpu, instructions) && entry.linear == linear && entry.key == cpu.dispatch.code_key
        && entry.host == code_host(cpu, linear) && rip + Block::of(entry.first).bytes - 1 <= code.limit
        && cold(entry.first)) [[likely]] {
        cpu.instructions = instructions;
        return enter(cpu, entry.first);
    }
    return leave(cpu, Flow::jump, last);
}
// After a computed jump: RIP is the target; `i`, the jump, is complete.
inline void go_computed(Cpu& cpu, const Instruction* i) {
    const u64 instructions = cpu.instructions + static_cast<u64>(i - cpu.dispatch.first) + 1;
    return i->mode64() ? go_seen64(cpu, instructions, i) : go_seen32(cpu, instructions, i);
}

// The chain record of a relative jump, `distance` records further on: its displacement.
inline void go_chained(Cpu& cpu, const Instruction* i, i32 distance) {
    i += distance;
    return i->handler(cpu, i);
}

} // namespace calque::cpu
