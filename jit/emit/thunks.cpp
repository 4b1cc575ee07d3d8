#include "jit/emit/thunks.h"

#include "jit/emit/assembler.h"
#include "jit/emit/target_thunk.h"
#include "jit/emit/x87_thunk.h"

#include <cstdio>
#include <cstdlib>

namespace calque::jit {

namespace {

constexpr x86::Gp callee_saved[] = {x86::rbx, x86::rbp, x86::r12, x86::r13, x86::r14, x86::r15};
// Host registers of guest registers that C++ functions may change.
constexpr x86::Gp caller_saved[] = {x86::rcx, x86::rdx, x86::rsi, x86::rdi, x86::r8, x86::r9, x86::r10, x86::r11};
constexpr i32 vectors_bytes = 16 * 32 + 16; // With MXCSR.

// As of a short jump to a label that is too far away: asmjit leaves such code out.
class Complain final : public asmjit::ErrorHandler {
    void handleError(asmjit::Error, const char* message, asmjit::BaseEmitter*) override {
        std::fprintf(stderr, "calque: the translator's thunks cannot be assembled: %s\n", message);
        std::abort();
    }
};

class ThunkEmitter {
  public:
    ThunkEmitter(const void* base, const ThunkTargets& targets, const TargetIndex& index, Thunks& out)
        : targets_(targets), index_(index), out_(out) {
        code_.init(asmjit::Environment::host(), reinterpret_cast<std::uintptr_t>(base));
        code_.setErrorHandler(&complain_);
        code_.attach(&a_);
    }

    std::vector<u8> run() {
        enter();
        interpret();
        leave();
        leave_computed();
        resolve();
        for (unsigned mode = 0; mode < mmu::rights_modes; ++mode)
            go_on(static_cast<mmu::RightsMode>(mode));
        refill(false);
        refill(true);
        for (unsigned mode = 0; mode < mmu::rights_modes; ++mode)
            for (const bool write : {false, true}) {
                out_.probe[mode][write] = here();
                probe(static_cast<mmu::RightsMode>(mode), write, false);
                out_.probe_only[mode][write] = here();
                probe(static_cast<mmu::RightsMode>(mode), write, true);
            }
        read_timestamp();
        set_shift();
        load_vectors();
        out_.load_x87 = emit_load_x87(a_);
        code_.flatten();
        code_.resolveUnresolvedLinks();
        const auto& buffer = code_.textSection()->buffer();
        return {buffer.data(), buffer.data() + buffer.size()};
    }

  private:
    u32 here() const { return static_cast<u32>(a_.offset()); }

