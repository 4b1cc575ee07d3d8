#include "devices/fw_cfg/fw_cfg.h"
#include "tests/devices/harness.h"

namespace calque::devices {
namespace {

class FwCfgTest : public testing::Test {
  protected:
    FwCfgTest() {
        ports.map(0x510, 2, device.ports(), "fw_cfg");
        ports.map(0x514, 8, device.dma_port(), "fw_cfg DMA");
    }
    void select(u16 key) { ports.write(0x510, key, 2); }
    std::string read(std::size_t count) {
        std::string text;
        while (count--)
            text += static_cast<char>(ports.read(0x511, 1));
        return text;
    }
    static u32 swap(u32 value) { return __builtin_bswap32(value); }
    void put32(u64 at, u32 value) {
        for (unsigned i = 0; i < 4; ++i)
            memory.bytes[at + i] = static_cast<u8>(value >> (24 - 8 * i));
    }
    u32 get32(u64 at) {
        return static_cast<u32>(memory.bytes[at]) << 24 | static_cast<u32>(memory.bytes[at + 1]) << 16
               | static_cast<u32>(memory.bytes[at + 2]) << 8 | memory.bytes[at + 3];
    }
    // Runs a request at 0x100 and returns the control field after it.
    u32 dma(u32 control, u32 length, u64 address) {
        put32(0x100, control);
        put32(0x104, length);
        put32(0x108, static_cast<u32>(address >> 32));
        put32(0x10C, static_cast<u32>(address));
        ports.write(0x514, 0, 4);
        ports.write(0x518, swap(0x100), 4);
        return get32(0x100);
    }

