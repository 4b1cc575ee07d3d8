// From a unit to host code, in one pass: each operation becomes the same work on host registers, with its memory
// operand checked by the inlined TLB, and with the flags kept wherever they are cheapest (FlagsIn).
#pragma once

#include "jit/emit/assembler.h"
#include "jit/emit/code_sites.h"
#include "jit/emit/counting.h"
#include "jit/emit/deferred.h"
#include "jit/emit/reencode.h"
#include "jit/emit/thunks.h"
#include "jit/translate/translate.h"

#include <initializer_list>

namespace calque::jit {

struct EmitRequest {
    const ir::Unit& unit;
    const std::byte* base; // Where the code will run,
    const std::byte* cold; // and the part of it that is seldom run.
    const std::byte* thunk_base;
    const Thunks& thunks;
    u32 unit_index;
    u32 first_site, first_exit; // Numbers of the unit's sites and exits.
    const UnitMode& mode;
    mmu::ExecuteId second_page_id = 0; // SecondPage::id, of an instruction that crosses one.
    Counting counting = Counting::none;
    bool mirror = false;    // Accesses go to the mirror.
    bool fast_pext = false; // The host's PEXT is no slower than two other instructions.
    bool return_stack = false;
    u64 events = 0; // The host's address of Cpu::events, when it is below 2 GiB.
};

// What emission works in, kept from unit to unit so that it is not allocated for each.
struct EmitMemory {
    UnitAssembler assembler;
    Deferred cold;
    EmittedUnit unit;
};

class UnitEmitter {
  public:
    // Both outlive the emitter; so does what run() returns, which is in `memory` until that is used again.
    UnitEmitter(const EmitRequest& request, EmitMemory& memory);
    EmittedUnit& run();

  private:
    using Label = asmjit::Label;
    using Kind = ir::OpKind;

    // --- One per kind of operation (unit_emitter.cpp, control.cpp).
    void enter_unit();
    void emit(const ir::Op& op);
#define OP(name, meaning) void emit_##name(const ir::Op& op);
#include "jit/ir/ops.inc"
#undef OP

    // --- Memory (memory.cpp). After a check the operand is at operand(); T1, and T0 unless join_address() followed or
    // another operation had checked it, are in use.
    void offset_to_t0(const ir::Op& op, i32 back = 0);
    // The offset in T0, of a segment, to the linear address; flags are kept in 64-bit code only.
    void add_segment(const ir::Op& op, unsigned segment, bool write, u32 bytes);
    void address_to_t0(const ir::Op& op, bool write, u32 bytes);
    void before_access(const ir::Op& op); // before_clobber(), where the check will change the flags.
    using Access = void (UnitEmitter::*)(const ir::Op&);
    void check_memory(const ir::Op& op, bool write, u32 bytes, bool aligned, const std::optional<x86::Mem>& sum = {},
                      Access access = nullptr);
    void check_operand(const ir::Op& op, Access access = nullptr);
    void check_range(const ir::Op& op);
    void check_alignment(const ir::Op& op);
    void check_stack(const ir::Op& op, const x86::Gpq& pointer, i32 offset, bool write, // stack_bytes().
                     Access access = nullptr);
    void open_window(const ir::Op& op, const std::optional<x86::Mem>& sum);
    void keep_in_t1(u8 window);
    static bool can_go_back(const ir::Op& op, i32 back);
    void back_to_range(const ir::Op& op);
    Label leave_alone(const ir::Op& op); // To code without shared checks, from the instruction on.
    void use_window(const ir::Op& op);
    struct MovingWindow {
        x86::Mem limit, distance;
    };
    static MovingWindow moving_window(const ir::Op& op); // moving_windows.cpp
    void prepare_moving();
    void find_moving(const ir::MovingRange& range);
    void limit_moving(const ir::Op& op, bool by_register, Label none);
    void check_moving(const ir::Op& op);
    void use_moving(const ir::Op& op, bool address_in_t0);
    void settle_moving(const ir::Op& op, bool by_register, Label settled);
    void find_page(bool write, u32 bytes, Label miss, const std::optional<x86::Mem>& sum = {}, bool there = false);
    x86::Mem mirrored_tag(bool write) const;
    static std::optional<u64> constant(const std::optional<x86::Mem>& sum, u32 bytes);
    void operand_at_t1();
    void address_again(bool write, bool by_sum = false);
    std::optional<x86::Mem> low_sum(const ir::Op& op, i32 back = 0) const;
    void fill_page(bool write, u32 bytes, Label none);
    x86::Mem operand(u32 size) const;
    HostOperands::Memory encoded_operand() const;
    void operand_prefixes();
    void free_t0();      // The operand stays at operand().
    void join_address(); // The host's address in T1; T0 is free.

    // --- Flags (flags.cpp)
    FlagsIn entry_preference() const;
    void before_clobber(const ir::Op& op);                                        // EFLAGS are about to be lost.
    void clobber_with(const ir::Op& op, std::initializer_list<unsigned> written); // The same, with guest registers.
    void flags_to_host();                                                         // Changes T0, unless they are there.
    void flags_to_packed();
    void recompute_recipe(const FlagRecipe& recipe);
    bool needs_host_flags(const ir::Op& op) const;
    bool invalidates_recipe(const ir::Op& op) const;
    void after_execution(const ir::Op& op);
    FlagRecipe recipe_of(const ir::Op& op) const;

