// What translated code addresses directly: one block of memory per vCPU at which the host's stack pointer stands while
// translated code runs, with the stack of the functions it calls below.
//
//   | guard | stack of the helpers ... | JitContext |
//                                      ^ RSP in translated code
#pragma once

#include "cpu/cpu.h"
#include "jit/ir/unit.h"
#include "mmu/address_spaces.h"
#include "mmu/tlb_layout.h"

#include <array>
#include <cstddef>
#include <memory>

namespace calque::jit {

class Engine;

// The arithmetic flags between two pieces of translated code, as LAHF and SETO leave them in EAX: AH holds SF, ZF, AF,
// PF, CF in their places, AL is OF.
using PackedFlags = u32;

// What translated code leaves to be told (Engine::sync): the latest SYSCALL or SYSRET, and a change of RFLAGS.AC.
enum SyncBits : u8 { sync_system_call = 1, sync_system_return = 2, sync_access = 4 };

inline constexpr u32 exit_bit = u32{1} << 31;
inline constexpr u32 computed_exit = ~u32{0}; // As `exit_site`: RIP is in the state.

// What units count, when they were made so (jit/emit/counting.h).
struct UnitCounts {
    u64 instructions = 0; // As Cpu::instructions, while translated code runs.
    u64 limit = ~u64{0};  // A unit that might go beyond leaves at its head (Counting::bounded).
    u64 units = 0;        // Entered.
    u64 range_hits = 0;   // Accesses by a check that others had done: the first level.
    u64 tlb_hits = 0;     // By a check of their own (or for a range) in the TLB table: the second.
    u64 computed = 0;     // Computed jumps, calls and returns whose target the target cache had.
    u64 looked_up = 0;    // And those that it had not.
    u32 last_unit = 0;    // Number of the unit entered last.
};

struct JitContext {
    u64 spilled[3] = {}; // Guest registers that have no host register (emit/registers.h).
    PackedFlags flags = 0;
    u8 vectors_absent = 1;   // 1: the guest's vector registers and MXCSR are in CpuState; 0: in the host's.
    u8 x87_absent = 1;       // The same of the x87 state (jit/x87.h).
    u8 x87_data_segment = 0; // cpu::Segment plus one of the operand at `x87_data`; 0: nothing is noted there.
    u8 unsynced = 0;         // SyncBits: what the processor has not been told.
    // Of the TLB tables of the current address space, by RightsMode (mmu::TlbView).
    u32 index_masks[mmu::rights_modes] = {};
    // Which bits of an address are the number of its entry (EngineOptions::fast_pext), or what that is masked with.
    u64 mirror_masks[mmu::rights_modes] = {};
    u32 exit_site = 0;            // Number of the site that calls out or, with `exit_bit`, of the exit that left.
    const void* events = nullptr; // Cpu::events: translated loops leave when it is not zero.
    // Host addresses, counted from `mirror` where code uses that (ir::Window). What is addressed with one byte is
    // short.
    u64 windows[ir::windows] = {};
    cpu::CpuState* state = nullptr;
    const void* mirror = nullptr; // GS's base: where the mirror of the current address space begins (mmu/mirror.h).
    u64 fs_base = 0, gs_base = 0; // Copies of the guest's segment bases.
    u64 host_rsp = 0;             // The caller's stack, while translated code runs.
    u64 scratch = 0;              // A code pointer that outlives a memory check.
    u64 leave_rip = 0;            // Where there is no code (Thunks::leave_computed); what a computed entry is for.
    // How far from their places the movable units that run are (ir::Surroundings::movable); and the same as the byte
    // distance of execute ids, and subtracted as in an execute id.
    u64 shift = 0, shift_slot = 0, shift_id = 0;
    u32 host_mxcsr = 0x1F80;
    u32 until_mirrored = 1; // Accesses to pages outside the mirror until one of them is put there.
    const CurrentScale* timestamp_scale = nullptr; // Null, or what it holds is null: by a C++ function.
    Engine* engine = nullptr;
    struct MovingWindow {
        u64 limit = 0;    // What the register or address that is compared has to be below.
        u64 distance = 0; // From guest-linear to host addresses.
    };
    MovingWindow moving_windows[ir::moving_windows] = {};
    // Of each segment, for 16- and 32-bit code.
    struct Segment {
        u64 base = 0;
        u64 read_end = 0, write_end = 0; // What offset plus size may be at most; 0 where nothing, or not just that, is
                                         // allowed: the handlers know.
    };
    Segment segments[6] = {};
    i64 direction = 1;                  // Of strings: -1 while DF is set.
    u64 x87_instruction = 0;            // The last x87 instruction, as pack_x87_instruction() has it; 0: nothing new.
    u64 x87_data = 0;                   // Offset of the last x87 memory operand.
    std::array<std::byte, 32> across{}; // What was read across two pages.
    UnitCounts counts;
    std::array<std::byte, 96> gather{}; // Of a VGATHER under way: destination, mask and indexes.
    // What XRSTOR loads the x87 state from: legacy area and header.
    alignas(64) std::byte x87_image[576] = {};
};
static_assert(sizeof(JitContext) % 64 == 0);

// To another shift; translated code does the same (Thunks::set_shift).
inline void set_shift(JitContext& context, u64 shift) {
    context.shift = shift;
    context.shift_slot = (shift >> page_shift & (mmu::tlb_execute_id_count - 1)) * sizeof(mmu::ExecuteId);
    context.shift_id = 0 - (shift << mmu::execute_shift_left);
}

// The context at the end of its own stack mapping.
class ContextMemory {
  public:
    ContextMemory();
    ~ContextMemory();
    ContextMemory(const ContextMemory&) = delete;
    ContextMemory& operator=(const ContextMemory&) = delete;
    JitContext& context() { return *context_; }

  private:
    static constexpr std::size_t stack_bytes = std::size_t{1} << 20;
    void* mapping_ = nullptr;
    JitContext* context_ = nullptr;
};

} // namespace calque::jit
