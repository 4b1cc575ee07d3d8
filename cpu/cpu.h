// One logical processor: its architectural state, its memory, and the rules by which instructions act on them.
// Engines (the interpreter, the translator) drive it; instruction handlers are its vocabulary.
#pragma once

#include "base/log.h"
#include "cpu/debug_stops.h"
#include "cpu/exception.h"
#include "cpu/flags.h"
#include "cpu/instruction.h"
#include "cpu/model.h"
#include "cpu/platform.h"
#include "cpu/state.h"
#include "mmu/mmu.h"
#include "mmu/reserved_memory.h"

#include <atomic>
#include <optional>

namespace calque::cpu {

// Things that other threads, or the vCPU itself, ask for and that are looked at between blocks.
enum Event : u32 {
    event_interrupt =
        1u << 0, // The local APIC (or the 8259) has an interrupt pending: a level, set and cleared by the machine.
    event_nmi = 1u << 1,
    event_smi = 1u << 2,
    event_init = 1u << 3,
    event_sipi = 1u << 4,
    event_stop = 1u << 5, // Leave the execution loop (pause, quit, save).
    event_mmu = 1u << 6,  // Mmu requests to serve.
    event_code = 1u << 7, // Decoded code to drop (the engine's own queue).
    event_slow = 1u << 8, // Single-step, breakpoints or a shadow: the engine runs one instruction at a time and checks.
    event_check = 1u << 9,   // Look again (IF was set, mode changed).
    event_sample = 1u << 10, // An engine wants to know where the processor is (jit/sampler.h).
    // event_interrupt, put aside by an engine while IF is clear: code that looks at the low half alone runs on.
    // Whatever sets IF must look at both halves; handle_events() puts it back.
    event_interrupt_aside = 1u << 16,
};
inline constexpr u32 events_at_once = 0xFFFF;

enum class CodeSize : u8 { bits16, bits32, bits64 };

enum class ExitReason : u8 {
    budget,       // The number of instructions asked for has run.
    stopped,      // event_stop.
    halted,       // HLT (or wait-for-SIPI): nothing to do until an event comes.
    triple_fault, // Shutdown state; state is as at the last fault.
};

// The values that are derived from state and kept current by Cpu::update_mode() and friends.
struct Mode {
    CodeSize code_size = CodeSize::bits16;
    u8 cpl = 0;
    bool long_mode = false; // EFER.LMA.
    bool mode64 = false;    // 64-bit code segment in long mode.
    bool protected_mode = false;
    bool vm86 = false;
    bool stack32 = false; // SS.B (outside 64-bit mode).
    // What an instruction of that class raises now, or 0: 6 for #UD, 7 for #NM.
    u8 x87_fault = 0, mmx_fault = 0, sse_fault = 0, avx_fault = 0, wait_fault = 0;
};

class Cpu {
  public:
    Cpu(u32 index, const CpuModel& model, mmu::PhysicalMap& memory, Platform& platform, Log& log);
    ~Cpu();
    Cpu(const Cpu&) = delete;
    Cpu& operator=(const Cpu&) = delete;

    CpuState state;
    Mode mode;
    mmu::Mmu mmu;
    Platform& platform;
    Log& log;
    const CpuModel& model;
    const u32 index; // 0 is the bootstrap processor.

    void reset();            // RESET#: real mode at FFFFFFF0h.
    void init();             // INIT#: as reset, but the FPU, caches, MSRs and TSC stay (SDM volume 3, table 9-1).
    void startup(u8 vector); // SIPI.
    void serialize(Archive& archive); // The state and pending events; recomputes what is derived after loading.

    // --- Derived state: call after what it depends on has changed.
    void update_mode();           // CR0, CR4, EFER, CS, SS, RFLAGS.VM, CPL. Includes update_paging_context().
    void update_paging_context(); // CR0, CR3, CR4, EFER, CPL, RFLAGS.AC, PKRU.
    void update_slow_flag();      // RFLAGS.TF, DR7, shadows.