    static x86::Mem gpr_at(const x86::Gp& state, unsigned guest) {
        return x86::qword_ptr(state, static_cast<i32>(offsetof(cpu::CpuState, gpr) + guest * 8));
    }
    static x86::Mem vector_at(const x86::Gp& state, unsigned n) {
        return x86::ymmword_ptr(state,
                                static_cast<i32>(offsetof(cpu::CpuState, vector) + n * sizeof(cpu::VectorRegister)));
    }
    void load_registers() {
        a_.mov(t0, CALQUE_CONTEXT(state));
        for (unsigned guest = 0; guest < 16; ++guest) {
            if (pinned(guest)) {
                a_.mov(host_gpq(guest), gpr_at(t0, guest));
            } else {
                a_.mov(t1, gpr_at(t0, guest));
                a_.mov(spilled_slot(guest), t1);
            }
        }
    }
    void store_registers() {
        a_.mov(t0, CALQUE_CONTEXT(state));
        for (unsigned guest = 0; guest < 16; ++guest) {
            if (pinned(guest)) {
                a_.mov(gpr_at(t0, guest), host_gpq(guest));
            } else {
                a_.mov(t1, spilled_slot(guest));
                a_.mov(gpr_at(t0, guest), t1);
            }
        }
    }
    // The host's vectors from 16 times 32 bytes. Changes RCX, not the flags.
    //
    // Guests that use no AVX get clean upper halves, not ones that hold zeros: with those each SSE instruction would
    // have to keep what is above its result, and wait for it (1.5 times as long for a loop of them; Intel's
    // optimization manual, "mixing AVX code with SSE code", and the same here on AMD).
    template <class F> void vectors_from(F place) {
        const asmjit::Label clean = a_.newLabel(), used = a_.newLabel(), done = a_.newLabel();
        const auto upper = [&](unsigned n) { return place(n).cloneAdjusted(16).cloneResized(16); };
        a_.vpxor(x86::xmm1, x86::xmm1, x86::xmm1);
        a_.vmovdqu(x86::xmm0, upper(0));
        for (unsigned n = 1; n < 16; ++n)
            a_.vpor(x86::xmm0, x86::xmm0, upper(n));
        a_.vpcmpeqb(x86::xmm0, x86::xmm0, x86::xmm1);
        a_.vpmovmskb(x86::ecx, x86::xmm0);
        a_.lea(x86::ecx, x86::ptr(x86::rcx, -0xFFFF));
        a_.jecxz(x86::ecx, clean);
        a_.jmp(used);
        a_.bind(clean);
        a_.vzeroupper();
        for (unsigned n = 0; n < 16; ++n)
            a_.movups(x86::xmm(n), place(n).cloneResized(16));
        a_.jmp(done);
        a_.bind(used);
        for (unsigned n = 0; n < 16; ++n)
            a_.vmovups(x86::ymm(n), place(n));
        a_.bind(done);
    }
    // RAX: the state.
    void store_vectors() {
        const asmjit::Label absent = a_.newLabel();
        a_.cmp(CALQUE_CONTEXT(vectors_absent), 0);
        a_.jne(absent);
        for (unsigned n = 0; n < 16; ++n)
            a_.vmovups(vector_at(t0, n), x86::ymm(n));
        a_.vzeroupper();
        a_.stmxcsr(x86::dword_ptr(t0, static_cast<i32>(offsetof(cpu::CpuState, mxcsr))));
        a_.ldmxcsr(CALQUE_CONTEXT(host_mxcsr));
        a_.mov(CALQUE_CONTEXT(vectors_absent), 1);
        a_.bind(absent);
    }
    template <class F> void call(F function) {
        a_.mov(x86::rax, asmjit::Imm(reinterpret_cast<std::uintptr_t>(function)));
        a_.call(x86::rax);
    }
    void return_to_engine() {
        a_.mov(x86::rsp, CALQUE_CONTEXT(host_rsp));
        for (unsigned n = std::size(callee_saved); n-- > 0;)
            a_.pop(callee_saved[n]);
        a_.ret();
    }

    void enter() {
        out_.enter = here();
        for (const x86::Gp& r : callee_saved)
            a_.push(r);
        a_.mov(x86::qword_ptr(x86::rdi, offsetof(JitContext, host_rsp)), x86::rsp);
        a_.mov(x86::rsp, x86::rdi);
        a_.mov(CALQUE_CONTEXT(scratch), x86::rsi);
        load_registers();
        a_.mov(t0, CALQUE_CONTEXT(leave_rip));
        a_.jmp(CALQUE_CONTEXT(scratch));
    }

    void interpret() {
        const asmjit::Label out = a_.newLabel();
        out_.interpret = here();
        a_.bind(interpret_);
        store_registers();
        store_vectors();
        a_.mov(x86::rdi, x86::rsp);
        call(targets_.interpret);
        a_.test(x86::rax, x86::rax);
        a_.jz(out);
        a_.mov(CALQUE_CONTEXT(scratch), x86::rax);
        load_registers();
        a_.mov(t0, CALQUE_CONTEXT(leave_rip));
        a_.jmp(CALQUE_CONTEXT(scratch));
        a_.bind(out);
        return_to_engine();
    }

    void leave() {
        out_.leave = here();
        store_registers();
        store_vectors();
        return_to_engine();
    }

    void leave_computed() {
        out_.leave_computed = here();
        a_.mov(t0, CALQUE_CONTEXT(state));
        a_.mov(t1, CALQUE_CONTEXT(leave_rip));
        a_.mov(gpr_at(t0, cpu::rip_slot), t1);
        a_.mov(CALQUE_CONTEXT(exit_site), computed_exit);
        store_registers();
        store_vectors();
        return_to_engine();
    }

