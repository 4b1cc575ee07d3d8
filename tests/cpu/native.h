// Runs one user-level instruction on the host's own processor, for comparison with the interpreter. x86-64 Linux only:
// elsewhere CALQUE_NATIVE is not defined.
//
//   Native& native = Native::instance();
//   native.state().gpr[0] = 5; ...                       // Registers, flags, the XSAVE image.
//   Native::Result r = native.run(bytes);                // Or run(bytes, address): where the instruction is put.
//   r.signal                                             // 0, or the signal that it died of, with trap and address.
//
// The instruction is put at code_base of the harness's arena, which is mapped here at the same address, 2 MiB of it,
// readable, writable and executable; nothing else near it is. A branch that leaves the instruction is caught at its
// target when that holds INT3 (the arena is filled with them outside the data part): then signal is 0 and state().rip
// the target. Vector and x87 state is loaded and saved only when with_vectors is set. Never run what changes FS.base,
// sets TF or makes system calls. One thread at a time.
#pragma once

#if defined(__x86_64__) && defined(__linux__)
#define CALQUE_NATIVE 1

#include "base/types.h"

#include <csignal>
#include <cstring>
#include <span>
#include <sys/mman.h>
#include <sys/ucontext.h>

namespace calque::cpu::testing {

class Native {
  public:
    static constexpr u64 arena_base = 0x10000000, arena_size = 0x200000, code_base = arena_base + 0x1000;

    // At a fixed address below 2 GiB, so that the stubs reach it without a register.
    struct State {
        u64 gpr[16];
        u64 rflags;
        u64 rip;
        u64 host_rsp;
        u64 next;   // Where to go after loading the state.
        u64 resume; // Where the instruction's tail goes back to,
        u64 died;   // and where a signal's handler does, which has saved the state itself.
        u32 host_mxcsr;
        u32 spare[19];
        alignas(64) u8 xsave[1024]; // Legacy area, header, AVX: components 0 to 2.
    };
    struct Result {
        int signal = 0;
        int trap = -1;   // Hardware vector, when a signal came.
        u64 error = 0;   // Its error code.
        u64 address = 0; // CR2 of a page fault.
    };

    static Native& instance() {
        static Native native;
        return native;
    }
    bool ok() const { return ok_; }
    // Whether an access to an address that holds nothing of the test's faults. With a sanitizer it may hit the shadow
    // memory, which lies over most of the low addresses and would not survive a random store.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    static constexpr bool stray_accesses_fault = false;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
    static constexpr bool stray_accesses_fault = false;
#else
    static constexpr bool stray_accesses_fault = true;
#endif
#else
    static constexpr bool stray_accesses_fault = true;
#endif
    State& state() { return *reinterpret_cast<State*>(state_base); }
    std::span<u8> arena() { return {reinterpret_cast<u8*>(arena_base), arena_size}; }
    u8* at(u64 address) { return reinterpret_cast<u8*>(address); }
    bool with_vectors = false;

    Result run(std::span<const u8> code, u64 address = code_base) {
        place(code, address);
        const Result result = again();
        remove();
        return result;
    }
    // The same in parts: put an instruction in place (at most once), run it with one state after another, take it away.
    void place(std::span<const u8> code, u64 address = code_base) {
        if (placed_at_ == address) return;
        u8* const place = at(address);
        placed_at_ = address;
        placed_size_ = code.size() + sizeof tail;
        tail_at_ = address + code.size();
        std::memcpy(saved_, place, placed_size_);
        std::memcpy(place, code.data(), code.size());
        std::memcpy(place + code.size(), tail, sizeof tail);
    }
    Result again() {
        state().next = placed_at_;
        result_ = {};
        state().rip = tail_at_; // Unless it leaves another way.
        constexpr u64 all_components = 7;
        std::memcpy(state().xsave + 512, &all_components, 8);
        running_ = true;
        if (with_vectors)
            enter<true>();
        else
            enter<false>();
        running_ = false;
        return result_;
    }
    void remove() {
        if (placed_at_) std::memcpy(at(placed_at_), saved_, placed_size_);
        placed_at_ = 0;
    }

