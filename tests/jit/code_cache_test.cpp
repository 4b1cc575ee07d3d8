// The arena, and units in the cache: found, linked, unlinked, killed, flushed.
#include "jit/cache/code_cache.h"

#include <cstring>
#include <gtest/gtest.h>

namespace calque::jit {
namespace {

constexpr u64 page = 0x3000;

// A unit whose code is a jump to its own stub: JMP +0; RET. The first exit is that jump. Behind it the id that a guard
// compares.
EmittedUnit jump_unit(u32 number, bool in_page = true) {
    EmittedUnit unit;
    unit.code = {0xE9, 0, 0, 0, 0, 0xC3, 0, 0, 0, 0, 0x90};
    unit.entry_packed = 0;
    unit.entry_host = 10;
    Exit exit;
    exit.unit = number;
    exit.jump = 1;
    exit.stub = 5;
    exit.in_page = in_page;
    exit.guard_id = 6;
    unit.exits.push_back(exit);
    return unit;
}

class CodeCacheTest : public ::testing::Test {
  protected:
    u32 add(u64 address, bool in_page = true, u32 bytes = 16) {
        return cache.insert({address, address, 0}, bytes, 1, jump_unit(cache.next_unit(), in_page));
    }
    // Where the jump whose displacement is at `offset` of the unit goes.
    const std::byte* destination(u32 unit, u32 offset) {
        i32 displacement;
        std::memcpy(&displacement, cache.unit(unit).at(offset), 4);
        return cache.unit(unit).at(offset + 4) + displacement;
    }
    u32 exit_of(u32 unit) { return cache.unit(unit).first_exit; }

