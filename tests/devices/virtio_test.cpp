// The virtio core through its simplest device, the entropy source.
#include "base/manual_clock.h"
#include "devices/virtio/virtio_rng.h"
#include "tests/devices/virtio_driver.h"

namespace calque::devices {
namespace {

using namespace test;

// 1, 2, 3, ...; as many as there are.
struct Counting final : EntropySource {
    std::size_t fill(std::span<u8> bytes) override {
        const std::size_t count = std::min(bytes.size(), left);
        for (u8& byte : bytes.first(count))
            byte = ++last;
        left -= count;
        return count;
    }
    std::size_t left = ~std::size_t{0};
    u8 last = 0;
};

class VirtioTest : public testing::Test {
  protected:
    static constexpr u64 version_1 = u64{1} << virtio::F_VERSION_1, event_index = 1u << virtio::F_EVENT_IDX,
                         indirect = 1u << virtio::F_INDIRECT_DESC;

    VirtioTest() { make(); }
    void make(VirtioRng::Limit limit = {}) {
        device.reset();
        device = std::make_unique<VirtioPci>(
            board.log, board.ram, VirtioPciOptions{"rng0", true, true, ~0u, 0x00FF00}, virtio::Id::entropy,
            VirtioRng::config_size, VirtioRng::queues, [&](DmaPort& memory) {
                return std::make_unique<VirtioRng>(board.log, memory, clock, worker, source, limit, "rng0");
            });
        board.plug(device->function());
    }
    void start(u64 features = version_1, u16 vector = virtio::NO_VECTOR) {
        ASSERT_TRUE(driver.begin(features));
        driver.set_queue(0, vector);
        driver.go();
        worker.run();
    }
    void ask(u16 descriptor, u64 address, u32 length) {
        driver.descriptor(0, descriptor, address, length, VirtioDriver::WRITE);
        driver.make_available(0, descriptor);
        driver.notify(0);
        worker.run();
    }
    unsigned errors() {
        for (const auto& count : board.log.unimplemented_counts())
            if (count.name == "rng0.driver-error") return static_cast<unsigned>(count.times);
        return 0;
    }
    // The device has seen nonsense, said so, and comes back after a reset.
    void expect_broken() {
        EXPECT_EQ(driver.status() & virtio::STATUS_NEEDS_RESET, virtio::STATUS_NEEDS_RESET);
        EXPECT_EQ(errors(), 1u);
        std::fill(board.ram.bytes.begin() + 0x10000, board.ram.bytes.begin() + 0x20000, u8{0});
        start();
        ask(0, 0x8000, 4);
        EXPECT_EQ(driver.used(0), 1u);
    }

