// tests/cpu by the translator: CALQUE_ENGINE=jit translates everything at once, CALQUE_ENGINE=jit1 with each unit of
// one instruction, anything else is the interpreter.
#include "tests/cpu/engine.h"

#include "cpu/interpreter.h"
#include "jit/engine.h"

#include <cstdlib>
#include <string_view>

namespace calque::cpu::testing {

namespace {
std::string_view chosen() {
    const char* const name = std::getenv("CALQUE_ENGINE");
    return name ? name : "";
}
bool translates() { return (chosen() == "jit" || chosen() == "jit1") && jit::Engine::supported(); }
} // namespace

std::unique_ptr<ExecutionEngine> make_engine(mmu::PhysicalMap& memory, Log& log) {
    if (!translates()) return std::make_unique<Interpreter>(memory, log, 1u << 16);
    jit::EngineOptions options;
    options.hot_after = 1;
    options.mirror_interval = 2;
    options.code_bytes = std::size_t{4} << 20;
    options.switches.verify = true;
    options.sample_passes = 3;
    if (chosen() == "jit1") {
        options.longest_unit = 1;
        options.fast_pext = false; // The other way to find an entry.
    }
    return std::make_unique<jit::Engine>(memory, log, options);
}

u64 long_budget(u64 instructions) { return translates() ? ~u64{0} : instructions; }

} // namespace calque::cpu::testing
