#include "tests/cpu/engine.h"

#include "cpu/interpreter.h"

namespace calque::cpu::testing {

std::unique_ptr<ExecutionEngine> make_engine(mmu::PhysicalMap& memory, Log& log) {
    return std::make_unique<Interpreter>(memory, log, 1u << 16);
}

u64 long_budget(u64 instructions) { return instructions; }

} // namespace calque::cpu::testing
