#include "frontend/cli/options.h"

#include <gtest/gtest.h>

namespace calque::cli {
namespace {

Result<Options> parse(std::vector<std::string> words) { return parse_options(words); }
std::string text(const Json* node, std::string_view key) {
    const Json* const value = node ? node->find(key) : nullptr;
    return value && value->string() ? *value->string() : "";
}

TEST(BlockdevOptions, NodesAreJoinedByTheirNames) {
    const auto options =
        parse({"-blockdev", "driver=qcow2,node-name=disk,file=host,backing=base,discard=unmap", "-blockdev",
               "driver=file,node-name=host,filename=a.qcow2,cache.direct=on", "-blockdev",
               R"({"driver":"raw","node-name":"base","read-only":true,"file":{"driver":"file","filename":"b"}})",
               "-device", "virtio-blk-pci,drive=disk,werror=stop,rerror=ignore,write-cache=off"});
    ASSERT_TRUE(options.ok()) << options.error().message;
    ASSERT_EQ(options->drives.size(), 1u);
    const backends::DriveOptions& drive = options->drives[0];
    EXPECT_EQ(drive.id, "disk");
    EXPECT_TRUE(drive.discard);
    EXPECT_TRUE(drive.cache.writethrough);
    EXPECT_EQ(drive.on_write_error, backends::ErrorAction::stop);
    EXPECT_EQ(drive.on_read_error, backends::ErrorAction::ignore);
    ASSERT_TRUE(drive.node);
    EXPECT_EQ(text(drive.node->find("file"), "filename"), "a.qcow2");
    EXPECT_EQ(text(drive.node->find("backing")->find("file"), "filename"), "b");
    EXPECT_FALSE(options->machine.devices.empty());
    EXPECT_FALSE(options->machine.devices[0].has("werror"));
}

TEST(BlockdevOptions, WhatDoesNotFitIsSaid) {
    struct Wrong {
        std::vector<std::string> words;
        std::string_view says;
    };
    const std::vector<Wrong> wrongs{
        {{"-blockdev", "driver=raw,file=x"}, "no node-name="},
        {{"-blockdev", "node-name=x"}, "no driver="},
        {{"-blockdev", "driver=raw,node-name=a,file=b"}, "no node 'b'"},
        {{"-blockdev", "driver=raw,node-name=a,file=a"}, "part of itself"},
        {{"-blockdev", "driver=raw,node-name=a,file=b", "-blockdev", "driver=raw,node-name=b,file=a"},
         "part of itself"},
        {{"-blockdev", "driver=file,node-name=a,filename=x", "-blockdev", "driver=file,node-name=a,filename=y"},
         "two -blockdev have node-name=a"},
        {{"-blockdev", "{\"driver\":"}, "-blockdev"},
        {{"-drive", "file=x,if=none,id=d", "-device", "virtio-blk-pci,drive=d,werror=weep"}, "werror=weep"},
    };
    for (const Wrong& wrong : wrongs) {
        const auto options = parse(wrong.words);
        ASSERT_FALSE(options.ok()) << wrong.words[1];
        EXPECT_NE(options.error().message.find(wrong.says), std::string::npos) << options.error().message;
    }
}

TEST(BlockdevOptions, DrivesOnIdeBusesBecomePlaces) {
    const auto options = parse({"-drive", "file=a,if=none,id=a", "-device", "ide-hd,drive=a,bus=ide.1,unit=1", "-drive",
                                "file=b,if=none,id=b", "-device", "ide-cd,drive=b,bus=ide.0"});
    ASSERT_TRUE(options.ok()) << options.error().message;
    EXPECT_EQ(options->drives[0].index, 3u);
    EXPECT_EQ(options->drives[1].index, 0u);
    EXPECT_TRUE(options->drives[1].cdrom);
    const auto floppy = parse({"-fda", "x", "-drive", "if=floppy,index=1"});
    ASSERT_TRUE(floppy.ok()) << floppy.error().message;
    EXPECT_EQ(floppy->drives[0].id, "floppy0");
    EXPECT_TRUE(floppy->drives[1].removable());
}

} // namespace
} // namespace calque::cli
