#include "mmu/mappings.h"
#include "mmu/walker.h"
#include "tests/mmu/fixture.h"

#include <random>
#include <vector>

namespace calque::mmu {
namespace {

constexpr u64 no_limit = ~u64{0};

std::vector<Mapping> all_mappings(Memory& memory, const PagingContext& context) {
    std::vector<Mapping> found;
    EXPECT_TRUE(visit_mappings(memory.map, context, no_limit, [&](const Mapping& page) {
        found.push_back(page);
        return true;
    }));
    return found;
}

// What a mapping says is what a walk finds at its first and last byte.
void expect_as_walked(Memory& memory, PagingContext context, const Mapping& page) {
    context.cr0 |= cr0_wp;
    context.cr4 |= cr4_pge;
    for (const u64 offset : {u64{0}, page.size - 1}) {
        Leaf leaf;
        Fault fault;
        ASSERT_TRUE(walk_to_leaf(memory.map, *memory.map.snapshot(), context, LinearAddress(page.linear + offset),
                                 Access::read, Privilege::system, WalkEffect::none, leaf, fault))
            << fmt::format("{:x}", page.linear + offset);
        EXPECT_EQ(leaf.address, page.physical + offset);
        EXPECT_EQ(leaf.size, page.size);
        EXPECT_EQ(leaf.writable, page.writable);
        EXPECT_EQ(leaf.user, page.user);
        EXPECT_EQ(leaf.no_execute, !page.executable);
        EXPECT_EQ(leaf.dirty, page.dirty);
        EXPECT_EQ(leaf.global, page.global);
    }
}

// Tables of random entries, most of which lead from table to table.
void fill_tables(Memory& memory, std::mt19937_64& random, u64 first, u64 tables, unsigned entry_bytes) {
    for (u64 table = 0; table < tables; ++table)
        for (u64 n = 0; n < 24; ++n) {
            u64 entry = (random() & (W | U | A | D | G)) | (random() % 4 ? P : 0) | (random() % 3 ? 0 : PS);
            entry |= first + random() % tables * page_size;
            if (entry_bytes == 8 && random() % 4 == 0) entry |= XD;
            if (random() % 8 == 0) entry |= u64{1} << (entry_bytes == 8 ? 45 : 21); // Reserved, in some.
            const u64 at = first + table * page_size + random() % (page_size / entry_bytes) * entry_bytes;
            std::memcpy(memory.ram.data() + at, &entry, entry_bytes);
        }
}

class Mappings : public testing::TestWithParam<const char*> {};

TEST_P(Mappings, AreThoseThatWalksFind) {
    const std::string_view mode = GetParam();
    std::mt19937_64 random(mode.size());
    Memory memory;
    PagingContext context = long_mode(0x10'0000);
    if (mode != "long") context.efer &= ~efer_lma;
    if (mode == "32-bit") context.cr4 = cr4_pse | cr4_pge;
    fill_tables(memory, random, 0x10'0000, 4, mode == "32-bit" ? 4 : 8);
    for (u64 n = 0; n < 4; ++n)
        context.pdpte[n] = (0x10'0000 + n * page_size) | (n == 2 ? 0 : P);
    const std::vector<Mapping> found = all_mappings(memory, context);
    ASSERT_GT(found.size(), 10u);
    u64 before = 0;
    for (std::size_t n = 0; n < found.size(); ++n) {
        if (n % 37 == 0 || found.size() < 1000) expect_as_walked(memory, context, found[n]);
        if (n) {
            EXPECT_GT(found[n].linear, before);
        }
        before = found[n].last();
    }
}

INSTANTIATE_TEST_SUITE_P(All, Mappings, testing::Values("32-bit", "PAE", "long"), [](const auto& info) {
    std::string name = info.param;
    std::erase(name, '-');
    return name;
});

TEST(Mappings, TheUpperHalfIsCanonical) {
    Memory memory;
    LongTables tables(memory, 0x10'0000);
    memory.put<u64>(tables.entry(0xFFFF'8000'0000'1000), 0x5000 | P | W | D);
    const auto found = all_mappings(memory, long_mode(tables.root()));
    ASSERT_EQ(found.size(), 1u);
    EXPECT_EQ(found[0].linear, 0xFFFF'8000'0000'1000u);
    EXPECT_EQ(found[0].physical, 0x5000u);
    EXPECT_TRUE(found[0].writable && found[0].dirty && !found[0].accessed && !found[0].global);
}

// 512 entries that lead back to their own table would be 2^36 pages.
TEST(Mappings, TablesThatMapThemselvesEnd) {
    Memory memory;
    for (u64 n = 0; n < 512; ++n)
        memory.put<u64>(0x10'0000 + 8 * n, 0x10'0000 | P | W);
    u64 visited = 0;
    EXPECT_FALSE(
        visit_mappings(memory.map, long_mode(0x10'0000), 10'000, [&](const Mapping&) { return ++visited, true; }));
    EXPECT_LE(visited, 10'000u);
    EXPECT_GT(visited, 9'000u);
}

TEST(Mappings, WithoutPagingThereAreNone) {
    Memory memory;
    EXPECT_TRUE(all_mappings(memory, PagingContext{}).empty());
}

} // namespace
} // namespace calque::mmu
