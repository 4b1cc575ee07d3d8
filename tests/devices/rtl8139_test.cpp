#include "base/byte_order.h"
#include "base/manual_clock.h"
#include "devices/rtl8139/registers.h"
#include "devices/rtl8139/rtl8139.h"
#include "tests/devices/net_test_support.h"
#include "tests/devices/virtio_driver.h"

namespace calque::devices {
namespace {

using namespace test;
using namespace rtl8139;

constexpr std::array<u8, 6> own{0x52, 0x54, 0, 0x12, 0x34, 0x56};

class Rtl8139Test : public testing::Test {
  protected:
    static constexpr u64 base = 0xFEB8'0000, tx_ring = 0x1000, rx_ring = 0x2000, buffers = 0x10000,
                         bytes_ring = 0x20000;

    Rtl8139Test() { make(); }
    void make(bool plus = true) {
        device.reset();
        device = std::make_unique<Rtl8139>(board.log, clock, board.ram, net, Rtl8139Options{own, plus}, "rtl8139");
        board.plug(device->function());
        board.write_config(pci::BAR0, 0xC000, 4);
        board.write_config(pci::BAR0 + 4, base, 4);
    }
    u32 read(u32 offset, unsigned size) { return static_cast<u32>(board.memory_bus.read(base + offset, size)); }
    void write(u32 offset, u32 value, unsigned size) { board.memory_bus.write(base + offset, value, size); }
    void poke(u64 at, u32 value) { std::memcpy(board.ram.bytes.data() + at, &value, sizeof value); }
    u32 peek(u64 at) {
        u32 value = 0;
        std::memcpy(&value, board.ram.bytes.data() + at, sizeof value);
        return value;
    }
    std::vector<u8> memory(u64 at, std::size_t size) {
        const auto begin = board.ram.bytes.begin() + static_cast<std::ptrdiff_t>(at);
        return {begin, begin + static_cast<std::ptrdiff_t>(size)};
    }
    void put(u64 at, const std::vector<u8>& bytes) {
        std::copy(bytes.begin(), bytes.end(), board.ram.bytes.begin() + static_cast<std::ptrdiff_t>(at));
    }
    // The C way: 8 KiB of ring.
    void start(u32 rcr = RCR_APM | RCR_AB | RCR_AM) {
        write(RBSTART, bytes_ring, 4);
        write(CR, CR_TE | CR_RE, 1);
        write(RCR, rcr, 4);
        write(IMR, ISR_ROK | ISR_TOK, 2);
    }
    // The C+ way: four descriptors each, the last of them the end of its ring.
    void start_plus(u32 cpcr = CPCR_TE | CPCR_RE) {
        write(CPCR, cpcr, 2);
        write(TNPDS, tx_ring, 4);
        write(TNPDS + 4, 0, 4);
        write(RDSAR, rx_ring, 4);
        write(RDSAR + 4, 0, 4);
        for (u32 i = 0; i < 4; ++i) {
            poke(rx_ring + 16 * i, DESC_OWN | (i == 3 ? DESC_EOR : 0) | 1024);
            poke(rx_ring + 16 * i + 8, static_cast<u32>(buffers + 0x1000 + 0x800 * i));
        }
        start();
    }
    void describe(unsigned index, u32 command, u64 from, u32 vlan = 0) {
        poke(tx_ring + 16 * index, DESC_OWN | (index == 3 ? DESC_EOR : 0) | command);
        poke(tx_ring + 16 * index + 4, vlan);
        poke(tx_ring + 16 * index + 8, static_cast<u32>(from));
    }
    void poll() {
        write(TPPOLL, TPPOLL_NORMAL, 1);
        worker.run();
    }
    bool line() { return board.lines.level(3); }

