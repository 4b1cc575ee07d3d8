// A translation unit in the intermediate form: a straight run of guest code with side exits, one operation per guest
// instruction, annotated by the passes in jit/opt. On an x86-64 host most operations are the guest's own instructions;
// what the form adds is what they touch besides: memory, flags, exits.
#pragma once

#include "cpu/instruction.h"
#include "jit/ir/encoding.h"

#include <string>
#include <vector>

namespace calque::jit::ir {

enum class OpKind : u8 {
#define OP(name, meaning) name,
#include "jit/ir/ops.inc"
#undef OP
};
std::string_view name_of(OpKind kind);

// The six arithmetic flags, in RFLAGS positions.
using Flags = u32;
inline constexpr Flags all_flags = static_cast<Flags>(cpu::arithmetic_flags);

// What an operation that runs on the host's x87 unit is to it.
enum class X87Use : u8 {
    none,
    noted,   // FOP and FIP name it from then on, and FDP its memory operand.
    control, // They do not.
    mmx,
};

// What an operation reads or writes of the processor's state.
enum class StateField : u8 { cr0, cr2, cr3, cr4, es, cs, ss, ds, fs, gs, fs_base, gs_base };

enum class MemoryAccess : u8 { none, read, write, modify };

// Accesses off the same unchanged registers that share one check: the first finds the whole range of them in one page
// and keeps its host address in JitContext::windows; the others only add their distance to it.
inline constexpr unsigned windows = 8;
// In a loop, a range that moves up by a constant each round, or stays, is `moving`: how far guest addresses are from
// the host's, and up to where, is kept from round to round (MovingWindow); the first access of a round compares its
// address with the latter.
inline constexpr unsigned moving_windows = 8;
struct Window {
    static constexpr u8 none = 0xFF;
    u8 slot = none;
    bool first = false;
    bool write = false;   // Checked for writing; only then may accesses of the range write.
    bool aligned = false; // An access before it was aligned, so that this one is too, where it has to be.
    bool moving = false;  // The slot is one of those.
    bool table = false;   // Moving; the range is that of all values of the index, which is a small one.
    u16 span = 0;         // Bytes of the range.
    i32 distance = 0;     // Of this access from the range's first byte.

    bool used() const { return slot != none; }
};

// An immediate that is read from guest memory each time, because the guest patches it (mmu/patch_fields.h).
struct Literal {
    const u8* host = nullptr; // Null: the operation has none.
    u8 size = 0;
    bool field = false; // Is a patch field; else it has to become one before the unit is made.
};

// What an operation is, wherever its instruction stands: the same for many.
struct OpShape {
    OpKind kind = OpKind::nothing;
    MemoryAccess access = MemoryAccess::none;
    u8 access_bytes = 0;
    bool aligned = false;  // #GP where the operand is not aligned to its size.
    bool vectors = false;  // Uses XMM or YMM registers or MXCSR.
    bool may_trap = false; // The host may raise SIGFPE in its place.
    X87Use x87 = X87Use::none;
    bool x87_state = false; // The handler looks at the x87 state, or changes it.
    StateField field = StateField::cr0;
    u8 condition = 0;    // Of a branch, as in its opcode.
    u8 written_gprs = 0; // How many of the register operands are written: 0, 1 (operand 0), 2 (operands 0 and 1).
    Flags reads = 0, writes = 0;
    // Of the memory operand, which has a base (and in 16- and 32-bit code a limit); `flat`: neither counts.
    u8 segment = cpu::Segment::flat;
    u8 far_segment = cpu::Segment::flat; // Of a string's destination; the one that LES and its kin load.
    ParsedInstruction parsed;

    bool operator==(const OpShape&) const = default;
};

struct Op : OpShape {
    u64 target = 0;          // As `rip`.
    bool loops_back = false; // The unit's way back: on at Unit::loop_head when nothing waits.
    bool loops_on = false;   // Where it does not leave, the unit's first instruction comes next: a loop's next round.
    // Of a region (jit/translate/region.h): the unit goes on where the instruction leads, not behind it. A branch is
    // turned around, a return leaves when it is not to `target`.
    bool follows = false;
    bool comes_back = false; // A call that is followed, and so is its return.
    bool known_page = false; // What it leaves for is in a page that the region has found to be what it was.
    u32 page_id = 0;         // The execute number of the page that it enters.
    u64 rip = 0;             // Of the guest instruction, plus Surroundings::code_base.
    cpu::Instruction guest;  // The interpreter's record.
    Literal literal;

    // --- Set by jit/opt
    Window window;
    bool flags_needed = true; // The flags as they are before this operation may be looked at, by it or later.
    bool flags_needed_after = true;

    u64 next_rip() const { return rip + guest.length; }
    // A shared check has already said all about its memory operand.
    bool checked() const { return window.used() && !window.first && (!aligned || window.aligned); }
    bool observes_flags() const; // A fault, an exit or a handler in its place shows the flags.
};

// The same instruction, done by its handler.
void interpret_instead(Op& op);

// What is the same for all of a unit's instructions.
struct Surroundings {
    u32 code_segment = 0;       // CodeSegments' number of CS.
    u64 code_base = 0;          // Of the code segment; 0 in 64-bit code. A sum with it is not cut to 32 bits.
    u8 stack_address_bytes = 8; // Of the stack pointer that counts.
    u8 stack_segment = cpu::Segment::flat;
    u8 unlimited = 0; // 1 << cpu::Segment of those that have a base, and 4 GiB from there.
    // Addresses of code, and what counts from them, are those of the page's place (mmu/execute_ids.h), which is not
    // where it is mapped: JitContext::shift is to be added.
    bool movable = false;

    u64 rip(u64 address) const { return address - code_base; }
};

// Guest code that a unit is made of, within a page.
struct CodePiece {
    PhysicalAddress address;
    u32 bytes = 0;
};

// Where a moving range begins as the loop's rounds do, in guest registers (16 and more: none).
struct MovingRange {
    u8 base = 16, index = 16, scale = 0;
    i64 displacement = 0;
    std::size_t first = 0; // Its first access.
};

struct Unit {
    u64 linear = 0;           // Of its first byte: RIP plus the code segment's base.
    PhysicalAddress physical; // Of the same.
    u32 bytes = 0;
    Surroundings around;
    std::vector<Op> ops;

    // --- Set by jit/opt
    // Where the unit's way back leads to: the operation that begins the rounds which are run again and again. They find
    // things as the round before left them; those before the head find them as whoever enters the unit left them.
    static constexpr std::size_t no_loop = ~std::size_t{0};
    std::size_t loop_head = no_loop;
    std::vector<MovingRange> moving; // By slot (Window::moving).
    bool loop_windows = false;       // Windows that were opened before the head are used behind it.
};

// A jump or branch to the unit's start, of its loop.
bool leads_back(const Op& op, const Unit& unit);

// The general-purpose registers that it writes, a bit each; all of them when a handler does it.
u32 written_registers(const Op& op);

std::string print(const Unit& unit);
// What is wrong with the unit, or nothing. Run after each pass when verification is on.
std::string verify(const Unit& unit);

} // namespace calque::jit::ir
