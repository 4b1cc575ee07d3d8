// Runs one SSE or AVX instruction on the host's own CPU under a given MXCSR, unmasked exceptions included. Tests only.
#pragma once

#if defined(__x86_64__)

#include "cpu/fp/status.h"

#include <csignal>
#include <cstring>
#include <ucontext.h>

namespace calque::cpu::fp::test {

struct HostState {
    u64 xmm0[2] = {}; // destination and first operand
    u64 xmm1[2] = {};
    u64 xmm2[2] = {};
    u64 rax = 0;
    u32 mxcsr = 0; // in: to run with; out: what the instruction left
    u32 faulted = 0;
};

using HostInstruction = void (*)(HostState*);

inline void* g_resume_address;
inline HostState* g_running;

// The instruction text works on xmm0, xmm1, xmm2 and rax. A SIGFPE ends it at the label that follows it.
#define CALQUE_HOST(text)                                                                                              \
    [](HostState* state) {                                                                                             \
        asm volatile("lea 1f(%%rip), %%rcx\n mov %%rcx, %[resume]\n mov %[state], %[running]\n"                        \
                     "movups (%[state]), %%xmm0\n movups 16(%[state]), %%xmm1\n movups 32(%[state]), %%xmm2\n"         \
                     "mov 48(%[state]), %%rax\n ldmxcsr 56(%[state])\n" text "\n1:\n stmxcsr 56(%[state])\n"           \
                     "ldmxcsr %[initial]\n movups %%xmm0, (%[state])\n mov %%rax, 48(%[state])\n"                      \
                     : [resume] "=m"(g_resume_address), [running] "=m"(g_running)                                      \
                     : [state] "r"(state), [initial] "m"(kInitialMxcsr)                                                \
                     : "rax", "rcx", "xmm0", "xmm1", "xmm2", "memory");                                                \
    }

inline constexpr u32 kInitialMxcsr = 0x1f80;

inline void resume_after_fault(int, siginfo_t*, void* context) {
    auto* uc = static_cast<ucontext_t*>(context);
    uc->uc_mcontext.gregs[REG_RIP] = reinterpret_cast<greg_t>(g_resume_address);
    uc->uc_mcontext.fpregs->mxcsr |= 0x1f80; // masked, so that the signal's return does not fault again
    g_running->faulted = 1;
}

class HostFaults {
  public:
    HostFaults() {
        struct sigaction action = {};
        action.sa_sigaction = resume_after_fault;
        action.sa_flags = SA_SIGINFO;
        sigaction(SIGFPE, &action, &previous_);
    }
    ~HostFaults() { sigaction(SIGFPE, &previous_, nullptr); }
    HostFaults(const HostFaults&) = delete;
    HostFaults& operator=(const HostFaults&) = delete;

  private:
    struct sigaction previous_ = {};
};

} // namespace calque::cpu::fp::test

#endif
