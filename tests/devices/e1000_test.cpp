#include "devices/e1000/e1000.h"
#include "devices/e1000/registers.h"
#include "tests/devices/net_test_support.h"
#include "tests/devices/virtio_driver.h"

namespace calque::devices {
namespace {

using namespace test;
using namespace e1000;

constexpr std::array<u8, 6> own{0x52, 0x54, 0, 0x12, 0x34, 0x56};

class E1000Test : public testing::Test {
  protected:
    static constexpr u64 base = 0xFEB8'0000, tx_ring = 0x1000, rx_ring = 0x2000, buffers = 0x10000;

    E1000Test() { make(); }
    void make() {
        device.reset();
        device = std::make_unique<E1000>(board.log, board.ram, net, own, "e1000");
        board.plug(device->function());
        board.write_config(pci::BAR0, base, 4);
        board.write_config(pci::BAR0 + 4, 0xC040, 4);
    }
    u32 read(u32 offset) { return static_cast<u32>(board.memory_bus.read(base + offset, 4)); }
    void write(u32 offset, u32 value) { board.memory_bus.write(base + offset, value, 4); }
    template <class T> void poke(u64 at, T value) { std::memcpy(board.ram.bytes.data() + at, &value, sizeof value); }
    std::vector<u8> memory(u64 at, std::size_t size) {
        const auto begin = board.ram.bytes.begin() + static_cast<std::ptrdiff_t>(at);
        return {begin, begin + static_cast<std::ptrdiff_t>(size)};
    }
    void start() {
        write(TDBAL, tx_ring);
        write(TDLEN, 128);
        write(RDBAL, rx_ring);
        write(RDLEN, 128);
        for (u32 i = 0; i < 8; ++i)
            poke<u64>(rx_ring + 16 * i, buffers + 0x1000 + 0x800 * i);
        write(RDT, 7);
        write(TCTL, TCTL_EN);
        write(RCTL, RCTL_EN | RCTL_BAM | RCTL_SECRC);
        write(IMS, ICR_RXT0 | ICR_TXDW);
    }
    void queue(unsigned index, u64 low, u64 high) {
        poke<u64>(tx_ring + 16 * index, low);
        poke<u64>(tx_ring + 16 * index + 8, high);
    }
    void send_up_to(u32 tail) {
        write(TDT, tail);
        worker.run();
    }
    void put(const std::vector<u8>& bytes) { std::copy(bytes.begin(), bytes.end(), board.ram.bytes.begin() + buffers); }