    CodeCache cache{std::size_t{1} << 20, {}};
};

TEST_F(CodeCacheTest, FindsByEveryPartOfTheKey) {
    const u32 unit = add(page);
    EXPECT_EQ(cache.find({page, page, 0}), unit);
    EXPECT_FALSE(cache.find({page + 1, page, 0}));
    EXPECT_FALSE(cache.find({page, page + 1, 0}));
    EXPECT_FALSE(cache.find({page, page, 1}));
}

TEST_F(CodeCacheTest, FindsByHostAddress) {
    const u32 a = add(page), b = add(page + 0x100);
    EXPECT_EQ(cache.unit_at(cache.unit(a).code), &cache.unit(a));
    EXPECT_EQ(cache.unit_at(cache.unit(b).at(cache.unit(b).code_bytes - 1)), &cache.unit(b));
    EXPECT_EQ(cache.unit_at(cache.thunk_base()), nullptr);
    EXPECT_EQ(cache.unit_at(cache.next()), nullptr);
}

TEST_F(CodeCacheTest, ALinkedExitLeadsToTheOtherUnitsEntry) {
    const u32 a = add(page), b = add(page + 0x100), c = add(page + 0x200);
    cache.link(exit_of(a), b, 0);
    EXPECT_EQ(destination(a, 1), cache.unit(b).at(cache.unit(b).entry_packed));
    cache.exit(exit_of(c)).flags = FlagsIn::host;
    cache.link(exit_of(c), b, 0);
    EXPECT_EQ(destination(c, 1), cache.unit(b).at(cache.unit(b).entry_host));
    cache.link(exit_of(c), b, 0);
    EXPECT_EQ(cache.unit(b).incoming.size(), 2u); // Not twice from one.
}

TEST_F(CodeCacheTest, AnExitToAnotherPageIsGuarded) {
    const u32 a = add(page, false), b = add(page + 0x1000);
    cache.link(exit_of(a), b, 0); // Without an id the page is not known to stay.
    EXPECT_EQ(cache.exit(exit_of(a)).linked_to, 0u);
    cache.link(exit_of(a), b, 77);
    EXPECT_EQ(destination(a, 1), cache.unit(b).at(cache.unit(b).entry_packed));
    u32 id;
    std::memcpy(&id, cache.unit(a).at(6), 4);
    EXPECT_EQ(id, 77u);
}

TEST_F(CodeCacheTest, NothingLeadsToAKilledUnit) {
    const u32 a = add(page), b = add(page + 0x100);
    cache.link(exit_of(a), b, 0);
    EXPECT_FALSE(cache.kill(PhysicalAddress(page + 0x10), 0xF0)); // Between the two.
    EXPECT_TRUE(cache.kill(PhysicalAddress(page + 0x10F), 1));    // The last byte of b.
    EXPECT_EQ(destination(a, 1), cache.unit(a).at(5));            // The stub again.
    EXPECT_FALSE(cache.find({page + 0x100, page + 0x100, 0}));
    EXPECT_TRUE(cache.unit(b).dead);
    EXPECT_FALSE(cache.unit(a).dead);
    cache.link(exit_of(a), b, 0);
    EXPECT_EQ(cache.exit(exit_of(a)).linked_to, 0u); // Nor can it be linked to.
}

// Nobody knows at which addresses it was entered: whoever still comes is sent on.
TEST_F(CodeCacheTest, AKilledMovableUnitSendsAwayWhoeverComes) {
    EmittedUnit emitted = jump_unit(cache.next_unit());
    emitted.entry_computed = 8;
    const u32 unit = cache.insert({page, page, 0, true}, 16, 1, emitted);
    EXPECT_FALSE(cache.find({page, page, 0}));
    EXPECT_EQ(cache.find({page, page, 0, true}), unit);
    cache.enter_indexed(unit, page + 0x7000'0000'0000, 5);
    EXPECT_EQ(cache.find_indexed(page + 0x7000'0000'0000, 0, 5), unit);
    cache.kill(unit);
    EXPECT_FALSE(cache.find_indexed(page + 0x7000'0000'0000, 0, 5));
    EXPECT_EQ(*cache.unit(unit).at(8), std::byte{0xE9});
    EXPECT_EQ(destination(unit, 9), cache.thunk(cache.thunks().gone));
}

TEST_F(CodeCacheTest, AKilledUnitLeadsNowhere) {
    const u32 a = add(page), b = add(page + 0x100);
    cache.link(exit_of(a), b, 0);
    EXPECT_TRUE(cache.kill(PhysicalAddress(page), 1));
    EXPECT_EQ(destination(a, 1), cache.unit(a).at(5));
    EXPECT_TRUE(cache.unit(b).incoming.empty());
    cache.link(exit_of(a), b, 0);
    EXPECT_EQ(cache.exit(exit_of(a)).linked_to, 0u);
}

TEST_F(CodeCacheTest, AUnitThatLeadsToItselfCanBeKilled) {
    const u32 a = add(page);
    cache.link(exit_of(a), a, 0);
    EXPECT_TRUE(cache.kill(PhysicalAddress(page), 1));
    EXPECT_TRUE(cache.unit(a).incoming.empty());
}

TEST_F(CodeCacheTest, KillsOverPages) {
    add(page + 0xFF8, true, 8);
    add(page + 0x1000, true, 8);
    const u32 beyond = add(page + 0x1008, true, 8);
    EXPECT_TRUE(cache.kill(PhysicalAddress(page + 0xFFF), 2));
    EXPECT_EQ(cache.counters().killed, 2u);
    EXPECT_FALSE(cache.unit(beyond).dead);
}

TEST_F(CodeCacheTest, ATranslationAnewTakesThePlace) {
    add(page);
    cache.kill(PhysicalAddress(page), 1);
    const u32 again = add(page);
    EXPECT_EQ(cache.find({page, page, 0}), again);
    EXPECT_TRUE(cache.kill(PhysicalAddress(page), 1));
    EXPECT_FALSE(cache.find({page, page, 0}));
}

TEST_F(CodeCacheTest, FlushForgetsAllButTheThunks) {
    const std::byte* const first = cache.next();
    add(page);
    cache.flush();
    EXPECT_EQ(cache.next(), first);
    EXPECT_EQ(cache.next_unit(), 0u);
    EXPECT_FALSE(cache.find({page, page, 0}));
    EXPECT_FALSE(cache.kill(PhysicalAddress(page), 1));
    EXPECT_EQ(cache.find({page, page, 0}), std::nullopt);
    EXPECT_EQ(cache.counters().flushes, 1u);
}

TEST_F(CodeCacheTest, IsFullWhenAUnitMayNotFit) {
    EXPECT_FALSE(cache.full());
    while (!cache.full()) {
        EmittedUnit unit = jump_unit(cache.next_unit());
        unit.code.resize(60'000);
        cache.insert({page + cache.next_unit(), page, 0}, 1, 1, std::move(unit));
    }
    EXPECT_GT(cache.next_unit(), 5u);
    cache.flush();
    EXPECT_FALSE(cache.full());
}

TEST(CodeArena, IsWrittenAtOneAddressAndRunAtAnother) {
    CodeArena arena(std::size_t{1} << 16);
    const u8 code[] = {0xB8, 1, 0, 0, 0, 0xC3}; // MOV EAX, 1; RET
    const std::byte* const at = arena.next();
    EXPECT_EQ(arena.append(code), at);
    EXPECT_EQ(std::memcmp(at, code, sizeof code), 0);
    arena.patch(at + 1, 0x12345678);
    u32 value;
    std::memcpy(&value, at + 1, 4);
    EXPECT_EQ(value, 0x12345678u);
    EXPECT_TRUE(arena.contains(at));
    EXPECT_FALSE(arena.contains(arena.next()));
#if defined(__x86_64__)
    EXPECT_EQ(reinterpret_cast<int (*)()>(reinterpret_cast<std::uintptr_t>(at))(), 0x12345678);
#endif
}

TEST(CodeArena, PiecesDoNotOverlapAndAreCut) {
    CodeArena arena(std::size_t{1} << 16);
    const std::vector<u8> code(100, 0x90);
    const std::byte* const first = arena.append(code);
    const std::byte* const second = arena.append(code);
    EXPECT_GE(second, first + 100);
    EXPECT_TRUE(arena.has_room(arena.used()));
    EXPECT_FALSE(arena.has_room(std::size_t{1} << 16));
    arena.cut(second);
    EXPECT_EQ(arena.next(), second);
    EXPECT_FALSE(arena.contains(second));
}

// Full pieces go into large pages of the host, by another thread, while code is added and patched.
TEST(CodeArena, KeepsWhatMovesIntoLargePages) {
    constexpr std::size_t piece = std::size_t{1} << 16, pieces = 90;
    CodeArena arena(std::size_t{16} << 20);
    std::vector<const std::byte*> hot, cold;
    for (std::size_t n = 0; n < pieces; ++n) {
        const std::vector<u8> code(piece, static_cast<u8>(n));
        hot.push_back(arena.append(code));
        cold.push_back(arena.append_cold(code));
        arena.patch(hot[n / 2] + 8, static_cast<u32>(n));
    }
    for (std::size_t n = 0; n < pieces; ++n) {
        u32 patched;
        std::memcpy(&patched, hot[n] + 8, 4);
        EXPECT_EQ(patched, n < pieces / 2 ? 2 * n + 1 : n * 0x01010101);
        EXPECT_EQ(std::to_integer<std::size_t>(hot[n][piece - 1]), n);
        EXPECT_EQ(std::to_integer<std::size_t>(cold[n][0]), n);
    }
}

} // namespace
} // namespace calque::jit
