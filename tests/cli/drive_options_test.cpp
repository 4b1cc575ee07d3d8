#include "frontend/cli/options.h"

#include <gtest/gtest.h>

namespace calque::cli {
namespace {

using Interface = backends::DriveOptions::Interface;

Options parse(const std::vector<std::string>& words) {
    auto options = parse_options(words);
    EXPECT_TRUE(options.ok()) << options.error().message;
    return options ? *options : Options{};
}

TEST(DriveOptions, ShortFormsHaveTheirPlaces) {
    const Options o = parse({"-hdb", "b", "-cdrom", "cd", "a.img", "-snapshot", "-boot", "d,menu=on,splash-time=9"});
    ASSERT_EQ(o.drives.size(), 3u);
    EXPECT_EQ(o.drives[0].index, 1u);
    EXPECT_EQ(o.drives[0].id, "ide0-hd1");
    EXPECT_EQ(o.drives[1].index, 2u);
    EXPECT_EQ(o.drives[1].id, "ide1-cd0");
    EXPECT_TRUE(o.drives[1].cdrom);
    EXPECT_EQ(o.drives[2].index, 0u);
    EXPECT_EQ(o.drives[2].file, "a.img");
    EXPECT_TRUE(o.drives[2].snapshot);
    EXPECT_EQ(o.machine.boot.order, "d");
    EXPECT_TRUE(o.machine.boot.menu);
    EXPECT_EQ(o.machine.boot.menu_milliseconds, 9);
}

TEST(DriveOptions, DriveSaysAllOfIt) {
    const Options o =
        parse({"-drive", "file=a,,b.img,format=raw,if=ide,index=3,id=d,readonly=on,cache=none,werror=stop,"
                         "rerror=ignore,discard=unmap,serial=S1,file.locking=off"});
    ASSERT_EQ(o.drives.size(), 1u);
    const auto& drive = o.drives[0];
    EXPECT_EQ(drive.file, "a,b.img");
    EXPECT_EQ(drive.format, "raw");
    EXPECT_EQ(drive.index, 3u);
    EXPECT_EQ(drive.id, "d");
    EXPECT_TRUE(drive.read_only);
    EXPECT_TRUE(drive.cache.direct);
    EXPECT_FALSE(drive.cache.writethrough);
    EXPECT_EQ(drive.on_write_error, backends::ErrorAction::stop);
    EXPECT_EQ(drive.on_read_error, backends::ErrorAction::ignore);
    EXPECT_TRUE(drive.discard);
    EXPECT_EQ(drive.serial, "S1");
    EXPECT_FALSE(drive.lock);
}

TEST(DriveOptions, DrivesWithoutAnIndexTakeTheNextPlace) {
    const Options o = parse(
        {"-drive", "file=a", "-drive", "file=b,index=1", "-drive", "file=c", "-drive", "media=cdrom,bus=1,unit=1"});
    EXPECT_EQ(o.drives[0].index, 0u);
    EXPECT_EQ(o.drives[2].index, 2u);
    EXPECT_EQ(o.drives[3].index, 3u);
    EXPECT_TRUE(o.drives[3].file.empty()) << "a CD drive without a disc";
}

} // namespace
} // namespace calque::cli