    PciBoard board;
    ManualClock clock;
    ManualWorker worker;
    Counting source;
    std::unique_ptr<VirtioPci> device;
    VirtioDriver driver{board};
};

TEST_F(VirtioTest, IdentifiesItselfAsTransitional) {
    EXPECT_EQ(board.config(pci::VENDOR_ID, 4), 0x1005'1AF4u);
    EXPECT_EQ(board.config(pci::SUBSYSTEM_VENDOR_ID, 4), 0x0004'1AF4u);
    EXPECT_EQ(board.config(pci::REVISION_ID, 1), 0u);
    EXPECT_NE(device->function().capability_offset(pci::CAPABILITY_MSIX), 0u);
}

TEST_F(VirtioTest, WithoutTheLegacyInterfaceItHasAModernIdentity) {
    device.reset();
    VirtioPci modern(board.log, board.ram, VirtioPciOptions{"rng1", false, true, 0, 0x00FF00}, virtio::Id::entropy, 0,
                     1, [&](DmaPort& memory) {
                         return std::make_unique<VirtioRng>(board.log, memory, clock, worker, source,
                                                            VirtioRng::Limit{}, "rng1");
                     });
    board.plug(modern.function());
    EXPECT_EQ(board.config(pci::VENDOR_ID, 4), 0x1044'1AF4u);
    EXPECT_EQ(board.config(pci::REVISION_ID, 1), 1u);
    EXPECT_EQ(board.config(pci::BAR0, 4), 0u);
    EXPECT_EQ(modern.function().capability_offset(pci::CAPABILITY_MSIX), 0u);
}

TEST_F(VirtioTest, FillsABufferAndRaisesItsLine) {
    start();
    ask(3, 0x8000, 5);
    EXPECT_EQ(driver.used(0), 1u);
    EXPECT_EQ(driver.used_element(0, 0), (std::pair{3u, 5u}));
    EXPECT_EQ(driver.peek<u32>(0x8000), 0x04030201u);
    EXPECT_EQ(driver.peek<u8>(0x8005), 0u);
    EXPECT_TRUE(board.lines.level(3)); // INTA# of slot 4: PIRQ 3.
    EXPECT_EQ(driver.read(VirtioPci::isr_offset, 1), 1u);
    EXPECT_FALSE(board.lines.level(3));
    EXPECT_EQ(driver.read(VirtioPci::isr_offset, 1), 0u);
}

TEST_F(VirtioTest, NothingHappensOnTheThreadThatNotifies) {
    start();
    driver.descriptor(0, 0, 0x8000, 4, VirtioDriver::WRITE);
    driver.make_available(0, 0);
    driver.notify(0);
    EXPECT_EQ(driver.used(0), 0u);
    worker.run();
    EXPECT_EQ(driver.used(0), 1u);
}

TEST_F(VirtioTest, MessagesGoToTheQueuesVector) {
    board.open_vector(1, 0x41);
    board.write_config(device->function().capability_offset(pci::CAPABILITY_MSIX) + 2, 0x8000, 2);
    start(version_1, 1);
    ask(0, 0x8000, 4);
    ASSERT_EQ(board.messages.sent.size(), 1u);
    EXPECT_EQ(board.messages.sent[0], (std::pair<u64, u32>{0xFEE0'0000, 0x41}));
    EXPECT_FALSE(board.lines.level(3));
}

TEST_F(VirtioTest, AMaskedVectorIsPendingUntilItOpens) {
    board.open_vector(1, 0x41);
    board.memory_bus.write(PciBoard::msix_base + 16 + 12, 1, 4);
    board.write_config(device->function().capability_offset(pci::CAPABILITY_MSIX) + 2, 0x8000, 2);
    start(version_1, 1);
    ask(0, 0x8000, 4);
    EXPECT_TRUE(board.messages.sent.empty());
    EXPECT_EQ(board.memory_bus.read(PciBoard::msix_base + 0x800, 8), 2u);
    board.memory_bus.write(PciBoard::msix_base + 16 + 12, 0, 4);
    EXPECT_EQ(board.messages.sent.size(), 1u);
    EXPECT_EQ(board.memory_bus.read(PciBoard::msix_base + 0x800, 8), 0u);
}

TEST_F(VirtioTest, TheFunctionMaskHoldsEveryVector) {
    const unsigned control = device->function().capability_offset(pci::CAPABILITY_MSIX) + 2;
    board.open_vector(1, 0x41);
    board.write_config(control, 0xC000, 2);
    start(version_1, 1);
    ask(0, 0x8000, 4);
    EXPECT_TRUE(board.messages.sent.empty());
    board.write_config(control, 0x8000, 2);
    EXPECT_EQ(board.messages.sent.size(), 1u);
}

TEST_F(VirtioTest, AVectorThatDoesNotExistReadsBackAsNone) {
    ASSERT_TRUE(driver.begin(version_1));
    driver.set_queue(0, 7);
    EXPECT_EQ(driver.read(0x1A, 2), 0xFFFFu);
    driver.write(0x10, 2, 2);
    EXPECT_EQ(driver.read(0x10, 2), 0xFFFFu);
    driver.write(0x10, 1, 2);
    EXPECT_EQ(driver.read(0x10, 2), 1u);
}

TEST_F(VirtioTest, FeaturesThatWereNotOfferedAreNotTaken) {
    EXPECT_EQ(driver.features(), version_1 | event_index | indirect);
    EXPECT_FALSE(driver.begin(version_1 | 1));
    EXPECT_TRUE(driver.begin(version_1 | event_index));
}

TEST_F(VirtioTest, TheEventIndexSaysWhenToInterrupt) {
    start(version_1 | event_index);
    driver.poke<u16>(VirtioDriver::base(0) + 0x1000 + 4 + 2 * VirtioDriver::size, 1); // used_event: after the second.
    ask(0, 0x8000, 4);
    // The first interrupt after DRIVER_OK may always come.
    driver.read(VirtioPci::isr_offset, 1);
    driver.poke<u16>(VirtioDriver::base(0) + 0x1000 + 4 + 2 * VirtioDriver::size, 2);
    ask(1, 0x8000, 4);
    EXPECT_EQ(driver.read(VirtioPci::isr_offset, 1), 0u);
    ask(2, 0x8000, 4);
    EXPECT_EQ(driver.read(VirtioPci::isr_offset, 1), 1u);
    EXPECT_EQ(driver.peek<u16>(VirtioDriver::base(0) + 0x2000 + 4 + 8 * VirtioDriver::size), 3u); // avail_event.
}

TEST_F(VirtioTest, TheDriverCanDoWithoutInterrupts) {
    start();
    driver.poke<u16>(VirtioDriver::base(0) + 0x1000, 1);
    ask(0, 0x8000, 4);
    EXPECT_EQ(driver.used(0), 1u);
    EXPECT_FALSE(board.lines.level(3));
}

TEST_F(VirtioTest, AnIndirectTableIsAChain) {
    start(version_1 | indirect);
    driver.poke<u64>(0x9000, 0x8000);
    driver.poke<u32>(0x9008, 2);
    driver.poke<u32>(0x900C, (1u << 16) | VirtioDriver::NEXT | VirtioDriver::WRITE);
    driver.poke<u64>(0x9010, 0x8100);
    driver.poke<u32>(0x9018, 2);
    driver.poke<u32>(0x901C, VirtioDriver::WRITE);
    driver.descriptor(0, 5, 0x9000, 32, VirtioDriver::INDIRECT);
    driver.make_available(0, 5);
    driver.notify(0);
    worker.run();
    EXPECT_EQ(driver.used_element(0, 0), (std::pair{5u, 4u}));
    EXPECT_EQ(driver.peek<u16>(0x8000), 0x0201u);
    EXPECT_EQ(driver.peek<u16>(0x8100), 0x0403u);
}

TEST_F(VirtioTest, AChainThatLoops) {
    start();
    driver.descriptor(0, 0, 0x8000, 4, VirtioDriver::WRITE | VirtioDriver::NEXT, 1);
    driver.descriptor(0, 1, 0x8000, 4, VirtioDriver::WRITE | VirtioDriver::NEXT, 0);
    driver.make_available(0, 0);
    driver.notify(0);
    worker.run();
    EXPECT_EQ(driver.used(0), 0u);
    expect_broken();
}

TEST_F(VirtioTest, AHeadOutsideTheTable) {
    start();
    driver.make_available(0, 8);
    driver.notify(0);
    worker.run();
    expect_broken();
}

TEST_F(VirtioTest, AnIndexThatRunsAhead) {
    start();
    driver.poke<u16>(VirtioDriver::base(0) + 0x1002, 9);
    driver.notify(0);
    worker.run();
    expect_broken();
}

TEST_F(VirtioTest, ABufferOutsideMemory) {
    start();
    ask(0, 0xFFFF'FFFF'FFFF'FFF0, 64);
    expect_broken();
}

TEST_F(VirtioTest, RingsOutsideMemory) {
    ASSERT_TRUE(driver.begin(version_1));
    driver.set_queue(0);
    driver.write(0x28, 0x7FFF'0000, 8);
    driver.go();
    worker.run();
    expect_broken();
}

TEST_F(VirtioTest, AnIndirectTableInAnIndirectTable) {
    start(version_1 | indirect);
    driver.poke<u64>(0x9000, 0x9000);
    driver.poke<u32>(0x9008, 16);
    driver.poke<u32>(0x900C, VirtioDriver::INDIRECT);
    driver.descriptor(0, 0, 0x9000, 16, VirtioDriver::INDIRECT);
    driver.make_available(0, 0);
    driver.notify(0);
    worker.run();
    expect_broken();
}

TEST_F(VirtioTest, WithoutBusMasteringItReachesNothing) {
    start();
    board.write_config(pci::COMMAND, pci::COMMAND_MEMORY, 2);
    ask(0, 0x8000, 4);
    EXPECT_EQ(driver.peek<u32>(0x8000), 0u);
    EXPECT_EQ(driver.status() & virtio::STATUS_NEEDS_RESET, virtio::STATUS_NEEDS_RESET);
}

TEST_F(VirtioTest, WaitsForEntropy) {
    source.left = 0;
    start();
    ask(0, 0x8000, 4);
    EXPECT_EQ(driver.used(0), 0u);
    source.left = 100;
    clock.advance(10'000'000);
    worker.run();
    EXPECT_EQ(driver.used_element(0, 0), (std::pair{0u, 4u}));
}

TEST_F(VirtioTest, TheRateIsLimited) {
    make({6, 1'000'000'000});
    start();
    ask(0, 0x8000, 4);
    ask(1, 0x8000, 4);
    ask(2, 0x8000, 4);
    EXPECT_EQ(driver.used(0), 2u);
    EXPECT_EQ(driver.used_element(0, 1), (std::pair{1u, 2u}));
    clock.advance(1'000'000'000);
    worker.run();
    EXPECT_EQ(driver.used_element(0, 2), (std::pair{2u, 4u}));
}

TEST_F(VirtioTest, TheLegacyInterfaceDrivesTheSameQueue) {
    const auto out = [&](u64 offset, u64 value, unsigned size) {
        board.ports.write(PciBoard::port_base + offset, value, size);
    };
    out(18, 3, 1);
    out(14, 0, 2);
    EXPECT_EQ(board.ports.read(PciBoard::port_base + 12, 2), 8u); // Entries.
    out(8, 0x10, 4);                                              // At 0x10000.
    EXPECT_EQ(board.ports.read(PciBoard::port_base + 8, 4), 0x10u);
    out(18, 7, 1);
    driver.descriptor(0, 2, 0x8000, 4, VirtioDriver::WRITE);
    driver.poke<u16>(0x10080 + 4, 2);
    driver.poke<u16>(0x10080 + 2, 1);
    out(16, 0, 2);
    worker.run();
    EXPECT_EQ(driver.peek<u16>(0x11002), 1u);
    EXPECT_EQ(driver.peek<u32>(0x11004), 2u);
    EXPECT_EQ(driver.peek<u32>(0x8000), 0x04030201u);
    EXPECT_EQ(board.ports.read(PciBoard::port_base + 19, 1), 1u);
    EXPECT_FALSE(board.lines.level(3));
    out(18, 0, 1);
    EXPECT_EQ(board.ports.read(PciBoard::port_base + 8, 4), 0u);
}

TEST_F(VirtioTest, ConfigurationSpaceReachesTheRegisters) {
    unsigned at = 0;
    for (unsigned next = board.config(pci::CAPABILITIES_POINTER, 1); next != 0; next = board.config(next + 1, 1))
        if (board.config(next, 1) == pci::CAPABILITY_VENDOR && board.config(next + 3, 1) == 5) at = next;
    ASSERT_NE(at, 0u);
    board.write_config(at + 4, 4, 1);
    board.write_config(at + 8, 0x14, 4); // Device status.
    board.write_config(at + 12, 1, 4);
    board.write_config(at + 16, 3, 1);
    EXPECT_EQ(driver.status(), 3u);
    board.write_config(at + 8, 0x12, 4); // Number of queues.
    board.write_config(at + 12, 2, 4);
    EXPECT_EQ(board.config(at + 16, 2), 1u);
}

TEST_F(VirtioTest, ASavedDeviceGoesOn) {
    start(version_1 | event_index);
    ask(0, 0x8000, 4);
    driver.read(VirtioPci::isr_offset, 1);
    driver.descriptor(0, 1, 0x8000, 4, VirtioDriver::WRITE);
    driver.make_available(0, 1);
    const std::vector<u8> state = save(*device);
    make();
    ASSERT_TRUE(load(*device, state).ok());
    worker.run();
    EXPECT_EQ(driver.used(0), 2u);
    EXPECT_EQ(driver.peek<u32>(0x8000), 0x08070605u);
    ask(2, 0x8000, 4);
    EXPECT_EQ(driver.used(0), 3u);
}

TEST_F(VirtioTest, AResetForgetsTheQueue) {
    start();
    ask(0, 0x8000, 4);
    driver.write(0x14, 0, 1);
    EXPECT_FALSE(board.lines.level(3));
    EXPECT_EQ(driver.status(), 0u);
    driver.write(0x16, 0, 2);
    EXPECT_EQ(driver.read(0x1C, 2), 0u);
    EXPECT_EQ(driver.read(0x20, 8), 0u);
    EXPECT_EQ(driver.read(0x18, 2), 8u);
}

} // namespace
} // namespace calque::devices