  private:
    static constexpr u64 state_base = 0x0F000000;
    // jmp [state.resume]
    static constexpr u8 tail[7] = {0xFF, 0x24, 0x25, 0xA0, 0x00, 0x00, 0x0F};
    static_assert(offsetof(State, resume) == 0xA0 && offsetof(State, xsave) == 0x100);

    Native() {
        constexpr int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
        constexpr int all = PROT_READ | PROT_WRITE | PROT_EXEC;
        void* arena = mmap(reinterpret_cast<void*>(arena_base), arena_size, all, flags, -1, 0);
        void* state = mmap(reinterpret_cast<void*>(state_base), 4096, PROT_READ | PROT_WRITE, flags, -1, 0);
        ok_ = arena == reinterpret_cast<void*>(arena_base) && state == reinterpret_cast<void*>(state_base);
        if (!ok_) return;
        std::memset(arena, 0xCC, arena_size);
        stack_t stack{};
        stack.ss_sp = signal_stack_;
        stack.ss_size = sizeof signal_stack_;
        sigaltstack(&stack, nullptr);
        struct sigaction action {};
        action.sa_sigaction = on_signal;
        action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
        for (const int number : {SIGSEGV, SIGILL, SIGFPE, SIGTRAP, SIGBUS})
            sigaction(number, &action, nullptr);
    }

    // The kernel leaves out of a signal frame's XSAVE image what is in its initial state.
    static void copy_vectors(u8* to, const void* from) {
        std::memcpy(to, from, 832);
        u64 present;
        std::memcpy(&present, to + 512, 8);
        if (!(present & 1)) {
            std::memset(to, 0, 24);
            std::memset(to + 32, 0, 128);
            to[0] = 0x7F, to[1] = 0x03;
        }
        if (!(present & 2)) std::memset(to + 160, 0, 256);
        if (!(present & 4)) std::memset(to + 576, 0, 256);
    }

    static void on_signal(int number, siginfo_t*, void* raw) {
        asm volatile("pushq $2\n\tpopfq" ::: "cc", "memory"); // RFLAGS.AC is still the instruction's.
        Native& native = instance();
        const auto& context = *static_cast<ucontext_t*>(raw);
        greg_t* const r = const_cast<greg_t*>(context.uc_mcontext.gregs);
        State& s = native.state();
        static constexpr int order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                          REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
        const u64 rip = static_cast<u64>(r[REG_RIP]);
        if (!native.running_) { // Not an instruction under test: die as ever.
            std::signal(number, SIG_DFL);
            return;
        }
        for (unsigned n = 0; n < 16; ++n)
            s.gpr[n] = static_cast<u64>(r[order[n]]);
        s.rflags = static_cast<u64>(r[REG_EFL]) & ~u64{0x10000}; // RF is the fault's own.
        s.rip = rip;
        // An INT3 that is not the instruction's own byte is where a branch led.
        const bool own = rip - 1 >= s.next && rip - 1 < native.tail_at_;
        if (number == SIGTRAP && rip > arena_base && rip <= arena_base + arena_size && !own)
            s.rip = rip - 1;
        else
            native.result_ = {number, static_cast<int>(r[REG_TRAPNO]), static_cast<u64>(r[REG_ERR]),
                              static_cast<u64>(r[REG_CR2])};
        if (native.with_vectors && context.uc_mcontext.fpregs) copy_vectors(s.xsave, context.uc_mcontext.fpregs);
        r[REG_RSP] = static_cast<greg_t>(s.host_rsp);
        r[REG_RIP] = static_cast<greg_t>(s.died);
        r[REG_EFL] = 0x202;
    }

