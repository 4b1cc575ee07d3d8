#include "devices/acpi_pm/acpi_pm.h"

#include "base/bits.h"
#include "devices/tick_rate.h"

namespace calque::devices {

namespace {
constexpr TickRate timer_rate{AcpiPm::timer_hz};

// PMSTS and PMEN (ACPI 6.4, 4.8.3.1).
constexpr u16 tmr = 1 << 0;
constexpr u16 gbl = 1 << 5; // Bit 4, BM_STS, is never set: there are no C3 states to leave.
constexpr u16 pwrbtn = 1 << 8;
constexpr u16 slpbtn = 1 << 9;
constexpr u16 rtc = 1 << 10;
constexpr u16 wak = 1 << 15;
constexpr u16 enable_bits = tmr | gbl | pwrbtn | slpbtn | rtc;
// PMCNTRL.
constexpr u16 sci_en = 1 << 0;
constexpr u16 bm_rld = 1 << 1;
constexpr u16 gbl_rls = 1 << 2;
constexpr u16 sus_typ = 7 << 10;
constexpr u16 sus_en = 1 << 13;
constexpr u16 control_kept = sci_en | bm_rld | sus_typ;

// The byte of a register that is `at` bytes into it.
template <class T> u8 byte_of(T value, u64 at) { return static_cast<u8>(value >> (8 * at)); }
template <class T> void set_byte(T& value, u64 at, u8 byte) {
    value = static_cast<T>(with_bits(value, static_cast<unsigned>(8 * at), 8, byte));
}
template <class T> void clear_by_ones(T& value, u64 at, u8 byte) {
    value = static_cast<T>(value & ~(T{byte} << (8 * at)));
}
} // namespace

AcpiPm::AcpiPm(Log& log, Clock& clock, Config config, IrqLine sci, Callbacks callbacks)
    : log_(log), clock_(clock), config_(config), sci_(sci), callbacks_(std::move(callbacks)),
      timer_(clock.make_timer([this] { timer_fired(); })) {
    reset();
}

void AcpiPm::reset() {
    std::lock_guard lock(mutex_);
    state_ = State{};
    state_.toggles_seen = toggles();
    sci_.lower();
    update();
}

void AcpiPm::serialize(Archive& archive) {
    std::lock_guard lock(mutex_);
    archive.section(name(), 1, [&](u32) {
        archive.field("pm1_status", state_.pm1_status);
        archive.field("pm1_enable", state_.pm1_enable);
        archive.field("pm1_control", state_.pm1_control);
        archive.field("gpe_status", state_.gpe_status);
        archive.field("gpe_enable", state_.gpe_enable);
        archive.field("gpe_lines", state_.gpe_lines);
        archive.field("processor_control", state_.processor_control);
        archive.field("global_enable", state_.global_enable);
        archive.field("global_control", state_.global_control);
        archive.field("device_control", state_.device_control);
        archive.field("general_output", state_.general_output);
        archive.field("apm_control", state_.apm_control);
        archive.field("apm_status", state_.apm_status);
        archive.field("apm_smi", state_.apm_smi);
        archive.field("toggles_seen", state_.toggles_seen);
        archive.field("sci", state_.sci);
    });
    if (!archive.loading()) return;
    sci_.set(state_.sci);
    update();
}

u64 AcpiPm::toggles() const { return timer_rate.ticks(clock_.now()) >> (config_.timer_32_bit ? 31 : 23); }

u32 AcpiPm::timer_value() const {
    return static_cast<u32>(timer_rate.ticks(clock_.now()) & low_mask(config_.timer_32_bit ? 32 : 24));
}

// Brings TMR_STS, the SCI and the timer up to now.
void AcpiPm::update() {
    const u64 now = toggles();
    if (now > state_.toggles_seen) state_.pm1_status |= tmr;
    state_.toggles_seen = now;
    const bool event = (state_.pm1_status & state_.pm1_enable & enable_bits) || (state_.gpe_status & state_.gpe_enable);
    const bool level = event && (state_.pm1_control & sci_en);
    if (level != state_.sci) sci_.set(level);
    state_.sci = level;
    // The carry is only waited for while it can change something.
    const bool wait = (state_.pm1_enable & tmr) && !(state_.pm1_status & tmr) && (state_.pm1_control & sci_en);
    if (wait)
        timer_->arm(timer_rate.time((now + 1) << (config_.timer_32_bit ? 31 : 23)));
    else
        timer_->disarm();
}

void AcpiPm::timer_fired() {
    std::lock_guard lock(mutex_);
    update();
}

// --- events from outside

void AcpiPm::press_power_button() {
    std::lock_guard lock(mutex_);
    state_.pm1_status |= pwrbtn;
    update();
}

void AcpiPm::press_sleep_button() {
    std::lock_guard lock(mutex_);
    state_.pm1_status |= slpbtn;
    update();
}

void AcpiPm::set_gpe(unsigned number, bool level) {
    if (number > 15) return;
    std::lock_guard lock(mutex_);
    const u16 mask = static_cast<u16>(1u << number);
    if (level && !(state_.gpe_lines & mask)) state_.gpe_status |= mask;
    state_.gpe_lines = static_cast<u16>(level ? state_.gpe_lines | mask : state_.gpe_lines & ~mask);
    update();
}

void AcpiPm::set_apm_smi_enabled(bool enabled) {
    std::lock_guard lock(mutex_);
    state_.apm_smi = enabled;
}

bool AcpiPm::sci() const {
    std::lock_guard lock(mutex_);
    return state_.sci;
}

// --- the register block (82371AB, 7.2)

u8 AcpiPm::read_byte(u64 offset) const {
    switch (offset) {
    case 0x00:
    case 0x01: return byte_of(state_.pm1_status, offset);
    case 0x02:
    case 0x03: return byte_of(state_.pm1_enable, offset - 2);
    case 0x04:
    case 0x05: return byte_of(state_.pm1_control, offset - 4);
    case 0x0c:
    case 0x0d: return byte_of(state_.gpe_status, offset - 0x0c);
    case 0x0e:
    case 0x0f: return byte_of(state_.gpe_enable, offset - 0x0e);
    case 0x10:
    case 0x11:
    case 0x12:
    case 0x13: return byte_of(state_.processor_control, offset - 0x10);
    case 0x20:
    case 0x21: return byte_of(state_.global_enable, offset - 0x20);
    case 0x28:
    case 0x29:
    case 0x2a:
    case 0x2b: return byte_of(state_.global_control, offset - 0x28);
    case 0x2c:
    case 0x2d:
    case 0x2e:
    case 0x2f: return byte_of(state_.device_control, offset - 0x2c);
    case 0x34:
    case 0x35:
    case 0x36:
    case 0x37: return byte_of(state_.general_output, offset - 0x34);
    default: return 0; // Reserved; PLVL2 and PLVL3; no general input is wired, no global or device status is set.
    }
}

u64 AcpiPm::PmPorts::read(u64 offset, unsigned size) {
    std::lock_guard lock(pm_.mutex_);
    pm_.update();
    const u32 timer = pm_.timer_value(); // Read once, so that its bytes belong together.
    u64 value = 0;
    for (unsigned i = 0; i < size; ++i) {
        const u64 at = offset + i;
        const bool in_timer = at >= pm_timer && at < pm_timer + 4;
        value |= u64{in_timer ? byte_of(timer, at - pm_timer) : pm_.read_byte(at)} << (8 * i);
    }
    return value;
}

void AcpiPm::write_byte(u64 offset, u8 byte) {
    switch (offset) {
    case 0x00:
    case 0x01: return clear_by_ones(state_.pm1_status, offset, byte);
    case 0x02:
    case 0x03:
        set_byte(state_.pm1_enable, offset - 2, byte);
        state_.pm1_enable &= enable_bits;
        return;
    case 0x04:
        if (byte & gbl_rls) log_.unimplemented(Channel::io, "acpi_pm.global_release");
        return set_byte(state_.pm1_control, 0, byte & static_cast<u8>(control_kept));
    case 0x05: return set_byte(state_.pm1_control, 1, byte & (control_kept >> 8));
    case 0x0c:
    case 0x0d: return clear_by_ones(state_.gpe_status, offset - 0x0c, byte);
    case 0x0e:
    case 0x0f: return set_byte(state_.gpe_enable, offset - 0x0e, byte);
    case 0x10:
    case 0x11:
    case 0x12:
    case 0x13: return set_byte(state_.processor_control, offset - 0x10, byte);
    case 0x20:
    case 0x21: return set_byte(state_.global_enable, offset - 0x20, byte);
    case 0x28:
    case 0x29:
    case 0x2a:
    case 0x2b: return set_byte(state_.global_control, offset - 0x28, byte);
    case 0x2c:
    case 0x2d:
    case 0x2e:
    case 0x2f: return set_byte(state_.device_control, offset - 0x2c, byte);
    case 0x34:
    case 0x35:
    case 0x36:
    case 0x37: return set_byte(state_.general_output, offset - 0x34, byte);
    default: return;
    }
}

// SUS_EN was written: true when the machine goes off.
bool AcpiPm::sleep() {
    const u8 type = static_cast<u8>(bits(state_.pm1_control, 10, 3));
    log_.trace(Channel::general, "the guest asks for sleep type {}", type);
    if (type == sleep_type_s5 || type == sleep_type_s4) return true;
    log_.unimplemented(Channel::general, type == sleep_type_s3 ? "acpi_pm.suspend_to_ram" : "acpi_pm.sleep_type");
    state_.pm1_status |= wak; // It wakes at once, so the guest goes on.
    return false;
}

void AcpiPm::PmPorts::write(u64 offset, u64 value, unsigned size) {
    bool off = false;
    {
        std::lock_guard lock(pm_.mutex_);
        pm_.update();
        for (unsigned i = 0; i < size; ++i) {
            const u8 byte = static_cast<u8>(value >> (8 * i));
            pm_.write_byte(offset + i, byte);
            if (offset + i == pm1_control + 1 && (byte & (sus_en >> 8))) off = pm_.sleep();
        }
        pm_.update();
    }
    if (off && pm_.callbacks_.power_off) pm_.callbacks_.power_off();
}

// --- the APM ports

u8 AcpiPm::ApmPorts::read_byte(u64 offset) {
    std::lock_guard lock(pm_.mutex_);
    return offset == 0 ? pm_.state_.apm_control : pm_.state_.apm_status;
}

// What a PC's SMM firmware does for the ACPI commands, set or clear SCI_EN, is done here, so that a guest without such
// firmware can switch too.
void AcpiPm::ApmPorts::write_byte(u64 offset, u8 value) {
    bool smi = false;
    {
        std::lock_guard lock(pm_.mutex_);
        State& state = pm_.state_;
        if (offset != 0) {
            state.apm_status = value;
            return;
        }
        state.apm_control = value;
        if (value == acpi_enable) state.pm1_control |= sci_en;
        if (value == acpi_disable) state.pm1_control &= static_cast<u16>(~sci_en);
        smi = state.apm_smi;
        pm_.update();
    }
    if (smi && pm_.callbacks_.smi) pm_.callbacks_.smi();
}

} // namespace calque::devices
