#include "tests/devices/lapic_fixture.h"

#include <atomic>
#include <thread>

using namespace calque;
using namespace calque::devices;
using namespace calque::devices::test;

namespace {

TEST_F(LapicTest, ResetValues) {
    EXPECT_EQ(memory.read(0xfee0'0030, 4), 0x0106'0015u);
    EXPECT_EQ(memory.read(0xfee0'00f0, 4), 0xffu);
    EXPECT_EQ(memory.read(0xfee0'00e0, 4), 0xffff'ffffu);
    EXPECT_EQ(memory.read(0xfee0'0350, 4), 0x1'0000u);
    EXPECT_EQ(memory.read(0xfee0'0020, 4), 0u);
    EXPECT_EQ(read(apic(3), apic_reg::id), 0x0300'0000u);
    EXPECT_EQ(apic(0).read_msr(msr::apic_base), 0xfee0'0900u);
    EXPECT_EQ(apic(1).read_msr(msr::apic_base), 0xfee0'0800u);
}

TEST_F(LapicTest, AMessageIsRequestedServedAndEnded) {
    enable_all();
    msi(0x41);
    EXPECT_TRUE(cpu[0].line);
    EXPECT_TRUE(apic().pending());
    EXPECT_TRUE(requested(apic(), 0x41));
    EXPECT_EQ(apic().acknowledge(), 0x41);
    EXPECT_FALSE(cpu[0].line);
    EXPECT_FALSE(requested(apic(), 0x41));
    EXPECT_EQ(read(apic(), apic_reg::isr + 2), 2u);
    EXPECT_EQ(read(apic(), apic_reg::ppr), 0x40u);
    EXPECT_EQ(apic().acknowledge(), std::nullopt);
    write(apic(), apic_reg::eoi, 0);
    EXPECT_EQ(read(apic(), apic_reg::isr + 2), 0u);
    EXPECT_EQ(read(apic(), apic_reg::ppr), 0u);
}

TEST_F(LapicTest, PriorityClassesNest) {
    enable_all();
    msi(0x45);
    EXPECT_EQ(apic().acknowledge(), 0x45);
    msi(0x4f);
    EXPECT_FALSE(apic().pending()) << "the same class waits";
    msi(0x51);
    EXPECT_EQ(apic().acknowledge(), 0x51);
    write(apic(), apic_reg::eoi, 0);
    EXPECT_FALSE(apic().pending());
    write(apic(), apic_reg::eoi, 0);
    EXPECT_TRUE(cpu[0].line);
    EXPECT_EQ(apic().acknowledge(), 0x4f);
}

TEST_F(LapicTest, TheTaskPriorityHoldsRequestsBack) {
    enable_all();
    apic().set_cr8(5);
    EXPECT_EQ(read(apic(), apic_reg::tpr), 0x50u);
    msi(0x5f);
    EXPECT_FALSE(cpu[0].line);
    write(apic(), apic_reg::tpr, 0x4f);
    EXPECT_EQ(apic().cr8(), 4);
    EXPECT_TRUE(cpu[0].line);
    apic().set_cr8(15);
    EXPECT_FALSE(cpu[0].line) << "the line follows the priority down";
    EXPECT_EQ(apic().acknowledge(), std::nullopt);
    EXPECT_EQ(read(apic(), apic_reg::ppr), 0xf0u);
}

TEST_F(LapicTest, SoftwareDisabledItTakesNoFixedInterrupts) {
    msi(0x41);
    EXPECT_FALSE(requested(apic(), 0x41));
    msi(0, 0, 0x400);
    EXPECT_EQ(cpu[0].nmis, 1u) << "NMI is taken";
    enable_all();
    msi(0x41);
    write(apic(), apic_reg::svr, 0xff);
    EXPECT_TRUE(apic().pending()) << "what was requested before is held";
    EXPECT_EQ(read(apic(), apic_reg::lvt_timer), lvt::masked);
    write(apic(), apic_reg::lvt_timer, 0x30);
    EXPECT_EQ(read(apic(), apic_reg::lvt_timer), lvt::masked | 0x30) << "cannot be unmasked";
}

TEST_F(LapicTest, IpiDestinationsAndShorthands) {
    enable_all();
    ipi(0, 0x0200'0000, 0x40);
    EXPECT_TRUE(requested(apic(2), 0x40));
    EXPECT_FALSE(requested(apic(1), 0x40));
    ipi(1, 0, 0x4'0041); // Self.
    EXPECT_TRUE(requested(apic(1), 0x41));
    EXPECT_FALSE(requested(apic(0), 0x41));
    ipi(1, 0, 0x8'0042); // All including self.
    ipi(1, 0, 0xc'0043); // All excluding self.
    ipi(1, 0xff00'0000, 0x44);
    for (unsigned i = 0; i < 4; ++i) {
        EXPECT_TRUE(requested(apic(i), 0x42));
        EXPECT_EQ(requested(apic(i), 0x43), i != 1);
        EXPECT_TRUE(requested(apic(i), 0x44));
    }
    ipi(0, 0x0900'0000, 0x45); // Nobody.
    ipi(0, 0, 0x4'0400);       // NMI to self is invalid.
    EXPECT_EQ(cpu[0].nmis, 0u);
}

TEST_F(LapicTest, FlatLogicalDestinations) {
    enable_all();
    for (unsigned i = 0; i < 4; ++i)
        write(apic(i), apic_reg::ldr, 0x0100'0000u << i);
    ipi(0, 0x0a00'0000, 0x840);
    for (unsigned i = 0; i < 4; ++i)
        EXPECT_EQ(requested(apic(i), 0x40), i == 1 || i == 3);
    ipi(0, 0xff00'0000, 0x841);
    for (unsigned i = 0; i < 4; ++i)
        EXPECT_TRUE(requested(apic(i), 0x41));
}

TEST_F(LapicTest, ClusterLogicalDestinations) {
    enable_all();
    const u32 ldr[] = {0x1100'0000, 0x1200'0000, 0x2100'0000, 0x2200'0000};
    for (unsigned i = 0; i < 4; ++i) {
        write(apic(i), apic_reg::dfr, 0x0fff'ffff);
        write(apic(i), apic_reg::ldr, ldr[i]);
    }
    ipi(0, 0x2300'0000, 0x840);
    for (unsigned i = 0; i < 4; ++i)
        EXPECT_EQ(requested(apic(i), 0x40), i >= 2);
}

TEST_F(LapicTest, LowestPriorityGoesToOneProcessorOnly) {
    enable_all();
    for (unsigned i = 0; i < 4; ++i)
        write(apic(i), apic_reg::ldr, 0x0100'0000u << i), apic(i).set_cr8(static_cast<u8>(i == 2 ? 1 : 3));
    for (unsigned i = 0; i < 8; ++i)
        bus.send_msi(PhysicalAddress(0xfee0'f004), 0x160);
    for (unsigned i = 0; i < 4; ++i)
        EXPECT_EQ(requested(apic(i), 0x60), i == 2);
    apic(2).set_cr8(3);
    for (unsigned i = 0; i < 4; ++i)
        bus.send_msi(PhysicalAddress(0xfee0'f004), 0x170);
    for (unsigned i = 0; i < 4; ++i)
        EXPECT_TRUE(requested(apic(i), 0x70)) << "equals take turns";
    write(apic(0), apic_reg::svr, 0xff);
    for (unsigned i = 0; i < 8; ++i)
        bus.send_msi(PhysicalAddress(0xfee0'100c), 0x080); // Redirection hint, destination 0 only.
    EXPECT_FALSE(requested(apic(0), 0x80)) << "not to one that would lose it";
}

TEST_F(LapicTest, InitAndStartupStartProcessors) {
    ipi(0, 0, 0xc'4500);           // INIT to the others.
    ipi(0, 0x0100'0000, 0x0'8500); // INIT level de-assert does nothing.
    ipi(0, 0x0100'0000, 0x4608);   // SIPI.
    ipi(0, 0x0200'0000, 0xc500);   // INIT, level assert.
    EXPECT_EQ(cpu[0].inits, 0u);
    EXPECT_EQ(cpu[1].inits, 1u);
    EXPECT_EQ(cpu[2].inits, 2u);
    EXPECT_EQ(cpu[1].startups, (std::vector<u8>{0x08}));
    ipi(0, 0x0300'0000, 0x4200);
    EXPECT_EQ(cpu[3].smis, 1u);
}

TEST_F(LapicTest, InitKeepsIdAndBase) {
    enable_all();
    write(apic(1), apic_reg::id, 0x0700'0000);
    write(apic(1), apic_reg::ldr, 0x0200'0000);
    msi(0x50, 7);
    EXPECT_TRUE(cpu[1].line);
    apic(1).init_reset();
    EXPECT_FALSE(cpu[1].line);
    EXPECT_EQ(read(apic(1), apic_reg::id), 0x0700'0000u);
    EXPECT_EQ(read(apic(1), apic_reg::ldr), 0u);
    EXPECT_EQ(read(apic(1), apic_reg::svr), 0xffu);
    EXPECT_EQ(apic(1).read_msr(msr::apic_base), 0xfee0'0800u);
}

// The ID went to its initial value and back while INIT was taken, and messages that came meanwhile were lost.
TEST_F(LapicTest, InitNeverShowsAnotherId) {
    write(apic(1), apic_reg::id, 0x0700'0000);
    const ApicMessage message = ApicMessage::from_msi(PhysicalAddress(0xfee0'7000), 0x50);
    std::atomic<bool> done{false};
    unsigned missed = 0;
    std::thread sender([&] {
        while (!done)
            missed += !apic(1).matches(message);
    });
    for (unsigned i = 0; i < 20'000; ++i)
        apic(1).init_reset();
    done = true;
    sender.join();
    EXPECT_EQ(missed, 0u);
}

TEST_F(LapicTest, LevelInterruptsBroadcastTheirEoi) {
    std::vector<u8> eois;
    bus.set_eoi_observer([&](u8 vector) { eois.push_back(vector); });
    enable_all();
    msi(0x61, 0, 0xc000);
    msi(0x72);
    EXPECT_EQ(read(apic(), apic_reg::tmr + 3), 2u);
    apic().acknowledge(), write(apic(), apic_reg::eoi, 0);
    EXPECT_TRUE(eois.empty()) << "72h was an edge";
    apic().acknowledge(), write(apic(), apic_reg::eoi, 0);
    EXPECT_EQ(eois, (std::vector<u8>{0x61}));
    write(apic(), apic_reg::svr, 0x1ff | svr::suppress_eoi_broadcast);
    msi(0x61, 0, 0xc000);
    apic().acknowledge(), write(apic(), apic_reg::eoi, 0);
    EXPECT_EQ(eois.size(), 1u);
}

TEST_F(LapicTest, AnEoiWithNothingInServiceDoesNothing) {
    enable_all();
    write(apic(), apic_reg::eoi, 0);
    EXPECT_FALSE(apic().pending());
}

TEST_F(LapicTest, VirtualWireTakesThe8259ThroughLint0) {
    apic(0).set_virtual_wire();
    bus.set_irq(ApicBus::lint0, true);
    EXPECT_TRUE(cpu[0].line);
    EXPECT_FALSE(cpu[1].line) << "LINT0 of the others is masked";
    EXPECT_EQ(apic(0).acknowledge(), 0x08);
    EXPECT_TRUE(apic(0).pending()) << "as long as INTR is high";
    EXPECT_EQ(read(apic(0), apic_reg::isr), 0u) << "ExtINT is not in service here";
    bus.set_irq(ApicBus::lint0, false);
    EXPECT_FALSE(cpu[0].line);
    EXPECT_EQ(apic(0).acknowledge(), std::nullopt);
    EXPECT_EQ(pic.acknowledges, 1u);
    bus.set_irq(ApicBus::lint1, true);
    EXPECT_EQ(cpu[0].nmis, 1u);
    EXPECT_EQ(cpu[1].nmis, 0u);
    write(apic(0), apic_reg::lvt_lint0, 0x1'0700);
    bus.set_irq(ApicBus::lint0, true);
    EXPECT_FALSE(cpu[0].line);
}

TEST_F(LapicTest, DisabledByItsMsrTheProcessorSeesIntrAndNmi) {
    EXPECT_TRUE(apic(0).write_msr(msr::apic_base, 0xfee0'0100));
    EXPECT_FALSE(cpu[0].mmio);
    EXPECT_FALSE(apic(0).enabled());
    EXPECT_EQ(memory.read(0xfee0'0030, 4), 0xffff'ffffu);
    bus.set_irq(ApicBus::lint0, true);
    EXPECT_EQ(apic(0).acknowledge(), 0x08);
    bus.set_irq(ApicBus::lint1, true);
    EXPECT_EQ(cpu[0].nmis, 1u);
    msi(0x41);
    bus.set_irq(ApicBus::lint0, false);
    EXPECT_FALSE(apic(0).pending());
}

TEST_F(LapicTest, AnExtIntMessageFromTheIoApicAsksThe8259Once) {
    enable_all();
    msi(0, 0, 0x700);
    EXPECT_TRUE(cpu[0].line);
    EXPECT_EQ(apic(0).acknowledge(), 0x08);
    EXPECT_FALSE(cpu[0].line);
    EXPECT_EQ(apic(0).acknowledge(), std::nullopt);
}

TEST_F(LapicTest, ALevelTriggeredLintRequestsAgainAfterItsEoi) {
    enable_all();
    write(apic(), apic_reg::lvt_lint0, 0x8041);
    bus.set_irq(ApicBus::lint0, true);
    EXPECT_EQ(apic().acknowledge(), 0x41);
    EXPECT_EQ(read(apic(), apic_reg::lvt_lint0), 0xc041u) << "remote IRR";
    EXPECT_FALSE(apic().pending());
    write(apic(), apic_reg::eoi, 0);
    EXPECT_EQ(apic().acknowledge(), 0x41);
    bus.set_irq(ApicBus::lint0, false);
    write(apic(), apic_reg::eoi, 0);
    EXPECT_FALSE(apic().pending());
    EXPECT_EQ(read(apic(), apic_reg::lvt_lint0), 0x8041u);
}

TEST_F(LapicTest, ErrorsAreLatchedByAWrite) {
    enable_all();
    write(apic(), apic_reg::lvt_error, 0xfe);
    ipi(0, 0, 0x4'0005); // Vector 5 to self.
    EXPECT_EQ(read(apic(), apic_reg::esr), 0u) << "not before a write";
    EXPECT_TRUE(requested(apic(), 0xfe));
    EXPECT_EQ(errors(apic()), esr::send_illegal_vector);
    EXPECT_EQ(errors(apic()), 0u);
    msi(0x0f);
    EXPECT_EQ(errors(apic()), esr::receive_illegal_vector);
    read(apic(), 0x3b);
    EXPECT_EQ(errors(apic()), esr::illegal_register_address);
    write(apic(), apic_reg::lvt_error, 3); // The error interrupt itself is illegal.
    msi(0x0f);
    EXPECT_EQ(errors(apic()), esr::receive_illegal_vector);
}

TEST_F(LapicTest, APerformanceInterruptMasksItself) {
    enable_all();
    write(apic(), apic_reg::lvt_perf, 0x400);
    apic().raise_local(LvtEntry::perf);
    apic().raise_local(LvtEntry::perf);
    EXPECT_EQ(cpu[0].nmis, 1u);
    EXPECT_EQ(read(apic(), apic_reg::lvt_perf), 0x1'0400u);
    write(apic(), apic_reg::lvt_cmci, 0x55);
    apic().raise_local(LvtEntry::cmci);
    EXPECT_TRUE(requested(apic(), 0x55));
}

TEST_F(LapicTest, AccessesThatAreNoRegister) {
    EXPECT_EQ(memory.read(0xfee0'0034, 4), 0u);
    EXPECT_EQ(memory.read(0xfee0'0032, 1), 0x06u);
    memory.write(0xfee0'0080, 0x55, 1);
    EXPECT_EQ(memory.read(0xfee0'0080, 4), 0u) << "byte writes are no access to a register";
    bus.send_msi(PhysicalAddress(0xfed0'0000), 0x41);
    EXPECT_FALSE(apic().pending());
}

TEST_F(LapicTest, SavedAndLoaded) {
    enable_all();
    write(apic(), apic_reg::lvt_timer, 0x2'0030);
    write(apic(), apic_reg::timer_initial, 1'000'000);
    msi(0x61, 0, 0xc000), msi(0x72);
    apic().acknowledge();
    msi(0x81);
    write(apic(), apic_reg::lvt_lint0, 0x1'0700);
    bus.set_irq(ApicBus::lint0, true);
    msi(0, 0, 0x700);
    ApicBus other_bus(log);
    RecordingVcpu other_cpu;
    LapicConfig config;
    config.bootstrap = true;
    LocalApic other(log, clock, config, other_bus, other_cpu, &tsc, &pic);
    expect_round_trip(apic(), other);
    EXPECT_TRUE(other_cpu.line);
    EXPECT_EQ(other.acknowledge(), 0x08);
    EXPECT_EQ(other.acknowledge(), 0x81);
    write(other, apic_reg::eoi, 0), write(other, apic_reg::eoi, 0);
    EXPECT_EQ(other.acknowledge(), 0x61);
    write(other, apic_reg::eoi, 0);
    clock.advance(2'000'000);
    EXPECT_EQ(other.acknowledge(), 0x30);
}

} // namespace
