// Loads, stores, pointers, probes and fetches of one vCPU.
#include "tests/mmu/fixture.h"

#include <array>

namespace calque::mmu {
namespace {

using Call = RecordingTarget::Call;
using Bytes16 = std::array<u8, 16>;

// RAM, a device at FE000000h, and 4-level paging with two neighbouring pages at `base` that are not neighbours in RAM.
struct MmuTest : testing::Test {
    static constexpr u64 base = 0x7000'0000'0000;
    static constexpr u64 first_frame = 0x8000, second_frame = 0x5000;
    static constexpr u64 device_page = 0x7000'0010'0000;

    MmuTest() : tables(memory, 0x200000), mmu(memory.map, memory.log) {
        memory.map.set_regions({memory.ram_region(0, 16 << 20), io_region(0xFE00'0000, 0x10000, device)});
        tables.map(base, first_frame | P | W | U);
        tables.map(base + page_size, second_frame | P | W | U);
        tables.map(device_page, 0xFE00'0000 | P | W | U);
        mmu.serve_requests();
        context = long_mode(tables.root());
        mmu.set_context(context);
    }
    void unmap_second() {
        tables.map(base + page_size, 0);
        mmu.flush_page(LinearAddress(base + page_size));
    }

    Memory memory;
    RecordingTarget device;
    LongTables tables;
    Mmu mmu;
    PagingContext context;
};

TEST_F(MmuTest, LoadsAndStoresEverySizeAtEveryOffsetOfACrossing) {
    const auto check = [&]<class T>(T value) {
        for (u64 before = 0; before <= sizeof(T); ++before) {
            const u64 at = base + page_size - before;
            std::memset(memory.ram.data() + first_frame, 0, page_size);
            std::memset(memory.ram.data() + second_frame, 0, page_size);
            ASSERT_TRUE(mmu.store(LinearAddress(at), value));
            T seen{};
            std::memcpy(&seen, memory.ram.data() + first_frame + page_size - before, before);
            std::memcpy(reinterpret_cast<u8*>(&seen) + before, memory.ram.data() + second_frame, sizeof(T) - before);
            ASSERT_EQ(seen, value);
            T loaded{};
            ASSERT_TRUE(mmu.load(LinearAddress(at), loaded));
            ASSERT_EQ(loaded, value);
        }
    };
    check(u8{0x5A});
    check(u16{0x1234});
    check(u32{0x12345678});
    check(u64{0x123456789ABCDEF0});
    check(Bytes16{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16});
    EXPECT_GT(mmu.counters().crossings, 0u);
}

TEST_F(MmuTest, ACrossingStoreThatFaultsWritesNothing) {
    unmap_second();
    const LinearAddress at(base + page_size - 3);
    ASSERT_FALSE(mmu.store(at, u64{~0ull}));
    EXPECT_EQ(mmu.fault().kind, Fault::Kind::page_fault);
    EXPECT_EQ(mmu.fault().address.value, base + page_size); // The second page's first byte.
    EXPECT_EQ(mmu.fault().error_code, pf_write);
    EXPECT_EQ(memory.get<u32>(first_frame + page_size - 4), 0u);
    u64 value;
    ASSERT_FALSE(mmu.load(at, value));
    EXPECT_EQ(mmu.fault().address.value, base + page_size);
    EXPECT_EQ(mmu.fault().error_code, 0u);
}

TEST_F(MmuTest, TheFirstPageFaultsFirst) {
    tables.map(base, 0);
    tables.map(base + page_size, 0);
    mmu.flush_all(true);
    u64 value;
    ASSERT_FALSE(mmu.load(LinearAddress(base + page_size - 3), value));
    EXPECT_EQ(mmu.fault().address.value, base + page_size - 3);
}

TEST_F(MmuTest, NotCanonicalByTheFirstByteOrTheLast) {
    u64 value;
    const u64 edge = 0x0000'8000'0000'0000;
    tables.map(edge - page_size, first_frame | P | W | U);
    ASSERT_TRUE(mmu.load(LinearAddress(edge - 8), value));
    for (const u64 at : {edge - 7, edge, u64{0xFFFF'7FFF'FFFF'FFF8}, u64{0x8000'0000'0000'0000}}) {
        ASSERT_FALSE(mmu.load(LinearAddress(at), value));
        EXPECT_EQ(mmu.fault().kind, Fault::Kind::not_canonical) << std::hex << at;
        ASSERT_FALSE(mmu.store(LinearAddress(at), value));
        EXPECT_EQ(mmu.fault().kind, Fault::Kind::not_canonical);
        EXPECT_EQ(mmu.host_for_write(LinearAddress(at == edge - 7 ? edge : at), 8), nullptr);
        EXPECT_EQ(mmu.fault().kind, Fault::Kind::not_canonical);
    }
    Mmu::CodePage code;
    ASSERT_FALSE(mmu.fetch(LinearAddress(edge), code));
    EXPECT_EQ(mmu.fault().kind, Fault::Kind::not_canonical);
}

TEST_F(MmuTest, TheAddressSpaceWrapsAtItsEnd) {
    tables.map(0xFFFF'FFFF'FFFF'F000, first_frame | P | W);
    tables.map(0, second_frame | P | W);
    ASSERT_TRUE(mmu.store(LinearAddress(0xFFFF'FFFF'FFFF'FFFE), u32{0x44332211}));
    EXPECT_EQ(memory.get<u16>(first_frame + 0xFFE), 0x2211);
    EXPECT_EQ(memory.get<u16>(second_frame), 0x4433);
}

TEST_F(MmuTest, OutsideLongModeAddressesWrapAt4Gib) {
    mmu.set_context({});
    memory.put<u16>(0, 0x4433);
    u32 value = 0;
    ASSERT_TRUE(mmu.load(LinearAddress(0xFFFF'FFFE), value)); // Nothing answers below 4 GiB here.
    EXPECT_EQ(value, 0x4433FFFFu);
    ASSERT_TRUE(mmu.load(LinearAddress(0x1'0000'0000), value));
    EXPECT_EQ(value & 0xFFFF, 0x4433u);
    Mmu::CodePage code;
    ASSERT_TRUE(mmu.fetch(LinearAddress(0x1'0000'0010), code));
    EXPECT_EQ(code.address.value, 0x10u);
}

TEST_F(MmuTest, AlignmentChecksOnlyTheProgramsData) {
    context.cpl = 3;
    context.alignment_check = true;
    u64 value = 0;
    mmu.set_context([&] {
        PagingContext before = context;
        before.alignment_check = false;
        return before;
    }());
    ASSERT_TRUE(mmu.load(LinearAddress(base + 1), value)); // In the TLB now.
    mmu.set_context(context);
    for (unsigned offset = 0; offset < 16; ++offset) {
        const LinearAddress at(base + offset);
        const auto expect = [&](bool ok, unsigned size) {
            EXPECT_EQ(ok, offset % size == 0) << offset << " " << size;
            if (!ok) {
                EXPECT_EQ(mmu.fault().kind, Fault::Kind::alignment);
            }
        };
        u8 byte = 0;
        u16 word = 0;
        u32 dword = 0;
        Bytes16 sixteen{};
        std::array<u8, 10> ten{};
        expect(mmu.load(at, byte), 1);
        expect(mmu.load(at, word), 2);
        expect(mmu.store(at, dword), 4);
        expect(mmu.load(at, value), 8);
        expect(mmu.store(at, sixteen), 16);
        expect(mmu.load(at, ten), 8);
        EXPECT_EQ(mmu.host_for_write(at, 4) != nullptr, offset % 4 == 0);
        EXPECT_EQ(mmu.host_for_read(at, 24), nullptr); // Elements of unknown size: one by one.
        tables.map(base + 0x5000, first_frame | P | W);
        EXPECT_TRUE(mmu.load(LinearAddress(base + 0x5000 + offset), value, Privilege::system));
    }
    Mmu::CodePage code;
    EXPECT_TRUE(mmu.fetch(LinearAddress(base + 3), code));
    context.alignment_check = false;
    mmu.set_context(context);
    EXPECT_TRUE(mmu.load(LinearAddress(base + 1), value));
}

TEST_F(MmuTest, DeviceAccessesAreSplitInOrder) {
    const LinearAddress at(device_page);
    u32 dword = 0;
    ASSERT_TRUE(mmu.load(at + 4, dword));
    EXPECT_EQ(dword, 0x07060504u);
    ASSERT_TRUE(mmu.store(at + 8, u64{0x1122}));
    EXPECT_EQ(device.calls, (std::vector<Call>{{false, 0xFE00'0004, 0, 4}, {true, 0xFE00'0008, 0x1122, 8}}));
    device.calls.clear();
    std::array<u8, 10> ten{};
    std::array<u8, 32> many{};
    ASSERT_TRUE(mmu.load(at, ten));
    ASSERT_TRUE(mmu.load(at + 0x20, many));
    ASSERT_TRUE(mmu.load(at + 1, dword));
    EXPECT_EQ(device.calls, (std::vector<Call>{{false, 0xFE00'0000, 0, 8},
                                               {false, 0xFE00'0008, 0, 2},
                                               {false, 0xFE00'0020, 0, 8},
                                               {false, 0xFE00'0028, 0, 8},
                                               {false, 0xFE00'0030, 0, 8},
                                               {false, 0xFE00'0038, 0, 8},
                                               {false, 0xFE00'0001, 0, 1},
                                               {false, 0xFE00'0002, 0, 2},
                                               {false, 0xFE00'0004, 0, 1}}));
    for (unsigned i = 0; i < 10; ++i)
        EXPECT_EQ(ten[i], i);
    EXPECT_EQ(mmu.counters().io_accesses, 5u);
}

TEST_F(MmuTest, ACrossingFromMemoryIntoADevice) {
    tables.map(device_page - page_size, first_frame | P | W | U);
    ASSERT_TRUE(mmu.store(LinearAddress(device_page - 2), u32{0x44332211}));
    EXPECT_EQ(memory.get<u16>(first_frame + 0xFFE), 0x2211);
    EXPECT_EQ(device.calls, (std::vector<Call>{{true, 0xFE00'0000, 0x4433, 2}}));
}

TEST_F(MmuTest, HostPointersAreForPlainMemoryOfOnePage) {
    const LinearAddress at(base + 0x10);
    EXPECT_EQ(mmu.host_for_write(at, 16), memory.ram.data() + first_frame + 0x10);
    EXPECT_EQ(mmu.host_for_read(at, 16), memory.ram.data() + first_frame + 0x10);
    EXPECT_EQ(mmu.host_for_write(LinearAddress(base), page_size), memory.ram.data() + first_frame);
    const struct {
        u64 address, size;
    } none[] = {{base + 0x10, 0},           {base + 0xFFF, 2}, {base, 4097},    {base, 8192},
                {base, (u64{1} << 32) + 1}, {base, ~u64{0}},   {device_page, 4}};
    for (const auto& one : none) {
        EXPECT_EQ(mmu.host_for_write(LinearAddress(one.address), one.size), nullptr);
        EXPECT_EQ(mmu.fault().kind, Fault::Kind::none);
        EXPECT_EQ(mmu.host_for_read(LinearAddress(one.address), one.size), nullptr);
        EXPECT_EQ(mmu.fault().kind, Fault::Kind::none);
    }
    tables.map(base, first_frame | P | U);
    mmu.flush_page(LinearAddress(base));
    EXPECT_NE(mmu.host_for_read(at, 4), nullptr);
    EXPECT_EQ(mmu.host_for_write(at, 4), nullptr);
    EXPECT_EQ(mmu.fault().kind, Fault::Kind::page_fault);
    EXPECT_EQ(mmu.fault().error_code, pf_present | pf_write);
}

TEST_F(MmuTest, ProbesTellAndSetBitsAndWriteNothing) {
    EXPECT_TRUE(mmu.probe_write(LinearAddress(base + 0xFF0), 0x20));
    EXPECT_EQ(memory.get<u64>(tables.entry(base)) & D, D);
    EXPECT_EQ(memory.get<u64>(tables.entry(base + page_size)) & D, D);
    EXPECT_TRUE(mmu.probe_read(LinearAddress(base), 2 * page_size));
    EXPECT_FALSE(mmu.probe_read(LinearAddress(base), 2 * page_size + 1));
    EXPECT_EQ(mmu.fault().address.value, base + 2 * page_size);
    EXPECT_TRUE(mmu.probe_read(LinearAddress(base + 5 * page_size), 0));
    EXPECT_FALSE(mmu.probe_read(LinearAddress(0x7FFF'FFFF'FFFF), 2));
    EXPECT_EQ(mmu.fault().kind, Fault::Kind::not_canonical);
}

TEST_F(MmuTest, FetchGivesTheCodesAddress) {
    Mmu::CodePage code;
    for (int again = 0; again < 2; ++again) { // By a walk, then by the TLB.
        ASSERT_TRUE(mmu.fetch(LinearAddress(base + 0x123), code));
        EXPECT_EQ(code.address.value, first_frame + 0x123);
        EXPECT_EQ(code.host, memory.ram.data() + first_frame + 0x123);
    }
    ASSERT_TRUE(mmu.fetch(LinearAddress(device_page + 4), code));
    EXPECT_EQ(code.address.value, 0xFE00'0004u);
    EXPECT_EQ(code.host, nullptr);
    tables.map(base, first_frame | P | W | U | XD);
    mmu.flush_page(LinearAddress(base));
    u8 byte;
    ASSERT_TRUE(mmu.load(LinearAddress(base), byte));
    ASSERT_FALSE(mmu.fetch(LinearAddress(base), code));
    EXPECT_EQ(mmu.fault().error_code, pf_present | pf_fetch);
}

TEST_F(MmuTest, RomIsReadAndExecutedAndNotWritten) {
    Region rom = memory.ram_region(0xFFF0'0000, 0x10000, 0x40000);
    rom.kind = RegionKind::rom;
    auto regions = memory.map.regions();
    regions.push_back(rom);
    memory.map.set_regions(regions);
    EXPECT_TRUE(mmu.requests_pending());
    mmu.serve_requests();
    tables.map(base, 0xFFF0'0000 | P | W | U);
    mmu.flush_page(LinearAddress(base));
    memory.put<u32>(0x40000, 0x11223344);
    ASSERT_TRUE(mmu.store(LinearAddress(base), u32{0}));
    u32 value = 0;
    ASSERT_TRUE(mmu.load(LinearAddress(base), value));
    EXPECT_EQ(value, 0x11223344u);
    EXPECT_EQ(mmu.host_for_write(LinearAddress(base), 4), nullptr);
    EXPECT_EQ(mmu.fault().kind, Fault::Kind::none);
}

// Reads come from ROM and writes go to the RAM behind it: the first level may only hold the way of the reads.
TEST_F(MmuTest, PamSplitPagesReadAndWriteDifferentMemory) {
    Region pam = memory.ram_region(0xF0000, 0x10000, 0x40000);
    pam.kind = RegionKind::rom;
    pam.write_kind = RegionKind::ram;
    pam.write_host = memory.ram.data() + 0x60000;
    memory.map.set_regions({memory.ram_region(0, 0xF0000), memory.ram_region(0x100000, 0xF00000, 0x100000), pam});
    mmu.serve_requests();
    tables.map(base, 0xF0000 | P | W | U);
    mmu.flush_page(LinearAddress(base));
    memory.put<u32>(0x40000, 1);
    u32 value = 0;
    for (u32 round = 0; round < 3; ++round) {
        ASSERT_TRUE(mmu.load(LinearAddress(base), value));
        EXPECT_EQ(value, 1u);
        ASSERT_TRUE(mmu.store(LinearAddress(base), 100 + round));
        EXPECT_EQ(memory.get<u32>(0x60000), 100 + round);
    }
    EXPECT_EQ(mmu.host_for_write(LinearAddress(base), 4), nullptr);
}

TEST_F(MmuTest, AMapChangeTakesEveryTranslationAway) {
    u32 value;
    ASSERT_TRUE(mmu.load(LinearAddress(base), value));
    memory.put<u32>(0x408000, 77);
    memory.map.set_regions({memory.ram_region(0, 0x8000), memory.ram_region(0x8000, 0x1000, 0x408000),
                            memory.ram_region(0x9000, (16 << 20) - 0x9000, 0x9000)});
    ASSERT_TRUE(mmu.requests_pending());
    mmu.serve_requests();
    EXPECT_FALSE(mmu.requests_pending());
    ASSERT_TRUE(mmu.load(LinearAddress(base), value));
    EXPECT_EQ(value, 77u);
    tables.map(base, 0x30'8000 | P | W | U);
    mmu.flush_page(LinearAddress(base));
    memory.put<u32>(0x30'8000, 1);
    memory.put<u32>(0x20'8000, 2);
    ASSERT_TRUE(mmu.load(LinearAddress(base), value));
    EXPECT_EQ(value, 1u);
    memory.map.set_a20(false);
    mmu.serve_requests();
    ASSERT_TRUE(mmu.load(LinearAddress(base), value));
    EXPECT_EQ(value, 2u);
}

TEST_F(MmuTest, ADirtyBitIsSetByTheFirstWriteAfterAnyNumberOfReads) {
    u32 value;
    for (int n = 0; n < 3; ++n)
        ASSERT_TRUE(mmu.load(LinearAddress(base), value));
    EXPECT_EQ(memory.get<u64>(tables.entry(base)) & (A | D), A);
    ASSERT_TRUE(mmu.store(LinearAddress(base), value));
    EXPECT_EQ(memory.get<u64>(tables.entry(base)) & (A | D), A | D);
}

TEST_F(MmuTest, SystemAccessesIgnoreCplAndAc) {
    tables.map(base, first_frame | P | W); // Supervisor.
    mmu.flush_all(true);
    u32 value;
    context.cpl = 3;
    mmu.set_context(context);
    EXPECT_FALSE(mmu.load(LinearAddress(base), value));
    EXPECT_TRUE(mmu.load(LinearAddress(base), value, Privilege::system));
    EXPECT_FALSE(mmu.load(LinearAddress(base), value)); // The entry filled serves the system only.
    context.cr4 |= cr4_smap;
    context.ac = true;
    mmu.set_context(context);
    EXPECT_FALSE(mmu.load(LinearAddress(base + page_size), value, Privilege::system)); // A user page.
    EXPECT_EQ(mmu.fault().error_code, pf_present);
}

TEST_F(MmuTest, AcAndCplAreFollowedAtOnce) {
    context.cr4 |= cr4_smap | cr4_smep;
    u32 value;
    for (int round = 0; round < 3; ++round) {
        context.cpl = 0;
        context.ac = false;
        mmu.set_context(context);
        EXPECT_FALSE(mmu.load(LinearAddress(base), value));
        context.ac = true;
        mmu.set_context(context);
        EXPECT_TRUE(mmu.load(LinearAddress(base), value));
        Mmu::CodePage code;
        EXPECT_FALSE(mmu.fetch(LinearAddress(base), code));
        context.cpl = 3;
        mmu.set_context(context);
        EXPECT_TRUE(mmu.load(LinearAddress(base), value));
        EXPECT_TRUE(mmu.fetch(LinearAddress(base), code));
    }
    EXPECT_LE(mmu.counters().walks, 12u); // Only the faults walk again, and what comes after each.
}

TEST_F(MmuTest, DescribesItself) {
    u32 value = 0;
    ASSERT_TRUE(mmu.store(LinearAddress(base), value));
    EXPECT_NE(mmu.describe_tlb().find("0000700000000000 -> 0000008000 rwx supervisor"), std::string::npos)
        << mmu.describe_tlb();
    EXPECT_NE(mmu.describe_counters().find("page walks"), std::string::npos);
}

// Firmware goes from real to protected mode and back, and into system management mode, at each of its calls.
struct UnpagedTest : testing::Test {
    static constexpr u64 window = 0xA0000, hidden = 0x20000, elsewhere = 0x5000;

    UnpagedTest() : mmu(memory.map, memory.log) {
        memory.map.set_regions({memory.ram_region(0, 1 << 20), io_region(window, 0x20000, device, 1)},
                               {PhysicalAddress(window), 0x20000, memory.ram.data() + hidden});
        mmu.serve_requests();
        mmu.set_context({});
    }
    void enter(bool protected_mode, bool smm) {
        PagingContext context;
        context.cr0 = protected_mode ? cr0_pe : 0;
        context.smm = smm;
        mmu.set_context(context);
    }
    u32 load(u64 address) {
        u32 value = 0;
        EXPECT_TRUE(mmu.load(LinearAddress(address), value));
        return value;
    }

    Memory memory;
    RecordingTarget device;
    Mmu mmu;
};

TEST_F(UnpagedTest, ModesWithoutPagingShareTranslations) {
    memory.put<u32>(elsewhere, 0x1234);
    load(elsewhere);
    const u64 fills = mmu.counters().fills, flushes = mmu.counters().flushes;
    for (unsigned n = 0; n < 10; ++n) {
        enter(n & 1, false);
        EXPECT_EQ(load(elsewhere), 0x1234u);
    }
    EXPECT_EQ(mmu.counters().fills, fills);
    EXPECT_EQ(mmu.counters().flushes, flushes);
}

TEST_F(UnpagedTest, SmmMemoryIsThereInSmmAloneAndItsTranslationsStay) {
    u64 fills = 0;
    for (u32 n = 0; n < 10; ++n) {
        enter(false, true);
        EXPECT_EQ(load(window + 0x1000), n);
        ASSERT_TRUE(mmu.store(LinearAddress(window + 0x1000), n + 1));
        if (n == 1) fills = mmu.counters().fills;
        EXPECT_TRUE(device.calls.empty());
        enter(false, false);
        load(window + 0x1000);
        EXPECT_EQ(device.calls.size(), 1u);
        device.calls.clear();
    }
    EXPECT_EQ(memory.get<u32>(hidden + 0x1000), 10u);
    EXPECT_EQ(mmu.counters().fills, fills);
}

TEST_F(UnpagedTest, CodeInSmmMemoryHasNoHostMemoryToBeCachedBy) {
    enter(false, true);
    load(window);
    Mmu::CodePage code;
    ASSERT_TRUE(mmu.fetch(LinearAddress(window), code));
    EXPECT_EQ(code.host, nullptr);
    EXPECT_EQ(mmu.execute_id(LinearAddress(window)), 0u);
}

} // namespace
} // namespace calque::mmu
