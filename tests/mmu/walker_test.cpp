#include "tests/mmu/walk_oracle.h"

#include <random>
#include <thread>

namespace calque::mmu {
namespace {

// Every combination of what asks: privilege, CPL, AC, access, WP, SMEP, SMAP, NXE.
template <class Body> void for_every_asker(WalkCase c, u64 cr4, bool long_mode_on, Body body) {
    for (unsigned n = 0; n < 32; ++n) {
        c.context.cr0 = cr0_pg | cr0_pe | (n & 1 ? cr0_wp : 0);
        c.context.cr4 = cr4 | (n & 2 ? cr4_smep : 0) | (n & 4 ? cr4_smap : 0);
        c.context.ac = n & 8;
        c.context.efer = (long_mode_on ? efer_lma : 0) | (n & 16 ? efer_nxe : 0);
        for (const u8 cpl : {u8{0}, u8{2}, u8{3}})
            for (const Privilege privilege : {Privilege::current, Privilege::system})
                for (const Access access : {Access::read, Access::write, Access::execute}) {
                    c.context.cpl = cpl;
                    c.privilege = privilege;
                    c.access = access;
                    body(c);
                    if (testing::Test::HasFatalFailure()) return;
                }
    }
}

// The bits that decide: present, writable, user, and two of the caller's choice.
std::vector<u64> entry_variants(u64 first, u64 second) {
    std::vector<u64> variants;
    for (unsigned n = 0; n < 32; ++n)
        variants.push_back((n & 1 ? P : 0) | (n & 2 ? W : 0) | (n & 4 ? U : 0) | (n & 8 ? first : 0)
                           | (n & 16 ? second : 0));
    return variants;
}

struct Shape {
    PagingMode mode;
    u64 page_bytes;
    std::size_t levels;
    u64 leaf; // Frame and PS.
    u64 cr4;
};

const Shape shapes[] = {
    {PagingMode::level4, 4 << 10, 4, 0x12'3456'7000, cr4_pae | cr4_pge},
    {PagingMode::level4, 2 << 20, 3, 0x12'3460'0000 | PS, cr4_pae},
    {PagingMode::level4, 1 << 30, 2, 0x12'4000'0000 | PS, cr4_pae | cr4_pge},
    {PagingMode::pae, 4 << 10, 3, 0x12'3456'7000, cr4_pae},
    {PagingMode::pae, 2 << 20, 2, 0x12'3460'0000 | PS, cr4_pae | cr4_pge},
    {PagingMode::bits32, 4 << 10, 2, 0x3456'7000, 0},
    {PagingMode::bits32, 4 << 10, 2, 0x3456'7000, cr4_pse | cr4_pge},
    {PagingMode::bits32, 4 << 20, 1, 0x3440'0000 | PS | (u64{0x12} << 13), cr4_pse},
};

class WalkerShapes : public testing::TestWithParam<Shape> {};

// Two levels at a time: the leaf and each other, all askers. 32-bit entries have no XD: global stands in its place.
TEST_P(WalkerShapes, EveryEntryAndAskerAgreesWithTheManual) {
    const Shape& shape = GetParam();
    Memory memory;
    WalkChecker checker(memory);
    const bool wide = shape.mode != PagingMode::bits32;
    WalkCase c;
    c.mode = shape.mode;
    c.page_bytes = shape.page_bytes;
    const auto leaf_variants = entry_variants(wide ? XD : A, G);
    const u64 reserved_above = wide ? u64{1} << 45 : A;
    for (std::size_t varied = 0; varied < shape.levels; ++varied) {
        const bool leaf_only = varied == shape.levels - 1;
        const bool pdpte_register = shape.mode == PagingMode::pae && varied == 0;
        const auto upper_variants = leaf_only ? std::vector<u64>{P} : entry_variants(wide ? XD : A, reserved_above);
        for (const u64 upper : upper_variants) {
            for (const u64 leaf : leaf_variants) {
                c.entries.assign(shape.levels, P | W | U);
                if (shape.mode == PagingMode::pae) c.entries[0] = P;
                c.entries[varied] = pdpte_register ? upper & P : upper;
                c.entries.back() = shape.leaf | leaf;
                for_every_asker(c, shape.cr4, shape.mode == PagingMode::level4,
                                [&](const WalkCase& asked) { checker.check(asked); });
                if (HasFatalFailure()) return;
            }
        }
    }
}

// Each bit of each entry on its own, over an otherwise permissive walk: finds what is reserved and what is ignored.
TEST_P(WalkerShapes, EverySingleBitAgreesWithTheManual) {
    const Shape& shape = GetParam();
    Memory memory;
    WalkChecker checker(memory);
    WalkCase c;
    c.mode = shape.mode;
    c.page_bytes = shape.page_bytes;
    const unsigned width = shape.mode == PagingMode::bits32 ? 32 : 64;
    for (std::size_t varied = 0; varied < shape.levels; ++varied) {
        const bool leaf = varied == shape.levels - 1;
        if (shape.mode == PagingMode::pae && varied == 0) continue;
        for (unsigned n = 0; n < width; ++n) {
            // PS above the leaf would make another shape, and an address bit another table.
            if (!leaf && (n == 7 || (n >= 12 && n < (width == 32 ? 32u : 40u)))) continue;
            c.entries.assign(shape.levels, P | W | U);
            if (shape.mode == PagingMode::pae) c.entries[0] = P;
            c.entries.back() = shape.leaf | P | W | U;
            c.entries[varied] ^= u64{1} << n;
            if (leaf && n == 7 && shape.page_bytes != page_size) continue;
            for_every_asker(c, shape.cr4, shape.mode == PagingMode::level4,
                            [&](const WalkCase& asked) { checker.check(asked); });
            if (HasFatalFailure()) return;
        }
    }
}

std::string shape_name(const testing::TestParamInfo<Shape>& info) {
    const char* modes[] = {"Bits32", "Pae", "Level4"};
    return fmt::format("{}_{}K_{}", modes[static_cast<int>(info.param.mode)], info.param.page_bytes >> 10, info.index);
}
INSTANTIATE_TEST_SUITE_P(All, WalkerShapes, testing::ValuesIn(shapes), shape_name);

TEST(Walker, ProtectionKeysAgreeWithTheManual) {
    Memory memory;
    WalkChecker checker(memory);
    WalkCase c;
    for (const u64 key : {u64{0}, u64{1}, u64{15}})
        for (unsigned rights = 0; rights < 4; ++rights)
            for (const u64 pke : {u64{0}, cr4_pke})
                for (const u64 leaf : entry_variants(XD, D)) {
                    c.entries = {P | W | U, P | W | U, P | W | U, 0x5000 | leaf | key << 59};
                    // The key's own rights, and others that must not matter.
                    for (const u32 others : {0u, ~0u}) {
                        const u32 mask = 3u << (2 * key);
                        c.context.pkru = (others & ~mask) | rights << (2 * key);
                        for_every_asker(c, cr4_pae | pke, true, [&](const WalkCase& asked) { checker.check(asked); });
                    }
                    if (HasFatalFailure()) return;
                }
}

TEST(Walker, PsInAPml4EntryIsReserved) {
    Memory memory;
    WalkChecker checker(memory);
    WalkCase c;
    c.entries = {P | W | U | PS, P | W | U, P | W | U, 0x5000 | P | W | U};
    for_every_asker(c, cr4_pae, true, [&](const WalkCase& asked) { checker.check(asked); });
}

TEST(Walker, PsWithoutPseIsIgnoredIn32BitPaging) {
    Memory memory;
    WalkChecker checker(memory);
    WalkCase c;
    c.mode = PagingMode::bits32;
    c.entries = {P | W | U | PS, 0x5000 | P | W | U};
    for_every_asker(c, 0, false, [&](const WalkCase& asked) { checker.check(asked); });
}

TEST(Walker, PdptesAreCheckedWhenLoaded) {
    Memory memory;
    PagingContext context;
    context.cr3 = 0x2020; // Aligned to 32 bytes.
    for (unsigned n = 0; n < 64; ++n) {
        const bool reserved = n == 1 || n == 2 || (n >= 5 && n <= 8) || n >= 40;
        for (unsigned slot = 0; slot < 4; ++slot) {
            for (unsigned i = 0; i < 4; ++i)
                memory.put(0x2020 + 8 * i, u64{0x1000} * (i + 1) | P);
            memory.put(0x2020 + 8 * slot, memory.get<u64>(0x2020 + 8 * slot) | u64{1} << n);
            EXPECT_EQ(load_pdptes(memory.map, context), !reserved) << n;
            memory.put(0x2020 + 8 * slot, (u64{1} << n) & ~P); // Not present: nothing is looked at.
            EXPECT_TRUE(load_pdptes(memory.map, context));
            EXPECT_EQ(context.pdpte[slot], (u64{1} << n) & ~P);
        }
    }
}

TEST(Walker, WithoutPagingTheAddressIsTruncated) {
    Memory memory;
    Translation out;
    Fault fault;
    ASSERT_TRUE(walk(memory.map, {}, LinearAddress(0x7'1234'5678), Access::write, Privilege::current,
                     WalkEffect::set_bits, out, fault));
    EXPECT_EQ(out.address.value, 0x1234'5678u);
    EXPECT_TRUE(out.writable && out.readable && out.executable);
}

TEST(Walker, TablesInRomAreReadAndNotWritten) {
    Memory memory;
    LongTables tables(memory, 0x100000);
    tables.map(0x40'0000, 0x5000 | P | W);
    Region rom = memory.ram_region(0x100000, 0x100000, 0x100000);
    rom.kind = RegionKind::rom;
    memory.map.set_regions({memory.ram_region(0, 0x100000), rom});
    Translation out;
    Fault fault;
    ASSERT_TRUE(walk(memory.map, long_mode(tables.root()), LinearAddress(0x40'0000), Access::write, Privilege::current,
                     WalkEffect::set_bits, out, fault));
    EXPECT_EQ(out.address.value, 0x5000u);
    EXPECT_EQ(memory.get<u64>(tables.entry(0x40'0000)), 0x5000 | P | W);
}

// A table in device memory is read through the device, 8 bytes at a time, and its bits are written back the same way.
TEST(Walker, TablesInDeviceMemory) {
    struct Device : IoTarget {
        u64 read(PhysicalAddress address, unsigned size) override {
            EXPECT_EQ(size, 8u);
            return words[address.value % 4096 / 8];
        }
        void write(PhysicalAddress address, u64 value, unsigned size) override {
            EXPECT_EQ(size, 8u);
            words[address.value % 4096 / 8] = value;
        }
        u64 words[512] = {};
    } device;
    Memory memory;
    memory.map.set_regions({memory.ram_region(0, 0x100000), io_region(0xFE00'0000, 0x1000, device)});
    device.words[0] = 0xFE00'0000 | P | W; // Every level is the same page.
    Translation out;
    Fault fault;
    ASSERT_TRUE(walk(memory.map, long_mode(0xFE00'0000), LinearAddress(0x123), Access::write, Privilege::current,
                     WalkEffect::set_bits, out, fault));
    EXPECT_EQ(out.address.value, 0xFE00'0123u);
    EXPECT_EQ(device.words[0], 0xFE00'0000 | P | W | A | D);
}

TEST(Walker, TablesWhereNothingAnswersFaultByReservedBits) {
    Memory memory;
    Translation out;
    Fault fault;
    ASSERT_FALSE(walk(memory.map, long_mode(0xFF'FFFF'F000), LinearAddress(0x123), Access::read, Privilege::current,
                      WalkEffect::set_bits, out, fault));
    EXPECT_EQ(fault.error_code, pf_present | pf_reserved); // All ones.
}

TEST(Walker, A20MasksTablesAndResult) {
    Memory memory;
    LongTables tables(memory, 0x200000);
    tables.map(0x40'0000, 0x30'5000 | P | W);
    memory.map.set_a20(false);
    Translation out;
    Fault fault;
    ASSERT_TRUE(walk(memory.map, long_mode(tables.root() | 0x10'0000), LinearAddress(0x40'0000), Access::read,
                     Privilege::current, WalkEffect::set_bits, out, fault));
    EXPECT_EQ(out.address.value, 0x20'5000u);
}

// Another processor that changes entries all the time can delay a walk, not stop it, and no write of its is lost.
TEST(Walker, RacesOverEntriesEndAndLoseNothing) {
    Memory memory;
    LongTables tables(memory, 0x100000);
    tables.map(0x40'0000, 0x5000 | P | W);
    const u64 at = tables.entry(0x40'0000);
    u8* const entry = memory.ram.data() + at;
    std::atomic<bool> running{false};
    std::jthread other([&](const std::stop_token& stopped) {
        running = true;
        for (u64 n = 1; !stopped.stop_requested(); ++n) // Bits 52 to 58 are free for software.
            store_guest<u64>(entry, 0x5000 | P | W | (n & 127) << 52);
    });
    while (!running)
        std::this_thread::yield();
    for (unsigned n = 0; n < 50000; ++n) {
        Translation out;
        Fault fault;
        ASSERT_TRUE(walk(memory.map, long_mode(tables.root()), LinearAddress(0x40'0000), Access::write,
                         Privilege::current, WalkEffect::set_bits, out, fault));
        ASSERT_EQ(out.address.value, 0x5000u);
    }
    other = {};
    EXPECT_EQ(memory.get<u64>(at) & ~(u64{127} << 52) & ~(A | D), 0x5000 | P | W);
}

} // namespace
} // namespace calque::mmu