    // --- Exceptions. `return cpu.raise(...)` from a handler. The first one pending stays.
    Flow raise(Vector vector, u32 error_code = 0);
    Flow raise_memory_fault(unsigned segment); // From mmu.fault(): #PF, #GP(0) or #SS(0) if not canonical, #AC(0).
    Flow general_protection(u32 error_code = 0) { return raise(Vector::general_protection, error_code); }
    // A #DB, with these DR6 bits added to those collected so far.
    Flow raise_debug(u64 dr6_bits);
    Flow undefined_opcode() { return raise(Vector::invalid_opcode); }
    const std::optional<Exception>& pending_exception() const { return exception_; }
    std::optional<Exception> take_exception() {
        auto e = exception_;
        exception_.reset();
        return e;
    }
    // Delivers what is pending through the IDT; nested faults become #DF and shutdown. RIP is already where the frame
    // should say. Sets state.activity to shutdown on a triple fault.
    void deliver_exception();
    void deliver_interrupt(u8 vector); // A maskable external interrupt.
    void deliver_nmi();
    Flow software_interrupt(u8 vector, bool int3_or_into); // INT n / INT3 / INTO / INT1.
    void enter_smm();
    // Takes the most urgent event that is pending and allowed now; serves Mmu requests first. True when anything
    // changed (RIP, mode, activity). Events that have to wait stay in `events`.
    bool handle_events();

    // The engine's protocol while event_slow is on, for each instruction: check_instruction_breakpoint(); run the
    // instruction alone; then finish_slow_instruction() if it completed, or deliver_exception() if it raised something.
    // After an instruction when event_slow is on: data breakpoints, single-step (TF as it was before it). Raises and
    // delivers #DB.
    void finish_slow_instruction(bool trap_flag_before);
    // Before an instruction when event_slow is on: instruction breakpoints, unless RF. True: #DB was delivered instead.
    bool check_instruction_breakpoint();
    void note_data_access(LinearAddress address, unsigned size,
                          bool write); // For data breakpoints (DR7); called where event_slow may be on.
    void note_io_access(u16 port, unsigned size);

    // --- A debugger's stops (cpu/debug_stops.h). debug_stop() makes the engine leave with ExitReason::stopped after
    // the instruction that runs, or before the one at RIP; the first reason stays.
    DebugStops debug;
    void debug_stop(const DebugStop& stop);
    // Before an instruction is looked up: true when the processor is to stop there.
    bool stops_at_breakpoint(LinearAddress address) {
        if (!debug.breakpoint_at(address.value)) [[likely]]
            return false;
        debug_stop({DebugStop::Reason::breakpoint, address.value});
        return true;
    }
    // After an exception, or INT3 and the like, was delivered.
    void note_debug_exception(u8 vector, u32 error_code, u64 address) {
        if (debug.stops_at(vector)) [[unlikely]]
            debug_stop({DebugStop::Reason::exception, address, false, vector, error_code});
    }
    // Where RIP is, as a linear address.
    u64 linear_rip() const {
        return mode.mode64 ? state.rip() : static_cast<u32>(state.segment[cs].base + state.rip());
    }

    // --- Events
    // Where translated code can look at them by address.
    const mmu::ReservedMemory event_page{page_size, mmu::ReservedMemory::Place::low};
    std::atomic<u32>& events = *new (event_page.data()) std::atomic<u32>(0);
    void request(u32 event) { events.fetch_or(event, std::memory_order_acq_rel); }
    void withdraw(u32 event) { events.fetch_and(~event, std::memory_order_acq_rel); }
    void withdraw_interrupt() { withdraw(event_interrupt | event_interrupt_aside); }
    // Only with IF clear.
    void put_interrupt_aside() { move_event(event_interrupt, event_interrupt_aside); }
    std::atomic<u8> sipi_vector{0};
    // In one step: the machine may withdraw it meanwhile.
    void move_event(u32 from, u32 to) {
        u32 now = events.load(std::memory_order_acquire);
        while ((now & from) && !events.compare_exchange_weak(now, (now & ~from) | to, std::memory_order_acq_rel))
            continue;
    }
    bool interrupts_enabled() const { return (state.rflags & flag_if) && !state.interrupt_shadow; }

