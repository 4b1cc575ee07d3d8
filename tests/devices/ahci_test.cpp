// The AHCI controller, against AHCI 1.3.1 and Serial ATA 2.6, as drivers use it.
#include "devices/ahci/ahci.h"
#include "tests/devices/fake_disk.h"
#include "tests/devices/virtio_driver.h"

#include <cstring>

namespace calque::devices {
namespace {

using namespace ahci;
using Bytes = std::vector<u8>;

class AhciTest : public testing::Test {
  protected:
    static constexpr u64 bar = 0xFEB1'0000;
    static constexpr u64 list = 0x1000, frames = 0x2000, tables = 0x4000, data = 0x20000;
    static constexpr u32 READ_DMA_EXT = 0x25, WRITE_DMA_EXT = 0x35, READ_SECTORS_EXT = 0x24, WRITE_SECTORS_EXT = 0x34,
                         IDENTIFY = 0xEC, PACKET = 0xA0, FPDMA_READ = 0x60, FPDMA_WRITE = 0x61;

    AhciTest() { make(); }
    void make() {
        device.reset();
        board = std::make_unique<test::PciBoard>();
        device = std::make_unique<Ahci>(board->log, board->ram, worker, "ahci0");
        device->attach(0, disk, false, "SERIAL-A");
        device->attach(2, cd, true, "SERIAL-C");
        board->plug(device->function());
        board->write_config(0x24, bar, 4);
    }
    u32 in(u32 offset) { return static_cast<u32>(board->memory_bus.read(bar + offset, 4)); }
    void out(u32 offset, u32 value) { board->memory_bus.write(bar + offset, value, 4); }
    static u32 at(unsigned port, u32 offset) { return port_base + port * port_size + offset; }
    u32 port(u32 offset, unsigned number = 0) { return in(at(number, offset)); }
    void set_port(u32 offset, u32 value, unsigned number = 0) { out(at(number, offset), value); }

    void start(unsigned number = 0) {
        set_port(PxCLB, list, number);
        set_port(PxFB, frames, number);
        set_port(PxSERR, ~0u, number);
        set_port(PxIS, ~0u, number);
        set_port(PxIE, ~0u, number);
        out(GHC, GHC_AE | GHC_IE);
        set_port(PxCMD, PxCMD_FRE | PxCMD_ST, number);
        worker.run();
    }
    template <class T> T peek(u64 address) const {
        T value;
        std::memcpy(&value, board->ram.bytes.data() + address, sizeof value);
        return value;
    }
    template <class T> void poke(u64 address, T value) {
        std::memcpy(board->ram.bytes.data() + address, &value, sizeof value);
    }
    struct Region {
        u64 address;
        u32 length;
    };
    // A command in a slot, with a register frame and its regions.
    void put(unsigned slot, std::array<u8, 16> frame, const std::vector<Region>& regions, u32 flags = 5) {
        const u64 table = tables + slot * 0x400;
        poke<u32>(list + slot * 32, flags | static_cast<u32>(regions.size()) << 16);
        poke<u32>(list + slot * 32 + 4, 0xDEAD);
        poke<u64>(list + slot * 32 + 8, table);
        std::memcpy(board->ram.bytes.data() + table, frame.data(), frame.size());
        for (std::size_t i = 0; i < regions.size(); ++i) {
            poke<u64>(table + 0x80 + 16 * i, regions[i].address);
            poke<u32>(table + 0x80 + 16 * i + 12, regions[i].length - 1);
        }
    }
    static std::array<u8, 16> frame(u32 code, u64 lba = 0, u16 count = 0) {
        const auto b = [&](unsigned n) { return static_cast<u8>(lba >> (8 * n)); };
        return {FIS_H2D,
                0x80,
                static_cast<u8>(code),
                0,
                b(0),
                b(1),
                b(2),
                0x40,
                b(3),
                b(4),
                b(5),
                0,
                static_cast<u8>(count),
                static_cast<u8>(count >> 8),
                0,
                0};
    }
    static std::array<u8, 16> queued(u32 code, unsigned tag, u64 lba, u16 count) {
        auto f = frame(code, lba, static_cast<u16>(tag << 3));
        f[3] = static_cast<u8>(count);
        f[11] = static_cast<u8>(count >> 8);
        return f;
    }
    void issue(u32 slots, unsigned number = 0) {
        set_port(PxCI, slots, number);
        settle();
    }
    void settle() {
        for (unsigned i = 0; i < 8; ++i) {
            worker.run();
            disk.settle();
            cd.settle();
        }
    }
    Bytes memory(u64 address, std::size_t size) const {
        const auto from = board->ram.bytes.begin() + static_cast<std::ptrdiff_t>(address);
        return {from, from + static_cast<std::ptrdiff_t>(size)};
    }
    static Bytes of(const test::FakeDisk& medium, u64 offset, std::size_t size) {
        const auto from = medium.bytes.begin() + static_cast<std::ptrdiff_t>(offset);
        return {from, from + static_cast<std::ptrdiff_t>(size)};
    }
    // A packet to the CD in slot 0.
    void packet(Bytes bytes, const std::vector<Region>& regions, bool dma = true) {
        auto f = frame(PACKET);
        f[3] = dma;
        f[5] = 0xFE;
        f[6] = 0xFF;
        put(0, f, regions, 5 | 1 << 5);
        bytes.resize(16);
        std::memcpy(board->ram.bytes.data() + tables + 0x40, bytes.data(), 16);
        issue(1, 2);
    }

