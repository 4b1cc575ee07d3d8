#include "devices/debugcon/debugcon.h"
#include "devices/i8237/i8237.h"
#include "devices/isa_debug_exit/isa_debug_exit.h"
#include "devices/port92/port92.h"
#include "devices/post/post.h"
#include "devices/reset_control/reset_control.h"
#include "tests/devices/harness.h"

namespace calque::devices {
namespace {

class SmallDevices : public testing::Test {
  protected:
    Log log;
    Bus ports{Bus::Kind::ports, log};
};

TEST_F(SmallDevices, Port92GatesA20AndPulsesReset) {
    std::vector<bool> a20;
    unsigned resets = 0;
    Port92 device(
        log, [&](bool on) { a20.push_back(on); }, [&] { ++resets; });
    ports.map(0x92, 1, device, "port92");
    EXPECT_EQ(ports.read(0x92, 1), 0u);
    ports.write(0x92, 0x02, 1);
    ports.write(0x92, 0xFE, 1);
    EXPECT_EQ(a20, (std::vector<bool>{true}));
    EXPECT_EQ(ports.read(0x92, 1), 0x02u);
    ports.write(0x92, 0x03, 1);
    ports.write(0x92, 0x03, 1);
    EXPECT_EQ(resets, 1u) << "only a rising edge resets";
    const auto saved = test::save(device);
    device.reset();
    EXPECT_FALSE(a20.back());
    EXPECT_EQ(ports.read(0x92, 1), 0u);
    EXPECT_TRUE(test::load(device, saved).ok());
    EXPECT_TRUE(a20.back());
    EXPECT_EQ(ports.read(0x92, 1), 3u);
    ports.write(0x92, 0x00, 1);
    EXPECT_FALSE(a20.back());
}

TEST_F(SmallDevices, DebugconPassesBytesOn) {
    test::TypedBackend backend;
    Debugcon device(backend);
    ports.map(0xE9, 1, device, "debugcon");
    EXPECT_EQ(ports.read(0xE9, 1), 0xE9u);
    for (const char c : std::string("POST\n"))
        ports.write(0xE9, static_cast<u8>(c), 1);
    EXPECT_EQ(backend.sent, "POST\n");
    EXPECT_TRUE(test::load(device, test::save(device)).ok());
}

TEST_F(SmallDevices, DebugExitGivesTheStatus) {
    std::vector<u32> statuses;
    IsaDebugExit device([&](u32 status) { statuses.push_back(status); });
    ports.map(0xF4, 4, device, "isa-debug-exit");
    ports.write(0xF4, 0x10, 1);
    ports.write(0xF4, 0x10, 4);
    ports.write(0xF6, 0, 2);
    EXPECT_EQ(statuses, (std::vector<u32>{0x21, 0x21, 0x01}));
    EXPECT_EQ(ports.read(0xF4, 4), 0u);
    EXPECT_TRUE(test::load(device, test::save(device)).ok());
}

TEST_F(SmallDevices, ResetControlRoundTrip) {
    ResetControl device(log, nullptr);
    ports.map(0xCF9, 1, device, "reset");
    ports.write(0xCF9, 0xFF, 1);
    EXPECT_EQ(ports.read(0xCF9, 1), 0x02u);
    const auto saved = test::save(device);
    device.reset();
    EXPECT_EQ(ports.read(0xCF9, 1), 0u);
    EXPECT_TRUE(test::load(device, saved).ok());
    EXPECT_EQ(ports.read(0xCF9, 1), 0x02u);
}

TEST_F(SmallDevices, PostPortKeepsTheLastCode) {
    PostPort device(log);
    ports.map(0x80, 1, device, "POST");
    ports.write(0x80, 0x5A, 1);
    EXPECT_EQ(device.code(), 0x5A);
    EXPECT_EQ(ports.read(0x80, 1), 0x5Au);
    const auto saved = test::save(device);
    device.reset();
    EXPECT_EQ(device.code(), 0);
    EXPECT_TRUE(test::load(device, saved).ok());
    EXPECT_EQ(device.code(), 0x5A);
}

class I8237Test : public SmallDevices {
  protected:
    I8237Test() {
        ports.map(0x00, 16, dma.first(), "dma1");
        ports.map(0xC0, 32, dma.second(), "dma2");
        ports.map(0x81, 15, dma.pages(), "dma pages");
    }
    u8 in(u64 port) { return static_cast<u8>(ports.read(port, 1)); }
    void out(u64 port, u8 value) { ports.write(port, value, 1); }
    // Channel 2, as a floppy driver programs it: mode 46h writes memory, 4Ah reads it.
    void program(u8 mode, u32 address, u16 length) {
        out(0x0A, 0x06);
        out(0x0C, 0);
        out(0x0B, mode);
        out(0x04, static_cast<u8>(address));
        out(0x04, static_cast<u8>(address >> 8));
        out(0x81, static_cast<u8>(address >> 16));
        out(0x05, static_cast<u8>(length - 1));
        out(0x05, static_cast<u8>((length - 1) >> 8));
        out(0x0A, 0x02);
    }
    test::SmallMemory memory{0x40000};
    I8237 dma{log, memory};
};

TEST_F(I8237Test, AddressAndCountAreReadThroughTheFlipFlop) {
    program(0x46, 0x12345, 0x200);
    EXPECT_EQ(in(0x04), 0x45);
    EXPECT_EQ(in(0x04), 0x23);
    EXPECT_EQ(in(0x05), 0xFF);
    EXPECT_EQ(in(0x05), 0x01);
    EXPECT_EQ(in(0x81), 0x01);
}

TEST_F(I8237Test, WritesMemoryUntilTerminalCount) {
    program(0x46, 0x12345, 4);
    const std::array<u8, 6> data{1, 2, 3, 4, 5, 6};
    auto done = dma.to_memory(2, std::span(data).first(3));
    EXPECT_EQ(done.bytes, 3u);
    EXPECT_FALSE(done.terminal_count);
    done = dma.to_memory(2, std::span(data).subspan(3));
    EXPECT_EQ(done.bytes, 1u);
    EXPECT_TRUE(done.terminal_count);
    EXPECT_EQ(memory.bytes[0x12345], 1);
    EXPECT_EQ(memory.bytes[0x12348], 4);
    EXPECT_EQ(memory.bytes[0x12349], 0);
    EXPECT_EQ(in(0x08), 0x04) << "TC of channel 2";
    EXPECT_EQ(in(0x08), 0x00) << "cleared by reading";
    EXPECT_EQ(dma.to_memory(2, data).bytes, 0u) << "masked at terminal count";
}

TEST_F(I8237Test, ReadsMemoryAndAutoInitializes) {
    memory.bytes[0x100] = 7;
    memory.bytes[0x101] = 8;
    program(0x5A, 0x100, 2);
    std::array<u8, 2> data{};
    EXPECT_TRUE(dma.from_memory(2, data).terminal_count);
    EXPECT_EQ(data, (std::array<u8, 2>{7, 8}));
    EXPECT_TRUE(dma.from_memory(2, data).terminal_count) << "starts over";
    EXPECT_EQ(dma.to_memory(2, data).bytes, 0u) << "set up for the other direction";
}

TEST_F(I8237Test, WrapsWithinItsPage) {
    program(0x46, 0x1FFFF, 2);
    const std::array<u8, 2> data{1, 2};
    EXPECT_EQ(dma.to_memory(2, data).bytes, 2u);
    EXPECT_EQ(memory.bytes[0x1FFFF], 1);
    EXPECT_EQ(memory.bytes[0x10000], 2);
}

TEST_F(I8237Test, WordChannelsMoveWords) {
    out(0xD6, 0x45); // Channel 5, writes memory.
    out(0xC4, 0x00);
    out(0xC4, 0x80); // 8000h words: 10000h bytes.
    out(0x8B, 0x02);
    out(0xC6, 0x00);
    out(0xC6, 0x00);
    out(0xD4, 0x01);
    const std::array<u8, 3> data{1, 2, 3};
    const auto done = dma.to_memory(5, data);
    EXPECT_EQ(done.bytes, 2u);
    EXPECT_TRUE(done.terminal_count);
    EXPECT_EQ(memory.bytes[0x30000], 1);
    EXPECT_EQ(memory.bytes[0x30001], 2);
}

TEST_F(I8237Test, MasterClearMasksEverything) {
    program(0x46, 0, 16);
    dma.set_request(2, true);
    EXPECT_EQ(in(0x08), 0x40);
    out(0x0D, 0);
    EXPECT_EQ(in(0x0F), 0xFF);
    out(0x0E, 0);
    EXPECT_EQ(in(0x0F), 0xF0);
    out(0x0F, 0x05);
    EXPECT_EQ(in(0x0F), 0xF5);
}

TEST_F(I8237Test, RoundTrip) {
    program(0x46, 0x12345, 0x200);
    in(0x04); // Leaves the flip-flop on the high byte.
    const auto saved = test::save(dma);
    dma.reset();
    EXPECT_EQ(in(0x81), 0);
    EXPECT_TRUE(test::load(dma, saved).ok());
    EXPECT_EQ(in(0x04), 0x23);
    EXPECT_EQ(in(0x81), 0x01);
}

} // namespace
} // namespace calque::devices