    ManualClock clock;
    PciBoard board;
    ManualWorker worker;
    RecordedNet net{worker};
    std::unique_ptr<Rtl8139> device;
};

TEST_F(Rtl8139Test, IdentifiesItself) {
    EXPECT_EQ(board.config(pci::VENDOR_ID, 4), 0x8139'10ECu);
    EXPECT_EQ(board.config(pci::REVISION_ID, 1), 0x20u);
    EXPECT_EQ(read(IDR0, 4), 0x12005452u);
    EXPECT_EQ(read(IDR0 + 4, 2), 0x5634u);
    EXPECT_EQ(read(TCR, 4) & TCR_VERSION_MASK, TCR_VERSION_CPLUS);
    EXPECT_EQ(read(MSR, 1) & MSR_LINKB, 0u);
    EXPECT_EQ(read(BMSR, 2) & 0x24u, 0x24u);
    EXPECT_EQ(board.ports.read(0xC000 + TCR, 4) & TCR_VERSION_MASK, TCR_VERSION_CPLUS) << "the same through ports";
    make(false);
    EXPECT_EQ(board.config(pci::REVISION_ID, 1), 0x10u);
    EXPECT_EQ(read(TCR, 4) & TCR_VERSION_MASK, TCR_VERSION_C);
    write(CPCR, CPCR_TE, 2);
    EXPECT_EQ(read(CPCR, 2), 0u) << "it has no rings of descriptors";
}

TEST_F(Rtl8139Test, TheEepromsSerialLineGivesTheAddress) {
    const auto clock_bit = [&](bool bit_in) {
        const u32 pins = 0x80 | EECR_CS | (bit_in ? EECR_DI : 0);
        write(EECR, pins, 1);
        write(EECR, pins | EECR_SK, 1);
        const bool out = read(EECR, 1) & EECR_DO;
        write(EECR, pins, 1);
        return out;
    };
    const auto word = [&](u32 index) {
        write(EECR, 0x80, 1);
        for (int i = 8; i >= 0; --i)
            clock_bit((6u << 6 | index) >> i & 1);
        u32 value = 0;
        for (unsigned i = 0; i < 16; ++i)
            value = value << 1 | clock_bit(false);
        return value;
    };
    EXPECT_EQ(word(0), 0x8129u);
    EXPECT_EQ(word(7), 0x5452u);
    EXPECT_EQ(word(9), 0x5634u);
}

TEST_F(Rtl8139Test, TheAddressIsWrittenOnlyWhenUnlocked) {
    write(IDR0, 0xAA, 1);
    EXPECT_EQ(read(IDR0, 1), 0x52u);
    write(EECR, EECR_UNLOCKED, 1);
    write(IDR0, 0xAA, 1);
    EXPECT_EQ(read(IDR0, 1), 0xAAu);
    write(CR, CR_RST, 1);
    EXPECT_EQ(read(CR, 1), CR_BUFE);
    EXPECT_EQ(read(IDR0, 1), 0xAAu) << "a reset of the chip leaves it";
    write(EECR, EECR_AUTOLOAD, 1);
    EXPECT_EQ(read(IDR0, 1), 0x52u);
}

TEST_F(Rtl8139Test, SendsFromItsFourBuffersInTurn) {
    start();
    for (u32 i = 0; i < 5; ++i) {
        const auto frame = frame_to({1, 2, 3, 4, 5, static_cast<u8>(i)}, 100 + i);
        put(buffers, frame);
        write(TSAD0 + 4 * (i % 4), buffers, 4);
        write(TSD0 + 4 * (i % 4), static_cast<u32>(frame.size()), 4);
        worker.run();
        ASSERT_EQ(net.sent.size(), i + 1);
        EXPECT_EQ(net.sent[i].frame, frame);
        EXPECT_EQ(read(TSD0 + 4 * (i % 4), 4) & (TSD_OWN | TSD_TOK), TSD_OWN | TSD_TOK);
    }
    EXPECT_EQ(read(TSAD, 2), 0xF00Fu);
    EXPECT_TRUE(line());
    write(ISR, ISR_TOK, 2);
    EXPECT_FALSE(line());
    write(TSAD0 + 4, 0x7FFF'0000, 4);
    write(TSD0 + 4, 100, 4);
    worker.run();
    EXPECT_TRUE(read(ISR, 2) & ISR_TER) << "what is not memory is not sent";
}

TEST_F(Rtl8139Test, FramesLieInTheRingOneAfterTheOther) {
    start();
    EXPECT_TRUE(read(CR, 1) & CR_BUFE);
    const auto first = frame_to(own, 61), second = frame_to({255, 255, 255, 255, 255, 255}, 100);
    EXPECT_TRUE(net.client->receive(first, {}));
    EXPECT_TRUE(net.client->receive(second, {}));
    EXPECT_FALSE(read(CR, 1) & CR_BUFE);
    EXPECT_EQ(peek(bytes_ring), 65u << 16 | RX_PAM | RX_ROK);
    EXPECT_EQ(memory(bytes_ring + 4, 61), first);
    const u64 next = bytes_ring + 72; // 4 + 61 + 4, to a multiple of four.
    EXPECT_EQ(peek(next), 104u << 16 | RX_BAR | RX_ROK);
    EXPECT_EQ(memory(next + 4, 100), second);
    EXPECT_EQ(read(CBR, 2), 72u + 108u);
    write(CAPR, 72 + 108 - 16, 2);
    EXPECT_TRUE(read(CR, 1) & CR_BUFE);
    EXPECT_TRUE(line());
}

TEST_F(Rtl8139Test, AFullRingWaitsAndAFrameGoesAroundItsEnd) {
    start();
    const auto frame = frame_to(own, 1500);
    for (unsigned i = 0; i < 5; ++i)
        EXPECT_TRUE(net.client->receive(frame, {}));
    EXPECT_FALSE(net.client->receive(frame, {}));
    EXPECT_TRUE(read(ISR, 2) & ISR_RXOVW);
    const unsigned before = net.resumed;
    write(CAPR, 2 * 1508 - 16, 2); // Two are read.
    EXPECT_GT(net.resumed, before);
    EXPECT_TRUE(net.client->receive(frame, {}));
    const std::size_t at = 5 * 1508 + 4, in_front = 8192 - at;
    EXPECT_EQ(memory(bytes_ring + at, in_front),
              std::vector<u8>(frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(in_front)));
    EXPECT_EQ(memory(bytes_ring, 1500 - in_front),
              std::vector<u8>(frame.begin() + static_cast<std::ptrdiff_t>(in_front), frame.end()));
    EXPECT_EQ(read(CBR, 2), 6u * 1508 - 8192);
}

TEST_F(Rtl8139Test, AnOverflowAcknowledgedWithoutRoomIsToldAgain) {
    start();
    for (unsigned i = 0; i < 5; ++i)
        EXPECT_TRUE(net.client->receive(frame_to(own, i == 0 ? 60 : 1500), {}));
    for (unsigned i = 0; i < 30; ++i)
        (void)net.client->receive(frame_to(own, 60), {}); // To the last byte.
    EXPECT_FALSE(net.client->receive(frame_to(own, 1500), {}));
    write(CAPR, 68 - 16, 2); // Linux's 8139too reads a short one, acknowledges all, and has done its share.
    EXPECT_FALSE(net.client->receive(frame_to(own, 1500), {}));
    write(ISR, ISR_ROK | ISR_RXOVW, 2);
    EXPECT_FALSE(net.client->receive(frame_to(own, 1500), {}));
    EXPECT_FALSE(line());
    clock.advance(10'000'000);
    EXPECT_FALSE(net.client->receive(frame_to(own, 1500), {}));
    EXPECT_TRUE(read(ISR, 2) & ISR_RXOVW);
}

TEST_F(Rtl8139Test, WithWrapAFrameGoesOnBehindTheEnd) {
    start(RCR_APM | RCR_WRAP);
    const auto frame = frame_to(own, 1500);
    for (unsigned i = 0; i < 5; ++i)
        EXPECT_TRUE(net.client->receive(frame, {}));
    write(CAPR, 5 * 1508 - 16, 2);
    EXPECT_TRUE(net.client->receive(frame, {}));
    EXPECT_EQ(memory(bytes_ring + 5 * 1508 + 4, 1500), frame);
    EXPECT_EQ(read(CBR, 2), 6u * 1508 - 8192);
}

TEST_F(Rtl8139Test, Filters) {
    start(RCR_APM | RCR_AM);
    const auto taken = [&](const std::array<u8, 6>& to) {
        const u32 before = read(CBR, 2);
        net.client->receive(frame_to(to), {});
        return read(CBR, 2) != before;
    };
    EXPECT_TRUE(taken(own));
    EXPECT_FALSE(taken({2, 0, 0, 0, 0, 1}));
    EXPECT_FALSE(taken({255, 255, 255, 255, 255, 255}));
    EXPECT_FALSE(taken({1, 0, 0x5E, 0, 0, 1}));
    write(MAR0, ~0u, 4);
    write(MAR0 + 4, ~0u, 4);
    EXPECT_TRUE(taken({1, 0, 0x5E, 0, 0, 1}));
    write(RCR, RCR_AAP, 4);
    EXPECT_TRUE(taken({2, 0, 0, 0, 0, 1}));
}

TEST_F(Rtl8139Test, SendsAFrameOfTwoDescriptors) {
    start_plus();
    const auto frame = frame_to({1, 2, 3, 4, 5, 6}, 200);
    put(buffers, frame);
    describe(0, DESC_FS | 100, buffers);
    describe(1, DESC_LS | 100, buffers + 100);
    poll();
    ASSERT_EQ(net.sent.size(), 1u);
    EXPECT_EQ(net.sent[0].frame, frame);
    EXPECT_EQ(peek(tx_ring) & DESC_OWN, 0u);
    EXPECT_EQ(peek(tx_ring + 16) & DESC_OWN, 0u);
    EXPECT_EQ(read(ISR, 2) & (ISR_TOK | ISR_TDU), ISR_TOK | ISR_TDU);
    EXPECT_TRUE(line());
}

TEST_F(Rtl8139Test, MakesChecksumsAndTags) {
    start_plus();
    const auto whole = tcp_frame(77, 100);
    auto frame = whole;
    frame[24] = frame[50] = 0x55;
    put(buffers, frame);
    describe(0, DESC_FS | DESC_LS | TXD_IPCS | TXD_TCPCS | static_cast<u32>(frame.size()), buffers);
    describe(1, DESC_FS | DESC_LS | TXD_LGSEN | 50u << TXD_MSS | static_cast<u32>(frame.size()), buffers);
    describe(2, DESC_FS | DESC_LS | static_cast<u32>(frame.size()), buffers, TXD_TAGC | 0x0203);
    poll();
    ASSERT_EQ(net.sent.size(), 3u);
    EXPECT_EQ(net.sent[0].frame, whole);
    EXPECT_EQ(net.sent[1].offload.segments, FrameOffload::Segments::tcp4);
    EXPECT_EQ(net.sent[1].offload.segment_size, 50);
    EXPECT_EQ(big32(net.sent[2].frame, 12), 0x8100'0302u);
}

TEST_F(Rtl8139Test, ReceivesOverDescriptors) {
    start_plus(CPCR_TE | CPCR_RE | CPCR_RX_CHECKSUM | CPCR_RX_VLAN);
    auto frame = tcp_frame(1, 1400);
    FrameOffload good;
    good.checksum_good = true;
    EXPECT_TRUE(net.client->receive(frame, good));
    EXPECT_EQ(peek(rx_ring) & (DESC_OWN | DESC_FS | DESC_LS | RXD_PAM | RXD_TCP | 0x1FFF),
              DESC_FS | RXD_PAM | RXD_TCP | 1024);
    EXPECT_EQ(peek(rx_ring + 16) & (DESC_OWN | DESC_FS | DESC_LS | 0x1FFF), DESC_LS | 1458u);
    auto data = memory(buffers + 0x1000, 1024);
    const auto rest = memory(buffers + 0x1800, 1454 - 1024);
    data.insert(data.end(), rest.begin(), rest.end());
    EXPECT_EQ(data, frame);
    const u8 tag[] = {0x81, 0, 3, 2};
    frame.insert(frame.begin() + 12, std::begin(tag), std::end(tag));
    frame.resize(200);
    EXPECT_TRUE(net.client->receive(frame, {}));
    EXPECT_EQ(peek(rx_ring + 36) & 0x1FFFF, RXD_TAVA | 0x0203);
    EXPECT_EQ(memory(buffers + 0x2000 + 12, 2), (std::vector<u8>{8, 0}));
}

TEST_F(Rtl8139Test, WithoutDescriptorsAFrameWaitsAndIsLookedAtAgain) {
    start_plus();
    for (unsigned i = 0; i < 4; ++i)
        EXPECT_TRUE(net.client->receive(frame_to(own), {}));
    EXPECT_FALSE(net.client->receive(frame_to(own), {}));
    EXPECT_TRUE(read(ISR, 2) & ISR_RXOVW);
    write(ISR, ISR_RXOVW, 2);
    EXPECT_FALSE(net.client->receive(frame_to(own), {}));
    EXPECT_FALSE(read(ISR, 2) & ISR_RXOVW) << "the driver was told already";
    const unsigned before = net.resumed;
    clock.advance(10'000'000);
    EXPECT_GT(net.resumed, before) << "the driver tells nobody of new descriptors";
    poke(rx_ring, DESC_OWN | 1024);
    EXPECT_TRUE(net.client->receive(frame_to(own), {}));
}

TEST_F(Rtl8139Test, TheTimerInterrupts) {
    write(IMR, ISR_TIMEOUT, 2);
    write(TCTR, 0, 4);
    write(TIMER_INT, 1000, 4);
    clock.advance(999 * 30);
    EXPECT_FALSE(line());
    clock.advance(60);
    EXPECT_TRUE(line());
    EXPECT_EQ(read(TCTR, 4), 1001u);
}

TEST_F(Rtl8139Test, DumpsItsCounters) {
    start_plus();
    net.client->receive(frame_to(own), {});
    write(DTCCR + 4, 0, 4);
    write(DTCCR, 0x8000 | DTCCR_COMMAND, 4);
    EXPECT_EQ(peek(0x8000 + 8), 1u);
    EXPECT_EQ(peek(0x8000 + 40), 1u);
    EXPECT_FALSE(read(DTCCR, 4) & DTCCR_COMMAND);
}

TEST_F(Rtl8139Test, ACutCableIsAnInterrupt) {
    start();
    write(IMR, ISR_LINK, 2);
    device->set_link(false);
    EXPECT_TRUE(line());
    EXPECT_TRUE(read(MSR, 1) & MSR_LINKB);
    EXPECT_EQ(read(BMSR, 2) & 4u, 0u);
}

TEST_F(Rtl8139Test, RingsThatMakeNoSense) {
    start_plus();
    write(TNPDS, 0x7FFF'0000, 4);
    poll();
    write(TNPDS, tx_ring, 4);
    for (unsigned i = 0; i < 4; ++i)
        describe(i, DESC_FS | 0xFFFF, 0x7FFF'0000);
    poll();
    write(RDSAR, 0x7FFF'0000, 4);
    EXPECT_TRUE(net.client->receive(frame_to(own), {}));
    write(RDSAR, rx_ring, 4);
    for (unsigned i = 0; i < 4; ++i)
        poke(rx_ring + 16 * i, DESC_OWN | (i == 3 ? DESC_EOR : 0)); // No room at all.
    EXPECT_TRUE(net.client->receive(frame_to(own), {}));
    EXPECT_TRUE(net.sent.empty());
}

TEST_F(Rtl8139Test, ASavedCardGoesOn) {
    start_plus();
    net.client->receive(frame_to(own), {});
    put(buffers, frame_to({1, 2, 3, 4, 5, 6}, 100));
    describe(0, DESC_FS | DESC_LS | 100, buffers);
    write(TPPOLL, TPPOLL_NORMAL, 1); // Not sent yet.
    const auto state = save(*device);
    make();
    ASSERT_TRUE(load(*device, state).ok());
    EXPECT_TRUE(line());
    worker.run();
    EXPECT_EQ(net.sent.size(), 1u);
    EXPECT_TRUE(net.client->receive(frame_to(own), {}));
    EXPECT_EQ(peek(rx_ring + 16) & DESC_OWN, 0u);
}

} // namespace
} // namespace calque::devices