    // --- Host instructions (host.cpp)
    void emit_encoded(const ParsedInstruction& parsed, const HostOperands& operands);
    void host_instruction(const ir::Op& op);
    void read_guest(const x86::Gpq& to, unsigned guest);
    void write_guest(unsigned guest, const x86::Gpq& from);

    // --- Registers without a host register (spills.cpp)
    static bool overwrites(const ir::Op& op);
    void on_slot(ParsedInstruction p, unsigned guest, u8 reg);
    bool spilled_instruction(const ir::Op& op);
    bool spilled_registers(const ir::Op& op);
    bool spilled_with_memory(const ir::Op& op);
    void move_spilled(unsigned to, unsigned from, u32 size);
    void combine_spilled(unsigned number, unsigned to, unsigned from, u32 size);
    bool in_t0(unsigned guest) const { return t0_guest_ == guest && t0_offset_ == a_.offset(); }
    void load_spilled(unsigned guest, u32 size);
    void store_spilled(unsigned guest);
    asmjit::Operand spilled_source(unsigned guest, u32 size) const;

    // --- Patched immediates (patched.cpp)
    void load_literal(const x86::Gpq& to, const ir::Op& op);
    void load_literal_target(const ir::Op& op); // Changes T1.
    void multiply_literal(const ir::Op& op, HostOperands operands);

    // --- The x87 unit (x87.cpp)
    void need_x87();
    void keep_x87_notes(const ir::Op& op);
    void note_x87(const ir::Op& op);
    void write_x87_data(); // Changes T0 and T1, as does the next; EFLAGS are kept.
    void write_x87_notes();

    // --- Segments and strings (segments.cpp)
    Label handler_label(const ir::Op& op);
    void check_no_wrap(const ir::Op& op, u32 bytes);
    void before_segment_load(const ir::Op& op, unsigned segment);
    void set_segment(unsigned segment);
    void string_offset(const ir::Op& op, const x86::Gpq& pointer);
    void advance_string(const ir::Op& op, const x86::Gpq& pointer);
    static x86::Gp accumulator(u32 bytes);
    void check_all_registers(const ir::Op& op, i32 distance, bool write);

    // --- Movable code (movable.cpp)
    bool movable() const { return request_.unit.around.movable; }
    void emit_computed_entry();
    void check_shift(u64 place);
    void address_of_code(const x86::Gpq& to, u64 address); // Of this unit's code, or counted from it. EFLAGS are kept.

    // --- Leaving (control.cpp)
    Site& new_site(const ir::Op& op);
    u32 site_number(const Site& site) const;
    void set_site(u32 number);
    void to_interpreter(Label miss, u32 site);
    bool in_page(u64 target) const { return (target ^ request_.unit.linear) < page_size; }
    void leave_to(u64 target, u64 from, bool known_page = false);
    void leave_aside(const ir::Op& op);
    void exit_stub(std::size_t exit, Label stub);
    void guarded_exit(Exit& exit, Label stub);
    void guard_page(u64 table, u64 linear, mmu::ExecuteId id, Label gone);
    void guard_second_page();
    void poll_backward(Label leave);
    void probe_target(Label miss);
    void note_target(Label not_canonical);
    x86::Mem events(u32 size); // T1 is used.
    void poll_or(Label miss);
    void poll_for_all_or(Label miss); // Where IF is about to be set.
    void branch_literal(const ir::Op& op);
    // --- Loops (loops.cpp)
    void begin_rounds();
    bool next_round(const ir::Op& op);
    void jump_if_count_zero(const ir::Op& op, Label zero);
    void target_to_t0(const ir::Op& op);
    void rip_to_linear();      // T0, zero-extended from its size.
    void poll_before(u64 rip); // Leaves in front of the instruction at `rip` when there are events.
    void need_vectors();
    void set_stack_pointer(const x86::Gpq& from, i32 distance);
    void advance_stack(i32 bytes);
    bool in_stack_run(const ir::Op& op) const;
    void advance_stack_later(const ir::Op& op, i32 bytes);
    void settle_stack();
    // The size of what an operation pushes or pops.
    static u32 stack_bytes(const ir::Op& op) { return op.guest.operand_size; }
    static i32 pushed(const ir::Op& op) { return -static_cast<i32>(stack_bytes(op)); }
    static x86::Gp sized(const x86::Gp& r, u32 bytes) {
        return bytes == 8 ? x86::Gp(r.r64()) : bytes == 4 ? x86::Gp(r.r32()) : x86::Gp(r.r16());
    }
    void load(const x86::Gpq& to, const x86::Mem& from, u32 bytes); // Zero-extended.
    void push_return_address(const ir::Op& op);
    void push_from_register(const ir::Op& op);
    void pop_to_register(const ir::Op& op);
    void load_target(const ir::Op& op);
    // --- The paths of regions (regions.cpp)
    void leave_path(u64 target, Label leave);
    void follow_call(const ir::Op& op);
    void follow_return(const ir::Op& op);
    // --- Calls under way (returns.cpp)
    bool return_stack() const { return request_.return_stack && code64(); }
    void find_return();
    Label remember_return(const ir::Op& op);
    void go_on_after_call(const ir::Op& op, Label here);
    void return_by_stack(Label other, i32 popped);

