// The interrupt controllers wired together as the machine wires them, and used from several threads.
#include "devices/i8254/i8254.h"
#include "devices/i8259/i8259.h"
#include "devices/ioapic/ioapic.h"
#include "devices/lapic/lapic.h"
#include "devices/pc_router/pc_router.h"
#include "tests/devices/irq_test_support.h"

#include <atomic>
#include <thread>

using namespace calque;
using namespace calque::devices;
using namespace calque::devices::test;

namespace {

class AtomicVcpu final : public VcpuPort {
  public:
    void interrupt_line(bool level) override {
        line = level;
        if (level) line.notify_all();
    }
    void nmi() override { ++nmis; }
    void smi() override {}
    void init() override {}
    void startup(u8) override {}
    void apic_base_changed(PhysicalAddress, bool) override {}
    std::atomic<bool> line{false};
    std::atomic<unsigned> nmis{0};
};

class InterruptPathTest : public ::testing::Test {
  protected:
    InterruptPathTest() {
        for (unsigned i = 0; i < 2; ++i) {
            LapicConfig config;
            config.apic_id = i;
            config.bootstrap = i == 0;
            apics.push_back(std::make_unique<LocalApic>(log, clock, config, bus, cpu[i], nullptr, &pic));
        }
        bus.set_eoi_observer([this](u8 vector) { ioapic.eoi(vector); });
        router.set_timer_listens([this] {
            const auto vector = ioapic.edge_vector(PcRouter::timer_pin);
            bus.watch(vector);
            return vector || !pic.masked(0);
        });
        bus.set_taken_observer([this] { router.timer_taken(); });
        pic.set_taken_observer([this](unsigned irq) {
            if (irq == 0) router.timer_taken();
        });
        for (const auto& [offset, value] : {std::pair{0, 0x11}, {1, 0x20}, {1, 4}, {1, 1}})
            pic.master_ports().write(static_cast<u64>(offset), static_cast<u64>(value), 1);
        for (const auto& [offset, value] : {std::pair{0, 0x11}, {1, 0x28}, {1, 2}, {1, 1}})
            pic.slave_ports().write(static_cast<u64>(offset), static_cast<u64>(value), 1);
    }
    static void reg(LocalApic& apic, unsigned number, u32 value) { apic.mmio().write(number << 4, value, 4); }
    void entry(unsigned pin, u32 low, u32 high = 0) {
        ioapic.mmio().write(0, 0x11 + 2 * pin, 4), ioapic.mmio().write(0x10, high, 4);
        ioapic.mmio().write(0, 0x10 + 2 * pin, 4), ioapic.mmio().write(0x10, low, 4);
    }

