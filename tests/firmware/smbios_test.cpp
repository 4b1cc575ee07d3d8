#include "firmware/smbios/smbios.h"
#include "tests/firmware/support.h"

namespace calque::firmware::test {
namespace {

struct Structure {
    u8 type;
    u16 handle;
    std::vector<u8> formatted;
    std::vector<std::string> strings;
    // The string whose number stands at an offset of the formatted area.
    std::string text(std::size_t offset) const {
        const u8 number = formatted[offset];
        return number == 0 ? "" : strings.at(number - 1);
    }
};

// Reads the table as a guest does.
std::vector<Structure> parse(const std::vector<u8>& table) {
    std::vector<Structure> out;
    for (std::size_t at = 0; at < table.size();) {
        const auto formatted = std::span<const u8>(table).subspan(at, table[at + 1]);
        Structure structure{
            table[at], static_cast<u16>(load(table, at + 2, 2)), {formatted.begin(), formatted.end()}, {}};
        at += table[at + 1];
        if (table.at(at) == 0) ++at;
        for (std::string text; table.at(at) != 0; text.clear()) {
            while (table.at(at) != 0)
                text += static_cast<char>(table[at++]);
            ++at;
            structure.strings.push_back(text);
        }
        ++at;
        out.push_back(structure);
    }
    return out;
}

std::vector<Structure> of_type(const std::vector<Structure>& all, u8 type) {
    std::vector<Structure> out;
    std::copy_if(all.begin(), all.end(), std::back_inserter(out), [&](const Structure& s) { return s.type == type; });
    return out;
}

Platform machine(u64 ram, unsigned cpus) {
    Platform platform;
    platform.ram = ram_layout(ram);
    platform.apic_ids.clear();
    for (unsigned i = 0; i < cpus; ++i)
        platform.apic_ids.push_back(i);
    return platform;
}

TEST(Smbios, EntryPointsSumToZeroAndAgreeWithTheTable) {
    SmbiosTables tables = build_smbios(machine(6 * GiB, 4));
    place(tables, PhysicalAddress(0xF0100));
    EXPECT_EQ(tables.entry_point.size(), 31u);
    EXPECT_EQ(sum(tables.entry_point), 0);
    EXPECT_EQ(sum(std::span(tables.entry_point).subspan(16)), 0);
    EXPECT_EQ(load(tables.entry_point, 22, 2), tables.structures.size());
    EXPECT_EQ(load(tables.entry_point, 24, 4), 0xF0100u);
    const auto all = parse(tables.structures);
    EXPECT_EQ(load(tables.entry_point, 28, 2), all.size());
    EXPECT_EQ(all.back().type, 127);
    EXPECT_EQ(tables.entry_point_64.size(), 24u);
    EXPECT_EQ(sum(tables.entry_point_64), 0);
    EXPECT_EQ(load(tables.entry_point_64, 12, 4), tables.structures.size());
    EXPECT_EQ(load(tables.entry_point_64, 16, 8), 0xF0100u);
}

TEST(Smbios, StructuresHaveTheLengthsOfTheirVersion) {
    Platform platform = machine(6 * GiB, 1);
    platform.identity.board.product = "board";
    const auto all = parse(build_smbios(platform).structures);
    const std::map<u8, std::size_t> lengths{{0, 0x18},  {1, 0x1B},  {2, 0x0F},  {3, 0x16},  {4, 0x30},
                                            {16, 0x17}, {17, 0x28}, {19, 0x1F}, {32, 0x0B}, {127, 4}};
    for (const auto& [type, length] : lengths) {
        const auto found = of_type(all, type);
        ASSERT_FALSE(found.empty()) << int{type};
        EXPECT_EQ(found[0].formatted.size(), length) << int{type};
    }
}

TEST(Smbios, MemoryDevicesAndRangesAddUp) {
    const auto all = parse(build_smbios(machine(40 * GiB, 1)).structures);
    const auto devices = of_type(all, 17);
    ASSERT_EQ(devices.size(), 3u);
    EXPECT_EQ(load(devices[0].formatted, 12, 2), 16384u);
    EXPECT_EQ(load(devices[2].formatted, 12, 2), 8192u);
    EXPECT_EQ(devices[2].text(16), "DIMM 2");
    const auto ranges = of_type(all, 19);
    ASSERT_EQ(ranges.size(), 2u);
    EXPECT_EQ(load(ranges[0].formatted, 8, 4), 3 * GiB / KiB - 1);
    EXPECT_EQ(load(ranges[1].formatted, 4, 4), 4 * GiB / KiB);
    EXPECT_EQ(load(of_type(all, 16)[0].formatted, 7, 4), 40 * GiB / KiB);
}

TEST(Smbios, SizesThatNeedTheExtendedFields) {
    const auto all = parse(build_smbios(machine(16384 * GiB, 1)).structures);
    const auto devices = of_type(all, 17);
    ASSERT_LE(devices.size(), 256u);
    EXPECT_EQ(load(devices[0].formatted, 12, 2), 0x7FFFu);
    EXPECT_EQ(load(devices[0].formatted, 28, 4), 64 * KiB); // MiB
    EXPECT_EQ(load(of_type(all, 16)[0].formatted, 7, 4), 0x80000000u);
    EXPECT_EQ(load(of_type(all, 16)[0].formatted, 15, 8), 16384 * GiB);
    EXPECT_EQ(load(of_type(all, 19)[1].formatted, 23, 8), 16385 * GiB - 1);
}

TEST(Smbios, SocketsFollowTheTopology) {
    Platform platform = machine(GiB, 6);
    EXPECT_EQ(of_type(parse(build_smbios(platform).structures), 4).size(), 6u);
    platform.cores_per_socket = 2;
    platform.threads_per_core = 2;
    const auto sockets = of_type(parse(build_smbios(platform).structures), 4);
    ASSERT_EQ(sockets.size(), 2u);
    EXPECT_EQ(load(sockets[0].formatted, 0x23, 3), 0x040202u); // Cores, enabled, threads.
    EXPECT_EQ(load(sockets[1].formatted, 0x23, 3), 0x020101u);
}

TEST(Smbios, OptionsSetTheirFields) {
    Platform platform = machine(GiB, 1);
    for (const char* option :
         {"type=0,vendor=V,,W,version=2,date=01/02/2020,release=3.4,uefi=on",
          "type=1,manufacturer=M,product=P,serial=S=1,uuid=00112233-4455-6677-8899-aabbccddeeff,sku=K",
          "type=2,product=B", "type=3,asset=A", "type=4,sock_pfx=S,max-speed=3000", "type=11,value=one",
          "type=11,value=two", "type=17,loc_pfx=L,speed=2400"}) {
        const auto applied = apply_smbios_option(platform.identity, option);
        EXPECT_TRUE(applied.ok()) << message(applied);
    }
    const auto all = parse(build_smbios(platform).structures);
    const auto bios = of_type(all, 0)[0], system = of_type(all, 1)[0];
    EXPECT_EQ(bios.text(4), "V,W");
    EXPECT_EQ(bios.text(8), "01/02/2020");
    EXPECT_EQ(load(bios.formatted, 20, 2), 0x0403u);
    EXPECT_EQ(bios.formatted[19] & 8, 8);
    EXPECT_EQ(system.text(4), "M");
    EXPECT_EQ(system.text(7), "S=1");
    const std::vector<u8> uuid{0x33, 0x22, 0x11, 0,    0x55, 0x44, 0x77, 0x66,
                               0x88, 0x99, 0xAA, 0xBB, 0xCC, 0xDD, 0xEE, 0xFF};
    EXPECT_TRUE(std::equal(uuid.begin(), uuid.end(), system.formatted.begin() + 8));
    EXPECT_EQ(of_type(all, 2)[0].text(5), "B");
    EXPECT_EQ(of_type(all, 3)[0].text(8), "A");
    EXPECT_EQ(of_type(all, 4)[0].text(4), "S 0");
    EXPECT_EQ(load(of_type(all, 4)[0].formatted, 0x14, 2), 3000u);
    EXPECT_EQ(of_type(all, 11)[0].strings, (std::vector<std::string>{"one", "two"}));
    EXPECT_EQ(of_type(all, 11)[0].formatted[4], 2);
    EXPECT_EQ(of_type(all, 17)[0].text(16), "L 0");
}

TEST(Smbios, DefaultsNameTheMachine) {
    const auto all = parse(build_smbios(machine(GiB, 1)).structures);
    EXPECT_EQ(of_type(all, 1)[0].text(4), "Calque");
    EXPECT_TRUE(of_type(all, 2).empty());
    EXPECT_TRUE(of_type(all, 11).empty());
}

TEST(Smbios, OptionErrorsAreSentences) {
    Identity identity;
    const auto refuse = [&](const char* option, const char* words) {
        EXPECT_SAYS(apply_smbios_option(identity, option), words);
    };
    refuse("type=1,colour=red", "type 1 has no field 'colour'; it has family, manufacturer");
    refuse("type=9", "give type=0, 1, 2, 3, 4, 11 or 17");
    refuse("file=blob", "other types and file= are not supported");
    refuse("type=x", "type: 'x' is not a number");
    refuse("type=1,serial", "'serial' is not of the form field=value");
    refuse("type=1,=x", "'=x' is not of the form field=value");
    refuse("type=0,release=3", "'3' is not of the form major.minor");
    refuse("type=0,release=3.256", "'256' is not a number from 0 to 255");
    refuse("type=0,uefi=maybe", "'maybe' is neither on nor off");
    refuse("type=1,uuid=12", "'12' is not a UUID: write it as 8-4-4-4-12 hexadecimal digits");
    refuse("type=4,max-speed=70000", "'70000' is not a number from 0 to 65535");
    refuse("type=11,value=", "the string is empty");
    EXPECT_SAYS(parse_uuid("00112233-4455-6677-8899-aabbccddeefg"), "is not a UUID");
    EXPECT_SAYS(parse_uuid("00112233+4455-6677-8899-aabbccddeeff"), "is not a UUID");
}

} // namespace
} // namespace calque::firmware::test