    PciBoard board;
    ManualWorker worker;
    RecordedNet net{worker};
    std::unique_ptr<E1000> device;
};

TEST_F(E1000Test, IdentifiesItselfAndHasALink) {
    EXPECT_EQ(board.config(pci::VENDOR_ID, 4), 0x100E'8086u);
    EXPECT_EQ(read(STATUS) & 3, 3u);
    EXPECT_EQ(read(RA), 0x12005452u);
    EXPECT_EQ(read(RA + 4), 0x8000'5634u);
}

TEST_F(E1000Test, TheEepromSumsUp) {
    u16 sum = 0;
    for (u32 word = 0; word < 64; ++word) {
        write(EERD, word << 8 | EERD_START);
        EXPECT_TRUE(read(EERD) & EERD_DONE);
        sum = static_cast<u16>(sum + (read(EERD) >> 16));
    }
    EXPECT_EQ(sum, 0xBABA);
}

TEST_F(E1000Test, TheEepromsSerialLineGivesTheSameWords) {
    write(EECD, EECD_REQ);
    EXPECT_TRUE(read(EECD) & EECD_GNT);
    const auto clock = [&](bool bit_in) {
        const u32 pins = EECD_REQ | EECD_CS | (bit_in ? EECD_DI : 0);
        write(EECD, pins);
        write(EECD, pins | EECD_SK);
        const bool out = read(EECD) & EECD_DO;
        write(EECD, pins);
        return out;
    };
    for (const bool bit_in : {true, true, false, false, false, false, false, false, true}) // Read word 1.
        clock(bit_in);
    u16 word = 0;
    for (unsigned i = 0; i < 16; ++i)
        word = static_cast<u16>(word << 1 | clock(false));
    EXPECT_EQ(word, 0x1200);
}

TEST_F(E1000Test, ThePhyAnswers) {
    write(MDIC, 1u << 21 | 2u << 16 | MDIC_READ << 26);
    EXPECT_EQ(read(MDIC) & (MDIC_READY | MDIC_ERROR | 0xFFFF), MDIC_READY | 0x0141u);
    write(MDIC, 5u << 21 | 2u << 16 | MDIC_READ << 26);
    EXPECT_TRUE(read(MDIC) & MDIC_ERROR);
}

TEST_F(E1000Test, SendsAFrameOfTwoBuffers) {
    start();
    const auto frame = frame_to({1, 2, 3, 4, 5, 6}, 200);
    put(frame);
    queue(0, buffers, 100);
    queue(1, buffers + 100, 100 | TXD_EOP | TXD_RS);
    send_up_to(2);
    ASSERT_EQ(net.sent.size(), 1u);
    EXPECT_EQ(net.sent[0].frame, frame);
    EXPECT_EQ(read(TDH), 2u);
    EXPECT_EQ(memory(tx_ring + 28, 1)[0] & 1, 1);
    EXPECT_EQ(memory(tx_ring + 12, 1)[0], 0);
    EXPECT_TRUE(board.lines.level(3));
    EXPECT_TRUE(read(ICR) & ICR_TXDW);
    EXPECT_FALSE(board.lines.level(3));
}

TEST_F(E1000Test, AContextCutsSegments) {
    start();
    const auto frame = tcp_frame(77, 3000);
    put(frame);
    queue(0, 14 | 24u << 8 | u64{34} << 32 | u64{50} << 40, TXD_DEXT | u64{54} << 40 | u64{1000} << 48);
    queue(1, buffers,
          frame.size() | TXD_DEXT | TYPE_DATA << 20 | TXD_EOP | TXD_IC_OR_TSE | u64{POPTS_IXSM | POPTS_TXSM} << 40);
    send_up_to(2);
    ASSERT_EQ(net.sent.size(), 1u);
    EXPECT_EQ(net.sent[0].offload.segments, FrameOffload::Segments::tcp4);
    EXPECT_EQ(net.sent[0].offload.segment_size, 1000);
}

TEST_F(E1000Test, AContextInsertsChecksums) {
    start();
    const auto whole = tcp_frame(77, 100);
    auto frame = whole;
    finish_tcp(frame, *find_tcp(frame), true);
    frame[24] = frame[25] = 0x55;
    put(frame);
    queue(0, 14 | 24u << 8 | u64{34} << 32 | u64{50} << 40, TXD_DEXT);
    queue(1, buffers, frame.size() | TXD_DEXT | TYPE_DATA << 20 | TXD_EOP | u64{POPTS_IXSM | POPTS_TXSM} << 40);
    send_up_to(2);
    ASSERT_EQ(net.sent.size(), 1u);
    auto sent = net.sent[0].frame;
    ASSERT_TRUE(complete_checksum(sent, net.sent[0].offload));
    EXPECT_EQ(sent, whole);
}

TEST_F(E1000Test, ReceivesAndPads) {
    start();
    const auto frame = frame_to(own, 42);
    EXPECT_TRUE(net.client->receive(frame, {}));
    const auto descriptor = memory(rx_ring + 8, 8);
    EXPECT_EQ(descriptor[0], 60);
    EXPECT_EQ(descriptor[4] & 3, RXD_STAT_DD | RXD_STAT_EOP);
    EXPECT_EQ(memory(buffers + 0x1000, 42), frame);
    EXPECT_EQ(read(RDH), 1u);
    EXPECT_TRUE(board.lines.level(3));
}

TEST_F(E1000Test, AFullRingWaits) {
    start();
    for (unsigned i = 0; i < 7; ++i)
        EXPECT_TRUE(net.client->receive(frame_to(own), {}));
    EXPECT_FALSE(net.client->receive(frame_to(own), {}));
    const unsigned before = net.resumed;
    write(RDT, 6);
    EXPECT_GT(net.resumed, before);
    EXPECT_TRUE(net.client->receive(frame_to(own), {}));
}

TEST_F(E1000Test, Filters) {
    start();
    const auto taken = [&](const std::array<u8, 6>& to) {
        const u32 before = read(RDH);
        net.client->receive(frame_to(to), {});
        return read(RDH) != before;
    };
    EXPECT_TRUE(taken({255, 255, 255, 255, 255, 255}));
    EXPECT_FALSE(taken({2, 0, 0, 0, 0, 1}));
    EXPECT_FALSE(taken({1, 0, 0x5E, 0, 0, 1}));
    const u32 hash = 0x0100u >> 4; // Bits 47-36 of 01:00:5E:00:00:01.
    write(MTA + hash / 32 * 4, 1u << (hash % 32));
    EXPECT_TRUE(taken({1, 0, 0x5E, 0, 0, 1}));
    write(RCTL, RCTL_EN | RCTL_UPE);
    EXPECT_TRUE(taken({2, 0, 0, 0, 0, 1}));
}

// The sender's address stands behind the six bytes that the filters look at.
TEST_F(E1000Test, WhoSentAFrameDoesNotMatterToTheFilters) {
    start();
    const auto taken = [&](const std::array<u8, 6>& to) {
        auto frame = frame_to(to);
        std::fill_n(frame.begin() + 6, 6, u8{0xFF});
        const u32 before = read(RDH);
        net.client->receive(frame, {});
        return read(RDH) != before;
    };
    EXPECT_TRUE(taken(own));
    const u32 hash = 0x0100u >> 4; // Bits 47-36 of 01:00:5E:00:00:01.
    write(MTA + hash / 32 * 4, 1u << (hash % 32));
    EXPECT_TRUE(taken({1, 0, 0x5E, 0, 0, 1}));
    EXPECT_FALSE(taken({1, 0, 0x5E, 0, 0, 0x31}));
}

TEST_F(E1000Test, ACutCableIsAnInterrupt) {
    start();
    write(IMS, ICR_LSC);
    device->set_link(false);
    EXPECT_TRUE(board.lines.level(3));
    EXPECT_TRUE(read(ICR) & ICR_LSC);
    EXPECT_FALSE(read(STATUS) & STATUS_LU);
    write(MDIC, 1u << 21 | 1u << 16 | MDIC_READ << 26);
    EXPECT_EQ(read(MDIC) & 4u, 0u);
    EXPECT_TRUE(net.client->receive(frame_to(own), {}));
    EXPECT_EQ(read(RDH), 0u) << "nothing comes through it";
    write(CTRL, CTRL_RST);
    EXPECT_FALSE(read(STATUS) & STATUS_LU) << "a reset does not mend it";
    device->set_link(true);
    EXPECT_TRUE(read(STATUS) & STATUS_LU);
}

TEST_F(E1000Test, RingsThatMakeNoSense) {
    write(TDLEN, 0);
    write(TCTL, TCTL_EN);
    send_up_to(5);
    write(TDLEN, 128);
    write(TDH, 0xFFFF);
    send_up_to(5);
    write(TDH, 0);
    write(TDBAL, 0x7FFF'0000);
    send_up_to(5);
    write(RDLEN, 128);
    write(RDT, 7);
    write(RDBAL, 0x7FFF'0000);
    write(RCTL, RCTL_EN | RCTL_UPE);
    EXPECT_TRUE(net.client->receive(frame_to(own), {}));
    EXPECT_TRUE(net.sent.empty());
}

TEST_F(E1000Test, ASavedCardGoesOn) {
    start();
    net.client->receive(frame_to(own), {});
    put(frame_to({1, 2, 3, 4, 5, 6}, 100));
    queue(0, buffers, 100 | TXD_EOP);
    write(TDT, 1); // Not sent yet.
    const auto state = save(*device);
    make();
    ASSERT_TRUE(load(*device, state).ok());
    EXPECT_TRUE(board.lines.level(3));
    worker.run();
    EXPECT_EQ(net.sent.size(), 1u);
    EXPECT_TRUE(net.client->receive(frame_to(own), {}));
    EXPECT_EQ(read(RDH), 2u);
}

} // namespace
} // namespace calque::devices