    // CALLs a function of the context where no unit counts on its vectors to stay. The result is in RAX; T1 and the
    // flags change.
    template <class F> void call_between_units(F function) {
        constexpr i32 registers = 8 * static_cast<i32>(std::size(caller_saved));
        static_assert(registers % 16 == 0);
        a_.mov(t0, CALQUE_CONTEXT(state));
        store_vectors();
        a_.mov(x86::r15, x86::rsp);
        for (const x86::Gp& r : caller_saved)
            a_.push(r);
        a_.mov(x86::rdi, x86::r15);
        call(function);
        for (unsigned n = std::size(caller_saved); n-- > 0;)
            a_.pop(caller_saved[n]);
    }

    void resolve() {
        const asmjit::Label out = a_.newLabel();
        out_.resolve = here();
        call_between_units(targets_.resolve);
        a_.test(x86::rax, x86::rax);
        a_.jz(out);
        a_.jmp(x86::rax);
        a_.bind(out);
        store_registers();
        return_to_engine();
    }

    void go_on(mmu::RightsMode mode) {
        const asmjit::Label found = a_.newLabel(), miss = a_.newLabel();
        out_.go_on[static_cast<unsigned>(mode)] = here();
        a_.mov(t0, CALQUE_CONTEXT(leave_rip));
        emit_target_lookup(a_, index_, mode, found, miss);
        a_.bind(found);
        a_.jmp(t1);
        a_.bind(miss);
        const asmjit::Label look = a_.newLabel();
        a_.bind(look);
        call_between_units(targets_.find_target);
        a_.mov(t1, x86::rax);
        a_.mov(t0, CALQUE_CONTEXT(leave_rip));
        a_.jmp(t1);
        if (mode != mmu::RightsMode::user) return;
        out_.gone = here();
        a_.mov(CALQUE_CONTEXT(leave_rip), t0);
        a_.jmp(look);
    }

    // As calque::jit::set_shift().
    void set_shift() {
        out_.set_shift = here();
        a_.mov(CALQUE_CONTEXT_BELOW(shift, 8), t0);
        static_assert(sizeof(mmu::ExecuteId) == 8);
        a_.rorx(t1, t0, page_shift - 3);
        a_.and_(t1d, static_cast<i32>((mmu::tlb_execute_id_count - 1) * sizeof(mmu::ExecuteId)));
        a_.mov(CALQUE_CONTEXT_BELOW(shift_slot, 8), t1);
        a_.shl(t0, mmu::execute_shift_left);
        a_.neg(t0);
        a_.mov(CALQUE_CONTEXT_BELOW(shift_id, 8), t0);
        a_.ret();
    }

    // CALLs a function of the context, and of RAX, from translated code; everything but RAX, T1 and the flags is kept.
    template <class F> void call_from_unit(F function) {
        constexpr i32 pushed = 8 + 8 * static_cast<i32>(std::size(caller_saved)) + 8;
        static_assert(pushed % 16 == 0);
        const asmjit::Label plain = a_.newLabel(), done = a_.newLabel();
        for (const x86::Gp& r : caller_saved)
            a_.push(r);
        a_.sub(x86::rsp, 8);
        a_.lea(x86::rdi, x86::ptr(x86::rsp, pushed));
        a_.mov(x86::rsi, x86::rax);
        a_.cmp(CALQUE_CONTEXT_BELOW(vectors_absent, pushed), 0);
        a_.jne(plain);
        a_.sub(x86::rsp, vectors_bytes);
        for (unsigned n = 0; n < 16; ++n)
            a_.vmovups(x86::ymmword_ptr(x86::rsp, static_cast<i32>(n * 32)), x86::ymm(n));
        a_.vzeroupper();
        a_.stmxcsr(x86::dword_ptr(x86::rsp, 16 * 32));
        a_.ldmxcsr(CALQUE_CONTEXT_BELOW(host_mxcsr, pushed + vectors_bytes));
        call(function);
        vectors_from([](unsigned n) { return x86::ymmword_ptr(x86::rsp, static_cast<i32>(n * 32)); });
        a_.ldmxcsr(x86::dword_ptr(x86::rsp, 16 * 32));
        a_.add(x86::rsp, vectors_bytes);
        a_.jmp(done);
        a_.bind(plain);
        call(function);
        a_.bind(done);
        a_.add(x86::rsp, 8);
        for (unsigned n = std::size(caller_saved); n-- > 0;)
            a_.pop(caller_saved[n]);
    }

