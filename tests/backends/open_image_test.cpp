// Images by name: formats guessed and said, chains of backing files, option trees, temporary overlays.
#include "frontend/backends/block/open_image.h"
#include "frontend/backends/block/qcow2_create.h"
#include "frontend/backends/block/raw_image.h"
#include "tests/backends/block_helpers.h"
#include "tests/backends/qemu_tools.h"

#include <cerrno>

namespace calque::backends {
namespace {

using test::file_bytes;
using test::run;
using test::TemporaryFolder;

constexpr u64 MiB = 1 << 20;

class OpenImage : public testing::Test {
  protected:
    Result<std::unique_ptr<BlockImage>> open(const std::string& name, const std::string& format = "",
                                             bool read_only = false) {
        ImageOptions options;
        options.name = name;
        options.format = format;
        options.read_only = read_only;
        options.report = [this](const std::string& text) { reports += text + "\n"; };
        return open_image(options);
    }
    std::string failure(const std::string& name, const std::string& format = "") {
        const auto opened = open(name, format);
        return opened ? "opened" : opened.error().message;
    }
    std::string make_raw(const std::string& name, u64 size, u32 seed) {
        test::write_file(folder.file(name), test::pattern(size, seed));
        return folder.file(name);
    }
    std::string make_qcow2(const std::string& name, u64 size, const std::string& backing = "",
                           const std::string& backing_format = "") {
        const std::string path = folder.file(name);
        test::write_file(path, {});
        Qcow2CreateOptions options;
        options.size = size;
        options.backing_name = backing;
        options.backing_format = backing_format;
        auto file = RawImage::open(path, {});
        EXPECT_TRUE(file.ok() && create_qcow2(**file, options).ok());
        return path;
    }
    std::vector<u8> read(BlockImage& image, u64 offset, u64 length) {
        std::vector<u8> data(length);
        EXPECT_EQ(image.read(offset, data), 0);
        return data;
    }

