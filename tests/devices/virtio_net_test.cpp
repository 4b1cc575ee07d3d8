#include "devices/virtio/virtio_net.h"
#include "devices/virtio/virtio_net_registers.h"
#include "tests/devices/net_test_support.h"
#include "tests/devices/virtio_driver.h"

namespace calque::devices {
namespace {

using namespace test;
using namespace virtio_net;

constexpr u64 feature(unsigned bit) { return u64{1} << bit; }
constexpr u64 basic = feature(virtio::F_VERSION_1) | feature(F_MAC);
constexpr MacAddress own{0x52, 0x54, 0, 0x12, 0x34, 0x56};

class VirtioNetTest : public testing::Test {
  protected:
    enum Queue : unsigned { rx = 0, tx = 1, ctrl = 2 };
    static constexpr u64 buffer = 0x80000;

    VirtioNetTest() { make(); }
    void make() {
        device.reset();
        VirtioNet::Options options;
        options.mac = own;
        device = std::make_unique<VirtioPci>(
            board.log, board.ram, VirtioPciOptions{"net0", true, true, ~0u, 0x020000}, virtio::Id::net,
            VirtioNet::config_size, VirtioNet::queue_count_of(1),
            [&](DmaPort& memory) { return std::make_unique<VirtioNet>(board.log, memory, net, options, "net0"); });
        board.plug(device->function());
    }
    void start(u64 features) {
        ASSERT_TRUE(driver.begin(features));
        for (unsigned q : {rx, tx, ctrl})
            driver.set_queue(q);
        driver.go();
        worker.run();
    }
    void give_buffer(u16 index, u32 size) {
        driver.descriptor(rx, index, buffer + 0x1000 * index, size, VirtioDriver::WRITE);
        driver.make_available(rx, index);
    }
    void send(std::vector<u8> header, const std::vector<u8>& frame) {
        header.insert(header.end(), frame.begin(), frame.end());
        std::copy(header.begin(), header.end(), board.ram.bytes.begin() + buffer);
        driver.descriptor(tx, 0, buffer, static_cast<u32>(header.size()), 0);
        driver.make_available(tx, 0);
        driver.notify(tx);
        worker.run();
    }
    u8 control(std::vector<u8> bytes) {
        std::copy(bytes.begin(), bytes.end(), board.ram.bytes.begin() + buffer);
        board.ram.bytes[buffer + 0x800] = 0xEE;
        driver.descriptor(ctrl, 0, buffer, static_cast<u32>(bytes.size()), VirtioDriver::NEXT, 1);
        driver.descriptor(ctrl, 1, buffer + 0x800, 1, VirtioDriver::WRITE);
        driver.make_available(ctrl, 0);
        driver.notify(ctrl);
        worker.run();
        return board.ram.bytes[buffer + 0x800];
    }
    std::vector<u8> memory(u64 at, std::size_t size) {
        const auto begin = board.ram.bytes.begin() + static_cast<std::ptrdiff_t>(at);
        return {begin, begin + static_cast<std::ptrdiff_t>(size)};
    }
    bool needs_reset() { return driver.status() & virtio::STATUS_NEEDS_RESET; }