    void refill(bool in_mirror) {
        const asmjit::Label failed = a_.newLabel();
        if (in_mirror)
            a_.bind(refill_in_mirror_);
        else
            out_.refill = here();
        call_from_unit(targets_.refill);
        a_.test(x86::rax, x86::rax);
        a_.jz(failed);
        a_.mov(t1, x86::rax);
        if (in_mirror) a_.sub(t1, CALQUE_CONTEXT_BELOW(mirror, 8));
        a_.xor_(x86::eax, x86::eax); // Carry, too.
        a_.ret();
        a_.bind(failed);
        a_.add(x86::rsp, 8); // The return address: the site knows where to go on.
        a_.jmp(interpret_);
    }

    void probe(mmu::RightsMode mode, bool write, bool only) {
        const asmjit::Label miss = a_.newLabel(), hot = a_.newLabel();
        const u64 table = table_of(mode);
        const u64 entry = table + mmu::tlb_entries_offset;
        const auto tag = table_at(
            x86::rcx, entry + (write ? offsetof(mmu::TlbEntry, write_tag) : offsetof(mmu::TlbEntry, read_tag)), 8);
        a_.push(x86::rcx);
        a_.rorx(x86::rcx, t0, mmu::tlb_index_shift);
        a_.and_(x86::ecx, context_at(offsetof(JitContext, index_masks) + static_cast<u64>(mode) * sizeof(u32), 4, 16));
        a_.xor_(t0, tag);
        a_.cmp(t0, t1);
        a_.ja(miss);
        a_.mov(t1, table_at(x86::rcx, entry + offsetof(mmu::TlbEntry, host), 8));
        a_.add(t1, t0);
        a_.sub(t1, CALQUE_CONTEXT_BELOW(mirror, 16));
        a_.sub(CALQUE_CONTEXT_BELOW(until_mirrored, 16), 1); // Clears carry, for it was not 0.
        a_.jz(hot);
        a_.pop(x86::rcx);
        a_.ret();
        a_.bind(hot);
        a_.xor_(t0, tag);
        a_.pop(x86::rcx);
        a_.jmp(refill_in_mirror_);
        a_.bind(miss);
        a_.xor_(t0, tag);
        a_.pop(x86::rcx);
        if (!only) return static_cast<void>(a_.jmp(refill_in_mirror_));
        a_.stc();
        a_.ret();
    }

    void read_timestamp() {
        out_.read_timestamp = here();
        call_from_unit(targets_.read_timestamp);
        a_.ret();
    }

    void load_vectors() {
        out_.load_vectors = here();
        a_.push(x86::rcx);
        a_.mov(t1, CALQUE_CONTEXT_BELOW(state, 16));
        a_.stmxcsr(CALQUE_CONTEXT_BELOW(host_mxcsr, 16));
        vectors_from([](unsigned n) { return vector_at(t1, n); });
        a_.ldmxcsr(x86::dword_ptr(t1, static_cast<i32>(offsetof(cpu::CpuState, mxcsr))));
        a_.mov(CALQUE_CONTEXT_BELOW(vectors_absent, 16), 0);
        a_.pop(x86::rcx);
        a_.ret();
    }

    const ThunkTargets& targets_;
    const TargetIndex& index_;
    Thunks& out_;
    Complain complain_;
    asmjit::CodeHolder code_;
    x86::Assembler a_;
    asmjit::Label interpret_ = {}, refill_in_mirror_ = {};

  public:
    void prepare() {
        interpret_ = a_.newLabel();
        refill_in_mirror_ = a_.newLabel();
    }
};

} // namespace

std::vector<u8> emit_thunks(const void* base, const ThunkTargets& targets, const TargetIndex& index, Thunks& out) {
    ThunkEmitter emitter(base, targets, index, out);
    emitter.prepare();
    return emitter.run();
}

} // namespace calque::jit