    // State's fields by their absolute addresses; rSP is the host's from 0F000090h on until it is loaded, and again
    // once that is loaded back. Label 1 is where the instruction's tail comes to, 2 where the signal handler does.
    template <bool Vectors> void enter() {
        asm volatile("subq $128,%%rsp\n\tpushq %%rbx\n\tpushq %%rbp\n\tpushq %%r12\n\t"
                     "pushq %%r13\n\tpushq %%r14\n\tpushq %%r15\n\t"
                     "movq %%rsp,0x0F000090\n\tstmxcsr 0x0F0000B0\n\t"
                     "leaq 1f(%%rip),%%rax\n\tmovq %%rax,0x0F0000A0\n\t"
                     "leaq 2f(%%rip),%%rax\n\tmovq %%rax,0x0F0000A8\n\t"
                     ".if %c[vectors]\n\tmovl $7,%%eax\n\txorl %%edx,%%edx\n\txrstor64 0x0F000100\n\t.endif\n\t"
                     "pushq 0x0F000080\n\tpopfq\n\t"
                     "movq 0x0F000000,%%rax\n\tmovq 0x0F000008,%%rcx\n\tmovq 0x0F000010,%%rdx\n\t"
                     "movq 0x0F000018,%%rbx\n\tmovq 0x0F000020,%%rsp\n\tmovq 0x0F000028,%%rbp\n\t"
                     "movq 0x0F000030,%%rsi\n\tmovq 0x0F000038,%%rdi\n\tmovq 0x0F000040,%%r8\n\t"
                     "movq 0x0F000048,%%r9\n\tmovq 0x0F000050,%%r10\n\tmovq 0x0F000058,%%r11\n\t"
                     "movq 0x0F000060,%%r12\n\tmovq 0x0F000068,%%r13\n\tmovq 0x0F000070,%%r14\n\t"
                     "movq 0x0F000078,%%r15\n\tjmp *0x0F000098\n"
                     "1:\n\t"
                     "movq %%rax,0x0F000000\n\tmovq %%rcx,0x0F000008\n\tmovq %%rdx,0x0F000010\n\t"
                     "movq %%rbx,0x0F000018\n\tmovq %%rsp,0x0F000020\n\tmovq %%rbp,0x0F000028\n\t"
                     "movq %%rsi,0x0F000030\n\tmovq %%rdi,0x0F000038\n\tmovq %%r8,0x0F000040\n\t"
                     "movq %%r9,0x0F000048\n\tmovq %%r10,0x0F000050\n\tmovq %%r11,0x0F000058\n\t"
                     "movq %%r12,0x0F000060\n\tmovq %%r13,0x0F000068\n\tmovq %%r14,0x0F000070\n\t"
                     "movq %%r15,0x0F000078\n\tmovq 0x0F000090,%%rsp\n\tpushfq\n\tpopq 0x0F000080\n\t"
                     ".if %c[vectors]\n\tmovl $7,%%eax\n\txorl %%edx,%%edx\n\txsave64 0x0F000100\n\t.endif\n"
                     "2:\n\t"
                     "pushq $2\n\tpopfq\n\t.if %c[vectors]\n\tfninit\n\tvzeroupper\n\t.endif\n\tldmxcsr 0x0F0000B0\n\t"
                     "popq %%r15\n\tpopq %%r14\n\tpopq %%r13\n\tpopq %%r12\n\tpopq %%rbp\n\tpopq %%rbx\n\t"
                     "addq $128,%%rsp\n\t"
                     :
                     : [vectors] "i"(Vectors ? 1 : 0)
                     : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "cc", "memory", "xmm0", "xmm1",
                       "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12",
                       "xmm13", "xmm14", "xmm15");
    }

    bool ok_ = false, running_ = false;
    u64 tail_at_ = 0, placed_at_ = 0;
    std::size_t placed_size_ = 0;
    u8 saved_[32];
    Result result_;
    alignas(16) u8 signal_stack_[65536];
};

} // namespace calque::cpu::testing

#endif
