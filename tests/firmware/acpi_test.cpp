#include "firmware/acpi/acpi.h"
#include "tests/firmware/support.h"

#include <cstdio>
#include <filesystem>
#include <unistd.h>

namespace calque::firmware::test {
namespace {

constexpr u64 tables_at = 0x7FE0000, rsdp_at = 0xF0000;

Platform full_platform() {
    Platform platform;
    platform.ram = ram_layout(6 * GiB);
    platform.apic_ids = {0, 1, 2, 300};
    platform.com2 = true;
    platform.pirq_gsi = 16;
    platform.s3_sleep_type = 1;
    platform.pci_window_64 = {8 * GiB, 32 * GiB};
    platform.pci_hotplug_base = 0xAE00;
    return platform;
}

Platform small_platform() {
    Platform platform;
    platform.ram = ram_layout(128 * MiB);
    return platform;
}

// The placed tables as a guest finds them: by signature, from the RSDP over one of the root tables.
class Placed {
  public:
    explicit Placed(const Platform& platform) : acpi_(build_acpi(platform)) {
        place(acpi_, PhysicalAddress(tables_at), PhysicalAddress(rsdp_at));
    }
    const std::vector<u8>& rsdp() const { return acpi_.rsdp; }
    std::span<const u8> at(u64 address) const {
        const auto rest = std::span<const u8>(acpi_.tables).subspan(address - tables_at);
        return rest.first(load(rest, 4, 4));
    }
    std::span<const u8> root(bool extended) const {
        return at(extended ? load(acpi_.rsdp, 24, 8) : load(acpi_.rsdp, 16, 4));
    }
    std::vector<std::span<const u8>> listed(bool extended) const {
        std::vector<std::span<const u8>> out;
        const unsigned width = extended ? 8 : 4;
        const auto table = root(extended);
        for (std::size_t i = 36; i < table.size(); i += width)
            out.push_back(at(load(table, i, width)));
        return out;
    }
    std::span<const u8> find(std::string_view signature) const {
        for (const auto table : listed(true))
            if (name(table) == signature) return table;
        return {};
    }
    std::span<const u8> dsdt() const { return at(load(find("FACP"), 40, 4)); }
    static std::string name(std::span<const u8> table) { return {table.begin(), table.begin() + 4}; }

