// String instructions: REP over pages, overlap, direction, faults, device memory, ports.
#include "tests/cpu/harness.h"

#include <gtest/gtest.h>
#include <numeric>

namespace calque::cpu::testing {
namespace {

using Kind = Machine::Kind;

struct Strings : ::testing::Test {
    Machine m{Kind::long64};

    void fill(u64 address, u64 length) {
        for (u64 n = 0; n < length; ++n)
            m.poke<u8>(address + n, static_cast<u8>(n * 7 + 3));
    }
    void set(u64 from, u64 to, u64 count, bool down = false) {
        m.state().gpr[rsi] = from, m.state().gpr[rdi] = to, m.state().gpr[rcx] = count;
        m.state().rflags = down ? m.state().rflags | flag_df : m.state().rflags & ~flag_df;
    }
};

TEST_F(Strings, MovsCopiesOverPages) {
    fill(data_base, 20000);
    set(data_base + 1, data_base + 0x8003, 2000);
    EXPECT_FALSE(m.step({0xF3, 0x48, 0xA5})); // rep movsq
    for (u64 n = 0; n < 16000; ++n)
        ASSERT_EQ(m.peek<u8>(data_base + 0x8003 + n), static_cast<u8>((n + 1) * 7 + 3)) << n;
    EXPECT_EQ(m.state().gpr[rcx], 0u);
    EXPECT_EQ(m.state().gpr[rsi], data_base + 1 + 16000);
}

// A copy onto what lies just behind repeats the first bytes, as the elements go one by one.
TEST_F(Strings, MovsThatFeedsItselfRepeats) {
    m.poke<u16>(data_base, 0x2211);
    set(data_base, data_base + 2, 5000);
    EXPECT_FALSE(m.step({0xF3, 0xA4}));
    for (u64 n = 0; n < 5002; ++n)
        ASSERT_EQ(m.peek<u8>(data_base + n), n & 1 ? 0x22 : 0x11) << n;
    // Downwards, with words whose overlap is not of their size.
    fill(data_base, 64);
    std::vector<u8> model(&m.arena()[data_base - arena_base], &m.arena()[data_base - arena_base] + 64);
    for (int n = 15; n >= 0; --n) {
        u16 v;
        std::memcpy(&v, &model[static_cast<std::size_t>(n) * 2 + 3], 2);
        std::memcpy(&model[static_cast<std::size_t>(n) * 2], &v, 2);
    }
    set(data_base + 33, data_base + 30, 16, true);
    EXPECT_FALSE(m.step({0xF3, 0x66, 0xA5}));
    EXPECT_TRUE(std::equal(model.begin(), model.end(), &m.arena()[data_base - arena_base]));
}

TEST_F(Strings, AFaultLeavesRegistersWhereItStopped) {
    const u64 end = arena_base + arena_size;
    set(data_base, end - 0x1010, 0x2000);
    const auto fault = m.step({0xF3, 0xA4});
    ASSERT_TRUE(fault);
    EXPECT_EQ(fault->vector, Vector::page_fault);
    EXPECT_EQ(fault->address, end);
    EXPECT_EQ(m.state().gpr[rcx], 0x2000u - 0x1010);
    EXPECT_EQ(m.state().gpr[rdi], end);
    EXPECT_EQ(m.state().gpr[rsi], data_base + 0x1010);
    EXPECT_EQ(m.state().rip(), code_base);
}

TEST_F(Strings, StosAndScasOverPages) {
    set(0, data_base + 5, 10000);
    m.state().gpr[rax] = 0x44332211;
    EXPECT_FALSE(m.step({0xF3, 0xAB})); // rep stosd
    EXPECT_EQ(m.peek<u32>(data_base + 5 + 4 * 9999), 0x44332211u);
    EXPECT_EQ(m.peek<u32>(data_base + 5 + 4 * 10000), 0u);
    set(0, data_base + 5, 20000);
    EXPECT_FALSE(m.step({0xF3, 0xAF})); // repe scasd
    EXPECT_EQ(m.state().gpr[rcx], 20000u - 10001);
    EXPECT_FALSE(zf(m.state().lazy));
    set(0, data_base + 5 + 4 * 10010, 20000, true);
    EXPECT_FALSE(m.step({0xF2, 0xAF})); // repne scasd, downwards
    EXPECT_EQ(m.state().gpr[rdi], data_base + 5 + 4 * 9998);
    EXPECT_TRUE(zf(m.state().lazy));
}

TEST_F(Strings, CmpsStopsAtTheDifference) {
    fill(data_base, 9000);
    std::memcpy(m.at(data_base + 0x4000), m.at(data_base), 9000);
    m.poke<u8>(data_base + 0x4000 + 8123, 0);
    set(data_base, data_base + 0x4000, 9000);
    EXPECT_FALSE(m.step({0xF3, 0xA6}));
    EXPECT_EQ(m.state().gpr[rcx], 9000u - 8124);
    EXPECT_EQ(cf(m.state().lazy), m.peek<u8>(data_base + 8123) < 0);
}

TEST_F(Strings, ACountOfZeroTouchesNothing) {
    set(1, 1, 0);
    const LazyFlags before = m.state().lazy;
    EXPECT_FALSE(m.step({0xF3, 0xA6}));
    EXPECT_EQ(m.state().gpr[rsi], 1u);
    EXPECT_EQ(m.state().lazy.result, before.result);
}

// With 32-bit addresses only ECX counts, and what is written back loses its upper half.
TEST_F(Strings, AddressSizeCountsAndWraps) {
    set(data_base, data_base + 0x100, (u64{5} << 32) | 4);
    fill(data_base, 16);
    EXPECT_FALSE(m.step({0x67, 0xF3, 0xA4}));
    EXPECT_EQ(m.state().gpr[rcx], 0u);
    EXPECT_EQ(m.peek<u32>(data_base + 0x100), m.peek<u32>(data_base));
    EXPECT_EQ(m.peek<u8>(data_base + 0x104), 0u);
}

TEST(StringsReal, WrapsAt64KiB) {
    Machine m(Kind::real16);
    m.state().gpr[rdi] = 0xFFFE;
    m.state().gpr[rcx] = 4;
    m.state().gpr[rax] = 0x77;
    EXPECT_FALSE(m.step({0xF3, 0xAA}));
    EXPECT_EQ(m.peek<u8>(0xFFFE), 0x77u);
    EXPECT_EQ(m.peek<u8>(0xFFFF), 0x77u);
    EXPECT_EQ(m.peek<u8>(0), 0x77u);
    EXPECT_EQ(m.peek<u8>(1), 0x77u);
    EXPECT_EQ(m.peek<u8>(2), 0u);
    EXPECT_EQ(m.state().gpr[rdi], 2u);
}

TEST(StringsReal, PortsInOrder) {
    Machine m(Kind::real16);
    m.platform.input[0x1F0] = {0x1111, 0x2222, 0x3333};
    m.state().gpr[rdx] = 0x1F0;
    m.state().gpr[rdi] = 0x500;
    m.state().gpr[rcx] = 3;
    EXPECT_FALSE(m.step({0xF3, 0x6D})); // rep insw
    EXPECT_EQ(m.peek<u16>(0x502), 0x2222u);
    m.state().gpr[rsi] = 0x500;
    m.state().gpr[rcx] = 3;
    EXPECT_FALSE(m.step({0xF3, 0x6F})); // rep outsw
    ASSERT_EQ(m.platform.writes.size(), 3u);
    EXPECT_EQ(m.platform.writes[2], (FakePlatform::PortWrite{0x1F0, 0x3333, 2}));
}

// Where nothing is mapped, memory reads as ones and swallows writes: element by element, to the end.
TEST(StringsFlat, DeviceMemoryElementByElement) {
    Machine m(Kind::flat32);
    m.state().gpr[rsi] = 0x50000000;
    m.state().gpr[rdi] = data_base;
    m.state().gpr[rcx] = 2000;
    EXPECT_FALSE(m.step({0xF3, 0xA5}));
    EXPECT_EQ(m.state().gpr[rcx], 0u);
    EXPECT_EQ(m.peek<u32>(data_base + 4 * 1999), 0xFFFFFFFFu);
}

TEST(StringsFlat, AnExpandDownSegmentIsCheckedPerElement) {
    Machine m(Kind::flat32);
    SegmentRegister& s = m.state().segment[es];
    s.rights = 0xC097; // Expand-down, writable.
    s.limit = static_cast<u32>(data_base) + 7;
    m.state().gpr[rdi] = data_base + 12;
    m.state().gpr[rcx] = 4;
    m.state().rflags |= flag_df;
    const auto fault = m.step({0xF3, 0xAB});
    ASSERT_TRUE(fault);
    EXPECT_EQ(fault->vector, Vector::general_protection);
    EXPECT_EQ(m.state().gpr[rcx], 2u);
}

} // namespace
} // namespace calque::cpu::testing
