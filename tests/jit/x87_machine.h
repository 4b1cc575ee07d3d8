// A processor in ring 0 with handlers for the exceptions that x87 code meets, run by the interpreter or by the
// translator.
#pragma once

#include "jit/engine.h"
#include "tests/cpu/fp_random.h"
#include "tests/cpu/harness.h"

#include <string>

namespace calque::jit::test {

// Linear addresses; all is in the arena, which is mapped one to one.
inline constexpr u64 program_at = cpu::testing::code_base, data_at = cpu::testing::data_base, data_bytes = 0x4000,
                     saves_at = data_at + data_bytes, saves_bytes = 0x2000, tables_at = data_at + 0x8000,
                     handlers_at = data_at + 0x9000, log_at = data_at + 0xA000, log_bytes = 0x1000;
inline constexpr u64 unmapped = 0x7000'0000;

class X87Machine {
  public:
    // By the interpreter, or by an engine that translates at once.
    explicit X87Machine(bool translated, EngineOptions options = {});

    cpu::CpuState& state() { return machine_.state(); }
    cpu::testing::Machine& machine() { return machine_; }
    Engine* engine() { return engine_.get(); }

    // Everything as the program expects it: registers, x87 state, data.
    void reset(u64 seed);
    // Until HLT, or shutdown.
    cpu::ExitReason run(std::span<const u8> program);

  private:
    void place_handlers();
    void gate(unsigned vector, u64 handler);

    cpu::testing::Machine machine_{cpu::testing::Machine::Kind::long64};
    std::unique_ptr<Engine> engine_;
};

// What differs, a line each, in registers and memory.
std::string difference(X87Machine& expected, X87Machine& got);

} // namespace calque::jit::test