  private:
    AcpiTables acpi_;
};

TEST(Acpi, EveryTableSumsToZero) {
    for (const Platform& platform : {small_platform(), full_platform()}) {
        const Placed placed(platform);
        EXPECT_EQ(sum(std::span(placed.rsdp()).first(20)), 0);
        EXPECT_EQ(sum(placed.rsdp()), 0);
        for (const bool extended : {false, true}) {
            EXPECT_EQ(sum(placed.root(extended)), 0);
            for (const auto table : placed.listed(extended))
                EXPECT_EQ(sum(table), 0) << Placed::name(table);
        }
        EXPECT_EQ(sum(placed.dsdt()), 0);
        EXPECT_EQ(Placed::name(placed.dsdt()), "DSDT");
    }
}

TEST(Acpi, BothRootTablesListTheSame) {
    const Placed placed(full_platform());
    std::string narrow, wide;
    for (const auto table : placed.listed(false))
        narrow += Placed::name(table) + " ";
    for (const auto table : placed.listed(true))
        wide += Placed::name(table) + " ";
    EXPECT_EQ(narrow, "FACP APIC HPET WAET ");
    EXPECT_EQ(wide, narrow);
}

TEST(Acpi, FadtDescribesThePowerManagementBlock) {
    const Placed placed(small_platform());
    const auto fadt = placed.find("FACP");
    ASSERT_EQ(fadt.size(), 244u);
    EXPECT_EQ(load(fadt, 46, 2), 9u);          // SCI_INT
    EXPECT_EQ(load(fadt, 48, 4), 0xB2u);       // SMI_CMD
    EXPECT_EQ(load(fadt, 52, 2), 0xF0F1u);     // ACPI_DISABLE, ACPI_ENABLE
    EXPECT_EQ(load(fadt, 56, 4), 0x600u);      // PM1a_EVT_BLK
    EXPECT_EQ(load(fadt, 64, 4), 0x604u);      // PM1a_CNT_BLK
    EXPECT_EQ(load(fadt, 76, 4), 0x608u);      // PM_TMR_BLK
    EXPECT_EQ(load(fadt, 80, 4), 0xAFE0u);     // GPE0_BLK
    EXPECT_EQ(load(fadt, 88, 4), 0x04000204u); // PM1_EVT_LEN, PM1_CNT_LEN, PM2_CNT_LEN, PM_TMR_LEN
    EXPECT_EQ(fadt[92], 4);                    // GPE0_BLK_LEN
    EXPECT_EQ(fadt[108], 0x32);                // CENTURY
    EXPECT_EQ(load(fadt, 120, 8), 0xCF9u);     // RESET_REG
    EXPECT_EQ(fadt[128], 6);                   // RESET_VALUE
    EXPECT_EQ(load(fadt, 140, 8), load(fadt, 40, 4));
    EXPECT_EQ(load(fadt, 152, 8), 0x600u); // X_PM1a_EVT_BLK
    EXPECT_EQ(load(fadt, 212, 8), 0x608u); // X_PM_TMR_BLK
    EXPECT_EQ(load(fadt, 36, 4), tables_at);
    EXPECT_EQ(Placed::name(placed.at(tables_at)), "FACS");
}

TEST(Acpi, FadtWithoutSmiCommandSaysThatAcpiModeIsOn) {
    Platform platform = small_platform();
    platform.smi_command = 0;
    platform.gpe0_base = 0;
    const Placed placed(platform);
    const auto fadt = placed.find("FACP");
    EXPECT_EQ(load(fadt, 48, 4) | load(fadt, 52, 2), 0u);
    EXPECT_EQ(load(fadt, 80, 4) | fadt[92] | load(fadt, 220, 4) | load(fadt, 224, 8), 0u);
}

TEST(Acpi, MadtListsProcessorsIoapicAndOverrides) {
    const Placed placed(full_platform());
    const auto madt = placed.find("APIC");
    EXPECT_EQ(load(madt, 36, 4), 0xFEE00000u);
    std::string kinds;
    for (std::size_t at = 44; at < madt.size(); at += madt[at + 1]) {
        kinds += fmt::format("{:x} ", madt[at]);
        if (madt[at] == 0) {
            EXPECT_EQ(madt[at + 2], madt[at + 3]);
        } else if (madt[at] == 9) {
            EXPECT_EQ(load(madt, at + 4, 4), 300u);
            EXPECT_EQ(load(madt, at + 12, 4), 3u); // UID
        } else if (madt[at] == 1) {
            EXPECT_EQ(load(madt, at + 4, 4), 0xFEC00000u);
        }
    }
    EXPECT_EQ(kinds, "0 0 0 9 1 2 2 4 a "); // With pins of their own, only IRQ 0 and the SCI are overridden.
    const Placed without(small_platform());
    const auto other = without.find("APIC");
    std::string overrides;
    for (std::size_t at = 44; at < other.size(); at += other[at + 1])
        if (other[at] == 2)
            overrides += fmt::format("{}->{}:{:x} ", other[at + 3], load(other, at + 4, 4), load(other, at + 8, 2));
    EXPECT_EQ(overrides, "0->2:0 5->5:d 9->9:d 10->10:d 11->11:d ");
}

TEST(Acpi, TablesFollowThePlatform) {
    Platform platform = small_platform();
    platform.hpet = false;
    EXPECT_TRUE(Placed(platform).find("HPET").empty());
    const Placed with(small_platform());
    EXPECT_EQ(load(with.find("HPET"), 36, 4), 0x8086A201u);
    EXPECT_EQ(load(with.find("HPET"), 44, 8), 0xFED00000u);
}

// The script, run as a BIOS runs it, must give what place() gives.
TEST(Acpi, TableLoaderScriptPlacesTheSameTables) {
    const AcpiTables unplaced = build_acpi(full_platform());
    std::map<std::string, std::vector<u8>> files{{"etc/acpi/tables", unplaced.tables},
                                                 {"etc/acpi/rsdp", unplaced.rsdp}};
    std::map<std::string, u64> addresses;
    const auto script = table_loader_script(unplaced);
    ASSERT_EQ(script.size() % 128, 0u);
    for (std::size_t at = 0; at < script.size(); at += 128) {
        const auto entry = std::span<const u8>(script).subspan(at, 128);
        const auto file = [&](std::size_t offset) {
            return std::string(reinterpret_cast<const char*>(&entry[offset]));
        };
        auto& target = files.at(file(4));
        switch (load(entry, 0, 4)) {
        case 1:
            addresses[file(4)] = entry[64] == 2 ? rsdp_at : tables_at;
            EXPECT_EQ(addresses[file(4)] % load(entry, 60, 4), 0u);
            break;
        case 2: {
            const auto offset = load(entry, 116, 4);
            const unsigned size = entry[120];
            store(target, offset, load(target, offset, size) + addresses.at(file(60)), size);
            break;
        }
        case 3: {
            const auto offset = load(entry, 60, 4);
            target[offset] = 0;
            target[offset] = static_cast<u8>(-sum(std::span(target).subspan(load(entry, 64, 4), load(entry, 68, 4))));
            break;
        }
        default: FAIL() << "command " << load(entry, 0, 4);
        }
    }
    AcpiTables placed = unplaced;
    place(placed, PhysicalAddress(tables_at), PhysicalAddress(rsdp_at));
    EXPECT_EQ(files["etc/acpi/tables"], placed.tables);
    EXPECT_EQ(files["etc/acpi/rsdp"], placed.rsdp);
}

// --- Through Intel's compiler
// --------------------------------------------------------------------------------------------

class Iasl : public ::testing::Test {
  protected:
    void SetUp() override {
        if (run("iasl -v").first != 0) GTEST_SKIP() << "iasl is not installed (Debian package acpica-tools)";
        folder_ = std::filesystem::temp_directory_path() / fmt::format("calque-acpi-{}", getpid());
        std::filesystem::create_directories(folder_);
    }
    void TearDown() override {
        if (!folder_.empty()) std::filesystem::remove_all(folder_);
    }
    static std::pair<int, std::string> run(const std::string& command) {
        std::string output;
        FILE* pipe = popen((command + " 2>&1").c_str(), "r");
        if (!pipe) return {-1, ""};
        for (int letter; (letter = fgetc(pipe)) != EOF;)
            output += static_cast<char>(letter);
        return {pclose(pipe), output};
    }
    std::string path(const std::string& name) const { return (folder_ / name).string(); }
    void write_file(const std::string& name, std::span<const u8> bytes) const {
        std::ofstream(path(name), std::ios::binary)
            .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    }
    std::vector<u8> read_file(const std::string& name) const {
        std::ifstream file(path(name), std::ios::binary);
        return {std::istreambuf_iterator<char>(file), {}};
    }
    std::filesystem::path folder_;
};

// Disassembled and assembled again, the DSDT is the same byte code, and the compiler has nothing to remark.
TEST_F(Iasl, DsdtSurvivesTheRoundTrip) {
    for (const Platform& platform : {small_platform(), full_platform()}) {
        const Placed placed(platform);
        const auto dsdt = placed.dsdt();
        write_file("dsdt.dat", dsdt);
        const auto [status, disassembly] = run("iasl -d " + path("dsdt.dat"));
        ASSERT_EQ(status, 0) << disassembly;
        EXPECT_EQ(disassembly.find("Warning"), std::string::npos) << disassembly;
        const auto [built, report] = run("iasl -oa -p " + path("again") + " " + path("dsdt.dsl"));
        ASSERT_EQ(built, 0) << report;
        EXPECT_NE(report.find("0 Errors, 0 Warnings, 0 Remarks"), std::string::npos) << report;
        const auto again = read_file("again.aml");
        ASSERT_EQ(again.size(), dsdt.size());
        EXPECT_TRUE(std::equal(again.begin() + 36, again.end(), dsdt.begin() + 36));
    }
}

TEST_F(Iasl, DataTablesAreUnderstood) {
    const Placed placed(full_platform());
    auto tables = placed.listed(true);
    tables.push_back(placed.root(false));
    tables.push_back(placed.root(true));
    tables.push_back(placed.at(tables_at));
    for (const auto table : tables) {
        const std::string name = Placed::name(table);
        write_file(name + ".dat", table);
        const auto [status, report] = run("iasl -d " + path(name + ".dat"));
        EXPECT_EQ(status, 0) << report;
        EXPECT_NE(report.find("Acpi Data Table [" + name + "] decoded"), std::string::npos) << report;
        for (const char* trouble : {"Warning", "Error", "Invalid", "Incorrect", "**"})
            EXPECT_EQ(report.find(trouble), std::string::npos) << report;
        const auto text = read_file(name + ".dsl");
        for (const std::string_view trouble : {"should be", "Unknown", "Invalid", "Incorrect"})
            EXPECT_EQ(std::string(text.begin(), text.end()).find(trouble), std::string::npos) << name << trouble;
    }
}

} // namespace
} // namespace calque::firmware::test
