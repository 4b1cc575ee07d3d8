#include "firmware/fw_cfg/files.h"
#include "tests/firmware/support.h"

namespace calque::firmware::test {
namespace {

TEST(FwCfgFiles, NamesAndSizesThatABiosExpects) {
    Platform platform;
    platform.ram = ram_layout(6 * GiB);
    std::map<std::string, std::vector<u8>> files;
    for (auto& file : fw_cfg_files(platform))
        files[file.name] = file.bytes;
    EXPECT_EQ(files.at("etc/table-loader").size() % 128, 0u);
    EXPECT_EQ(files.at("etc/acpi/rsdp").size(), 36u);
    EXPECT_EQ(load(files.at("etc/acpi/tables"), 0, 4), 0x53434146u); // "FACS"
    const auto& anchor = files.at("etc/smbios/smbios-anchor");
    EXPECT_EQ(anchor.size(), 31u);
    EXPECT_EQ(load(anchor, 22, 2), files.at("etc/smbios/smbios-tables").size());
    const auto& map = files.at("etc/e820");
    ASSERT_EQ(map.size(), 40u);
    EXPECT_EQ(load(map, 8, 8), 3 * GiB);
    EXPECT_EQ(load(map, 20, 8), 4 * GiB);
    EXPECT_EQ(load(map, 28, 8), 3 * GiB);
    EXPECT_EQ(load(map, 36, 4), 1u);
}

} // namespace
} // namespace calque::firmware::test
