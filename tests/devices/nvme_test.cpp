// The NVMe controller, against NVM Express 1.4, as drivers use it.
#include "devices/nvme/nvme.h"
#include "tests/devices/fake_disk.h"
#include "tests/devices/virtio_driver.h"

#include <cstring>

namespace calque::devices {
namespace {

using namespace nvme;
using Bytes = std::vector<u8>;

class NvmeTest : public testing::Test {
  protected:
    static constexpr u64 bar = 0xFEB1'0000;
    static constexpr u64 asq = 0x1000, acq = 0x2000, sq1 = 0x3000, cq1 = 0x4000, lists = 0x6000, data = 0x10000;

    NvmeTest() { make(); }
    void make() {
        device.reset();
        board = std::make_unique<test::PciBoard>();
        device = std::make_unique<Nvme>(board->log, board->ram, worker, disk, "SERIAL", "nvme0");
        board->plug(device->function());
        board->write_config(0x10, bar, 4);
        board->write_config(0x14, 0, 4);
    }
    u64 in(u64 offset, unsigned size = 4) { return board->memory_bus.read(bar + offset, size); }
    void out(u64 offset, u64 value, unsigned size = 4) { board->memory_bus.write(bar + offset, value, size); }
    template <class T> T peek(u64 address) const {
        T value;
        std::memcpy(&value, board->ram.bytes.data() + address, sizeof value);
        return value;
    }
    template <class T> void poke(u64 address, T value) {
        std::memcpy(board->ram.bytes.data() + address, &value, sizeof value);
    }
    void enable(u32 entries = 16) {
        out(CC, 0);
        out(AQA, (entries - 1) | (entries - 1) << 16);
        out(ASQ, asq, 8);
        out(ACQ, acq, 8);
        out(CC, CC_EN | SQES << 16 | CQES << 20);
        tail[0] = head[0] = tail[1] = head[1] = 0;
        size[0] = entries;
        std::fill_n(board->ram.bytes.begin() + acq, 0x3000, u8{0});
    }
    struct Sqe {
        u8 opcode = 0;
        u32 name_space = 0;
        u64 prp1 = 0, prp2 = 0;
        u32 w10 = 0, w11 = 0, w12 = 0, w13 = 0;
        u8 flags = 0;
    };
    // Puts a command into queue 0 or 1 and tells the controller. Its identifier is its place.
    void put(unsigned queue, const Sqe& e) {
        const u64 at = (queue ? sq1 : asq) + 64 * tail[queue];
        poke<u32>(at, e.opcode | u32{e.flags} << 8 | u32{tail[queue]} << 16);
        poke<u32>(at + 4, e.name_space);
        poke<u64>(at + 24, e.prp1);
        poke<u64>(at + 32, e.prp2);
        poke<u32>(at + 40, e.w10);
        poke<u32>(at + 44, e.w11);
        poke<u32>(at + 48, e.w12);
        poke<u32>(at + 52, e.w13);
        tail[queue] = (tail[queue] + 1) % size[queue];
        out(doorbells + 8 * queue, tail[queue]);
    }
    void settle() {
        for (unsigned i = 0; i < 8; ++i) {
            worker.run();
            disk.settle();
        }
    }
    struct Cqe {
        u32 result;
        u16 head, queue, id, status;
    };
    // The completion at the head, taken; status FFFF when there is none.
    Cqe take(unsigned queue) {
        const u64 at = (queue ? cq1 : acq) + 16 * head[queue];
        const u16 last = peek<u16>(at + 14);
        const bool phase = rounds[queue] % 2 == 0;
        if ((last & 1) != phase) return {0, 0, 0, 0, 0xFFFF};
        const Cqe cqe{peek<u32>(at), peek<u16>(at + 8), peek<u16>(at + 10), peek<u16>(at + 12),
                      static_cast<u16>(last >> 1)};
        head[queue] = (head[queue] + 1) % size[queue];
        rounds[queue] += head[queue] == 0;
        out(doorbells + 8 * queue + 4, head[queue]);
        return cqe;
    }
    Cqe ask(unsigned queue, const Sqe& e) {
        put(queue, e);
        settle();
        return take(queue);
    }
    u16 status(unsigned queue, const Sqe& e) { return ask(queue, e).status & 0x7FF; }
    void create_queues(u32 entries = 16) {
        size[1] = entries;
        EXPECT_EQ(status(0, {.opcode = 0x05, .prp1 = cq1, .w10 = 1 | (entries - 1) << 16, .w11 = 3 | 1 << 16}),
                  success);
        EXPECT_EQ(status(0, {.opcode = 0x01, .prp1 = sq1, .w10 = 1 | (entries - 1) << 16, .w11 = 1 | 1 << 16}),
                  success);
    }
    static Sqe rw(Io code, u64 lba, u32 blocks, u64 prp1, u64 prp2 = 0) {
        return {.opcode = static_cast<u8>(code),
                .name_space = 1,
                .prp1 = prp1,
                .prp2 = prp2,
                .w10 = static_cast<u32>(lba),
                .w11 = static_cast<u32>(lba >> 32),
                .w12 = blocks - 1};
    }
    Bytes memory(u64 address, std::size_t count) const {
        const auto from = board->ram.bytes.begin() + static_cast<std::ptrdiff_t>(address);
        return {from, from + static_cast<std::ptrdiff_t>(count)};
    }
    Bytes on_disk(u64 sector, u64 count) const {
        const auto from = disk.bytes.begin() + static_cast<std::ptrdiff_t>(sector * 512);
        return {from, from + static_cast<std::ptrdiff_t>(count * 512)};
    }

