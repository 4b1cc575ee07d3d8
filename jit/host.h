// What translated code needs of the host besides memory: the GS base and the trap signal.
#pragma once

namespace calque::jit {

class Engine;

namespace host {

// AVX2, BMI2, LAHF, and FSGSBASE enabled for user code.
bool can_run_translated_code();
// PEXT is not microcode, as it is in AMD's processors before family 19h.
bool fast_pext();
void set_gs_base(const void* base);
// SIGFPE raised by translated code goes to the running engine's stub; any other goes on as before. Once per process.
void install_trap_handler();
// The engine that runs on this thread.
extern thread_local Engine* current_engine;

} // namespace host
} // namespace calque::jit