    test::FakeDisk disk{70'000}, cd{4096};
    test::ManualWorker worker;
    std::unique_ptr<test::PciBoard> board;
    std::unique_ptr<Ahci> device;
};

TEST_F(AhciTest, SaysWhatItIsAndWhatIsThere) {
    EXPECT_EQ(board->config(0, 4), 0x2922'8086u);
    EXPECT_EQ(board->config(8, 4) >> 8, 0x010601u);
    EXPECT_EQ(in(CAP)&0x1F, 5u) << "six ports";
    EXPECT_EQ(in(CAP) >> 8 & 0x1F, 31u) << "32 slots";
    EXPECT_EQ(in(PI), 0x3Fu);
    EXPECT_EQ(in(VS), version);
    EXPECT_EQ(in(GHC), GHC_AE);
    EXPECT_EQ(port(PxSIG), 0x0000'0101u);
    EXPECT_EQ(port(PxSIG, 2), 0xEB14'0101u);
    EXPECT_EQ(port(PxSIG, 1), SIG_none);
    EXPECT_EQ(port(PxSSTS), SSTS_present);
    EXPECT_EQ(port(PxSSTS, 1), 0u);
    EXPECT_EQ(port(PxTFD) & 0xFF, 0x50u);
    EXPECT_EQ(port(PxTFD, 1), 0x7Fu);
    EXPECT_EQ(in(at(6, PxCMD)), 0u) << "no seventh port";
}

TEST_F(AhciTest, IdentifiesByAPioSetupFrameAlone) {
    start();
    put(0, frame(IDENTIFY), {{data, 512}});
    issue(1);
    EXPECT_EQ(port(PxCI), 0u);
    EXPECT_EQ(port(PxIS), PxIS_PSS);
    EXPECT_EQ(peek<u8>(frames + fis_psfis), FIS_PIO_SETUP);
    EXPECT_EQ(peek<u8>(frames + fis_psfis + 1), FIS_TO_HOST | FIS_INTERRUPT);
    EXPECT_EQ(peek<u8>(frames + fis_psfis + 15), 0x50) << "the status at the end";
    EXPECT_EQ(peek<u16>(frames + fis_psfis + 16), 512);
    EXPECT_EQ(peek<u32>(list + 4), 512u) << "bytes in the command header";
    EXPECT_EQ(peek<u16>(data + 2 * 76), 0x0106) << "native command queueing";
    EXPECT_EQ(peek<u16>(data + 2 * 75), 31);
    EXPECT_EQ(memory(data + 20, 8), (Bytes{'E', 'S', 'I', 'R', 'L', 'A', 'A', '-'}));
    EXPECT_EQ(in(IS), 1u);
    EXPECT_TRUE(board->lines.level(3)) << "PIRQ D for INTA of slot 4";
    set_port(PxIS, ~0u);
    out(IS, 1);
    EXPECT_FALSE(board->lines.level(3));
}

TEST_F(AhciTest, ReadsAndWritesByDmaOverSeveralRegions) {
    start();
    const Bytes before = of(disk, 1000 * 512, 300 * 512);
    put(3, frame(READ_DMA_EXT, 1000, 300), {{data, 0x10000}, {data + 0x20000, 0x200}, {data + 0x30000, 0x15600}});
    issue(1 << 3);
    EXPECT_EQ(port(PxCI), 0u);
    EXPECT_EQ(port(PxIS), PxIS_DHRS);
    EXPECT_EQ(peek<u8>(frames + fis_rfis), FIS_D2H);
    EXPECT_EQ(peek<u8>(frames + fis_rfis + 2), 0x50);
    EXPECT_EQ(peek<u32>(list + 3 * 32 + 4), 300u * 512);
    Bytes got = memory(data, 0x10000);
    for (const Bytes& part : {memory(data + 0x20000, 0x200), memory(data + 0x30000, 0x15600)})
        got.insert(got.end(), part.begin(), part.end());
    EXPECT_TRUE(got == before);

    put(0, frame(WRITE_DMA_EXT, 5, 128), {{data, 0x10000}}, 5 | 1 << 6);
    put(1, frame(0xEA), {});
    issue(3);
    EXPECT_EQ(port(PxCI), 0u);
    EXPECT_TRUE(of(disk, 5 * 512, 0x10000) == memory(data, 0x10000));
    EXPECT_EQ(disk.flushes, 1u);
}

TEST_F(AhciTest, ReadsAndWritesByPio) {
    start();
    put(0, frame(READ_SECTORS_EXT, 7, 4), {{data, 2048}});
    issue(1);
    EXPECT_EQ(port(PxCI), 0u);
    EXPECT_TRUE(memory(data, 2048) == of(disk, 7 * 512, 2048));
    set_port(PxIS, ~0u);
    put(0, frame(WRITE_SECTORS_EXT, 100, 4), {{data, 2048}}, 5 | 1 << 6);
    issue(1);
    EXPECT_EQ(port(PxCI), 0u);
    EXPECT_EQ(port(PxIS), PxIS_PSS | PxIS_DHRS) << "blocks after the first interrupt, and the end does";
    EXPECT_TRUE(of(disk, 100 * 512, 2048) == memory(data, 2048));
}

TEST_F(AhciTest, QueuedCommandsAreUnderWayTogetherAndEndInAnyOrder) {
    start();
    for (unsigned i = 0; i < 32; ++i)
        put(i, queued(FPDMA_READ, i, 10 * i, 2), {{data + i * 0x400, 0x400}});
    set_port(PxSACT, ~0u);
    set_port(PxCI, ~0u);
    worker.run();
    EXPECT_EQ(disk.waiting.size(), 32u);
    EXPECT_EQ(port(PxCI), 0u) << "the drive took them all";
    EXPECT_EQ(port(PxSACT), ~0u);
    std::swap(disk.waiting.front(), disk.waiting.back());
    disk.settle(1);
    EXPECT_EQ(port(PxSACT), ~0u >> 1) << "the last one ended first";
    EXPECT_EQ(peek<u8>(frames + fis_sdbfis), FIS_SDB);
    EXPECT_EQ(peek<u32>(frames + fis_sdbfis + 4), 1u << 31);
    settle();
    EXPECT_EQ(port(PxSACT), 0u);
    EXPECT_EQ(port(PxIS) & PxIS_SDBS, PxIS_SDBS);
    for (unsigned i = 0; i < 32; ++i)
        EXPECT_TRUE(memory(data + i * 0x400, 0x400) == of(disk, 10 * i * 512, 0x400)) << i;
    // A long one goes in parts, and a write with FUA is durable.
    auto long_write = queued(FPDMA_WRITE, 4, 2000, 4096);
    long_write[7] |= 0x80;
    put(4, long_write, {{0x40000, 0x80000}, {0x40000, 0x80000}, {0x40000, 0x80000}, {0x40000, 0x80000}});
    set_port(PxSACT, 1 << 4);
    issue(1 << 4);
    EXPECT_EQ(port(PxSACT), 0u);
    EXPECT_EQ(disk.durable_writes, 2u);
    EXPECT_TRUE(of(disk, (2000 + 3072) * 512, 0x80000) == memory(0x40000, 0x80000));
}

TEST_F(AhciTest, AnErrorInAQueueIsKeptForTheLog) {
    start();
    for (unsigned i = 0; i < 3; ++i)
        put(i, queued(FPDMA_READ, i, 100 + i, 1), {{data, 512}});
    set_port(PxSACT, 7);
    set_port(PxCI, 7);
    worker.run();
    disk.settle(1);
    disk.failure = BlockStatus::io_error;
    disk.settle(1);
    disk.failure = BlockStatus::ok;
    EXPECT_EQ(port(PxIS) & PxIS_TFES, PxIS_TFES);
    EXPECT_EQ(port(PxTFD) & 0xFFFF, 0x4051u) << "uncorrectable";
    EXPECT_EQ(port(PxSACT), 6u) << "the failed one and the ones behind it";
    settle();
    EXPECT_EQ(port(PxSACT), 6u) << "and these end no more";
    // Software stops the port, starts it and asks what happened.
    set_port(PxCMD, PxCMD_FRE);
    EXPECT_EQ(port(PxSACT) | port(PxCI), 0u);
    set_port(PxIS, ~0u);
    set_port(PxCMD, PxCMD_FRE | PxCMD_ST);
    put(0, frame(0x2F, 0x10, 1), {{data, 512}});
    issue(1);
    EXPECT_EQ(port(PxIS), PxIS_PSS);
    EXPECT_EQ(peek<u8>(data), 1) << "the tag";
    EXPECT_EQ(peek<u8>(data + 3), 0x40);
    EXPECT_EQ(peek<u8>(data + 4), 101);
    u8 sum = 0;
    for (const u8 byte : memory(data, 512))
        sum = static_cast<u8>(sum + byte);
    EXPECT_EQ(sum, 0);
    put(0, queued(FPDMA_READ, 0, 5, 1), {{data, 512}});
    set_port(PxSACT, 1);
    issue(1);
    EXPECT_EQ(port(PxSACT), 0u) << "the queue is open again";
}

TEST_F(AhciTest, ACommandThatFailsStopsThePortUntilItIsStartedAgain) {
    start();
    put(0, frame(READ_DMA_EXT, 69'999, 2), {{data, 1024}});
    put(1, frame(READ_DMA_EXT, 0, 1), {{data, 512}});
    issue(3);
    EXPECT_EQ(port(PxIS) & PxIS_TFES, PxIS_TFES);
    EXPECT_EQ(port(PxTFD), 0x1051u) << "no such sector";
    EXPECT_EQ(port(PxCI), 3u);
    EXPECT_EQ(port(PxCMD) >> PxCMD_CCS & 0x1F, 0u);
    set_port(PxCMD, PxCMD_FRE);
    set_port(PxIS, ~0u);
    set_port(PxCMD, PxCMD_FRE | PxCMD_ST);
    issue(2);
    EXPECT_EQ(port(PxCI), 0u);
    EXPECT_EQ(port(PxIS), PxIS_DHRS);
}

TEST_F(AhciTest, TablesThatAreTooShortOrNotInMemoryAreErrors) {
    start();
    put(0, frame(WRITE_DMA_EXT, 50, 4), {{data, 1024}}, 5 | 1 << 6);
    const Bytes before = of(disk, 50 * 512, 2048);
    issue(1);
    EXPECT_EQ(port(PxIS) & (PxIS_OFS | PxIS_TFES), PxIS_OFS | PxIS_TFES);
    EXPECT_TRUE(of(disk, 50 * 512, 2048) == before) << "and nothing was written";
    start();
    set_port(PxCMD, PxCMD_FRE);
    start();
    put(0, frame(READ_DMA_EXT, 50, 4), {{0xFFFF'FFFF'0000, 2048}});
    issue(1);
    EXPECT_EQ(port(PxIS) & (PxIS_HBFS | PxIS_TFES), PxIS_HBFS | PxIS_TFES);
    set_port(PxCMD, PxCMD_FRE);
    start();
    set_port(PxCLBU, 0xFFFF);
    issue(1);
    EXPECT_EQ(port(PxIS), PxIS_HBFS) << "the list itself";
    set_port(PxCMD, PxCMD_FRE);
    set_port(PxCLBU, 0);
    start();
    put(0, frame(IDENTIFY), {{data, 512}}, 2);
    issue(1);
    EXPECT_EQ(port(PxIS), PxIS_IFS) << "a frame of two doublewords";
}

TEST_F(AhciTest, PacketsGoToTheCd) {
    start(2);
    packet({0x03, 0, 0, 0, 18}, {{data, 18}}); // REQUEST SENSE: it was reset.
    EXPECT_EQ(port(PxCI, 2), 0u);
    EXPECT_EQ(peek<u8>(data + 12), 0x29);
    packet({0x28, 0, 0, 0, 0, 10, 0, 0, 70}, {{data, 70 * 2048}});
    EXPECT_EQ(port(PxCI, 2), 0u);
    EXPECT_TRUE(memory(data, 70 * 2048) == of(cd, 10 * 2048, 70 * 2048));
    packet({0x12, 0, 0, 0, 36}, {{data, 36}}, false); // INQUIRY by PIO.
    EXPECT_EQ(port(PxCI, 2), 0u);
    EXPECT_EQ(peek<u8>(data), 5);
    packet({0xFF}, {});
    EXPECT_EQ(port(PxIS, 2) & PxIS_TFES, PxIS_TFES);
    EXPECT_EQ(port(PxTFD, 2) >> 8, 0x54u) << "illegal request";
}

TEST_F(AhciTest, ResetsByFrameAndByLink) {
    start();
    auto set_reset = frame(0), clear_reset = frame(0);
    set_reset[1] = clear_reset[1] = 0;
    set_reset[15] = 0x04;
    put(0, set_reset, {}, 5 | 1 << 8 | 1 << 10);
    issue(1);
    EXPECT_EQ(port(PxCI), 0u);
    put(0, clear_reset, {});
    issue(1);
    EXPECT_EQ(port(PxCI), 0u);
    EXPECT_EQ(port(PxTFD), 0x0150u);
    EXPECT_EQ(port(PxSIG), 0x0000'0101u);
    // COMRESET while a command is under way: it is forgotten.
    put(0, frame(READ_DMA_EXT, 0, 8), {{data, 4096}});
    set_port(PxCI, 1);
    worker.run();
    EXPECT_EQ(disk.waiting.size(), 1u);
    EXPECT_EQ(port(PxTFD) & 0x80, 0x80u);
    set_port(PxCMD, PxCMD_FRE);
    set_port(PxSCTL, 0x301);
    EXPECT_EQ(port(PxSSTS), 0u);
    set_port(PxSCTL, 0x300);
    EXPECT_EQ(port(PxSSTS), SSTS_present);
    EXPECT_EQ(port(PxSERR), SERR_DIAG_X | SERR_DIAG_N);
    EXPECT_EQ(port(PxIS) & (PxIS_PCS | PxIS_PRCS), PxIS_PCS | PxIS_PRCS);
    settle();
    EXPECT_EQ(port(PxTFD), 0x0150u) << "and changes nothing any more";
    EXPECT_EQ(memory(data, 4), Bytes(4)) << "nor does memory";
    out(GHC, GHC_HR);
    EXPECT_EQ(in(GHC), GHC_AE);
    EXPECT_EQ(port(PxCLB), 0u);
}

TEST_F(AhciTest, EachNewReasonIsAMessage) {
    board->write_config(device->function().capability_offset(pci::CAPABILITY_MSI) + 4, 0xFEE0'0000, 4);
    board->write_config(device->function().capability_offset(pci::CAPABILITY_MSI) + 12, 0x41, 2);
    board->write_config(device->function().capability_offset(pci::CAPABILITY_MSI) + 2, 1, 2);
    start();
    put(0, frame(READ_DMA_EXT, 0, 1), {{data, 512}});
    issue(1);
    ASSERT_EQ(board->messages.sent.size(), 1u);
    EXPECT_EQ(board->messages.sent[0].second, 0x41u);
    issue(1);
    EXPECT_EQ(board->messages.sent.size(), 1u) << "the reason was there before";
    out(IS, 1);
    EXPECT_EQ(board->messages.sent.size(), 2u) << "and is still, when IS is cleared before PxIS";
    set_port(PxIS, ~0u);
    out(IS, 1);
    issue(1);
    EXPECT_EQ(board->messages.sent.size(), 3u);
    EXPECT_FALSE(board->lines.level(3));
}

TEST_F(AhciTest, GoesOnAfterBeingSavedWithCommandsInTheList) {
    start();
    put(0, frame(READ_DMA_EXT, 9, 2), {{data, 1024}});
    set_port(PxCI, 1); // The worker has not run yet.
    const Bytes saved = test::save(*device);
    const Bytes ram = board->ram.bytes;
    make();
    board->ram.bytes = ram;
    ASSERT_TRUE(test::load(*device, saved).ok());
    settle();
    EXPECT_EQ(port(PxCI), 0u);
    EXPECT_TRUE(memory(data, 1024) == of(disk, 9 * 512, 1024));
    EXPECT_TRUE(board->lines.level(3));
    Bytes damaged = saved;
    damaged[damaged.size() / 2] ^= 1;
    EXPECT_FALSE(test::load(*device, damaged).ok());
}

} // namespace
} // namespace calque::devices
