// The interpreter's own business: blocks, chains, budgets, events, self-modifying code.
#include "tests/cpu/harness.h"

#include <gtest/gtest.h>
#include <thread>

namespace calque::cpu::testing {
namespace {

using Kind = Machine::Kind;

// add rax, rcx; dec rcx; jnz back
constexpr u8 sum_loop[] = {0x48, 0x01, 0xC8, 0x48, 0xFF, 0xC9, 0x75, 0xF8};

TEST(Interpreter, KeepsToTheBudget) {
    for (const u64 piece : {1, 2, 3, 31, 32, 33, 64, 1000}) {
        Machine m(Kind::long64);
        m.memory.write(PhysicalAddress(code_base), sum_loop);
        m.state().gpr[rcx] = 2000;
        m.state().rip() = code_base;
        const u64 before = m.cpu().instructions;
        for (u64 n = 1; n * piece <= 6000; ++n) {
            ASSERT_EQ(m.interpreter().run(m.cpu(), piece), ExitReason::budget);
            ASSERT_EQ(m.cpu().instructions - before, n * piece);
        }
        const u64 done = 6000 / piece * piece;
        EXPECT_EQ(m.state().gpr[rcx], 2000 - (done + 1) / 3) << piece;
        const u64 offsets[] = {0, 3, 6};
        if (done < 6000) {
            EXPECT_EQ(m.state().rip(), code_base + offsets[done % 3]) << piece;
        }
    }
}

// Each kind of branch a million times: were one of them not a jump on the host, its stack would overflow.
TEST(Interpreter, ChainsOfBlocksDoNotGrowTheStack) {
    Machine m(Kind::long64);
    const u8 program[] = {
        0xE8, 0x0F, 0x00, 0x00, 0x00,             // 00 l: call f
        0xEB, 0x00,                               // 05 jmp next
        0x48, 0x8D, 0x05, 0x02, 0x00, 0x00, 0x00, // 07 lea rax, [g]
        0xFF, 0xE0,                               // 0e jmp rax
        0xFF, 0xD3,                               // 10 g: call rbx
        0xE2, 0xEC,                               // 12 loop l
        0xC3,                                     // 14 f: ret
    };
    m.state().gpr[rbx] = code_base + 0x14;
    m.state().gpr[rcx] = ~u64{0};
    EXPECT_EQ(m.run(program, 8'000'000), ExitReason::budget);
    EXPECT_EQ(m.state().gpr[rcx], ~u64{0} - 1'000'000 + 0);
    // The loop is returned to every few thousand instructions; without tail calls, after each block.
    if (tail_calls) {
        EXPECT_LT(m.interpreter().counters().lookups, 3000u);
    }
}

TEST(Interpreter, AStoreIntoTheRunningBlockTakesEffectAtOnce) {
    Machine m(Kind::flat32);
    // mov byte [next+1], 7; next: mov al, 1; hlt
    const u32 target = static_cast<u32>(code_base) + 8;
    EXPECT_EQ(m.run({0xC6, 0x05, static_cast<u8>(target), static_cast<u8>(target >> 8), static_cast<u8>(target >> 16),
                     static_cast<u8>(target >> 24), 0x07, 0xB0, 0x01, 0xF4}),
              ExitReason::halted);
    EXPECT_EQ(m.state().gpr[rax] & 0xFF, 7u);
}

TEST(Interpreter, AStoreIntoAChainedBlockTakesEffect) {
    Machine m(Kind::flat32);
    // l: call f; inc byte [f+1]; dec ecx; jnz l; hlt.  f: mov al, 0; add edx, eax; ret
    const u32 f1 = static_cast<u32>(code_base) + 0x10 + 1;
    m.state().gpr[rax] = m.state().gpr[rdx] = 0;
    m.state().gpr[rcx] = 10;
    EXPECT_EQ(m.run({0xE8,
                     0x0B,
                     0,
                     0,
                     0,
                     0xFE,
                     0x05,
                     static_cast<u8>(f1),
                     static_cast<u8>(f1 >> 8),
                     static_cast<u8>(f1 >> 16),
                     static_cast<u8>(f1 >> 24),
                     0x49,
                     0x75,
                     0xF2,
                     0xF4,
                     0x90,
                     0xB0,
                     0x00,
                     0x01,
                     0xC2,
                     0xC3}),
              ExitReason::halted);
    EXPECT_EQ(m.state().gpr[rdx], 45u); // 0 to 9.
}

TEST(Interpreter, CodeWrittenByAnotherThreadIsSeen) {
    Machine m(Kind::flat32);
    // l: inc dword [data]; jmp l, whose first byte another thread makes HLT once the loop runs.
    const u32 data = static_cast<u32>(data_base);
    std::thread writer([&] {
        const auto* counter = reinterpret_cast<const u32*>(m.at(data_base));
        while (__atomic_load_n(counter, __ATOMIC_RELAXED) < 1000)
            std::this_thread::yield();
        m.memory.write(PhysicalAddress(code_base), std::array<u8, 1>{0xF4});
    });
    EXPECT_EQ(m.run({0xFF, 0x05, static_cast<u8>(data), static_cast<u8>(data >> 8), static_cast<u8>(data >> 16),
                     static_cast<u8>(data >> 24), 0xEB, 0xF8},
                    ~u64{0}),
              ExitReason::halted);
    writer.join();
}

#if defined(__x86_64__)
// Translated code locks by the host's own instructions, on other vCPUs too.
TEST(Interpreter, LockedAccessesThatAreNotAlignedAreAtomicBesideTheHostsOwn) {
    for (const u64 offset : {5, 62}) { // Within a cache line, over the end of one.
        Machine m(Kind::flat32);
        m.poke<u32>(data_base + offset, 0);
        m.state().gpr[rbx] = data_base + offset;
        m.state().gpr[rcx] = 100'000;
        std::thread translated([host = m.at(data_base + offset)] {
            for (int n = 0; n < 100'000; ++n)
                asm volatile("lock incl (%0)" : : "r"(host) : "memory", "cc");
        });
        EXPECT_EQ(m.run({0xF0, 0xFF, 0x03, 0xE2, 0xFB, 0xF4}, ~u64{0}), ExitReason::halted); // lock inc; loop
        translated.join();
        EXPECT_EQ(m.peek<u32>(data_base + offset), 200'000u) << offset;
    }
}
#endif

TEST(Interpreter, StopEndsAnEndlessLoop) {
    Machine m(Kind::long64);
    std::thread stopper([&] { m.cpu().request(event_stop); });
    EXPECT_EQ(m.run({0xEB, 0xFE}, ~u64{0}), ExitReason::stopped);
    stopper.join();
}

// An instruction over a page boundary, whose second page is not there: its first byte's block cannot know.
TEST(Interpreter, AnInstructionThatCrossesIntoAnAbsentPageFaultsThere) {
    Machine m(Kind::long64);
    const u64 last = arena_base + arena_size - 2;
    m.poke<u16>(last, 0xB848); // mov rax, imm64
    m.state().rip() = last;
    EXPECT_EQ(m.interpreter().run(m.cpu(), 10), ExitReason::triple_fault); // There is no IDT.
    EXPECT_EQ(m.state().rip(), last);
}
TEST(Interpreter, AnInstructionThatEndsThePageNeedsNoOther) {
    Machine m(Kind::long64);
    const u64 last = arena_base + arena_size - 3;
    m.poke<u8>(last, 0x48), m.poke<u8>(last + 1, 0xFF), m.poke<u8>(last + 2, 0xC0); // inc rax
    m.state().gpr[rax] = 0;
    m.state().rip() = last;
    EXPECT_EQ(m.interpreter().run(m.cpu(), 1), ExitReason::budget);
    EXPECT_EQ(m.state().gpr[rax], 1u);
}

// The same first page, another second page: the cached instruction is not the one there.
TEST(Interpreter, ACrossingInstructionFollowsItsSecondPage) {
    Machine m(Kind::long64);
    // 4 KiB pages for the arena, in low memory.
    constexpr u64 table = 0x13000, directory = 0x12000;
    for (u64 n = 0; n < 512; ++n)
        m.poke<u64>(table + n * 8, (arena_base + n * page_size) | 7);
    m.poke<u64>(directory + ((arena_base >> 21) & 511) * 8, table | 7);
    m.cpu().mmu.flush_all(true);
    const u64 at = arena_base + 0x3000 - 1; // mov al, imm8
    m.poke<u8>(at, 0xB0);
    m.poke<u8>(arena_base + 0x3000, 0x11);
    m.poke<u8>(arena_base + 0x5000, 0x22);
    for (int n = 0; n < 3; ++n) {
        m.state().rip() = at;
        ASSERT_EQ(m.interpreter().run(m.cpu(), 1), ExitReason::budget);
        ASSERT_EQ(m.state().gpr[rax] & 0xFF, 0x11u);
    }
    m.poke<u64>(table + 3 * 8, (arena_base + 0x5000) | 7);
    m.cpu().mmu.flush_page(LinearAddress(arena_base + 0x3000));
    m.state().rip() = at;
    ASSERT_EQ(m.interpreter().run(m.cpu(), 1), ExitReason::budget);
    EXPECT_EQ(m.state().gpr[rax] & 0xFF, 0x22u);
}

// Chains and the jump cache lead to linear addresses: a page that moves takes them along.
TEST(Interpreter, AJumpFollowsAPageThatMoves) {
    Machine m(Kind::long64);
    constexpr u64 table = 0x13000, directory = 0x12000;
    for (u64 n = 0; n < 512; ++n)
        m.poke<u64>(table + n * 8, (arena_base + n * page_size) | 7);
    m.poke<u64>(directory + ((arena_base >> 21) & 511) * 8, table | 7);
    m.cpu().mmu.flush_all(true);
    const u8 far_away[] = {0xE9, 0xFB, 0x1F, 0x00, 0x00}; // jmp +0x2000 from its start
    const u8 one[] = {0xB0, 0x11, 0xC3}, two[] = {0xB0, 0x22, 0xC3};
    const u8 caller[] = {0xFF, 0xD3, 0x49, 0x01, 0xC0,
                         0xFF, 0xC9, 0x75, 0xF7}; // l: call rbx; add r8, rax; dec ecx; jnz
    m.memory.write(PhysicalAddress(arena_base + 0x3000), far_away);
    m.memory.write(PhysicalAddress(arena_base + 0x5000), one);
    m.memory.write(PhysicalAddress(arena_base + 0x7000), two);
    m.state().gpr[rbx] = arena_base + 0x3000;
    m.state().gpr[rax] = m.state().gpr[8] = 0;
    m.state().gpr[rcx] = 10;
    EXPECT_EQ(m.run(caller, 70), ExitReason::budget);
    EXPECT_EQ(m.state().gpr[8], 10u * 0x11);
    m.poke<u64>(table + 5 * 8, (arena_base + 0x7000) | 7);
    m.cpu().mmu.flush_page(LinearAddress(arena_base + 0x5000));
    m.state().gpr[8] = 0;
    m.state().gpr[rcx] = 10;
    EXPECT_EQ(m.run(caller, 70), ExitReason::budget);
    EXPECT_EQ(m.state().gpr[8], 10u * 0x22);
}

TEST(Interpreter, AnInterruptIsTakenInALoop) {
    Machine m(Kind::real16);
    m.poke<u16>(0x20 * 4, 0x7100), m.poke<u16>(0x20 * 4 + 2, 0); // Vector 20h: 0000:7100.
    m.poke<u8>(0x7100, 0xF4);                                    // hlt
    m.platform.interrupt = 0x20;
    m.cpu().request(event_interrupt);
    EXPECT_EQ(m.run({0xFB, 0xEB, 0xFE}), ExitReason::halted); // sti; jmp $
    EXPECT_EQ(m.state().rip(), 0x7101u);
    EXPECT_EQ(m.peek<u16>(m.state().gpr[rsp]), real_code + 1);
}
TEST(Interpreter, TheInstructionAfterStiRunsFirst) {
    Machine m(Kind::real16);
    m.poke<u16>(0x20 * 4, 0x7100), m.poke<u16>(0x20 * 4 + 2, 0);
    m.poke<u8>(0x7100, 0xF4);
    m.platform.interrupt = 0x20;
    m.cpu().request(event_interrupt);
    EXPECT_EQ(m.run({0xFB, 0x40, 0x40, 0xEB, 0xFE}), ExitReason::halted); // sti; inc ax; inc ax; jmp $
    EXPECT_EQ(m.peek<u16>(m.state().gpr[rsp]), real_code + 2);
    EXPECT_EQ(m.state().gpr[rax], 1u);
}

// An interrupt between two pieces of a REP instruction finds RIP at it and the registers where it stands.
TEST(Interpreter, ARepInstructionIsInterruptible) {
    Machine m(Kind::flat32);
    m.state().gpr[rdi] = data_base;
    m.state().gpr[rcx] = 0x100000;
    m.state().gpr[rax] = 0x5A;
    m.cpu().request(event_check); // Something to look at: REP stops after its first piece.
    m.memory.write(PhysicalAddress(code_base), std::array<u8, 3>{0xF3, 0xAA, 0xF4});
    m.state().rip() = code_base;
    const u64 before = m.cpu().instructions;
    EXPECT_EQ(m.interpreter().run(m.cpu(), 1), ExitReason::budget);
    EXPECT_EQ(m.cpu().instructions - before, 1u);
    EXPECT_EQ(m.state().gpr[rcx], 0u);
    EXPECT_EQ(m.peek<u8>(data_base + 0xFFFFF), 0x5Au);
}

TEST(Interpreter, RunsPastTheCodeSegmentLimitIntoAFault) {
    Machine m(Kind::real16);
    m.state().segment[cs].limit = real_code + 3;
    m.poke<u16>(13 * 4, 0x7100), m.poke<u16>(13 * 4 + 2, 0);
    m.poke<u8>(0x7100, 0xF4);
    m.state().segment[cs].limit = 0x7100; // Enough for the handler's HLT.
    m.memory.write(PhysicalAddress(0x70FE), std::array<u8, 2>{0x90, 0x90});
    m.state().rip() = 0x70FE;
    EXPECT_EQ(m.interpreter().run(m.cpu(), 100), ExitReason::halted); // Falls into the handler's HLT at the limit.
    m.state().activity = Activity::running;
    // mov ax, imm16 with its last byte beyond the limit.
    m.memory.write(PhysicalAddress(0x70FF), std::array<u8, 3>{0xB8, 0x12, 0x34});
    m.state().rip() = 0x70FF;
    m.state().gpr[rsp] = 0xFF00;
    m.poke<u16>(13 * 4, 0x7000);
    m.poke<u8>(0x7000, 0xF4);
    EXPECT_EQ(m.interpreter().run(m.cpu(), 100), ExitReason::halted);
    EXPECT_EQ(m.state().rip(), 0x7001u);
    EXPECT_EQ(m.peek<u16>(m.state().gpr[rsp]), 0x70FFu);
}

TEST(Interpreter, ForgetsAllWhenItsMemoryIsFull) {
    Machine m(Kind::flat32);
    Interpreter small(m.memory, m.log, 4 * BlockCache::block_room);
    // A walk over many blocks, twice: jmp +0x20, a hundred times, then hlt.
    for (u64 n = 0; n < 100; ++n)
        m.memory.write(PhysicalAddress(code_base + n * 0x20), std::array<u8, 2>{0xEB, 0x1E});
    m.memory.write(PhysicalAddress(code_base + 100 * 0x20), std::array<u8, 1>{0xF4});
    for (int n = 0; n < 2; ++n) {
        m.state().rip() = code_base;
        m.state().activity = Activity::running;
        EXPECT_EQ(small.run(m.cpu(), 1000), ExitReason::halted);
    }
    EXPECT_GT(small.counters().cache.flushes, 1u);
}

} // namespace
} // namespace calque::cpu::testing
