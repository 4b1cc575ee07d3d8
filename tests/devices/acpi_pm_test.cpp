#include "devices/acpi_pm/acpi_pm.h"
#include "devices/tick_rate.h"
#include "tests/devices/irq_test_support.h"

using namespace calque;
using namespace calque::devices;
using namespace calque::devices::test;

namespace {

constexpr TickRate rate{AcpiPm::timer_hz};
constexpr u16 base = AcpiPm::default_base;

class AcpiPmTest : public ::testing::Test {
  protected:
    AcpiPmTest() {
        ports.map(base, AcpiPm::block_size, pm.pm_ports(), "acpi pm");
        ports.map(0xb2, 2, pm.apm_ports(), "apm");
    }
    void out16(u16 port, u16 value) { ports.write(port, value, 2); }
    u16 in16(u16 port) { return static_cast<u16>(ports.read(port, 2)); }
    void to(u64 tick) { clock.advance(rate.time(tick) - clock.now()); }
    AcpiPm::Callbacks callbacks() {
        return {[this] { ++power_offs; }, [this] { ++smis; }};
    }

    Log log;
    ManualClock clock;
    Bus ports{Bus::Kind::ports, log};
    RecordingSink sink;
    unsigned power_offs = 0, smis = 0;
    AcpiPm pm{log, clock, {}, IrqLine(sink, 9), callbacks()};
};

TEST_F(AcpiPmTest, TheTimerHas24Bits) {
    to(0x00ff'fffe);
    EXPECT_EQ(ports.read(base + 8, 4), 0x00ff'fffeu);
    to(0x0100'0001);
    EXPECT_EQ(ports.read(base + 8, 4), 1u);
    AcpiPm wide(log, clock, {.timer_32_bit = true}, IrqLine(), {});
    EXPECT_EQ(wide.pm_ports().read(8, 4), 0x0100'0001u);
}

TEST_F(AcpiPmTest, TheTimersTopBitRaisesTheSci) {
    out16(base + 4, 1); // SCI_EN
    out16(base + 2, 1); // TMR_EN
    to(0x007f'ffff);
    EXPECT_FALSE(sink.level(9));
    to(0x0080'0000);
    EXPECT_TRUE(sink.level(9));
    EXPECT_EQ(in16(base), 1);
    out16(base, 1);
    EXPECT_FALSE(sink.level(9));
    to(0x0100'0000);
    EXPECT_TRUE(sink.level(9)) << "both changes of the bit count";
}

TEST_F(AcpiPmTest, WithoutTmrEnNothingIsWaitedForButTheStatusIsSet) {
    out16(base + 4, 1);
    EXPECT_EQ(clock.next_deadline(), never);
    to(0x0080'0000);
    EXPECT_EQ(in16(base), 1);
    EXPECT_FALSE(sink.level(9));
    out16(base + 2, 1);
    EXPECT_TRUE(sink.level(9)) << "an event that stands interrupts when it is enabled";
}

TEST_F(AcpiPmTest, AcpiIsSwitchedThroughTheSmiCommandPort) {
    EXPECT_EQ(in16(base + 4), 0);
    ports.write(0xb2, AcpiPm::acpi_enable, 1);
    EXPECT_EQ(in16(base + 4), 1);
    ports.write(0xb2, AcpiPm::acpi_disable, 1);
    EXPECT_EQ(in16(base + 4), 0);
    EXPECT_EQ(smis, 0u);
    pm.set_apm_smi_enabled(true);
    ports.write(0xb3, 0x5a, 1);
    EXPECT_EQ(smis, 0u) << "the status port raises none";
    ports.write(0xb2, 0x77, 1);
    EXPECT_EQ(smis, 1u);
    EXPECT_EQ(ports.read(0xb2, 2), 0x5a77u);
}

TEST_F(AcpiPmTest, ThePowerButtonIsAnEvent) {
    out16(base + 4, 1);
    out16(base + 2, 0x100);
    pm.press_sleep_button();
    EXPECT_FALSE(sink.level(9)) << "not enabled";
    pm.press_power_button();
    EXPECT_TRUE(sink.level(9));
    EXPECT_EQ(in16(base), 0x300);
    out16(base, 0x100);
    EXPECT_FALSE(sink.level(9));
    EXPECT_EQ(in16(base), 0x200) << "ones clear, zeros keep";
    out16(base + 4, 0);
    out16(base + 2, 0x300);
    EXPECT_FALSE(sink.level(9)) << "no SCI without SCI_EN";
}

TEST_F(AcpiPmTest, GeneralPurposeEvents) {
    out16(base + 4, 1);
    out16(base + 0x0e, 0x0004);
    pm.set_gpe(2, true);
    EXPECT_TRUE(sink.level(9));
    EXPECT_EQ(in16(base + 0x0c), 4);
    out16(base + 0x0c, 4);
    EXPECT_FALSE(sink.level(9)) << "an edge sets it once";
    pm.set_gpe(2, false), pm.set_gpe(2, true);
    EXPECT_TRUE(sink.level(9));
    pm.set_gpe(16, true);
}

TEST_F(AcpiPmTest, SleepEnableTurnsThePowerOff) {
    out16(base + 4, 0 << 10 | 1);
    EXPECT_EQ(power_offs, 0u);
    out16(base + 4, 0 << 10 | 1 << 13 | 1);
    EXPECT_EQ(power_offs, 1u);
    EXPECT_EQ(in16(base + 4), 1) << "SLP_EN reads as 0";
    out16(base + 4, 2 << 10 | 1 << 13 | 1); // S4
    EXPECT_EQ(power_offs, 2u);
    EXPECT_EQ(in16(base + 4), 2 << 10 | 1);
}

TEST_F(AcpiPmTest, SuspendToRamIsReportedAndWakesAtOnce) {
    out16(base + 4, 1 << 10 | 1 << 13 | 1);
    EXPECT_EQ(power_offs, 0u);
    EXPECT_EQ(in16(base), 0x8000) << "WAK_STS";
    ASSERT_EQ(log.unimplemented_counts().size(), 1u);
    EXPECT_EQ(log.unimplemented_counts()[0].name, "acpi_pm.suspend_to_ram");
}

TEST_F(AcpiPmTest, OtherRegistersKeepWhatIsWritten) {
    ports.write(base + 0x10, 0x1234'5678, 4);
    EXPECT_EQ(ports.read(base + 0x10, 4), 0x1234'5678u);
    EXPECT_EQ(ports.read(base + 0x34, 4), 0x7fff'bfffu);
    EXPECT_EQ(ports.read(base + 0x14, 1), 0u);
    ports.write(base + 8, 0, 4);
    EXPECT_EQ(ports.read(base + 0x3c, 4), 0u);
}

TEST_F(AcpiPmTest, ResetLowersTheSci) {
    out16(base + 4, 1), out16(base + 2, 0x100);
    pm.press_power_button();
    pm.reset();
    EXPECT_FALSE(sink.level(9));
    EXPECT_EQ(in16(base), 0);
    EXPECT_FALSE(pm.sci());
}

TEST_F(AcpiPmTest, SavedAndLoaded) {
    out16(base + 4, 1), out16(base + 2, 0x101);
    to(0x0070'0000);
    pm.press_power_button();
    RecordingSink other_sink;
    AcpiPm other(log, clock, {}, IrqLine(other_sink, 9), {});
    expect_round_trip(pm, other);
    EXPECT_TRUE(other_sink.level(9));
    other.pm_ports().write(0, 0x100, 2);
    EXPECT_FALSE(other_sink.level(9));
    to(0x0080'0000);
    EXPECT_TRUE(other_sink.level(9));
}

} // namespace
