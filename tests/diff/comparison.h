// One case: an encoding with a random state, on the host's processor and in the interpreter.
#pragma once

#include "tests/cpu/harness.h"
#include "tests/cpu/native.h"
#include "tests/diff/encoding.h"
#include "tests/diff/pools.h"

#include <string>

namespace calque::diff {

class Comparison {
  public:
    Comparison();
    // False: the addresses that the host's side needs are taken.
    bool ok() const { return native_.ok(); }
    const cpu::Decoder& decoder() const { return machine_.decoder(); }

    // Puts the encoding where it will run: its address, its branch target, its direct addresses. False when it is no
    // longer the instruction that it was.
    bool place(Encoding& encoding, Random& random);
    void remove();
    // Random state; both sides run; true when they agree. Otherwise report() tells.
    bool run(const Encoding& encoding, Random& random, const Pools& pools);
    // The last case in words: the encoding, what went in, what came out.
    std::string report(const Encoding& encoding) const;

    // Whether the host takes the bytes for an instruction (false: #UD).
    bool host_knows(std::span<const u8> bytes);

  private:
    using Native = cpu::testing::Native;

    void random_state(const Encoding& e, Random& random, const Pools& pools);
    void random_x87(Random& random, const Pools& pools, bool used);
    void aim_memory(const Encoding& e, Random& random);
    void aim_vsib(const Encoding& e, Random& random, u64 target);
    void aim_implicit(const Encoding& e, Random& random);
    void prepare_operands(const Encoding& e, Random& random);
    void load_native(const cpu::CpuState& s, bool vectors);
    bool touched_runner() const;
    void note(std::string text) { differences_ += (differences_.empty() ? "" : "; ") + std::move(text); }
    void compare(const Encoding& e, const std::optional<cpu::Exception>& fault);
    void compare_fault(std::string_view name, const std::optional<cpu::Exception>& fault);
    void compare_memory(const Encoding& e);
    void compare_vectors(unsigned tolerance);
    void compare_x87(unsigned tolerance);
    u64 random_target(Random& random) const;

    cpu::testing::Machine machine_{cpu::testing::Machine::Kind::long64};
    Native& native_ = Native::instance();
    u64 address_ = 0; // Of the instruction.
    u64 branch_target_ = 0;
    u64 target_ = 0; // Of the memory operand.
    cpu::CpuState before_;
    std::vector<u8> window_before_;
    Native::Result result_;
    std::optional<cpu::Exception> fault_;
    std::string differences_;
};

} // namespace calque::diff
