#include "firmware/loaders/firmware_kernel.h"
#include "firmware/loaders/setup_header.h"
#include "tests/firmware/support.h"

namespace calque::firmware::test {
namespace {

u64 big(const std::vector<u8>& bytes, std::size_t at, unsigned size) {
    u64 value = 0;
    for (unsigned i = 0; i < size; ++i)
        value = value << 8 | bytes[at + i];
    return value;
}

TEST(FirmwareKernel, PartsAndTheRomThatPlacesThem) {
    const auto image = BzImage{}.build();
    const std::vector<u8> initrd(5000, 0x77);
    BootRequest request{image, "vmlinuz", "console=ttyS0", {{initrd, "initrd", {}}}};
    const auto parts = firmware_kernel({512 * MiB, 0}, request);
    ASSERT_TRUE(parts.ok()) << message(parts);
    EXPECT_EQ(parts->setup.size() + parts->kernel.size(), image.size());
    EXPECT_EQ(parts->command_line.size(), 14u);
    EXPECT_EQ(parts->command_line.back(), 0u);
    EXPECT_EQ(parts->initrd_address % page_size, 0u);
    EXPECT_LE(parts->initrd_address + initrd.size(), 511 * MiB);
    EXPECT_EQ(load(parts->setup, setup_header::ramdisk_image, 4), parts->initrd_address);
    EXPECT_EQ(load(parts->setup, setup_header::ramdisk_size, 4), initrd.size());
    EXPECT_EQ(load(parts->setup, setup_header::cmd_line_ptr, 4), FirmwareKernel::command_line_address);

    ASSERT_EQ(parts->rom.size(), 512u);
    EXPECT_EQ(sum(parts->rom), 0u);
    EXPECT_EQ(load(parts->rom, 0, 2), 0xAA55u);
    const std::pair<u64, u64> wanted[] = {{parts->setup.size(), FirmwareKernel::setup_address},
                                          {parts->command_line.size(), FirmwareKernel::command_line_address},
                                          {initrd.size(), parts->initrd_address},
                                          {parts->kernel.size(), FirmwareKernel::kernel_address}};
    std::size_t at = 0x100;
    for (const auto& [length, address] : wanted) {
        EXPECT_EQ(big(parts->rom, at, 4) & 0xFFFF, 0xAu);
        EXPECT_EQ(big(parts->rom, at + 4, 4), length);
        EXPECT_EQ(big(parts->rom, at + 8, 8), address);
        at += 16;
    }
    EXPECT_EQ(big(parts->rom, at, 4), 0u);
}

TEST(FirmwareKernel, WhatDoesNotFitIsNamed) {
    const auto image = BzImage{}.build();
    const std::vector<u8> initrd(64 * MiB), none, junk(4096, 1);
    const auto with = [&](const std::vector<u8>& module) {
        return firmware_kernel({64 * MiB, 0}, {image, "vmlinuz", "", {{module, "initrd", {}}}});
    };
    EXPECT_FALSE(with(initrd).ok());
    EXPECT_FALSE(with(none).ok());
    EXPECT_FALSE(firmware_kernel({64 * MiB, 0}, {junk, "junk", "", {}}).ok());
    EXPECT_FALSE(firmware_kernel({64 * MiB, 0}, {image, "vmlinuz", std::string(100'000, 'x'), {}}).ok());
    EXPECT_FALSE(firmware_kernel({1 * MiB, 0}, {image, "vmlinuz", "", {}}).ok());
}

} // namespace
} // namespace calque::firmware::test
