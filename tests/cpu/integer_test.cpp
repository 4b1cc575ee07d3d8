// Known answers of integer instructions.
#include "tests/cpu/harness.h"

#include <gtest/gtest.h>

namespace calque::cpu::testing {
namespace {

TEST(Integer, IncrementsARegister) {
    Machine m(Machine::Kind::long64);
    m.state().gpr[rax] = 5;
    EXPECT_FALSE(m.step({0x48, 0xFF, 0xC0}));
    EXPECT_EQ(m.state().gpr[rax], 6u);
    EXPECT_EQ(m.state().rip(), code_base + 3);
}

TEST(Integer, RunsALoop) {
    Machine m(Machine::Kind::long64);
    m.state().gpr[rcx] = 1000;
    m.state().gpr[rax] = 0;
    // l: add rax, rcx; dec rcx; jnz l
    const u64 before = m.cpu().instructions;
    EXPECT_EQ(m.run({0x48, 0x01, 0xC8, 0x48, 0xFF, 0xC9, 0x75, 0xF8}, 3000), ExitReason::budget);
    EXPECT_EQ(m.state().gpr[rax], 500500u);
    EXPECT_EQ(m.cpu().instructions - before, 3000u);
    EXPECT_EQ(m.state().rip(), code_base + 8);
}

// What the host's processor gave in a 32-bit program (AMD Zen 4), undefined flags and all.
TEST(Integer, DecimalAdjustmentsAsMeasured) {
    struct Case {
        std::string_view name;
        u32 eax, flags, result, flags_after;
    };
    static constexpr Case cases[] = {
        {"aaa", 0xea96, 0x855, 0xeb0c, 0x95}, {"aaa", 0x871b, 0x891, 0x8801, 0x95},
        {"aaa", 0x489f, 0x41, 0x4905, 0x15},  {"aaa", 0x1217, 0x8c1, 0x1207, 0x4},
        {"aaa", 0x8554, 0x95, 0x860a, 0x95},  {"aaa", 0x690a, 0x44, 0x6a00, 0x11},
        {"aas", 0x4952, 0x40, 0x4902, 0x0},   {"aas", 0x10cc, 0x1, 0xf06, 0x15},
        {"aas", 0xddbb, 0x40, 0xdc05, 0x91},  {"aas", 0x2269, 0xc5, 0x2209, 0x4},
        {"aas", 0x121e, 0x45, 0x1108, 0x15},  {"aas", 0x1f3, 0x8c1, 0x103, 0x4},
        {"daa", 0x7b18, 0xc1, 0x7b78, 0x5},   {"daa", 0x6086, 0x8c1, 0x60e6, 0x81},
        {"daa", 0x2883, 0x94, 0x2889, 0x90},  {"daa", 0xbabe, 0x40, 0xba24, 0x15},
        {"daa", 0xc846, 0x844, 0xc846, 0x0},  {"daa", 0xa8b1, 0x890, 0xa817, 0x15},
        {"das", 0xcab2, 0x50, 0xca4c, 0x811}, {"das", 0x7a4d, 0x880, 0x7a47, 0x14},
        {"das", 0x8426, 0x805, 0x84c6, 0x85}, {"das", 0x1c33, 0x811, 0x1ccd, 0x91},
        {"das", 0xeb5d, 0x1, 0xebf7, 0x91},   {"das", 0x779f, 0x815, 0x7739, 0x815},
        {"aam", 0x8959, 0xd4, 0x809, 0x4},    {"aam", 0x4d72, 0xc5, 0xb04, 0x0},
        {"aam", 0x8865, 0x11, 0xa01, 0x0},    {"aam", 0x255f, 0x815, 0x905, 0x4},
        {"aam", 0xa69e, 0x15, 0xf08, 0x0},    {"aam", 0xb334, 0x884, 0x502, 0x0},
        {"aad", 0x2d25, 0x14, 0xe7, 0x84},    {"aad", 0xb030, 0x880, 0x10, 0x1},
        {"aad", 0x1ea5, 0x41, 0xd1, 0x94},    {"aad", 0x7785, 0x94, 0x2b, 0x805},
        {"aad", 0xc039, 0x841, 0xb9, 0x80},   {"aad", 0xf3fb, 0x855, 0x79, 0x11},
    };
    static const std::map<std::string_view, std::vector<u8>> code = {
        {"aaa", {0x37}}, {"aas", {0x3F}}, {"daa", {0x27}}, {"das", {0x2F}}, {"aam", {0xD4, 10}}, {"aad", {0xD5, 10}}};
    Machine m(Machine::Kind::compat32);
    for (const Case& c : cases) {
        m.state().gpr[rax] = c.eax;
        write_rflags(m.state(), c.flags);
        ASSERT_FALSE(m.step(code.at(c.name)));
        EXPECT_EQ(m.state().gpr[rax], c.result) << c.name << std::hex << c.eax;
        EXPECT_EQ(read_rflags(m.state()) & arithmetic_flags, c.flags_after) << c.name << std::hex << c.eax;
    }
}

Vector vector_of(const std::optional<Exception>& e) { return e ? e->vector : Vector{255}; }

TEST(Integer, EncodingsThatFault) {
    Machine m(Machine::Kind::long64);
    EXPECT_EQ(vector_of(m.step({0xF0, 0x01, 0xC0})), Vector::invalid_opcode);                   // lock add eax, eax
    EXPECT_EQ(vector_of(m.step({0xF0, 0x8B, 0x07})), Vector::invalid_opcode);                   // lock mov
    EXPECT_EQ(vector_of(m.step({0x0F, 0x0B})), Vector::invalid_opcode);                         // ud2
    EXPECT_EQ(vector_of(m.step({0x62, 0xF1, 0x7C, 0x48, 0x58, 0xC0})), Vector::invalid_opcode); // vaddps zmm
    EXPECT_EQ(vector_of(m.step({0xD4, 0x0A})), Vector::invalid_opcode);                         // aam
    EXPECT_EQ(vector_of(m.step(
                  {0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x90})),
              Vector::general_protection); // Sixteen bytes.
    EXPECT_EQ(m.state().rip(), code_base);
    EXPECT_FALSE(m.step({0xF3, 0x0F, 0x1E, 0xFA})); // endbr64
    EXPECT_FALSE(m.step({0x66, 0x0F, 0x1A, 0xC0})); // bndmov: a NOP
    EXPECT_FALSE(m.step({0x0F, 0x1F, 0x44, 0x00, 0x00}));
}

TEST(Integer, FeaturesThatAreOffAreUndefinedOrDecodeAsBefore) {
    CpuModel model;
    model.features.set(Feature::popcnt, false);
    model.features.set(Feature::abm, false);
    model.features.set(Feature::bmi1, false);
    Machine m(Machine::Kind::long64, model);
    EXPECT_EQ(vector_of(m.step({0xF3, 0x0F, 0xB8, 0xC0})), Vector::invalid_opcode);       // popcnt
    EXPECT_EQ(vector_of(m.step({0xC4, 0xE2, 0x78, 0xF2, 0xC1})), Vector::invalid_opcode); // andn
    m.state().gpr[rcx] = 0x100;
    EXPECT_FALSE(m.step({0xF3, 0x0F, 0xBD, 0xC1})); // lzcnt eax, ecx: bsr
    EXPECT_EQ(m.state().gpr[rax], 8u);
}

// Zydis 4.0.0 names R13D as the base: mod 0 with SIB base 5 has none, whatever REX.B says.
TEST(Integer, AddressOfSibBaseFiveWithRexB) {
    Machine m(Machine::Kind::long64);
    m.state().gpr[13] = 0x1234;
    m.state().gpr[rcx] = 2;
    EXPECT_FALSE(m.step({0x67, 0x41, 0x8D, 0x04, 0x8D, 0x10, 0x00, 0x00, 0x00})); // lea eax, [ecx*4 + 10h]
    EXPECT_EQ(m.state().gpr[rax], 0x18u);
}

TEST(Integer, SegmentOverridesIn64BitMode) {
    Machine m(Machine::Kind::long64);
    m.state().segment[fs].base = data_base;
    m.state().segment[ds].base = 0x100; // Has no base there.
    m.poke<u32>(data_base + 8, 0xABCD);
    m.state().gpr[rcx] = 8;
    EXPECT_FALSE(m.step({0x64, 0x3E, 0x8B, 0x01})); // fs ds mov eax, [rcx]: DS does not count
    EXPECT_EQ(m.state().gpr[rax], 0xABCDu);
    m.state().gpr[rcx] = data_base + 8;
    EXPECT_FALSE(m.step({0x3E, 0x8B, 0x11})); // ds mov edx, [rcx]
    EXPECT_EQ(m.state().gpr[rdx], 0xABCDu);
    m.state().gpr[rcx] = u64{1} << 60;
    EXPECT_EQ(vector_of(m.step({0x8B, 0x01})), Vector::general_protection);
    m.state().gpr[rbp] = u64{1} << 60;
    EXPECT_EQ(vector_of(m.step({0x8B, 0x45, 0x00})), Vector::stack_fault);
}

TEST(Integer, PopIntoMemoryAddressedByTheStackPointer) {
    Machine m(Machine::Kind::long64);
    m.state().gpr[rsp] = data_base;
    m.poke<u64>(data_base, 0x77);
    EXPECT_FALSE(m.step({0x8F, 0x04, 0x24})); // pop [rsp]
    EXPECT_EQ(m.peek<u64>(data_base + 8), 0x77u);
    EXPECT_EQ(m.state().gpr[rsp], data_base + 8);
}

TEST(Integer, EnterBuildsNestedFrames) {
    Machine m(Machine::Kind::long64);
    m.state().gpr[rsp] = data_base + 0x100;
    m.state().gpr[rbp] = data_base + 0x200;
    m.poke<u64>(data_base + 0x1F8, 0xAAAA);
    m.poke<u64>(data_base + 0x1F0, 0xBBBB);
    EXPECT_FALSE(m.step({0xC8, 0x20, 0x00, 0x03})); // enter 20h, 3
    EXPECT_EQ(m.state().gpr[rbp], data_base + 0xF8);
    EXPECT_EQ(m.state().gpr[rsp], data_base + 0xF8 - 3 * 8 - 0x20);
    EXPECT_EQ(m.peek<u64>(data_base + 0xF8), data_base + 0x200);
    EXPECT_EQ(m.peek<u64>(data_base + 0xF0), 0xAAAAu);
    EXPECT_EQ(m.peek<u64>(data_base + 0xE8), 0xBBBBu);
    EXPECT_EQ(m.peek<u64>(data_base + 0xE0), data_base + 0xF8);
    EXPECT_FALSE(m.step({0xC9})); // leave
    EXPECT_EQ(m.state().gpr[rbp], data_base + 0x200);
    EXPECT_EQ(m.state().gpr[rsp], data_base + 0x100);
}

TEST(Integer, BitOffsetsReachBeyondTheOperand) {
    Machine m(Machine::Kind::long64);
    m.state().gpr[rdi] = data_base + 0x80;
    m.state().gpr[rax] = static_cast<u64>(-9);
    EXPECT_FALSE(m.step({0x48, 0x0F, 0xAB, 0x07})); // bts [rdi], rax
    EXPECT_EQ(m.peek<u64>(data_base + 0x78), u64{1} << 55);
    m.state().gpr[rax] = 0x7FFF;                          // Signed 16 bits: 0FFEh bytes up.
    EXPECT_FALSE(m.step({0x66, 0xF0, 0x0F, 0xAB, 0x07})); // lock bts [rdi], ax
    EXPECT_EQ(m.peek<u16>(data_base + 0x80 + 0xFFE), 0x8000u);
}

TEST(Integer, PushaStoresAllOrNothing) {
    Machine m(Machine::Kind::compat32);
    for (unsigned n = 0; n < 8; ++n)
        m.state().gpr[n] = 0x1000 + n;
    m.state().gpr[rsp] = arena_base + 16; // Room for half.
    const auto fault = m.step({0x60});
    EXPECT_EQ(vector_of(fault), Vector::page_fault);
    EXPECT_EQ(m.state().gpr[rsp], arena_base + 16);
    EXPECT_EQ(m.peek<u32>(arena_base + 12), 0u);
    m.state().gpr[rsp] = data_base + 0x100;
    EXPECT_FALSE(m.step({0x60}));
    EXPECT_EQ(m.peek<u32>(data_base + 0xFC), 0x1000u);
    EXPECT_EQ(m.peek<u32>(data_base + 0xEC), data_base + 0x100);
    for (unsigned n = 0; n < 8; ++n)
        if (n != rsp) m.state().gpr[n] = 0;
    EXPECT_FALSE(m.step({0x61}));
    EXPECT_EQ(m.state().gpr[rdi], 0x1007u);
    EXPECT_EQ(m.state().gpr[rsp], data_base + 0x100);
}

TEST(Integer, BoundComparesSigned) {
    Machine m(Machine::Kind::compat32);
    m.poke<i32>(data_base, -5), m.poke<i32>(data_base + 4, 5);
    m.state().gpr[rdi] = data_base;
    m.state().gpr[rax] = 0xFFFFFFFB; // -5
    EXPECT_FALSE(m.step({0x62, 0x07}));
    m.state().gpr[rax] = 6;
    EXPECT_EQ(vector_of(m.step({0x62, 0x07})), Vector::bound_range);
}

TEST(Integer, Cmpxchg16bWantsAlignment) {
    Machine m(Machine::Kind::long64);
    m.state().gpr[rdi] = data_base + 8;
    EXPECT_EQ(vector_of(m.step({0x48, 0x0F, 0xC7, 0x0F})), Vector::general_protection);
    m.state().gpr[rdi] = data_base;
    m.poke<u64>(data_base, 1), m.poke<u64>(data_base + 8, 2);
    m.state().gpr[rax] = 1, m.state().gpr[rdx] = 2, m.state().gpr[rbx] = 3, m.state().gpr[rcx] = 4;
    EXPECT_FALSE(m.step({0xF0, 0x48, 0x0F, 0xC7, 0x0F}));
    EXPECT_EQ(m.peek<u64>(data_base), 3u);
    EXPECT_EQ(m.peek<u64>(data_base + 8), 4u);
    EXPECT_TRUE(zf(m.state().lazy));
}

TEST(Integer, CallsAndReturns) {
    Machine m(Machine::Kind::long64);
    m.state().gpr[rsp] = data_base + 0x100;
    EXPECT_FALSE(m.step({0xE8, 0x10, 0x00, 0x00, 0x00}));
    EXPECT_EQ(m.state().rip(), code_base + 0x15);
    EXPECT_EQ(m.peek<u64>(data_base + 0xF8), code_base + 5);
    EXPECT_FALSE(m.step({0xC2, 0x18, 0x00})); // ret 18h
    EXPECT_EQ(m.state().rip(), code_base + 5);
    EXPECT_EQ(m.state().gpr[rsp], data_base + 0x118);
    m.poke<u64>(data_base + 0x118, u64{1} << 47); // Not canonical: nothing is popped.
    EXPECT_EQ(vector_of(m.step({0xC3})), Vector::general_protection);
    EXPECT_EQ(m.state().gpr[rsp], data_base + 0x118);
    EXPECT_EQ(m.state().rip(), code_base + 5);
}

TEST(Integer, NearJumpsOf16BitOperandSizeTruncate) {
    Machine m(Machine::Kind::compat16);
    m.state().rip() = 0xFFF0;
    EXPECT_FALSE(m.step({0xE9, 0x20, 0x00}));
    EXPECT_EQ(m.state().rip(), 0x13u);
    m.state().gpr[rcx] = 0xABCD0000; // CX is zero.
    EXPECT_FALSE(m.step({0xE3, 0x10}));
    EXPECT_EQ(m.state().rip(), 0x25u);
}

} // namespace
} // namespace calque::cpu::testing