    TemporaryFolder folder;
    std::string reports;
};

TEST_F(OpenImage, ARawImageThatWasGuessedIsGuardedAtItsStart) {
    const std::string path = make_raw("disk", MiB, 1);
    {
        auto image = open(path);
        ASSERT_TRUE(image.ok()) << image.error().message;
        EXPECT_NE(reports.find("format=raw"), std::string::npos);
        std::vector<u8> header(1024);
        const u8 magic[] = {'Q', 'F', 'I', 0xfb, 0, 0, 0, 3};
        std::copy(std::begin(magic), std::end(magic), header.begin());
        reports.clear();
        EXPECT_EQ((*image)->write(0, header), EPERM);
        EXPECT_NE(reports.find("qcow2"), std::string::npos);
        EXPECT_EQ(read(**image, 0, 512), test::pattern(512, 1));
        EXPECT_EQ((*image)->write(512, header), 0);
        EXPECT_EQ((*image)->write(0, test::pattern(4096, 9)), 0);
    }
    reports.clear();
    auto image = open(path, "raw");
    ASSERT_TRUE(image.ok());
    EXPECT_EQ(reports, "");
    EXPECT_EQ((*image)->write(0, std::vector<u8>{'Q', 'F', 'I', 0xfb}), 0);
}

TEST_F(OpenImage, FormatsThatThereAreNotAreRefusedByName) {
    test::write_file(folder.file("vmdk"), {'K', 'D', 'M', 'V', 1, 0, 0, 0});
    EXPECT_NE(failure(folder.file("vmdk")).find("vmdk"), std::string::npos);
    test::write_file(folder.file("luks"), {'L', 'U', 'K', 'S', 0xba, 0xbe, 0, 1});
    EXPECT_NE(failure(folder.file("luks")).find("luks"), std::string::npos);
    const std::string raw = make_raw("raw", MiB, 1);
    EXPECT_NE(failure(raw, "vdi").find("vdi"), std::string::npos);
    EXPECT_NE(failure(raw, "qcow2").find("not a qcow2 image"), std::string::npos);
    EXPECT_NE(failure("http://example.org/disk").find("http"), std::string::npos);
    EXPECT_NE(failure(folder.file("nothing")).find("nothing"), std::string::npos);
    EXPECT_TRUE(open("file:" + raw, "raw").ok());
}

TEST_F(OpenImage, BackingFilesAreFoundBesideTheImage) {
    make_raw("base", 2 * MiB + 512, 1);
    make_qcow2("middle", 3 * MiB, "base", "raw");
    const std::string top = make_qcow2("top", 4 * MiB, "middle", "qcow2");
    {
        auto middle = open(folder.file("middle"));
        ASSERT_TRUE(middle.ok()) << middle.error().message;
        EXPECT_EQ((*middle)->write(MiB + 1000, test::pattern(3000, 2)), 0);
    }
    auto image = open(top);
    ASSERT_TRUE(image.ok()) << image.error().message;
    EXPECT_EQ((*image)->write(0, test::pattern(512, 3)), 0);
    auto expected = test::pattern(2 * MiB + 512, 1);
    expected.resize(4 * MiB);
    const auto second = test::pattern(3000, 2), third = test::pattern(512, 3);
    std::copy(second.begin(), second.end(), expected.begin() + MiB + 1000);
    std::copy(third.begin(), third.end(), expected.begin());
    EXPECT_EQ(read(**image, 0, 4 * MiB), expected);
    EXPECT_EQ(reports, "");
    image = Error{};
    EXPECT_EQ(file_bytes(folder.file("base")), test::pattern(2 * MiB + 512, 1));
    if (test::have_qemu_tools()) {
        EXPECT_EQ(run("qemu-img check " + top).status, 0);
        EXPECT_EQ(run("qemu-img convert -O raw " + top + " " + folder.file("out")).status, 0);
        EXPECT_EQ(file_bytes(folder.file("out")), expected);
    }
}

TEST_F(OpenImage, ChainsThatLoopOrAreTooLongAreRefused) {
    make_qcow2("a", MiB, "b", "qcow2");
    make_qcow2("b", MiB, "a", "qcow2");
    EXPECT_NE(failure(folder.file("a")).find("its own backing file"), std::string::npos);
    make_qcow2("self", MiB, folder.file("self"));
    EXPECT_NE(failure(folder.file("self")).find("its own backing file"), std::string::npos);
    make_raw("0", 4096, 1);
    for (int i = 1; i <= 220; ++i)
        make_qcow2(std::to_string(i), 4096, std::to_string(i - 1), i == 1 ? "raw" : "qcow2");
    EXPECT_NE(failure(folder.file("220")).find("more than 200"), std::string::npos);
    auto image = open(folder.file("150"));
    ASSERT_TRUE(image.ok()) << image.error().message;
    EXPECT_EQ(read(**image, 0, 4096), test::pattern(4096, 1));
    make_qcow2("orphan", MiB, "gone", "raw");
    EXPECT_NE(failure(folder.file("orphan")).find("gone"), std::string::npos);
}

TEST_F(OpenImage, ATemporaryOverlayLeavesTheImageAlone) {
    const std::string raw = make_raw("disk", MiB + 512, 1);
    ImageOptions options;
    options.name = raw;
    options.format = "raw";
    options.temporary = true;
    {
        auto image = open_image(options);
        ASSERT_TRUE(image.ok()) << image.error().message;
        EXPECT_FALSE((*image)->read_only());
        EXPECT_EQ((*image)->size(), MiB + 512);
        EXPECT_EQ((*image)->write(MiB, test::pattern(512, 2)), 0);
        EXPECT_EQ((*image)->flush(), 0);
        EXPECT_EQ(read(**image, MiB, 512), test::pattern(512, 2));
        EXPECT_EQ(read(**image, 0, MiB), test::pattern(MiB, 1));
    }
    EXPECT_EQ(file_bytes(raw), test::pattern(MiB + 512, 1));
}

TEST_F(OpenImage, JsonNamesDescribeTrees) {
    const std::string raw = make_raw("disk", MiB, 1);
    const std::string other = make_raw("other", MiB, 2);
    const std::string overlay = make_qcow2("overlay", MiB, "disk", "raw");
    const auto contents = [&](const std::string& name) {
        auto image = open(name, "", true);
        EXPECT_TRUE(image.ok()) << image.error().message;
        return image ? read(**image, 0, MiB) : std::vector<u8>{};
    };
    EXPECT_EQ(contents("json:{\"driver\":\"raw\",\"file\":{\"driver\":\"file\",\"filename\":\"" + raw + "\"}}"),
              test::pattern(MiB, 1));
    EXPECT_EQ(contents("json:{\"driver\":\"qcow2\",\"file.driver\":\"file\",\"file.filename\":\"" + overlay + "\"}"),
              test::pattern(MiB, 1));
    EXPECT_EQ(contents("json:{\"driver\":\"qcow2\",\"file\":{\"driver\":\"file\",\"filename\":\"" + overlay
                       + "\"},\"backing\":{\"driver\":\"raw\",\"file.driver\":\"file\",\"file.filename\":\"" + other
                       + "\"}}"),
              test::pattern(MiB, 2));
    EXPECT_EQ(contents("json:{\"driver\":\"qcow2\",\"file.filename\":\"" + overlay + "\",\"backing\":null}"),
              std::vector<u8>(MiB));
    EXPECT_NE(failure("json:{").find("JSON"), std::string::npos);
    EXPECT_NE(failure("json:{\"driver\":\"rbd\"}").find("rbd"), std::string::npos);
    EXPECT_NE(failure("json:{\"driver\":\"raw\",\"file\":\"" + raw + "\",\"offset\":512}").find("offset"),
              std::string::npos);
    EXPECT_NE(failure("json:{\"driver\":\"raw\"}").find("needs a file"), std::string::npos);
    EXPECT_FALSE(open("json:[1]").ok());
}

TEST_F(OpenImage, FeaturesThatThereAreNotAreRefusedByName) {
    NEEDS_QEMU_TOOLS();
    const std::string path = folder.file("disk");
    const auto create = [&](const std::string& options) {
        const auto made = run("qemu-img create -f qcow2 " + options + " " + path + " 1M");
        EXPECT_EQ(made.status, 0) << made.output;
    };
    create("-o extended_l2=on");
    EXPECT_NE(failure(path).find("subclusters"), std::string::npos);
    create("-o data_file=" + folder.file("data"));
    EXPECT_NE(failure(path).find("external data file"), std::string::npos);
    create("-o compat=1.1");
    auto bytes = file_bytes(path);
    bytes[32 + 4 - 1] = 2; // The encryption. (To make such an image, qemu-img times itself, and fails now and then.)
    test::write_file(path, bytes);
    EXPECT_NE(failure(path).find("LUKS"), std::string::npos) << failure(path);
    bytes[32 + 4 - 1] = 0;
    bytes[72 + 7 - 1] |= 0x40; // Bit 14 of the incompatible features.
    test::write_file(path, bytes);
    EXPECT_NE(failure(path).find("feature number 14"), std::string::npos) << failure(path);
}

} // namespace
} // namespace calque::backends
