// What comes from outside the instruction stream, by urgency (SDM volume 3, table 6-2), and debug traps.
#include "cpu/cpu.h"
#include "cpu/system/debug_bits.h"

namespace calque::cpu {

namespace {
// What is delivered between two iterations of a REP instruction saves RFLAGS with RF, so that the instruction's
// breakpoint does not stop it again (SDM volume 3, 17.3.1.1).
void note_interrupted_repetition(Cpu& cpu) {
    if (cpu.exit_.flow != Flow::again) return;
    cpu.state.rflags |= flag_rf;
    cpu.exit_.flow = Flow::exit; // Once.
}
} // namespace

// INIT, SIPI and SMI.
bool Cpu::take_reset_event(u32 pending) {
    if ((pending & event_init) && !state.in_smm) {
        withdraw(event_init);
        init();
        platform.init_taken();
        return true;
    }
    if (pending & event_sipi) {
        withdraw(event_sipi);
        if (state.activity == Activity::wait_for_sipi) {
            startup(sipi_vector.load(std::memory_order_acquire));
            return true;
        }
    }
    if ((pending & event_smi) && !state.in_smm && state.activity != Activity::wait_for_sipi) {
        withdraw(event_smi);
        note_interrupted_repetition(*this);
        enter_smm();
        return true;
    }
    return false;
}

bool Cpu::take_interrupt(u32 pending) {
    if (state.activity == Activity::wait_for_sipi || state.interrupt_shadow) return false;
    if ((pending & event_nmi) && !state.nmi_blocked) {
        withdraw(event_nmi);
        state.activity = Activity::running;
        note_interrupted_repetition(*this);
        deliver_nmi();
        return true;
    }
    if (state.activity == Activity::shutdown) return false;
    if ((pending & event_interrupt) && (state.rflags & flag_if)) {
        const std::optional<u8> vector = platform.acknowledge_interrupt();
        if (!vector) return false;
        state.activity = Activity::running;
        note_interrupted_repetition(*this);
        deliver_interrupt(*vector);
        return true;
    }
    return false;
}

void Cpu::debug_stop(const DebugStop& stop) {
    if (debug.stop.reason == DebugStop::Reason::none) debug.stop = stop;
    request(event_stop);
}

bool Cpu::handle_events() {
    move_event(event_interrupt_aside, event_interrupt);
    u32 pending = events.load(std::memory_order_acquire);
    // A debugger that steps through a program does not want to see the timer's handler each time.
    if (debug.step && state.activity == Activity::running) pending &= ~u32{event_interrupt | event_nmi | event_smi};
    if (pending & event_mmu) {
        withdraw(event_mmu);
        mmu.serve_requests();
    }
    if (pending & event_check) withdraw(event_check);
    return take_reset_event(pending) || take_interrupt(pending);
}

namespace {
// DR7's R/Wn values as bits of a set.
constexpr unsigned kind_execute = 1u << 0, kind_write = 1u << 1, kind_io = 1u << 2, kind_access = 1u << 3;
constexpr u8 breakpoint_length[4] = {1, 2, 8, 4};
} // namespace

u64 Cpu::matching_breakpoints(u64 address, unsigned size, unsigned kinds) const {
    u64 found = 0;
    for (unsigned n = 0; n < 4; ++n) {
        const u64 control = state.dr[7] >> (16 + n * 4);
        if (!(state.dr[7] >> (n * 2) & 3) || !(kinds >> (control & 3) & 1)) continue;
        const u64 length = breakpoint_length[(control >> 2) & 3];
        const u64 start = state.dr[n] & ~(length - 1);
        if (address - start < length || start - address < size) found |= u64{1} << n;
    }
    return found;
}

void Cpu::note_data_access(LinearAddress address, unsigned size, bool write) {
    state.pending_debug |= matching_breakpoints(address.value, size, kind_access | (write ? kind_write : 0));
}

void Cpu::note_io_access(u16 port, unsigned size) {
    if (state.cr4 & cr4_de) state.pending_debug |= matching_breakpoints(port, size, kind_io);
}

bool Cpu::check_instruction_breakpoint() {
    shadow_is_new_ = resume_flag_is_new_ = single_step_off_ = false;
    slow_start_ = state.rip();
    if ((state.rflags & flag_rf) || state.debug_shadow || !(state.dr[7] & dr7_enables)) return false;
    const u64 found = matching_breakpoints(linear_rip(), 1, kind_execute);
    if (!found) return false;
    raise_debug(found);
    deliver_exception();
    return true;
}

void Cpu::finish_slow_instruction(bool trap_flag_before) {
    // RF lasts until the instruction has ended, after its last iteration.
    if (exit_.flow == Flow::again && (state.dr[7] & dr7_enables))
        state.rflags |= flag_rf;
    else if (!resume_flag_is_new_)
        state.rflags &= ~flag_rf;
    bool step = trap_flag_before && !single_step_off_;
    single_step_off_ = false;
    // DEBUGCTL.BTF: only a branch that was taken ends the step (SDM volume 3, 17.4.3).
    if (step && (state.debugctl & debugctl_btf))
        step = exit_.flow != Flow::next && exit_.flow != Flow::again && state.rip() != slow_start_ + exit_.last->length;
    if (state.debug_shadow && shadow_is_new_) {
        // MOV SS, POP SS: no single-step trap, and what they hit in memory is reported after the next instruction.
    } else if (step || state.pending_debug) {
        note_interrupted_repetition(*this);
        raise_debug(step ? dr6_bs : 0);
        deliver_exception();
        return;
    }
    if (!shadow_is_new_) end_shadow();
    update_slow_flag();
}

} // namespace calque::cpu
