// Random x87 and MMX programs through the interpreter and through the translator: every register, flag and byte of
// memory is the same. CALQUE_X87_PROGRAMS=n runs n of them, CALQUE_X87_PROGRAM=n only that one.
#include "jit/debug/disassembler.h"
#include "tests/jit/x87_program.h"

#include <cstdlib>
#include <fmt/format.h>
#include <gtest/gtest.h>

namespace calque::jit::test {
namespace {

u64 number_from(const char* name, u64 otherwise) {
    const char* text = std::getenv(name);
    return text ? std::strtoull(text, nullptr, 0) : otherwise;
}

class Pair {
  public:
    std::string compare(u64 seed, const Code& program) {
        for (X87Machine* const m : {&interpreted_, &translated_})
            m->reset(seed);
        const cpu::ExitReason expected = interpreted_.run(program), got = translated_.run(program);
        std::string text = difference(interpreted_, translated_);
        if (expected != got) text += "  ended in another way\n";
        if (expected == cpu::ExitReason::halted) ++complete_;
        return text;
    }
    u64 complete() const { return complete_; }
    X87Machine& translated() { return translated_; }

  private:
    X87Machine interpreted_{false}, translated_{true};
    u64 complete_ = 0;
};

std::string list(const Code& program) {
    std::string text;
    for (const CodeLine& line : disassemble(program, cpu::CodeSize::bits64, program_at, program.size()))
        text += line.line() + '\n';
    return text;
}

// Leaves out what is not needed for a difference.
std::string shrink(Pair& pair, u64 seed, X87Program& program) {
    std::vector<bool> left_out(program.items());
    for (std::size_t n = 0; n < left_out.size(); ++n) {
        left_out[n] = true;
        if (pair.compare(seed, program.make(left_out)).empty()) left_out[n] = false;
    }
    const Code code = program.make(left_out);
    return pair.compare(seed, code) + list(code);
}

TEST(X87, TranslatedProgramsDoWhatInterpretedOnesDo) {
    if (!Engine::supported() || !__builtin_cpu_is("amd")) GTEST_SKIP() << "the undefined results are another host's";
    Pair pair;
    const u64 only = number_from("CALQUE_X87_PROGRAM", 0);
    const u64 count = only ? only : number_from("CALQUE_X87_PROGRAMS", 10000);
    for (u64 seed = only ? only : 1; seed <= count; ++seed) {
        X87Program program(seed);
        const std::string text = pair.compare(seed, program.make());
        ASSERT_TRUE(text.empty()) << "program " << seed << '\n' << text << shrink(pair, seed, program);
    }
    if (!only) {
        EXPECT_GT(pair.complete(), count / 4);
    }
    EXPECT_NE(pair.translated().engine()->counters().x87_stores, 0u);
}

} // namespace
} // namespace calque::jit::test
