#include "jit/host.h"

#include "jit/engine.h"

#include <csignal>
#if defined(__x86_64__)
#include <cpuid.h>
#endif
#include <mutex>
#include <sys/auxv.h>
#include <ucontext.h>

namespace calque::jit::host {

thread_local Engine* current_engine = nullptr;

#if defined(__x86_64__)

namespace {

constexpr unsigned long hwcap2_fsgsbase = 1u << 1;
struct sigaction previous {};

void on_trap(int signal, siginfo_t* info, void* raw) {
    auto* const context = static_cast<ucontext_t*>(raw);
    greg_t& rip = context->uc_mcontext.gregs[REG_RIP];
    if (current_engine) {
        if (const void* stub = current_engine->trap_stub(reinterpret_cast<const void*>(rip))) {
            rip = reinterpret_cast<greg_t>(stub);
            return;
        }
    }
    if (previous.sa_flags & SA_SIGINFO) return previous.sa_sigaction(signal, info, raw);
    std::signal(signal, SIG_DFL); // The instruction runs again and ends the process.
}

} // namespace

bool can_run_translated_code() {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2") && (getauxval(AT_HWCAP2) & hwcap2_fsgsbase);
}

bool fast_pext() {
    static const bool fast = [] {
        unsigned a = 0, b = 0, c = 0, d = 0;
        __cpuid(0, a, b, c, d);
        const bool amd = b == 0x68747541 || b == 0x6F677948; // "Auth"enticAMD, "Hygo"nGenuine.
        __cpuid(1, a, b, c, d);
        const unsigned family = (a >> 8 & 15) + (a >> 20 & 255);
        return !amd || family >= 0x19;
    }();
    return fast;
}

void set_gs_base(const void* base) { asm volatile("wrgsbase %0" : : "r"(base)); }

void install_trap_handler() {
    static std::once_flag once;
    std::call_once(once, [] {
        struct sigaction action {};
        action.sa_sigaction = on_trap;
        action.sa_flags = SA_SIGINFO | SA_NODEFER;
        sigemptyset(&action.sa_mask);
        ::sigaction(SIGFPE, &action, &previous);
    });
}

#else

bool can_run_translated_code() { return false; }
bool fast_pext() { return false; }
void set_gs_base(const void*) {}
void install_trap_handler() {}

#endif

} // namespace calque::jit::host