    // --- Memory, with segmentation. False: an exception is pending; the handler returns Flow::fault.
    template <class T> [[nodiscard]] bool read(unsigned segment, u64 offset, T& out);
    template <class T> [[nodiscard]] bool write(unsigned segment, u64 offset, const T& value);
    // value = operation(old), atomically when `locked`. `operation` may run more than once. `old_out` gets the value
    // replaced.
    template <class T, class F> [[nodiscard]] bool modify(unsigned segment, u64 offset, bool locked, F operation);
    // Segmentation only: limit, rights, and the sum with the base.
    [[nodiscard]] bool linear(unsigned segment, u64 offset, u64 size, mmu::Access access, LinearAddress& out) {
        if (segment >= flat) {
            out = LinearAddress(offset);
            return true;
        }
        if (mode.mode64) {
            out = LinearAddress(state.segment[segment].base + offset);
            return true;
        }
        if (!linear_checked(segment, offset, size, access, checked_linear_)) return false;
        out = checked_linear_;
        return true;
    }
    // The memory operand of an instruction.
    template <class T> [[nodiscard]] bool read_operand(const Instruction& i, T& out) {
        return read(i.segment(), effective_address(state, i), out);
    }
    template <class T> [[nodiscard]] bool write_operand(const Instruction& i, const T& value) {
        return write(i.segment(), effective_address(state, i), value);
    }
    // Supervisor accesses by the processor itself (descriptor tables, TSS): linear addresses, always at privilege
    // `system`.
    template <class T> [[nodiscard]] bool read_system(u64 address, T& out);
    template <class T> [[nodiscard]] bool write_system(u64 address, const T& value);

    // --- The stack. Size of an element is sizeof(T); the stack pointer's width is SS.B's or 64 bits.
    u64 stack_mask() const { return mode.mode64 ? ~u64{0} : mode.stack32 ? 0xFFFFFFFF : 0xFFFF; }
    unsigned stack_segment() const { return mode.mode64 ? flat_stack : ss; }
    void set_rsp(u64 value) {
        if (mode.mode64)
            state.gpr[rsp] = value;
        else if (mode.stack32)
            state.gpr[rsp] = static_cast<u32>(value);
        else
            state.gpr[rsp] = (state.gpr[rsp] & ~u64{0xFFFF}) | (value & 0xFFFF);
    }
    template <class T> [[nodiscard]] bool push(const T& value) {
        const u64 at = (state.gpr[rsp] - sizeof(T)) & stack_mask();
        if (!write(stack_segment(), at, value)) return false;
        set_rsp(at);
        return true;
    }
    template <class T> [[nodiscard]] bool pop(T& value) {
        if (!read(stack_segment(), state.gpr[rsp] & stack_mask(), value)) return false;
        set_rsp(state.gpr[rsp] + sizeof(T));
        return true;
    }

    // --- Registers by number, as the encoding has them.
    // Only byte registers have the high_byte bit in their numbers.
    template <class T> T& gpr(unsigned n) {
        if constexpr (sizeof(T) == 1)
            return *reinterpret_cast<T*>(reinterpret_cast<u8*>(&state.gpr[n & 0x1F]) + (n >> 6));
        else
            return *reinterpret_cast<T*>(&state.gpr[n]);
    }
    // Writes a result of operand size T: 32-bit results clear the upper half. Always all 64 bits are stored, since
    // hosts are slow to load a register that was just stored in part.
    template <class T> void set_gpr(unsigned n, T value) {
        if constexpr (sizeof(T) >= 4) {
            state.gpr[n] = value;
        } else if constexpr (sizeof(T) == 2) {
            state.gpr[n] = (state.gpr[n] & ~u64{0xFFFF}) | static_cast<u16>(value);
        } else {
            u64& whole = state.gpr[n & 0x1F];
            const unsigned shift = (n >> 6) * 8;
            whole = (whole & ~(u64{0xFF} << shift)) | (u64{static_cast<u8>(value)} << shift);
        }
    }
    u64 rflags() const { return read_rflags(state); }

    // --- Control flow. False: an exception (#GP) is pending.
    // Near jump: truncates to the operand size, checks the code segment's limit or the canonical form.
    [[nodiscard]] bool jump_near(u64 target, unsigned operand_size);