    Log log;
    ManualClock clock;
    std::array<AtomicVcpu, 2> cpu;
    ApicBus bus{log};
    IoApic ioapic{log, clock, bus};
    IrqFanout intr{IrqLine(bus, ApicBus::lint0), IrqLine(ioapic, 0)};
    I8259Pair pic{log, IrqLine(intr, 0)};
    PcRouter router{log, pic, ioapic, IrqLine()};
    std::vector<std::unique_ptr<LocalApic>> apics;
};

TEST_F(InterruptPathTest, APitTickInVirtualWireMode) {
    apics[0]->set_virtual_wire();
    I8254 pit(log, clock, IrqLine(router, PcRouter::isa + 0));
    pit.ports().write(3, 0x34, 1), pit.ports().write(0, 0xa9, 1), pit.ports().write(0, 0x04, 1);
    clock.advance(2'000);    // The count is loaded with the next tick.
    apics[0]->acknowledge(); // OUT went high with the control word.
    for (unsigned i = 0; i < 5; ++i) {
        pic.master_ports().write(0, 0x20, 1);
        EXPECT_FALSE(cpu[0].line);
        clock.advance(1'000'000);
        EXPECT_TRUE(cpu[0].line);
        EXPECT_EQ(apics[0]->acknowledge(), 0x20);
    }
}

// At load the kernel found too few ticks in its check of "IO-APIC + timer", and panicked.
TEST_F(InterruptPathTest, TicksWhileTheProcessorStandsAreTakenOneByOne) {
    const auto tick = [&] { router.set_irq(PcRouter::isa + 0, false), router.set_irq(PcRouter::isa + 0, true); };
    const auto taken = [&](u8 vector, auto&& eoi) {
        unsigned count = 0;
        for (; cpu[0].line && count < 20; ++count) {
            EXPECT_EQ(apics[0]->acknowledge(), vector);
            eoi();
        }
        return count;
    };
    apics[0]->set_virtual_wire();
    for (unsigned i = 0; i < 7; ++i)
        tick();
    EXPECT_EQ(taken(0x20, [&] { pic.master_ports().write(0, 0x20, 1); }), 7u);

    reg(*apics[0], apic_reg::svr, 0x1ff);
    pic.master_ports().write(1, 0xff, 1);
    tick();
    entry(2, 0x30);
    for (unsigned i = 0; i < 9; ++i)
        tick();
    EXPECT_EQ(taken(0x30, [&] { reg(*apics[0], apic_reg::eoi, 0); }), 9u);
    entry(2, 0x1'0030);
    for (unsigned i = 0; i < 9; ++i)
        tick();
    entry(2, 0x30);
    tick();
    EXPECT_EQ(taken(0x30, [&] { reg(*apics[0], apic_reg::eoi, 0); }), 1u) << "those while it was masked are nobody's";
}

TEST_F(InterruptPathTest, ThroughTheIoApicAsExtInt) {
    reg(*apics[0], apic_reg::svr, 0x1ff);
    entry(0, 0x700);
    router.set_irq(1, true), router.set_irq(12, true);
    EXPECT_EQ(apics[0]->acknowledge(), 0x21);
    EXPECT_EQ(apics[0]->acknowledge(), std::nullopt);
    pic.master_ports().write(0, 0x20, 1);
    EXPECT_EQ(apics[0]->acknowledge(), 0x2c);
}

TEST_F(InterruptPathTest, ALevelPciInterruptIsSentAgainAfterTheEoiOfItsProcessor) {
    reg(*apics[1], apic_reg::svr, 0x1ff);
    entry(18, 0x8061, 0x0100'0000);
    router.set_irq(PcRouter::pirq + 2, true);
    EXPECT_EQ(apics[1]->acknowledge(), 0x61);
    EXPECT_FALSE(cpu[1].line);
    reg(*apics[1], apic_reg::eoi, 0);
    EXPECT_TRUE(cpu[1].line);
    EXPECT_EQ(apics[1]->acknowledge(), 0x61);
    router.set_irq(PcRouter::pirq + 2, false);
    reg(*apics[1], apic_reg::eoi, 0);
    EXPECT_FALSE(cpu[1].line);
}

// Processors sleep until their line rises, so a request that is lost between the threads hangs this test.
TEST_F(InterruptPathTest, NoRequestIsLostBetweenThreads) {
    constexpr unsigned batches = 200;
    constexpr unsigned vectors = 64; // 40h-7Fh: each once in a batch, so that none are merged.
    for (auto& apic : apics)
        reg(*apic, apic_reg::svr, 0x1ff);
    std::array<std::atomic<unsigned>, 2> served{};
    const auto processor = [&](unsigned id) {
        LocalApic& apic = *apics[id];
        while (served[id] < batches * vectors) {
            cpu[id].line.wait(false);
            apic.set_cr8(3); // Changes of the priority run against requests that arrive.
            const auto vector = apic.acknowledge();
            apic.set_cr8(0);
            if (!vector) continue;
            reg(apic, apic_reg::eoi, 0);
            if (++served[id] % vectors == 0) served[id].notify_all();
        }
    };
    const auto sender = [&](unsigned to) {
        for (unsigned batch = 0; batch < batches; ++batch) {
            for (unsigned i = 0; i < vectors; ++i)
                bus.send_msi(PhysicalAddress(0xfee0'0000 | u64{to} << 12), 0x4040 + i);
            for (unsigned now = served[to]; now < (batch + 1) * vectors; now = served[to])
                served[to].wait(now);
        }
    };
    std::array<std::thread, 4> threads{std::thread(processor, 0), std::thread(processor, 1), std::thread(sender, 0),
                                       std::thread(sender, 1)};
    for (std::thread& thread : threads)
        thread.join();
    EXPECT_EQ(served[0], batches * vectors);
    EXPECT_EQ(served[1], batches * vectors);
}

// Every path that takes locks at once: a deadlock hangs, a race shows under ThreadSanitizer.
TEST_F(InterruptPathTest, ThreadsMeetOnEveryPath) {
    for (auto& apic : apics)
        reg(*apic, apic_reg::svr, 0x1ff);
    apics[0]->set_virtual_wire();
    entry(18, 0x8061, 0x0100'0000);
    entry(4, 0x0041, 0);
    entry(2, 0x0042, 0);
    constexpr unsigned rounds = 5'000;
    const auto processor = [&](unsigned id) {
        for (unsigned i = 0; i < rounds; ++i) {
            LocalApic& apic = *apics[id];
            if (apic.acknowledge()) reg(apic, apic_reg::eoi, 0);
            reg(apic, apic_reg::icr_low, 0xc'0050 + i % 64);
            if (i % 64 == 0) apic.init_reset(), reg(apic, apic_reg::svr, 0x1ff);
            pic.master_ports().write(0, 0x20, 1);
            entry(18, i % 2 ? 0x8061 : 0x1'8061, 0x0100'0000);
        }
    };
    const auto device = [&] {
        for (unsigned i = 0; i < rounds; ++i) {
            router.set_irq(PcRouter::pirq + 2, i % 2);
            router.set_irq(PcRouter::isa + 4, i % 3 == 0);
            router.set_irq(PcRouter::isa + 0, i % 2);
            bus.send_msi(PhysicalAddress(0xfee0'f004), 0x172);
            bus.set_irq(ApicBus::lint1, i % 5 == 0);
        }
    };
    std::thread a(processor, 0), b(processor, 1), c(device);
    a.join(), b.join(), c.join();
    router.set_irq(PcRouter::pirq + 2, false), router.set_irq(PcRouter::isa + 4, false);
    for (unsigned i = 0; i < 2; ++i) {
        reg(*apics[i], apic_reg::svr, 0x1ff);
        for (unsigned n = 0; n < 256 + PcRouter::most_ticks; ++n) // Each vector, and the ticks that are due.
            apics[i]->acknowledge(), reg(*apics[i], apic_reg::eoi, 0);
        EXPECT_FALSE(apics[i]->pending());
        EXPECT_FALSE(cpu[i].line);
        bus.send_msi(PhysicalAddress(0xfee0'0000 | u64{i} << 12), 0x4099);
        EXPECT_EQ(apics[i]->acknowledge(), 0x99);
    }
}

} // namespace