    void gather_address(const ir::Op& op, std::size_t index, bool wide); // gather.cpp

    // --- Strings (strings.cpp, scans.cpp) and the processor's state (processor_state.cpp)
    void check_piece(const ir::Op& op, const x86::Gpq& pointer, bool write);
    void check_direction(Label slow);
    void check_not_just_ahead(Label slow);
    void advance_count(const ir::Op& op);
    void piece_at(const ir::Op& op, const x86::Gpd& pointer);
    void piece_at_both(const ir::Op& op);
    void piece_to_count(const ir::Op& op);
    void begin_pieces(Label next, Label done, Label slow);
    void end_pieces(const ir::Op& op, Label next, Label done, Label slow);
    void push_both(const ir::Op& op, bool write);
    void pop_both(const ir::Op& op);
    void end_scan(const ir::Op& op, Label next, Label done, Label slow);
    void check_cr4(const ir::Op& op, u64 bit);
    void by_handler(const ir::Op& op, Label slow);

    // --- Counting (counting.cpp): each emits nothing unless it is asked for.
    void enter_bounded();
    void check_limit(Label leave);
    void count_by(const x86::Mem& counter, i32 distance);
    void count_unit();
    void count_instruction(const ir::Op& op); // Changes T1, as does the next but one.
    void uncount_instruction();
    void count_run(const ir::Op& op);
    void count_range_hit();
    void count_tlb_hit();            // Changes EFLAGS, as does
    void count_computed(bool known); // this.

    // --- To other modes (fast_calls.cpp)
    void check_system_calls(Label off);
    void check_mode(const UnitMode& mode, Label other);
    void go_to_mode(const UnitMode& mode);

    // Code that is seldom run comes after the rest.
    template <class F> void later(F emit) { cold_.add(std::move(emit)); }
    u32 here() const { return a_.here(); }
    bool code64() const { return request_.mode.code64(); }
    // In the table of the unit's rights mode.
    x86::Mem table_at(u64 offset, u32 size) const { return jit::table_at(table_ + offset, size); }
    x86::Mem table_at(const x86::Gp& index, u64 offset, u32 size) const {
        return jit::table_at(index, table_ + offset, size);
    }
    x86::Mem table_at_scaled(const x86::Gp& index, u64 offset, u32 size) const {
        return jit::table_at_scaled(index, table_ + offset, size);
    }
    asmjit::Imm go_on() const { return thunk(request_.thunks.go_on[request_.mode.is.rights]); }
    asmjit::Imm thunk(u32 offset) const { return thunk_address(offset); }
    u64 thunk_address(u32 offset) const { return reinterpret_cast<std::uintptr_t>(request_.thunk_base) + offset; }

    const EmitRequest& request_;
    const u64 table_; // The offset of the rights mode's TLB table.
    EmittedUnit& out_;
    UnitAssembler& a_;
    Deferred& cold_;
    bool split_ = false;            // The operand is at T1 + T0, else at T1 + distance_.
    bool in_mirror_ = false;        // The operand is at GS's base + T1 + distance_, or
    std::optional<x86::Mem> there_; // at GS's base + the low 32 bits of this sum of guest registers.
    i32 distance_ = 0;
    u8 beside_ = no_register; // A host register: the operand is at T1 plus that plus distance_.
    FlagsIn flags_ = FlagsIn::packed;
    FlagRecipe recipe_; // Of the last operation on flags, while its registers hold; also with FlagsIn::host.
    // T0 is what that slot has, as long as nothing is emitted.
    static constexpr unsigned nobody = 16;
    unsigned t0_guest_ = nobody;
    std::size_t t0_offset_ = 0;
    // T1 is what that window's slot has (of moving ones, from ir::windows on, the distance), as long as the assembler
    // has been touched so often.
    u8 t1_window_ = ir::Window::none;
    u32 t1_touches_ = 0;
    struct Rounds {         // How a round of the unit's loop finds things.
        bool known = false; // The loop is one.
        Label head;
        FlagsIn flags = FlagsIn::packed;
        FlagRecipe recipe;
        bool vectors = false, x87 = false;
    } rounds_;
    i32 stack_behind_ = 0;                    // To be added to the stack pointer yet (in_stack_run).
    bool interrupts_on_ = false;              // The operation before was STI.
    bool vectors_here_ = false;               // The guest's vectors are in the host's registers for sure.
    bool x87_here_ = false;                   // The guest's x87 state is in the host's unit for sure.
    std::shared_ptr<const X87Note> x87_note_; // What has to be written before the unit is left.
    const ir::Op* x87_data_op_ = nullptr;     // Its data pointer's operation.
};

} // namespace calque::jit