    // --- System operations that several instructions share (cpu/system/*.cpp).
    [[nodiscard]] bool load_segment(unsigned segment,
                                    u16 selector); // MOV/POP Sreg, LDS...: data and stack segments, all checks.
    void load_segment_real(unsigned segment, u16 selector); // Real and virtual-8086 mode.
    [[nodiscard]] bool io_allowed(u16 port, unsigned size); // IOPL and the TSS bitmap; raises #GP(0).
    // Far transfers answer Flow::exit when done, Flow::fault, or Flow::trap for a fault within the new task.
    Flow far_jump(u16 selector, u64 offset, unsigned operand_size);
    Flow far_call(u16 selector, u64 offset, unsigned operand_size);
    Flow far_return(unsigned operand_size, u16 extra_bytes);
    Flow interrupt_return(unsigned operand_size);
    Flow write_control(unsigned number, u64 value);     // MOV CRn, LMSW, CLTS.
    [[nodiscard]] bool read_msr(u32 index, u64& value); // False: #GP pending.
    [[nodiscard]] bool write_msr(u32 index, u64 value);
    struct CpuidResult {
        u32 eax = 0, ebx = 0, ecx = 0, edx = 0;
    };
    CpuidResult cpuid(u32 leaf, u32 subleaf);
    u64 read_tsc() { return platform.timestamp() + state.tsc_offset; }
    // Moves to a new CPL (RFLAGS, paging context follow).
    void set_cpl(u8 cpl);
    // What is left of a 64-bit SYSCALL or SYSRET by an engine that has done the rest of it (RCX, R11, RIP, RFLAGS
    // without TF, RF and AC): the segments and the new CPL. And of an engine's STAC or CLAC in ring 0, once RFLAGS has
    // the new AC.
    void finish_system_call();
    void finish_system_return();
    void finish_access_change();
    // The next instruction runs before any interrupt (STI), and before any debug trap too (MOV SS, POP SS).
    void begin_shadow(bool debug_too);
    // The instruction that runs now is an interrupt or call into the system: no single-step trap follows it.
    void suppress_single_step() { single_step_off_ = true; }
    // RFLAGS.RF was loaded by the instruction that runs now: it lasts for the next one.
    void keep_resume_flag() { resume_flag_is_new_ = true; }

    // The memory operand of an instruction whose form is `flat` (cpu/table.h): no segment, no address mask, no data
    // breakpoints.
    template <class T> [[nodiscard]] bool read_flat(const Instruction& i, T& out);
    template <class T> [[nodiscard]] bool write_flat(const Instruction& i, const T& value);
    // Only what the TLB has at once, up to 4096 bytes: false or null has no effect at all (cpu/threaded.h,
    // threaded_or).
    template <class T> [[nodiscard]] bool try_load(LinearAddress address, T& out) const;
    template <class T> [[nodiscard]] bool try_store(LinearAddress address, const T& value);
    [[nodiscard]] u8* try_host_for_write(LinearAddress address, unsigned size);
    LinearAddress flat_address(const Instruction& i) const {
        return LinearAddress(state.gpr[i.base] + (state.gpr[i.index] << i.scale())
                             + static_cast<u64>(static_cast<i64>(i.displacement)));
    }

    // --- What an engine tells and is told.
    u64 instructions = 0;       // Retired so far.
    u64 rip_of_instruction = 0; // Start of the instruction that raised what is pending (for reports).
    struct Exit {
        Flow flow = Flow::next;
        const Instruction* last = nullptr;
    } exit_; // Written by the threaded handlers when a block is left.
    // What the interpreter's handlers need to go from one block to the next without its loop (cpu/dispatch.h).
    struct Dispatch {
        const Instruction* first = nullptr; // The first record of the block that runs.
        u64 limit = 0;                      // The loop is returned to once `instructions` has reached this.
        struct JumpEntry* jumps = nullptr;  // The jump cache.
        u64 code_key = 0;                   // What shapes decoding now; part of the jump cache's keys.
    } dispatch;

  private:
    [[nodiscard]] bool linear_checked(unsigned segment, u64 offset, u64 size, mmu::Access access, LinearAddress& out);
    void end_shadow();
    void shut_down(const Exception& last);
    bool take_reset_event(u32 pending);
    bool take_interrupt(u32 pending);
    u64 matching_breakpoints(u64 address, unsigned size, unsigned kinds) const;

    LinearAddress checked_linear_; // linear_checked()'s result: not the caller's variable, so that handlers can end in
                                   // tail calls.
    std::optional<Exception> exception_;
    u64 slow_start_ = 0;              // RIP of the instruction that check_instruction_breakpoint() let through.
    bool shadow_is_new_ = false;      // The shadow in state was set by the instruction that runs now.
    bool resume_flag_is_new_ = false; // So was RFLAGS.RF.
    bool single_step_off_ = false;    // The instruction that runs now takes no single-step trap (INT n, SYSCALL).
};

// The interpreter and the translator.
class ExecutionEngine {
  public:
    virtual ~ExecutionEngine() = default;
    // Runs until something in ExitReason happens, at most about `budget` instructions.
    virtual ExitReason run(Cpu& cpu, u64 budget) = 0;
    // All decoded code goes (the machine was loaded from a file, features changed).
    virtual void flush() = 0;
};

} // namespace calque::cpu

#include "cpu/access.h"