    test::FakeDisk disk{10'000};
    test::ManualWorker worker;
    std::unique_ptr<test::PciBoard> board;
    std::unique_ptr<Nvme> device;
    std::array<u32, 2> tail{}, head{}, size{16, 16}, rounds{};
};

TEST_F(NvmeTest, GetsReadyAndSaysWhatItIs) {
    EXPECT_EQ(in(CAP, 8) & 0xFFFF, 1023u);
    EXPECT_EQ(in(CAP + 4) >> 5 & 1, 1u) << "the NVM command set";
    EXPECT_EQ(in(VS), 0x10400u);
    EXPECT_EQ(in(CSTS), 0u);
    enable();
    EXPECT_EQ(in(CSTS), CSTS_RDY);
    EXPECT_EQ(status(0, {.opcode = 0x06, .prp1 = data, .w10 = 1}), success);
    EXPECT_EQ(memory(data + 4, 8), (Bytes{'S', 'E', 'R', 'I', 'A', 'L', ' ', ' '}));
    EXPECT_EQ(peek<u8>(data + 512), 0x66);
    EXPECT_EQ(peek<u32>(data + 516), 1u);
    EXPECT_EQ(status(0, {.opcode = 0x06, .name_space = 1, .prp1 = data, .w10 = 0}), success);
    EXPECT_EQ(peek<u64>(data), 10'000u);
    EXPECT_EQ(peek<u8>(data + 130), 9) << "512 bytes";
    EXPECT_EQ(status(0, {.opcode = 0x06, .name_space = 0, .prp1 = data, .w10 = 2}), success);
    EXPECT_EQ(peek<u64>(data), 1u);
    EXPECT_EQ(status(0, {.opcode = 0x06, .name_space = 1, .prp1 = data, .w10 = 3}), success);
    EXPECT_EQ(peek<u32>(data), 0x0801u);
    EXPECT_EQ(memory(data + 4, 3), (Bytes{0x52, 0x54, 0x00}));
    EXPECT_EQ(status(0, {.opcode = 0x06, .name_space = 2, .prp1 = data, .w10 = 0}), invalid_namespace);
    EXPECT_EQ(status(0, {.opcode = 0x06, .prp1 = data, .w10 = 0x55}), invalid_field);
    EXPECT_EQ(status(0, {.opcode = 0x7F}), invalid_opcode);
    out(CC, 0);
    EXPECT_EQ(in(CSTS), 0u);
}

TEST_F(NvmeTest, ReadsAndWritesByEveryShapeOfPrps) {
    enable();
    create_queues();
    EXPECT_EQ(status(1, rw(Io::read, 5, 1, data + 0x204)), success);
    EXPECT_TRUE(memory(data + 0x204, 512) == on_disk(5, 1));
    EXPECT_EQ(status(1, rw(Io::read, 100, 16, data + 0x800, data + 0x5000)), success) << "into two pages and a half";
    EXPECT_EQ(status(1, rw(Io::read, 100, 12, data + 0x800, data + 0x5000)), success);
    EXPECT_TRUE(memory(data + 0x800, 0x800) == on_disk(100, 4));
    EXPECT_TRUE(memory(data + 0x5000, 0x1000) == on_disk(104, 8));
    // A list that goes on in another page: 8 pages, the list's last two entries being the end of the first page.
    poke<u64>(lists + 0xFF0, data + 0x1000);
    poke<u64>(lists + 0xFF8, lists + 0x1000);
    for (unsigned i = 0; i < 6; ++i)
        poke<u64>(lists + 0x1000 + 8 * i, data + 0x20000 - 0x1000 * i);
    EXPECT_EQ(status(1, rw(Io::read, 200, 64, data, lists + 0xFF0)), success);
    EXPECT_TRUE(memory(data, 0x2000) == on_disk(200, 16));
    for (unsigned i = 0; i < 6; ++i)
        EXPECT_TRUE(memory(data + 0x20000 - 0x1000 * i, 0x1000) == on_disk(216 + 8 * i, 8)) << i;
    const Bytes wanted = memory(data, 0x2000);
    Sqe write = rw(Io::write, 5000, 16, data, data + 0x1000);
    write.w12 |= 1u << 30;
    EXPECT_EQ(status(1, write), success);
    EXPECT_TRUE(on_disk(5000, 16) == wanted);
    EXPECT_EQ(disk.durable_writes, 1u);
    EXPECT_EQ(status(1, rw(Io::compare, 5000, 16, data, data + 0x1000)), success);
    poke<u8>(data + 77, static_cast<u8>(wanted[77] ^ 1));
    EXPECT_EQ(status(1, rw(Io::compare, 5000, 16, data, data + 0x1000)), compare_failure);
    EXPECT_EQ(status(1, {.opcode = 0, .name_space = all_namespaces}), success);
    EXPECT_EQ(disk.flushes, 1u);
    EXPECT_EQ(status(1, rw(Io::write_zeroes, 5001, 2, 0)), success);
    EXPECT_EQ(on_disk(5001, 2), Bytes(1024));
    poke<u32>(data + 4, 4);
    poke<u64>(data + 8, 5010);
    EXPECT_EQ(status(1, {.opcode = 9, .name_space = 1, .prp1 = data, .w10 = 0, .w11 = 4}), success);
    EXPECT_EQ(on_disk(5010, 4), Bytes(2048)) << "this disk forgets to zeros";
}

TEST_F(NvmeTest, WhatIsWrongIsSaidAsTheSpecificationNamesIt) {
    enable();
    create_queues();
    EXPECT_EQ(status(1, rw(Io::read, 9'999, 2, data)), lba_out_of_range);
    EXPECT_EQ(status(1, rw(Io::read, ~u64{0}, 1, data)), lba_out_of_range);
    EXPECT_EQ(status(1, rw(Io::read, 0, 1, data + 1)), invalid_prp_offset);
    EXPECT_EQ(status(1, rw(Io::read, 0, 16, data, data + 0x1008)), invalid_prp_offset);
    EXPECT_EQ(status(1, rw(Io::read, 0, 1, 0xFFFF'0000'0000)), data_transfer_error);
    EXPECT_EQ(status(1, rw(Io::read, 0, 64, data, 0xFFFF'0000'0000)), data_transfer_error) << "the list";
    EXPECT_EQ(status(1, rw(Io::read, 0, 1025, data, lists)), invalid_field) << "more than MDTS";
    Sqe e = rw(Io::read, 0, 1, data);
    e.name_space = 2;
    EXPECT_EQ(status(1, e), invalid_namespace);
    e = rw(Io::read, 0, 1, data);
    e.flags = 0x40;
    EXPECT_EQ(status(1, e), invalid_field) << "SGLs";
    disk.failure = BlockStatus::io_error;
    EXPECT_EQ(status(1, rw(Io::read, 0, 1, data)), unrecovered_read_error);
    EXPECT_EQ(status(1, rw(Io::write, 0, 1, data)), write_fault);
    disk.failure = BlockStatus::no_space;
    EXPECT_EQ(status(1, rw(Io::write, 0, 1, data)), capacity_exceeded);
    disk.failure = BlockStatus::ok;
    disk.is_read_only = true;
    EXPECT_EQ(status(1, rw(Io::write, 0, 1, data)), namespace_write_protected);
    // The newest in the log first.
    EXPECT_EQ(status(0, {.opcode = 2, .prp1 = data, .w10 = 1 | 63 << 16}), success);
    EXPECT_EQ(peek<u64>(data), 13u);
    EXPECT_EQ(peek<u16>(data + 8), 1);
    EXPECT_EQ(peek<u16>(data + 12) >> 1 & 0x7FF, namespace_write_protected);
    EXPECT_EQ(status(0, {.opcode = 2, .prp1 = data, .w10 = 2 | 127 << 16}), success);
    EXPECT_EQ(peek<u16>(data + 1), 300) << "Kelvin";
    EXPECT_EQ(peek<u64>(data + 160), 2u) << "media errors";
    EXPECT_EQ(status(0, {.opcode = 2, .prp1 = data, .w10 = 0x77}), invalid_log_page);
}

TEST_F(NvmeTest, QueuesAreMadeAndDeletedAsTheSpecificationAllows) {
    enable();
    const auto cq = [&](u32 id, u32 entries, u32 w11 = 1, u64 at = cq1) {
        return status(0, {.opcode = 5, .prp1 = at, .w10 = id | (entries - 1) << 16, .w11 = w11});
    };
    const auto sq = [&](u32 id, u32 entries, u32 with, u64 at = sq1) {
        return status(0, {.opcode = 1, .prp1 = at, .w10 = id | (entries - 1) << 16, .w11 = 1 | with << 16});
    };
    EXPECT_EQ(cq(0, 16), invalid_queue_identifier);
    EXPECT_EQ(cq(17, 16), invalid_queue_identifier);
    EXPECT_EQ(cq(1, 1), invalid_queue_size);
    EXPECT_EQ(cq(1, 1025), invalid_queue_size);
    EXPECT_EQ(cq(1, 16, 0), invalid_field) << "not in one piece";
    EXPECT_EQ(cq(1, 16, 1 | 17 << 16), invalid_interrupt_vector);
    EXPECT_EQ(cq(1, 16, 1, cq1 + 8), invalid_prp_offset);
    EXPECT_EQ(sq(1, 16, 1), completion_queue_invalid);
    EXPECT_EQ(cq(1, 16), success);
    EXPECT_EQ(cq(1, 16), invalid_queue_identifier);
    EXPECT_EQ(sq(1, 16, 1), success);
    EXPECT_EQ(status(0, {.opcode = 9, .w10 = 7, .w11 = 0}), command_sequence_error) << "how many, too late";
    EXPECT_EQ(status(0, {.opcode = 4, .w10 = 1}), invalid_queue_deletion);
    // What is under way when its queue goes ends as aborted.
    size[1] = 16;
    put(1, rw(Io::read, 0, 1, data));
    worker.run();
    EXPECT_EQ(disk.waiting.size(), 1u);
    EXPECT_EQ(status(0, {.opcode = 0, .w10 = 1}), success);
    EXPECT_EQ(take(1).status & 0x7FF, aborted_by_sq_deletion);
    EXPECT_EQ(take(1).status, 0xFFFF) << "once";
    EXPECT_EQ(status(0, {.opcode = 4, .w10 = 1}), success);
    EXPECT_EQ(status(0, {.opcode = 4, .w10 = 1}), invalid_queue_identifier);
    EXPECT_EQ(ask(0, {.opcode = 9, .w10 = 7, .w11 = 0x0003'0003}).result, 0x000F'000Fu);
}

TEST_F(NvmeTest, AFullCompletionQueueHoldsCommandsBack) {
    enable();
    create_queues(4);
    for (unsigned i = 0; i < 3; ++i)
        put(1, rw(Io::read, i, 1, data));
    settle();
    put(1, rw(Io::read, 7, 1, data));
    put(1, rw(Io::read, 8, 1, data));
    worker.run();
    EXPECT_TRUE(disk.waiting.empty()) << "no place for its end";
    std::vector<u16> ids;
    for (unsigned i = 0; i < 5; ++i) {
        const Cqe cqe = take(1);
        ASSERT_EQ(cqe.status, 0) << i;
        ids.push_back(cqe.id);
        settle();
    }
    EXPECT_EQ(ids, (std::vector<u16>{0, 1, 2, 3, 0})) << "the phase turned with the queue";
}

TEST_F(NvmeTest, HostileQueuesAreAFatalStatusOrAnEvent) {
    enable();
    put(0, {.opcode = 0x0C}); // An event request waits.
    settle();
    EXPECT_EQ(take(0).status, 0xFFFF);
    out(doorbells + 8 * 5, 1);
    const Cqe told = take(0);
    EXPECT_EQ(told.status, 0);
    EXPECT_EQ(told.result, 0x0001'0000u) << "an error event: a doorbell that there is not; log page 1";
    for (unsigned i = 0; i < 4; ++i)
        put(0, {.opcode = 0x0C});
    out(doorbells, 99);
    settle();
    EXPECT_EQ(take(0).status, 0xFFFF) << "none until the log was read";
    EXPECT_EQ(status(0, {.opcode = 0x0C}), async_event_limit);
    put(0, {.opcode = 2, .prp1 = data, .w10 = 1 | 63 << 16});
    settle();
    EXPECT_EQ(take(0).result, 0u);
    EXPECT_EQ(take(0).result, 0x0001'0100u) << "the value that was too large";
    // Queues that are not memory.
    out(CC, 0);
    out(ASQ, 0xFFFF'0000'0000, 8);
    out(CC, CC_EN | SQES << 16 | CQES << 20);
    EXPECT_EQ(in(CSTS), CSTS_RDY);
    out(doorbells, 1);
    worker.run();
    EXPECT_EQ(in(CSTS), CSTS_RDY | CSTS_CFS);
    out(CC, 0);
    out(AQA, 0);
    out(CC, CC_EN);
    EXPECT_EQ(in(CSTS), CSTS_CFS) << "queues of one entry";
    out(CC, 0);
    EXPECT_EQ(in(CSTS), 0u);
}

TEST_F(NvmeTest, AResetForgetsAndAShutdownFlushes) {
    enable();
    create_queues();
    put(1, rw(Io::read, 3, 1, data));
    worker.run();
    out(CC, 0);
    disk.settle();
    EXPECT_EQ(memory(data, 16), Bytes(16)) << "nothing comes after a reset";
    enable();
    rounds = {};
    out(CC, static_cast<u32>(in(CC)) | 1 << 14);
    EXPECT_EQ(in(CSTS)&CSTS_SHST, SHST_occurring);
    disk.settle();
    EXPECT_EQ(in(CSTS)&CSTS_SHST, SHST_complete);
    EXPECT_EQ(disk.flushes, 1u);
    EXPECT_EQ(status(0, {.opcode = 9, .w10 = 6, .w11 = 0}), success);
    EXPECT_FALSE(disk.cache);
    EXPECT_EQ(disk.flushes, 2u) << "what the cache held";
    EXPECT_EQ(ask(0, {.opcode = 0x0A, .w10 = 6}).result, 0u);
    EXPECT_EQ(status(0, {.opcode = 9, .w10 = 6 | 1u << 31, .w11 = 1}), feature_not_saveable);
}

TEST_F(NvmeTest, InterruptsByTheLineAndByMessages) {
    enable();
    put(0, {.opcode = 0x06, .prp1 = data, .w10 = 1});
    settle();
    EXPECT_TRUE(board->lines.level(3));
    out(INTMS, 1);
    EXPECT_FALSE(board->lines.level(3));
    EXPECT_EQ(in(INTMC), 1u);
    out(INTMC, 1);
    EXPECT_TRUE(board->lines.level(3));
    take(0);
    EXPECT_FALSE(board->lines.level(3));
    const unsigned msix = device->function().capability_offset(pci::CAPABILITY_MSIX);
    for (unsigned vector : {0u, 1u}) {
        out(0x2000 + 16 * vector, 0xFEE0'0000);
        out(0x2000 + 16 * vector + 8, 0x50 + vector);
        out(0x2000 + 16 * vector + 12, 0);
    }
    board->write_config(msix + 2, 0x8000, 2);
    create_queues();
    board->messages.sent.clear();
    for (unsigned i = 0; i < 3; ++i)
        put(1, {.opcode = 0x7E, .name_space = 1});
    settle();
    ASSERT_EQ(board->messages.sent.size(), 1u) << "one for three";
    EXPECT_EQ(board->messages.sent[0].second, 0x51u);
}

TEST_F(NvmeTest, GoesOnAfterBeingSavedWithCommandsInItsQueues) {
    enable();
    create_queues();
    put(0, {.opcode = 0x0C});
    settle();
    put(1, rw(Io::read, 42, 1, data)); // The worker has not run yet.
    const Bytes saved = test::save(*device);
    const Bytes ram = board->ram.bytes;
    make();
    board->ram.bytes = ram;
    ASSERT_TRUE(test::load(*device, saved).ok());
    settle();
    EXPECT_EQ(take(1).status, 0);
    EXPECT_TRUE(memory(data, 512) == on_disk(42, 1));
    out(doorbells + 8 * 9, 1);
    EXPECT_EQ(take(0).result, 0x0001'0000u) << "the event request was saved too";
    Bytes damaged = saved;
    damaged[damaged.size() / 2] ^= 1;
    EXPECT_FALSE(test::load(*device, damaged).ok());
}

} // namespace
} // namespace calque::devices