    Log log;
    Bus ports{Bus::Kind::ports, log};
    test::SmallMemory memory{0x10000};
    FwCfg device{log, memory};
};

TEST_F(FwCfgTest, SignatureAndFeatures) {
    select(0x0000);
    EXPECT_EQ(read(4), "QEMU");
    EXPECT_EQ(read(2), std::string(2, '\0')) << "past the end";
    select(0x0001);
    EXPECT_EQ(read(4), std::string("\3\0\0\0", 4));
    EXPECT_EQ(ports.read(0x514, 4), swap(0x51454D55));
    EXPECT_EQ(ports.read(0x518, 4), swap(0x20434647));
}

TEST_F(FwCfgTest, ItemsReadFromTheirStartAfterEachSelect) {
    device.add_u16(fw_cfg_key::NB_CPUS, 0x1234);
    select(fw_cfg_key::NB_CPUS);
    EXPECT_EQ(ports.read(0x511, 1), 0x34u);
    select(fw_cfg_key::NB_CPUS);
    EXPECT_EQ(read(2), "\x34\x12");
    select(0x7777);
    EXPECT_EQ(ports.read(0x511, 1), 0u);
}

TEST_F(FwCfgTest, DirectoryListsFiles) {
    ASSERT_TRUE(device.add_file("etc/one", {1, 2, 3}).ok());
    ASSERT_TRUE(device.add_file("opt/two", {9}).ok());
    ASSERT_TRUE(device.add_file("etc/one", {4, 5}).ok()) << "replaces";
    select(fw_cfg_key::FILE_DIR);
    EXPECT_EQ(read(4), std::string("\0\0\0\2", 4));
    EXPECT_EQ(read(8), std::string("\0\0\0\2\0\x20\0\0", 8));
    EXPECT_EQ(read(56), std::string("etc/one") + std::string(49, '\0'));
    EXPECT_EQ(read(8), std::string("\0\0\0\1\0\x21\0\0", 8));
    select(0x20);
    EXPECT_EQ(read(3), std::string("\4\5\0", 3));
    EXPECT_TRUE(device.has_file("opt/two"));
    EXPECT_FALSE(device.has_file("opt/three"));
}

TEST_F(FwCfgTest, FileNamesThatDoNotFitAreErrors) {
    EXPECT_TRUE(device.add_file(std::string(55, 'x'), {}).ok());
    EXPECT_FALSE(device.add_file(std::string(56, 'x'), {}).ok());
    EXPECT_FALSE(device.add_file("", {}).ok());
}

TEST_F(FwCfgTest, DmaSelectsAndReads) {
    ASSERT_TRUE(device.add_file("f", {1, 2, 3, 4, 5}).ok());
    EXPECT_EQ(dma(0x0020'0008 | 0x02, 3, 0x200), 0u);
    EXPECT_EQ(memory.bytes[0x200], 1);
    EXPECT_EQ(memory.bytes[0x202], 3);
    EXPECT_EQ(memory.bytes[0x203], 0);
    memory.bytes[0x304] = 0xEE;
    EXPECT_EQ(dma(0x02, 5, 0x300), 0u) << "goes on where it was";
    EXPECT_EQ(memory.bytes[0x300], 4);
    EXPECT_EQ(memory.bytes[0x301], 5);
    EXPECT_EQ(memory.bytes[0x304], 0) << "past the end there are zeros";
}

TEST_F(FwCfgTest, DmaSkips) {
    ASSERT_TRUE(device.add_file("f", {1, 2, 3, 4, 5}).ok());
    EXPECT_EQ(dma(0x0020'0008 | 0x04, 2, 0), 0u);
    EXPECT_EQ(read(1), "\3");
    EXPECT_EQ(dma(0x04, 0xFFFF'FFFF, 0), 0u);
    EXPECT_EQ(read(1), std::string(1, '\0'));
}

TEST_F(FwCfgTest, DmaErrorsAreToldInTheControlField) {
    ASSERT_TRUE(device.add_file("f", {1, 2, 3}).ok());
    EXPECT_EQ(dma(0x0020'0008 | 0x02, 3, 0x7FFF'FFFF'FFFF), 1u);
    EXPECT_EQ(dma(0x0020'0008 | 0x10, 3, 0x200), 1u) << "the file cannot be written";
    ports.write(0x514, swap(0x7FFF'FFFF), 4);
    ports.write(0x518, swap(0), 4); // A request outside memory: nowhere to tell it.
}

TEST_F(FwCfgTest, DmaWritesWritableFiles) {
    FwCfg::Item item;
    item.data = {0, 0, 0, 0};
    item.writable = true;
    u64 written_at = 0, written = 0;
    item.on_write = [&](std::span<const u8>, u64 offset, u64 length) {
        written_at = offset;
        written = length;
    };
    ASSERT_TRUE(device.add_active_file("w", std::move(item)).ok());
    memory.bytes[0x200] = 7;
    memory.bytes[0x201] = 8;
    EXPECT_EQ(dma(0x0020'0008 | 0x04, 1, 0), 0u);
    EXPECT_EQ(dma(0x10, 2, 0x200), 0u);
    EXPECT_EQ(device.file("w"), (std::vector<u8>{0, 7, 8, 0}));
    EXPECT_EQ(written_at, 1u);
    EXPECT_EQ(written, 2u);
    EXPECT_EQ(dma(0x10, 2, 0x200), 1u) << "one byte is left";
}

TEST_F(FwCfgTest, OneSixtyFourBitWriteStartsDmaToo) {
    put32(0x100, 0x0000'0008 | 0x02);
    put32(0x104, 4);
    put32(0x108, 0);
    put32(0x10C, 0x200);
    ports.write(0x514, __builtin_bswap64(0x100), 8);
    EXPECT_EQ(get32(0x100), 0u);
    EXPECT_EQ(memory.bytes[0x200], 'Q');
}

TEST_F(FwCfgTest, SelectMayRefillAnItem) {
    FwCfg::Item item;
    item.on_select = [](std::vector<u8>& data) { data = {1, 2, 3, 4}; };
    ASSERT_TRUE(device.add_active_file("late", std::move(item)).ok());
    select(0x20);
    EXPECT_EQ(read(4), "\1\2\3\4");
    select(fw_cfg_key::FILE_DIR);
    EXPECT_EQ(read(8), std::string("\0\0\0\1\0\0\0\4", 8));
}

TEST_F(FwCfgTest, RoundTripKeepsThePlace) {
    select(0);
    read(2);
    const auto saved = test::save(device);
    device.reset();
    EXPECT_EQ(read(1), "Q");
    EXPECT_TRUE(test::load(device, saved).ok());
    EXPECT_EQ(read(2), "MU");
}

} // namespace
} // namespace calque::devices
