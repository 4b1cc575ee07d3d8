// Tracking of code: marks, who is told of writes, and the vCPUs' agreement on what is writable.
#include "mmu/code_marks.h"
#include "mmu/rendezvous.h"
#include "tests/mmu/fixture.h"

#include <condition_variable>
#include <thread>

namespace calque::mmu {
namespace {

struct RecordingObserver : CodeWriteObserver {
    struct Range {
        u64 address, length;
        bool operator==(const Range&) const = default;
    };
    void code_written(PhysicalAddress address, u64 length) override { ranges.push_back({address.value, length}); }
    std::vector<Range> ranges;
};
using Range = RecordingObserver::Range;

struct CodeTest : testing::Test {
    CodeTest() : mmu(memory.map, memory.log) { memory.map.add_observer(observer); }
    ~CodeTest() override { memory.map.remove_observer(observer); }
    void decode(u64 address, u64 length) {
        if (memory.map.mark_code(PhysicalAddress(address), length))
            memory.map.protect_code_page(PhysicalAddress(address), &mmu);
    }
    u64 code_writes() const { return mmu.counters().code_writes; }

    Memory memory;
    Mmu mmu;
    RecordingObserver observer;
};

TEST_F(CodeTest, MarksAreOf128BytesAndOfNothingElse) {
    EXPECT_FALSE(memory.map.page_has_code(PhysicalAddress(0x5000)));
    decode(0x5100, 1);
    EXPECT_TRUE(memory.map.page_has_code(PhysicalAddress(0x5FFF)));
    EXPECT_FALSE(memory.map.page_has_code(PhysicalAddress(0x6000)));
    EXPECT_TRUE(memory.map.code_marked(PhysicalAddress(0x5100), 128));
    EXPECT_FALSE(memory.map.code_marked(PhysicalAddress(0x5100), 129));
    EXPECT_FALSE(memory.map.code_marked(PhysicalAddress(0x50FF), 2));
    decode(0x5FFF, 2); // Over the end of the page.
    EXPECT_TRUE(memory.map.code_marked(PhysicalAddress(0x5F80), 256));
    EXPECT_FALSE(memory.map.code_marked(PhysicalAddress(0x6080), 1));
}

TEST_F(CodeTest, WritesToMarkedGranulesAreToldOnce) {
    decode(0x5100, 0x90);
    memory.map.write_value(PhysicalAddress(0x50FC), 0, 4);
    memory.map.write_value(PhysicalAddress(0x5200), 0, 4);
    EXPECT_TRUE(observer.ranges.empty());
    memory.map.write_value(PhysicalAddress(0x517E), 0, 4); // Two granules, both marked.
    EXPECT_EQ(observer.ranges, (std::vector<Range>{{0x5100, 0x100}}));
    EXPECT_FALSE(memory.map.page_has_code(PhysicalAddress(0x5000)));
    memory.map.write_value(PhysicalAddress(0x517E), 0, 4);
    EXPECT_EQ(observer.ranges.size(), 1u);
}

// A mark is for the granule, so a write beside the decoded bytes takes it away and must be told to whoever has bytes in
// the granule.
TEST_F(CodeTest, RangesAreWidenedToGranules) {
    decode(0x5100, 4);
    memory.map.write_value(PhysicalAddress(0x5170), 0, 1);
    EXPECT_EQ(observer.ranges, (std::vector<Range>{{0x5100, 0x80}}));
}

TEST_F(CodeTest, DmaAcrossPagesTellsOfEach) {
    decode(0x5F80, 4);
    decode(0x7000, 4);
    const std::vector<u8> block(0x3000, 1);
    memory.map.dma_write(PhysicalAddress(0x5800), block);
    EXPECT_EQ(observer.ranges, (std::vector<Range>{{0x5800, 0x800}, {0x7000, 0x1000}}));
    EXPECT_EQ(memory.get<u8>(0x7000), 1);
}

// A vCPU decodes between a writer's look at the marks and its write: the writer tells when it has written.
TEST_F(CodeTest, MarksThatComeInDuringAWriteAreTold) {
    struct Decoder : CodeWriteObserver {
        explicit Decoder(PhysicalMap& map) : map(map) {}
        void code_written(PhysicalAddress address, u64) override {
            if (address.value == 0x5100) map.mark_code(PhysicalAddress(0x5180), 4);
        }
        PhysicalMap& map;
    } decoder(memory.map);
    memory.map.add_observer(decoder);
    decode(0x5100, 4);
    memory.map.write_value(PhysicalAddress(0x517C), 0, 8);
    memory.map.remove_observer(decoder);
    EXPECT_EQ(observer.ranges, (std::vector<Range>{{0x5100, 0x100}, {0x5100, 0x100}}));
}

TEST_F(CodeTest, EveryAliasIsTold) {
    memory.map.set_regions({memory.ram_region(0, 0x100000), memory.ram_region(0xFFF00000, 0x10000, 0x8000)});
    mmu.serve_requests();
    decode(0xFFF00100, 4);
    EXPECT_TRUE(memory.map.page_has_code(PhysicalAddress(0x8000)));
    ASSERT_TRUE(mmu.store(LinearAddress(0x8100), u32{1}));
    EXPECT_EQ(observer.ranges, (std::vector<Range>{{0x8100, 0x80}, {0xFFF00100, 0x80}}));
}

TEST_F(CodeTest, CodeInRomIsNotDisturbedByWritesToTheShadowBehindIt) {
    Region pam = memory.ram_region(0xF0000, 0x10000, 0x40000);
    pam.kind = RegionKind::rom;
    pam.write_kind = RegionKind::ram;
    pam.write_host = memory.ram.data() + 0xF0000;
    memory.map.set_regions({pam});
    mmu.serve_requests();
    decode(0xF0000, 4);
    ASSERT_TRUE(mmu.store(LinearAddress(0xF0000), u32{1}));
    EXPECT_TRUE(observer.ranges.empty());
    EXPECT_TRUE(memory.map.code_marked(PhysicalAddress(0xF0000), 4));
}

TEST_F(CodeTest, DevicesHaveNoCode) {
    EXPECT_FALSE(memory.map.mark_code(PhysicalAddress(0xFE00'0000), 16));
    EXPECT_FALSE(memory.map.page_has_code(PhysicalAddress(0xFE00'0000)));
}

// A page is writable through the TLB until code is marked, then never, and again when its last mark has gone.
TEST_F(CodeTest, StoresToPagesWithCodeTakeTheSlowPath) {
    const TlbView& view = mmu.view(Privilege::current);
    const auto fast = [&](u64 address) { return tlb_hit(view.entry(address).write_tag, address, 4); };
    ASSERT_TRUE(mmu.store(LinearAddress(0x5000), u32{1}));
    EXPECT_TRUE(fast(0x5000));
    EXPECT_TRUE(memory.map.mark_code(PhysicalAddress(0x5100), 4)); // Somebody can write there unseen.
    EXPECT_TRUE(memory.map.mark_code(PhysicalAddress(0x5200), 4)); // Still.
    memory.map.protect_code_page(PhysicalAddress(0x5000), &mmu);
    EXPECT_FALSE(fast(0x5000));
    EXPECT_FALSE(memory.map.mark_code(PhysicalAddress(0x5300), 4));
    ASSERT_TRUE(mmu.store(LinearAddress(0x5000), u32{2})); // Beside the code.
    EXPECT_FALSE(fast(0x5000));
    EXPECT_TRUE(observer.ranges.empty());
    ASSERT_TRUE(mmu.store(LinearAddress(0x5100), u32{2}));
    ASSERT_TRUE(mmu.store(LinearAddress(0x5200), u32{2}));
    EXPECT_EQ(code_writes(), 3u);
    EXPECT_FALSE(fast(0x5000));
    ASSERT_NE(mmu.host_for_write(LinearAddress(0x5300), 4), nullptr);
    EXPECT_EQ(observer.ranges, (std::vector<Range>{{0x5100, 0x80}, {0x5200, 0x80}, {0x5300, 0x80}}));
    ASSERT_TRUE(mmu.store(LinearAddress(0x5100), u32{3}));
    EXPECT_TRUE(fast(0x5000));
    EXPECT_EQ(memory.get<u32>(0x5100), 3u);
}

// A read must not make a page writable on the fast path when that would need a rendezvous later on.
TEST_F(CodeTest, PagesThatWereOnlyReadNeedNoRendezvous) {
    u32 value;
    ASSERT_TRUE(mmu.load(LinearAddress(0x5000), value));
    EXPECT_FALSE(memory.map.mark_code(PhysicalAddress(0x5000), 4));
    ASSERT_TRUE(mmu.load(LinearAddress(0x5000), value));
    ASSERT_TRUE(mmu.store(LinearAddress(0x5000), u32{2}));
    EXPECT_EQ(observer.ranges.size(), 1u);
}

// The pointer outlives the call: code that is marked while the instruction still holds it needs a rendezvous.
TEST_F(CodeTest, APointerIntoAPageWithCodeCountsAsAWriter) {
    Mmu other(memory.map, memory.log);
    decode(0x5100, 4);
    ASSERT_NE(mmu.host_for_write(LinearAddress(0x5000), 4), nullptr);
    EXPECT_TRUE(memory.map.mark_code(PhysicalAddress(0x5000), 4));
    memory.map.protect_code_page(PhysicalAddress(0x5000), &mmu);
    EXPECT_FALSE(memory.map.mark_code(PhysicalAddress(0x5000), 4));
    ASSERT_NE(mmu.refill(LinearAddress(0x5800), 4, Access::write), nullptr); // Beside the code.
    EXPECT_TRUE(memory.map.mark_code(PhysicalAddress(0x5800), 4));
}

// Nobody else decodes while this vCPU is in the middle of an instruction.
TEST_F(CodeTest, TheOnlyVcpuNeedsNoRendezvousForWhatItWritesBesideCode) {
    decode(0x5100, 4);
    ASSERT_NE(mmu.host_for_write(LinearAddress(0x5000), 4), nullptr);
    EXPECT_FALSE(memory.map.mark_code(PhysicalAddress(0x5000), 4));
}

// --- Patch fields (mmu/patch_fields.h)

struct PatchFieldTest : CodeTest {
    // Writes a 32-bit immediate of decoded code, again and again.
    void patch(u64 address, int times) {
        for (int n = 0; n < times; ++n) {
            decode(address, 4);
            ASSERT_TRUE(mmu.store(LinearAddress(address), static_cast<u32>(n)));
        }
    }
    const u8* host(u64 address) { return memory.ram.data() + address; }
    bool make_field(u64 address) {
        const auto bytes = memory.map.patched_bytes(host(address), 4);
        return bytes && memory.map.make_patch_field(*bytes);
    }
};

TEST_F(PatchFieldTest, BytesThatAreWrittenOftenAreSeen) {
    patch(0x5102, 4);
    EXPECT_FALSE(memory.map.patched_bytes(host(0x5100), 8));
    patch(0x5102, 4);
    const auto bytes = memory.map.patched_bytes(host(0x5100), 8);
    ASSERT_TRUE(bytes);
    EXPECT_EQ(bytes->host, host(0x5102));
    EXPECT_EQ(bytes->size, 4);
    EXPECT_FALSE(bytes->field);
    EXPECT_FALSE(memory.map.patched_bytes(host(0x5100), 2));
    EXPECT_FALSE(memory.map.patched_bytes(host(0x5106), 2));
    EXPECT_TRUE(memory.map.patched_bytes(host(0x5105), 1));
}

// An arena of code that is filled round and round writes the same bytes again each time, but not soon.
TEST_F(PatchFieldTest, BytesThatAreWrittenAgainMuchLaterAreNot) {
    for (int round = 0; round < 20; ++round) {
        patch(0x5102, 1);
        for (u64 other = 0; other < 100; ++other)
            patch(0x6000 + other * 8, 1);
    }
    EXPECT_FALSE(memory.map.patched_bytes(host(0x5100), 8));
}

TEST_F(PatchFieldTest, AWriteWithinAFieldIsToldToNobody) {
    patch(0x5102, 8);
    ASSERT_TRUE(make_field(0x5102));
    decode(0x5100, 16);
    observer.ranges.clear();
    ASSERT_TRUE(mmu.store(LinearAddress(0x5102), u32{7}));
    ASSERT_TRUE(mmu.store(LinearAddress(0x5103), u16{7}));
    memory.map.write_value(PhysicalAddress(0x5105), 7, 1);
    EXPECT_EQ(mmu.refill(LinearAddress(0x5102), 4, Access::write), host(0x5102));
    EXPECT_TRUE(observer.ranges.empty());
    EXPECT_TRUE(memory.map.code_marked(PhysicalAddress(0x5100), 16));
    EXPECT_EQ(memory.get<u8>(0x5105), 7);
}

// Whoever has cached the bytes before has to forget them.
TEST_F(PatchFieldTest, MakingAFieldTells) {
    patch(0x5102, 8);
    decode(0x5100, 16);
    observer.ranges.clear();
    ASSERT_TRUE(make_field(0x5102));
    EXPECT_EQ(observer.ranges, (std::vector<Range>{{0x5100, 0x80}}));
    EXPECT_FALSE(memory.map.code_marked(PhysicalAddress(0x5100), 1));
}

TEST_F(PatchFieldTest, AWriteThatReachesBeyondAFieldEndsIt) {
    for (const u64 at : {u64{0x50FF}, u64{0x5103}, u64{0x5140}}) {
        patch(0x5102, 8);
        ASSERT_TRUE(make_field(0x5102));
        decode(0x5100, 0x60);
        observer.ranges.clear();
        ASSERT_TRUE(mmu.store(LinearAddress(at), u32{7}));
        EXPECT_EQ(observer.ranges.size(), 1u) << std::hex << at;
        EXPECT_FALSE(memory.map.touches_patch_field(host(0x5100), 16)) << std::hex << at;
        decode(0x5100, 0x60);
        ASSERT_TRUE(mmu.store(LinearAddress(0x5102), u32{7}));
        EXPECT_EQ(observer.ranges.size(), 2u) << std::hex << at;
    }
}

TEST_F(PatchFieldTest, AFieldIsOneAtEveryAlias) {
    memory.map.set_regions({memory.ram_region(0, 0x100000), memory.ram_region(0xFFF00000, 0x10000, 0x8000)});
    mmu.serve_requests();
    patch(0x8102, 8);
    ASSERT_TRUE(make_field(0x8102));
    decode(0xFFF00100, 16);
    observer.ranges.clear();
    ASSERT_TRUE(mmu.store(LinearAddress(0x8102), u32{7}));
    ASSERT_TRUE(mmu.store(LinearAddress(0xFFF00102), u32{8}));
    EXPECT_TRUE(observer.ranges.empty());
    EXPECT_EQ(memory.get<u32>(0x8102), 8u);
}

TEST_F(CodeTest, WalksThatSetBitsInMarkedTablesTell) {
    LongTables tables(memory, 0x100000);
    tables.map(0x40'0000, 0x5000 | P | W);
    const u64 entry = tables.entry(0x40'0000);
    decode(entry, 8);
    mmu.set_context(long_mode(tables.root()));
    ASSERT_TRUE(mmu.store(LinearAddress(0x40'0000), u32{1}));
    ASSERT_EQ(observer.ranges.size(), 1u);
    EXPECT_EQ(observer.ranges[0].address, entry & ~u64{127});
}

// The rendezvous that began before the marks went and a writer came in must not declare the writer gone.
TEST(CodeMarks, WritersThatCameInMeanwhileStay) {
    alignas(4096) static u8 page[4096];
    CodeMarks marks;
    EXPECT_EQ(marks.version(page), CodeMarks::no_version);
    ASSERT_TRUE(marks.admit_writer(page));
    EXPECT_TRUE(marks.mark(page, 4));
    u32 version = marks.version(page);
    EXPECT_FALSE(marks.admit_writer(page));
    marks.writers_gone(page, version);
    EXPECT_FALSE(marks.mark(page, 4)); // Nothing to wait for.

    version = marks.version(page);
    EXPECT_TRUE(marks.clear(page, 4));     // Somebody wrote;
    EXPECT_TRUE(marks.admit_writer(page)); // and goes on writing.
    marks.writers_gone(page, version);
    EXPECT_TRUE(marks.mark(page, 4));

    version = marks.version(page);
    marks.note_writer(page);
    marks.writers_gone(page, version);
    EXPECT_TRUE(marks.mark(page + 128, 4));
}

TEST(CodeMarks, AStoreBesideCodeIsNotedAndLooksForMarks) {
    CodeMarks marks;
    std::vector<u8> memory(2 * page_size);
    const u8* const page = memory.data() + (-reinterpret_cast<std::uintptr_t>(memory.data()) & page_offset_mask);
    EXPECT_FALSE(marks.note_store(page, 8, true).on_page);
    EXPECT_FALSE(marks.take_dirty(page));
    EXPECT_FALSE(marks.mark(page + 128, 4));
    EXPECT_TRUE(marks.note_store(page, 8, true).on_page);
    EXPECT_FALSE(marks.note_store(page + 120, 8, true).on_bytes);
    EXPECT_TRUE(marks.note_store(page + 121, 8, true).on_bytes);
    EXPECT_TRUE(marks.take_dirty(page));
    EXPECT_FALSE(marks.mark(page + 128, 4)); // No writer may be about,
    EXPECT_FALSE(marks.note_store(page, 8, false).on_bytes);
    EXPECT_TRUE(marks.mark(page + 128, 4)); // now one may.
    EXPECT_TRUE(marks.take_dirty(page));
}

// ---- Between threads ----

TEST(Rendezvous, ParkedVcpusAreNotWaitedForAndServeLater) {
    Memory memory;
    Mmu self(memory.map, memory.log), other(memory.map, memory.log);
    EXPECT_TRUE(other.parked());
    other.unpark();
    ASSERT_TRUE(other.store(LinearAddress(0x5000), u32{1}));
    other.park();
    ASSERT_TRUE(memory.map.mark_code(PhysicalAddress(0x5000), 4));
    memory.map.protect_code_page(PhysicalAddress(0x5000), &self); // Returns.
    other.unpark();
    const TlbView& view = other.view(Privilege::current);
    EXPECT_FALSE(tlb_hit(view.entry(0x5000).write_tag, 0x5000, 4));
    EXPECT_EQ(other.counters().write_protects, 1u);
}

TEST(Rendezvous, PostedPagesAreServedAtTheSafePoint) {
    Memory memory;
    Mmu mmu(memory.map, memory.log);
    int kicks = 0;
    mmu.set_kick([&] { ++kicks; });
    mmu.unpark();
    for (u64 n = 0; n < 400; ++n)
        ASSERT_TRUE(mmu.store(LinearAddress(n * page_size), u32{1}));
    const auto writable = [&](u64 address) {
        const TlbView& view = mmu.view(Privilege::current);
        return tlb_hit(view.entry(address).write_tag, address, 4);
    };
    mmu.request_write_protect(PhysicalAddress(0x5000));
    EXPECT_EQ(kicks, 1);
    EXPECT_TRUE(mmu.requests_pending());
    EXPECT_TRUE(writable(0x5000));
    mmu.serve_requests();
    EXPECT_FALSE(mmu.requests_pending());
    EXPECT_FALSE(writable(0x5000));
    EXPECT_TRUE(writable(0x6000));
    for (u64 n = 0; n < 300; ++n) // More than are kept one by one.
        mmu.request_write_protect(PhysicalAddress(n * page_size));
    mmu.serve_requests();
    EXPECT_FALSE(writable(0x6000));
}

// A vCPU as a thread: a body that runs between safe points until told to stop.
class Vcpu {
  public:
    Vcpu(Memory& memory, std::function<void(Mmu&)> body) : mmu_(memory.map, memory.log), body_(std::move(body)) {}
    ~Vcpu() { stop(); }
    void start() {
        thread_ = std::jthread([this](const std::stop_token& stopped) {
            mmu_.unpark();
            while (!stopped.stop_requested()) {
                if (mmu_.requests_pending()) mmu_.serve_requests();
                body_(mmu_);
                ++steps_;
            }
            mmu_.park();
        });
    }
    void stop() { thread_ = {}; } // Asks it to, and waits.
    u64 steps() const { return steps_; }

  private:
    Mmu mmu_;
    std::function<void(Mmu&)> body_;
    std::atomic<u64> steps_{0};
    std::jthread thread_;
};

// Bytes that were read after they were marked change only with their marks: at the same time, or at once afterwards by
// a writer that saw no marks before it wrote. Stores by the TLB, by pointer and by DMA.
TEST(Rendezvous, MarkedBytesDoNotChangeBehindTheDecodersBack) {
    Memory memory;
    constexpr u64 code = 0x5100;
    const PhysicalAddress at(code);
    std::atomic<u32> next{1};
    Mmu decoder(memory.map, memory.log);
    Vcpu storer(memory, [&](Mmu& mmu) { ASSERT_TRUE(mmu.store(LinearAddress(code), next++)); });
    Vcpu pointer(memory, [&](Mmu& mmu) {
        u8* const host = mmu.host_for_write(LinearAddress(code), 4);
        ASSERT_NE(host, nullptr);
        store_guest<u32>(host, next++);
        if (next % 64 == 0) { // Halted for a moment.
            mmu.park();
            std::this_thread::yield();
            mmu.unpark();
        }
    });
    std::jthread device([&](const std::stop_token& stopped) {
        while (!stopped.stop_requested()) {
            memory.map.write_value(at, next++, 4);
            std::this_thread::yield();
        }
    });
    decoder.unpark();
    storer.start();
    pointer.start();
    while (storer.steps() == 0 || pointer.steps() == 0) // On a busy machine they may start late.
        std::this_thread::yield();
    const auto read = [&] { return load_guest<u32>(memory.ram.data() + code); };
    u64 kept = 0;
    // Where the writers are always quicker than the look (under qemu-user), it goes on until one look was in time.
    for (unsigned round = 0; round < 60 || kept == 0; ++round) {
        if (memory.map.mark_code(at, 4)) memory.map.protect_code_page(at, &decoder);
        const u32 decoded = read();
        for (unsigned look = 0; look < 50 && memory.map.code_marked(at, 4); ++look) {
            if (read() == decoded) {
                ++kept;
                continue;
            }
            for (unsigned wait = 0; wait < 100000 && memory.map.code_marked(at, 4); ++wait)
                std::this_thread::yield();
            ASSERT_FALSE(memory.map.code_marked(at, 4)) << "round " << round << ": nobody told";
        }
        if (round % 8 == 0) {
            decoder.park();
            std::this_thread::yield();
            decoder.unpark();
        }
    }
    decoder.park();
    EXPECT_GT(storer.steps(), 0u);
    EXPECT_GT(pointer.steps(), 0u);
}

TEST(Rendezvous, ReturnsOnlyWhenTheOthersHaveServed) {
    Memory memory;
    Mmu self(memory.map, memory.log), other(memory.map, memory.log);
    std::atomic<bool> stored{false}, kicked{false}, served{false};
    other.set_kick([&] { kicked = true; });
    std::jthread vcpu([&] {
        other.unpark();
        EXPECT_TRUE(other.store(LinearAddress(0x5000), u32{1}));
        stored = true;
        while (!kicked)
            std::this_thread::yield();
        for (int n = 0; n < 1000; ++n) // It takes its time.
            std::this_thread::yield();
        EXPECT_TRUE(other.requests_pending());
        served = true;
        other.serve_requests();
        other.park();
    });
    while (!stored)
        std::this_thread::yield();
    self.unpark();
    EXPECT_TRUE(memory.map.mark_code(PhysicalAddress(0x5000), 4));
    memory.map.protect_code_page(PhysicalAddress(0x5000), &self);
    EXPECT_TRUE(served);
    EXPECT_FALSE(memory.map.mark_code(PhysicalAddress(0x5000), 4)); // Nobody can write there unseen.
    self.park();
}

// Several vCPUs that all decode, all write and all wait for each other.
TEST(Rendezvous, MutualRequestsDoNotDeadlock) {
    Memory memory;
    struct Device : IoTarget {
        u64 read(PhysicalAddress, unsigned) override { return 0; }
        void write(PhysicalAddress, u64, unsigned) override { std::this_thread::yield(); }
    } device;
    memory.map.set_regions({memory.ram_region(0, 1 << 20), io_region(0xFE00'0000, 0x1000, device)});
    std::atomic<u32> seed{1};
    const auto body = [&](Mmu& mmu) {
        const u32 n = seed.fetch_add(1) * 2654435761u >> 16;
        const PhysicalAddress page((n & 3) * page_size);
        if (n & 4) {
            if (memory.map.mark_code(page, 16)) memory.map.protect_code_page(page, &mmu);
        } else if (n & 8) {
            ASSERT_TRUE(mmu.store(LinearAddress(page.value + (n >> 4 & 0xFF8)), u64{n}));
        } else {
            ASSERT_TRUE(mmu.store(LinearAddress(0xFE00'0000), n));
        }
    };
    std::vector<std::unique_ptr<Vcpu>> vcpus;
    for (int n = 0; n < 4; ++n)
        vcpus.push_back(std::make_unique<Vcpu>(memory, body));
    for (auto& vcpu : vcpus)
        vcpu->start();
    for (auto& vcpu : vcpus)
        while (vcpu->steps() < 100)
            std::this_thread::yield();
    for (int n = 0; n < 20; ++n) // The map changes meanwhile.
        memory.map.set_regions(memory.map.regions());
    for (auto& vcpu : vcpus)
        vcpu->stop();
}

// ---- Pages that were written ----

struct DirtyTest : CodeTest {
    std::vector<u64> take() {
        std::vector<u64> pages;
        memory.map.take_dirty_pages(memory.ram.data(), memory.ram.size() / page_size,
                                    [&](u64 page) { pages.push_back(page); });
        memory.map.end_of_writers();
        mmu.unpark(); // Serves what was asked of it.
        mmu.park();
        return pages;
    }
    using Pages = std::vector<u64>;
};

TEST_F(DirtyTest, AStoreMarksItsPageAgainAfterEachLook) {
    EXPECT_EQ(take(), Pages{});
    ASSERT_TRUE(mmu.store(LinearAddress(0x5000), u32{1}));
    EXPECT_EQ(take(), Pages{5});
    EXPECT_EQ(take(), Pages{});
    u32 value;
    ASSERT_TRUE(mmu.load(LinearAddress(0x5000), value)); // A read admits no writer.
    EXPECT_EQ(take(), Pages{});
    ASSERT_TRUE(mmu.store(LinearAddress(0x5004), u32{1}));
    ASSERT_NE(mmu.host_for_write(LinearAddress(0x7000), 4), nullptr);
    EXPECT_EQ(take(), (Pages{5, 7}));
}

TEST_F(DirtyTest, StoresBesideCodeAndToCodeMarkToo) {
    decode(0x5100, 4);
    ASSERT_TRUE(mmu.store(LinearAddress(0x5000), u32{1}));
    EXPECT_EQ(take(), Pages{5});
    ASSERT_NE(mmu.host_for_write(LinearAddress(0x5800), 4), nullptr);
    EXPECT_EQ(take(), Pages{5});
    ASSERT_TRUE(mmu.store(LinearAddress(0x5100), u32{1}));
    EXPECT_EQ(take(), Pages{5});
}

TEST_F(DirtyTest, DmaMarksEveryPageThatItTouches) {
    const std::vector<u8> data(page_size + 2, 1);
    memory.map.dma_write(PhysicalAddress(0x5FFF), data);
    EXPECT_EQ(take(), (Pages{5, 6, 7}));
}

TEST_F(DirtyTest, AccessedBitsMarkTheirTables) {
    LongTables tables(memory, 0x100000);
    tables.map(0x40'0000, 0x5000, P | W);
    mmu.set_context(long_mode(tables.root()));
    take();
    u32 value;
    ASSERT_TRUE(mmu.load(LinearAddress(0x40'0000), value));
    EXPECT_EQ(take().size(), 4u) << "one table of each level";
}

} // namespace
} // namespace calque::mmu
