// Four local APICs on a bus, for the tests.
#pragma once

#include "devices/lapic/lapic.h"
#include "tests/devices/irq_test_support.h"

#include <memory>

namespace calque::devices::test {

// A time-stamp counter of 2 GHz.
class TwoGigahertz final : public TscSource {
  public:
    explicit TwoGigahertz(const Clock& clock) : clock_(clock) {}
    u64 tsc() const override { return clock_.now() * 2 + offset; }
    Nanoseconds time_of_tsc(u64 tsc) const override { return (tsc - offset + 1) / 2; }
    u64 offset = 0;

  private:
    const Clock& clock_;
};

class FixedPic final : public InterruptAcknowledge {
  public:
    u8 acknowledge() override {
        ++acknowledges;
        return 0x08;
    }
    unsigned acknowledges = 0;
};

class LapicTest : public ::testing::Test {
  protected:
    LapicTest() {
        for (unsigned i = 0; i < 4; ++i) {
            LapicConfig config;
            config.apic_id = i;
            config.bootstrap = i == 0;
            apics.push_back(std::make_unique<LocalApic>(log, clock, config, bus, cpu[i], &tsc, &pic));
        }
        memory.map(LocalApic::default_base, LocalApic::mmio_size, apics[0]->mmio(), "lapic");
    }
    LocalApic& apic(unsigned n = 0) { return *apics[n]; }
    static void write(LocalApic& apic, unsigned number, u32 value) { apic.mmio().write(number << 4, value, 4); }
    static u32 read(LocalApic& apic, unsigned number) { return static_cast<u32>(apic.mmio().read(number << 4, 4)); }
    void enable_all() {
        for (auto& a : apics)
            write(*a, apic_reg::svr, 0x1ff);
    }
    void ipi(unsigned from, u32 high, u32 low) {
        write(apic(from), apic_reg::icr_high, high);
        write(apic(from), apic_reg::icr_low, low);
    }
    void msi(u8 vector, u8 destination = 0, u32 data_bits = 0) {
        bus.send_msi(PhysicalAddress(0xfee0'0000 | u64{destination} << 12), data_bits | vector);
    }
    bool requested(LocalApic& a, u8 vector) { return read(a, apic_reg::irr + vector / 32) >> (vector % 32) & 1; }
    u32 errors(LocalApic& a) {
        write(a, apic_reg::esr, 0);
        return read(a, apic_reg::esr);
    }
    void enter_x2apic(LocalApic& a) { ASSERT_TRUE(a.write_msr(msr::apic_base, *a.read_msr(msr::apic_base) | 0x400)); }

    Log log;
    ManualClock clock;
    Bus memory{Bus::Kind::memory, log};
    ApicBus bus{log};
    TwoGigahertz tsc{clock};
    FixedPic pic;
    std::array<RecordingVcpu, 4> cpu;
    std::vector<std::unique_ptr<LocalApic>> apics;
};

} // namespace calque::devices::test