    PciBoard board;
    ManualWorker worker;
    RecordedNet net{worker};
    std::unique_ptr<VirtioPci> device;
    VirtioDriver driver{board};
};

TEST_F(VirtioNetTest, TellsItsAddressAndLink) {
    EXPECT_EQ(driver.read(0x2000, 4), 0x12005452u);
    EXPECT_EQ(driver.read(0x2006, 2), 1u);
    EXPECT_EQ(driver.read(0x2008, 2), 1u);
}

TEST_F(VirtioNetTest, SendsFrames) {
    start(basic);
    const auto frame = frame_to({1, 2, 3, 4, 5, 6}, 100);
    send(std::vector<u8>(12), frame);
    ASSERT_EQ(net.sent.size(), 1u);
    EXPECT_EQ(net.sent[0].frame, frame);
    EXPECT_FALSE(net.sent[0].offload.needs_checksum);
    EXPECT_EQ(driver.used(tx), 1u);
}

TEST_F(VirtioNetTest, PassesOnWhatIsLeftToDo) {
    start(basic | feature(F_CSUM) | feature(F_HOST_TSO4));
    const std::vector<u8> header{FLAG_NEEDS_CSUM, GSO_TCPV4, 54, 0, 0xB4, 0x05, 34, 0, 16, 0, 0, 0};
    send(header, tcp_frame(1, 4000));
    ASSERT_EQ(net.sent.size(), 1u);
    const FrameOffload& offload = net.sent[0].offload;
    EXPECT_TRUE(offload.needs_checksum);
    EXPECT_EQ(offload.checksum_start, 34);
    EXPECT_EQ(offload.checksum_offset, 16);
    EXPECT_EQ(offload.segments, FrameOffload::Segments::tcp4);
    EXPECT_EQ(offload.segment_size, 1460);
}

TEST_F(VirtioNetTest, HeadersThatMakeNoSenseSendNothing) {
    start(basic | feature(F_CSUM) | feature(F_HOST_TSO4));
    send({FLAG_NEEDS_CSUM, 0, 0, 0, 0, 0, 0xFF, 0xFF, 16, 0, 0, 0}, frame_to({}, 100));
    send({0, GSO_TCPV4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, frame_to({}, 100)); // A segment size of zero.
    send({0, 0x33, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, frame_to({}, 100));
    send({0, 0, 0, 0, 0}, {});
    EXPECT_TRUE(net.sent.empty());
    EXPECT_EQ(driver.used(tx), 4u);
    EXPECT_FALSE(needs_reset());
}

TEST_F(VirtioNetTest, ReceivesIntoOneBuffer) {
    start(basic);
    give_buffer(0, 2000);
    const auto frame = frame_to(own, 300);
    EXPECT_TRUE(net.client->receive(frame, {}));
    EXPECT_EQ(driver.used_element(rx, 0), (std::pair{0u, 312u}));
    EXPECT_EQ(memory(buffer, 12), (std::vector<u8>{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0}));
    EXPECT_EQ(memory(buffer + 12, 300), frame);
}

TEST_F(VirtioNetTest, MergesBuffers) {
    start(basic | feature(F_MRG_RXBUF));
    give_buffer(0, 100);
    give_buffer(1, 100);
    const auto frame = frame_to(own, 250);
    EXPECT_FALSE(net.client->receive(frame, {}));
    EXPECT_EQ(driver.used(rx), 0u) << "nothing is taken until there is room for all of it";
    give_buffer(2, 100);
    EXPECT_TRUE(net.client->receive(frame, {}));
    EXPECT_EQ(driver.used(rx), 3u);
    EXPECT_EQ(driver.used_element(rx, 0), (std::pair{0u, 100u}));
    EXPECT_EQ(driver.used_element(rx, 2), (std::pair{2u, 62u}));
    EXPECT_EQ(memory(buffer + 10, 2), (std::vector<u8>{3, 0}));
    std::vector<u8> got = memory(buffer + 12, 88);
    for (const auto& [at, size] : {std::pair{0x1000, 100}, {0x2000, 62}}) {
        const auto part = memory(buffer + static_cast<u64>(at), static_cast<std::size_t>(size));
        got.insert(got.end(), part.begin(), part.end());
    }
    EXPECT_EQ(got, frame);
}

// Buffers that are too few for a frame stay in the ring: the driver notifies of the one behind them.
TEST_F(VirtioNetTest, ANotificationIsAskedForBehindBuffersThatDidNotDo) {
    start(basic | feature(F_MRG_RXBUF) | feature(virtio::F_EVENT_IDX));
    give_buffer(0, 100);
    give_buffer(1, 100);
    EXPECT_FALSE(net.client->receive(frame_to(own, 250), {}));
    EXPECT_EQ(driver.peek<u16>(VirtioDriver::base(rx) + 0x2004 + 8 * VirtioDriver::size), 2u);
}

// The driver does not notify while notifications are off.
TEST_F(VirtioNetTest, ABufferThatComesWhileTheQueueIsServedIsNotMissed) {
    start(basic);
    unsigned more = 1;
    net.on_resume = [&] {
        if (more-- == 1) give_buffer(0, 2000);
    };
    const unsigned before = net.resumed;
    driver.notify(rx);
    worker.run();
    EXPECT_EQ(net.resumed, before + 2);
}

TEST_F(VirtioNetTest, ABufferThatIsTooSmallComesBackEmpty) {
    start(basic);
    give_buffer(0, 100);
    EXPECT_TRUE(net.client->receive(frame_to(own, 300), {}));
    EXPECT_EQ(driver.used_element(rx, 0), (std::pair{0u, 0u}));
    EXPECT_FALSE(needs_reset());
}

TEST_F(VirtioNetTest, WaitsForBuffers) {
    start(basic);
    EXPECT_FALSE(net.client->receive(frame_to(own), {}));
    const unsigned before = net.resumed;
    give_buffer(0, 2000);
    driver.notify(rx);
    worker.run();
    EXPECT_GT(net.resumed, before);
    EXPECT_TRUE(net.client->receive(frame_to(own), {}));
}

TEST_F(VirtioNetTest, AnUnfinishedChecksumIsFinishedForADriverThatCannot) {
    start(basic);
    give_buffer(0, 2000);
    const auto whole = tcp_frame(5, 200);
    auto frame = whole;
    finish_tcp(frame, *find_tcp(frame), true);
    FrameOffload offload;
    offload.needs_checksum = true;
    offload.checksum_start = 34;
    offload.checksum_offset = 16;
    EXPECT_TRUE(net.client->receive(frame, offload));
    EXPECT_EQ(memory(buffer + 12, whole.size()), whole);
}

TEST_F(VirtioNetTest, LongSegmentsGoOnlyToDriversThatTakeThem) {
    start(basic | feature(F_GUEST_CSUM));
    EXPECT_FALSE(net.client->takes_large());
    start(basic | feature(F_GUEST_CSUM) | feature(F_GUEST_TSO4) | feature(F_GUEST_TSO6));
    EXPECT_TRUE(net.client->takes_large());
    give_buffer(0, 0x1000);
    FrameOffload offload;
    offload.needs_checksum = true;
    offload.checksum_start = 34;
    offload.checksum_offset = 16;
    offload.segments = FrameOffload::Segments::tcp4;
    offload.segment_size = 1000;
    EXPECT_TRUE(net.client->receive(tcp_frame(5, 2500), offload));
    EXPECT_EQ(memory(buffer, 12), (std::vector<u8>{1, 1, 54, 0, 0xE8, 3, 34, 0, 16, 0, 1, 0}));
}

TEST_F(VirtioNetTest, FiltersByAddress) {
    start(basic | feature(F_CTRL_VQ) | feature(F_CTRL_RX));
    for (u16 i = 0; i < 6; ++i)
        give_buffer(i, 0x800);
    const MacAddress other{2, 0, 0, 0, 0, 1}, group{1, 0, 0x5E, 0, 0, 1}, all{255, 255, 255, 255, 255, 255};
    const auto taken = [&](const MacAddress& to) {
        const u16 before = driver.used(rx);
        EXPECT_TRUE(net.client->receive(frame_to(to), {}));
        return driver.used(rx) != before;
    };
    EXPECT_TRUE(taken(other)) << "promiscuous until told otherwise";
    EXPECT_EQ(control({CTRL_RX, RX_PROMISC, 0}), CTRL_OK);
    EXPECT_FALSE(taken(other));
    EXPECT_TRUE(taken(own));
    EXPECT_TRUE(taken(all));
    EXPECT_FALSE(taken(group));
    EXPECT_EQ(control({CTRL_MAC, MAC_TABLE_SET, 1, 0, 0, 0, 2, 0, 0, 0, 0, 1, 1, 0, 0, 0, 1, 0, 0x5E, 0, 0, 1}),
              CTRL_OK);
    EXPECT_TRUE(taken(other));
    EXPECT_TRUE(taken(group));
    EXPECT_EQ(control({CTRL_RX, RX_NOBCAST, 1}), CTRL_OK);
    EXPECT_FALSE(taken(all));
}

TEST_F(VirtioNetTest, FiltersByVlan) {
    start(basic | feature(F_CTRL_VQ) | feature(F_CTRL_VLAN));
    give_buffer(0, 0x800);
    auto frame = frame_to(own);
    frame[12] = 0x81;
    frame[13] = 0;
    frame[14] = 0;
    frame[15] = 5;
    EXPECT_TRUE(net.client->receive(frame, {}));
    EXPECT_EQ(driver.used(rx), 0u);
    EXPECT_EQ(control({CTRL_VLAN, VLAN_ADD, 5, 0}), CTRL_OK);
    EXPECT_TRUE(net.client->receive(frame, {}));
    EXPECT_EQ(driver.used(rx), 1u);
}

TEST_F(VirtioNetTest, ControlCommandsThatMakeNoSense) {
    start(basic | feature(F_CTRL_VQ) | feature(F_CTRL_RX));
    EXPECT_EQ(control({CTRL_RX, 9, 0}), CTRL_ERR);
    EXPECT_EQ(control({CTRL_RX, RX_PROMISC}), CTRL_ERR);
    EXPECT_EQ(control({CTRL_MAC, MAC_TABLE_SET, 0xFF, 0xFF, 0xFF, 0xFF, 1, 2}), CTRL_ERR);
    EXPECT_EQ(control({CTRL_MAC, MAC_ADDR_SET, 1, 2, 3}), CTRL_ERR);
    EXPECT_EQ(control({CTRL_VLAN, VLAN_ADD, 0xFF, 0xFF}), CTRL_ERR);
    EXPECT_EQ(control({CTRL_MQ, MQ_VQ_PAIRS_SET, 1, 0}), CTRL_ERR);
    EXPECT_EQ(control({77, 0, 0}), CTRL_ERR);
    EXPECT_FALSE(needs_reset());
}

TEST_F(VirtioNetTest, AFrameThatIsNotInMemory) {
    start(basic);
    driver.descriptor(tx, 0, 0xFFFF'0000, 100, 0);
    driver.make_available(tx, 0);
    driver.notify(tx);
    worker.run();
    EXPECT_TRUE(needs_reset());
}

TEST_F(VirtioNetTest, TheLinkGoesDown) {
    start(basic | feature(F_STATUS));
    static_cast<VirtioNet&>(device->kind()).set_link(false);
    EXPECT_EQ(driver.read(0x2006, 2), 0u);
    EXPECT_EQ(driver.read(VirtioPci::isr_offset, 1), 2u);
    send(std::vector<u8>(12), frame_to(own));
    EXPECT_TRUE(net.sent.empty());
}

TEST_F(VirtioNetTest, ASavedCardKeepsItsFiltersAndAnnouncesItself) {
    const u64 features = basic | feature(F_CTRL_VQ) | feature(F_CTRL_RX) | feature(F_GUEST_ANNOUNCE);
    start(features);
    control({CTRL_RX, RX_PROMISC, 0});
    control({CTRL_MAC, MAC_TABLE_SET, 1, 0, 0, 0, 2, 0, 0, 0, 0, 1, 0, 0, 0, 0});
    driver.read(VirtioPci::isr_offset, 1);
    const auto state = save(*device);
    make();
    ASSERT_TRUE(load(*device, state).ok());
    worker.run();
    EXPECT_EQ(driver.read(0x2006, 2), 3u);
    EXPECT_EQ(control({CTRL_ANNOUNCE, ANNOUNCE_ACK}), CTRL_OK);
    EXPECT_EQ(driver.read(0x2006, 2), 1u);
    give_buffer(0, 0x800);
    give_buffer(1, 0x800);
    net.client->receive(frame_to({2, 0, 0, 0, 0, 9}), {});
    EXPECT_EQ(driver.used(rx), 0u);
    net.client->receive(frame_to({2, 0, 0, 0, 0, 1}), {});
    EXPECT_EQ(driver.used(rx), 1u);
}

} // namespace
} // namespace calque::devices
