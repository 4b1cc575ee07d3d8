#include "tests/mmu/fixture.h"

namespace calque::mmu {
namespace {

TEST(Mmu, WithoutPagingLinearIsPhysical) {
    Memory memory;
    Mmu mmu(memory.map, memory.log);
    ASSERT_TRUE(mmu.store(LinearAddress(0x1234), u32{0xCAFE}));
    EXPECT_EQ(memory.get<u32>(0x1234), 0xCAFEu);
    u32 value = 0;
    ASSERT_TRUE(mmu.load(LinearAddress(0x1'0000'1234), value)); // Wraps to 32 bits.
    EXPECT_EQ(value, 0xCAFEu);
}

TEST(Mmu, LongModeLoadsStoresAndFaults) {
    Memory memory;
    LongTables tables(memory, 0x100000);
    tables.map(0x7000'0000'0000, 0x5000 | P | W);
    Mmu mmu(memory.map, memory.log);
    mmu.set_context(long_mode(tables.root()));
    const LinearAddress at(0x7000'0000'0010);
    ASSERT_TRUE(mmu.store(at, u64{0x1122334455667788}));
    EXPECT_EQ(memory.get<u64>(0x5010), 0x1122334455667788u);
    EXPECT_EQ(memory.get<u64>(tables.entry(at.value)), 0x5000 | P | W | A | D);
    u64 value;
    ASSERT_FALSE(mmu.load(at + page_size, value));
    EXPECT_EQ(mmu.fault().kind, Fault::Kind::page_fault);
    EXPECT_EQ(mmu.fault().error_code, 0u);
    EXPECT_EQ(mmu.fault().address, at + page_size);
    ASSERT_FALSE(mmu.load(LinearAddress(0x8000'0000'0000), value));
    EXPECT_EQ(mmu.fault().kind, Fault::Kind::not_canonical);
}

} // namespace
} // namespace calque::mmu
