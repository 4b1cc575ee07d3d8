// Random programs of x87 and MMX instructions, with what may come between them.
#pragma once

#include "tests/jit/x87_machine.h"

#include <vector>

namespace calque::jit::test {

using Code = std::vector<u8>;

class X87Program {
  public:
    explicit X87Program(u64 seed) : random_(seed) {}

    // The instructions, without those in `left_out` (by their place), in a loop that runs them four times; then HLT.
    // The same seed gives the same program.
    Code make(const std::vector<bool>& left_out = {});
    std::size_t items() const { return items_.size(); }

  private:
    using Random = cpu::fp::test::Random;
    // One item is what is left out or kept together.
    void item();
    void x87_register();
    void x87_memory();
    void mmx();
    void control();
    void save_and_load();
    void integer();
    void branch();
    void system();
    void vectors();
    // ModRM, SIB and displacement of a random operand, after `rex` and `opcode`.
    Code memory_operand(Code opcode, unsigned reg, bool wide = false);

    Random random_;
    std::vector<Code> items_;
    Code code_; // Of the item that is being made.
};

} // namespace calque::jit::test
