#include "firmware/mptable/mptable.h"
#include "tests/firmware/support.h"

namespace calque::firmware::test {
namespace {

constexpr u64 table_at = 0xF1230;

struct Entry {
    u8 type;
    std::vector<u8> bytes;
};

std::vector<Entry> entries_of(const std::vector<u8>& table) {
    std::vector<Entry> out;
    for (std::size_t at = 16 + 44; at < table.size();) {
        const std::size_t size = table[at] == 0 ? 20 : 8;
        const auto bytes = std::span<const u8>(table).subspan(at, size);
        out.push_back({table[at], {bytes.begin(), bytes.end()}});
        at += size;
    }
    return out;
}

Platform machine() {
    Platform platform;
    platform.ram = ram_layout(GiB);
    platform.apic_ids = {0, 1, 300};
    return platform;
}

TEST(MpTable, PointerAndHeader) {
    const auto table = build_mp_table(machine(), PhysicalAddress(table_at));
    EXPECT_EQ(load(table, 0, 4), 0x5F504D5Fu); // "_MP_"
    EXPECT_EQ(load(table, 4, 4), table_at + 16);
    EXPECT_EQ(sum(std::span(table).first(16)), 0);
    EXPECT_EQ(load(table, 16, 4), 0x504D4350u); // "PCMP"
    EXPECT_EQ(load(table, 20, 2), table.size() - 16);
    EXPECT_EQ(sum(std::span(table).subspan(16)), 0);
    EXPECT_EQ(load(table, 16 + 34, 2), entries_of(table).size());
    EXPECT_EQ(load(table, 16 + 36, 4), 0xFEE00000u);
}

// The APIC ID 300 does not fit in the table.
TEST(MpTable, ProcessorsWithTheBootProcessorMarked) {
    std::string found;
    for (const Entry& entry : entries_of(build_mp_table(machine(), PhysicalAddress(table_at))))
        if (entry.type == 0) found += fmt::format("{}:{} ", entry.bytes[1], entry.bytes[3]);
    EXPECT_EQ(found, "0:3 1:1 ");
}

TEST(MpTable, InterruptsReachTheirPins) {
    std::map<std::pair<unsigned, unsigned>, unsigned> pins; // {bus, source} -> IOAPIC pin
    unsigned local = 0;
    for (const Entry& entry : entries_of(build_mp_table(machine(), PhysicalAddress(table_at)))) {
        if (entry.type == 3) {
            const bool added = pins.emplace(std::pair(entry.bytes[4], entry.bytes[5]), entry.bytes[7]).second;
            EXPECT_TRUE(added);
            EXPECT_EQ(load(entry.bytes, 2, 2), entry.bytes[4] == 0 ? 0xDu : 0u);
        }
        local += entry.type == 4;
    }
    EXPECT_EQ(local, 2u); // ExtINT and NMI.
    EXPECT_EQ(pins.at({1, 0}), 2u);
    EXPECT_EQ(pins.at({1, 4}), 4u);
    for (const unsigned irq : {2u, 9u, 10u, 11u})
        EXPECT_FALSE(pins.contains({1, irq})) << irq;
    EXPECT_EQ(pins.at({0, 1 << 2 | 0}), 9u);  // The SCI.
    EXPECT_EQ(pins.at({0, 2 << 2 | 0}), 10u); // Slot 2 INTA: PIRQB.
    EXPECT_EQ(pins.at({0, 3 << 2 | 0}), 11u); // Slot 3 INTA: PIRQC.
    EXPECT_EQ(pins.at({0, 4 << 2 | 1}), 10u); // Slot 4 INTB: PIRQA.
}

TEST(MpTable, PciPinsOfTheirOwn) {
    Platform platform = machine();
    platform.pirq_gsi = 16;
    for (const Entry& entry : entries_of(build_mp_table(platform, PhysicalAddress(table_at))))
        if (entry.type == 3 && entry.bytes[4] == 0 && entry.bytes[5] != (1 << 2)) {
            EXPECT_GE(entry.bytes[7], 16);
            EXPECT_LE(entry.bytes[7], 19);
        }
}

TEST(PirTable, RoutesMatchTheSlots) {
    const auto table = build_pir_table(machine());
    EXPECT_EQ(load(table, 0, 4), 0x52495024u); // "$PIR"
    EXPECT_EQ(load(table, 6, 2), table.size());
    EXPECT_EQ(sum(table), 0);
    EXPECT_EQ(load(table, 12, 4), 0x70008086u);
    for (std::size_t at = 32; at < table.size(); at += 16) {
        const unsigned slot = table[at + 1] >> 3;
        for (unsigned pin = 0; pin < 4; ++pin) {
            EXPECT_EQ(table[at + 2 + 3 * pin], 0x60 + pirq_of_slot(slot, pin));
            EXPECT_EQ(load(table, at + 3 + 3 * pin, 2), 0x0C20u);
        }
    }
}

} // namespace
} // namespace calque::firmware::test
