// The engine that the boards of these tests run on. The same tests are built twice: in test_cpu the engine is the
// interpreter; in test_cpu_jit (tests/jit/suites) the environment variable CALQUE_ENGINE chooses among the translator's
// ways to run.
#pragma once

#include "cpu/cpu.h"

#include <memory>

namespace calque::cpu::testing {

std::unique_ptr<ExecutionEngine> make_engine(mmu::PhysicalMap& memory, Log& log);
// What to ask of the engine where a test wants "as long as it takes", which is at most `instructions` here: the
// translator runs translated code only when there is no budget.
u64 long_budget(u64 instructions);

} // namespace calque::cpu::testing
