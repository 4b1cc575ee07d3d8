#include "devices/ioapic/ioapic.h"

#include "base/bits.h"

#include <bit>
#include <utility>

namespace calque::devices {

namespace {
// MMIO offsets.
constexpr u64 ioregsel = 0x00;
constexpr u64 iowin = 0x10;
constexpr u64 eoi_register = 0x40;
// Indexes behind the window.
constexpr u8 reg_id = 0x00;
constexpr u8 reg_version = 0x01;
constexpr u8 reg_arbitration = 0x02;
constexpr u8 reg_table = 0x10;
constexpr u32 id_mask = 0x0f00'0000;
constexpr u32 version = 0x20 | (IoApic::pins - 1) << 16;

// A redirection table entry.
constexpr u64 entry_logical = u64{1} << 11;
constexpr u64 entry_remote_irr = u64{1} << 14;
constexpr u64 entry_level = u64{1} << 15;
constexpr u64 entry_masked = u64{1} << 16;
constexpr u64 entry_writable_low = 0x1afff; // Without delivery status (12) and remote IRR (14).
constexpr unsigned mode_lowest_priority = 1;

unsigned mode_of(u64 entry) { return static_cast<unsigned>(bits(entry, 8, 3)); }
// SMI, NMI, INIT and ExtINT are edges whatever the trigger mode bit says (datasheet, 3.2.4).
bool is_level(u64 entry) { return (entry & entry_level) && mode_of(entry) <= mode_lowest_priority; }
} // namespace

IoApic::IoApic(Log& log, Clock& clock, MsiSink& apics) : log_(log), clock_(clock), apics_(apics) {
    pause_ = clock_.make_timer([this] {
        std::lock_guard lock(mutex_);
        for (u32 left = std::exchange(paused_, 0); left != 0; left &= left - 1)
            service(static_cast<unsigned>(std::countr_zero(left)));
    });
}

void IoApic::reset() {
    std::lock_guard lock(mutex_);
    const u32 lines = state_.lines;
    state_ = State{};
    state_.lines = lines; // Inputs, not registers.
    repeated_.fill(0);
    paused_ = 0;
}

void IoApic::serialize(Archive& archive) {
    std::lock_guard lock(mutex_);
    archive.section(name(), 1, [&](u32) {
        archive.field("id", state_.id);
        archive.field("select", state_.select);
        archive.field("lines", state_.lines);
        archive.field("table", state_.table);
    });
    if (!archive.loading()) return;
    repeated_.fill(0);
    paused_ = 0;
    u32 waited = 0;
    for (unsigned pin = 0; pin < pins; ++pin)
        waited |= (stands(pin) ? u32{1} : 0) << pin;
    if (waited != 0) pause(waited);
}

IoApic::State IoApic::snapshot() const {
    std::lock_guard lock(mutex_);
    return state_;
}

void IoApic::set_irq(unsigned pin, bool level) {
    if (pin >= pins) return;
    std::lock_guard lock(mutex_);
    const u32 mask = u32{1} << pin;
    if (((state_.lines & mask) != 0) == level) return;
    state_.lines ^= mask;
    if (!level) {
        repeated_[pin] = 0;
        paused_ &= ~mask;
        return;
    }
    const u64 entry = state_.table[pin];
    if (is_level(entry))
        service(pin);
    else if (!(entry & entry_masked))
        send(pin); // An edge while masked is lost (datasheet, 3.2.4).
}

std::optional<u8> IoApic::edge_vector(unsigned pin) const {
    std::lock_guard lock(mutex_);
    const u64 entry = state_.table[pin];
    const bool plain = bits(entry, 8, 3) <= 1; // Fixed or lowest priority.
    if ((entry & entry_masked) || is_level(entry) || !plain) return std::nullopt;
    return static_cast<u8>(entry);
}

bool IoApic::stands(unsigned pin) const {
    const u64 entry = state_.table[pin];
    return is_level(entry) && !(entry & (entry_masked | entry_remote_irr)) && bit(state_.lines, pin);
}

void IoApic::service(unsigned pin) {
    if (!stands(pin) || bit(paused_, pin)) return;
    state_.table[pin] |= entry_remote_irr;
    send(pin);
}

// The message has the form of an MSI (SDM volume 3, 11.11).
void IoApic::send(unsigned pin) {
    const u64 entry = state_.table[pin];
    u64 address = 0xfee0'0000 | bits(entry, 56, 8) << 12;
    if (entry & entry_logical) address |= 1 << 2;
    u32 data = static_cast<u32>(bits(entry, 0, 11));
    if (is_level(entry)) data |= 1 << 15 | 1 << 14;
    log_.trace(Channel::irq, "ioapic: pin {} sends {:x} to {:x}", pin, data, address);
    apics_.send_msi(PhysicalAddress(address), data);
}

void IoApic::eoi(u8 vector) {
    std::lock_guard lock(mutex_);
    end_of_interrupt(vector);
}

void IoApic::end_of_interrupt(u8 vector) {
    for (unsigned pin = 0; pin < pins; ++pin) {
        u64& entry = state_.table[pin];
        if (!(entry & entry_remote_irr) || static_cast<u8>(entry) != vector) continue;
        entry &= ~entry_remote_irr;
        if (storms(pin))
            pause(u32{1} << pin);
        else
            service(pin);
    }
}

bool IoApic::storms(unsigned pin) {
    if (!bit(state_.lines, pin) || (repeated_[pin] < storm && ++repeated_[pin] < storm)) return false;
    log_.trace(Channel::irq, "ioapic: pin {} is never low", pin);
    return true;
}

void IoApic::pause(u32 lines) {
    paused_ |= lines;
    pause_->arm(clock_.now() + storm_pause);
}

u32 IoApic::read_register(u8 index) const {
    if (index >= reg_table && index < reg_table + 2 * pins) {
        const u64 entry = state_.table[(index - reg_table) / 2u];
        return static_cast<u32>(index & 1 ? entry >> 32 : entry);
    }
    switch (index) {
    case reg_id:
    case reg_arbitration: return state_.id; // The arbitration ID is loaded from the ID.
    case reg_version: return version;
    default: return 0xffff'ffff;
    }
}

void IoApic::write_register(u8 index, u32 value) {
    if (index >= reg_table && index < reg_table + 2 * pins)
        write_entry((index - reg_table) / 2u, index & 1, value);
    else if (index == reg_id)
        state_.id = value & id_mask;
}

void IoApic::write_entry(unsigned pin, bool high, u32 value) {
    u64& entry = state_.table[pin];
    if (high) {
        entry = with_bits(entry, 32, 32, value & 0xff00'0000);
        return;
    }
    entry = (entry & ~entry_writable_low) | (value & entry_writable_low);
    if (!is_level(entry)) entry &= ~entry_remote_irr; // Means nothing for edges, and so software can clear it.
    service(pin);
}

u64 IoApic::Mmio::read(u64 offset, unsigned size) {
    std::lock_guard lock(apic_.mutex_);
    u32 value = 0;
    if (offset == ioregsel)
        value = apic_.state_.select;
    else if (offset == iowin)
        value = apic_.read_register(apic_.state_.select);
    return value & low_mask(8 * size);
}

void IoApic::Mmio::write(u64 offset, u64 value, unsigned size) {
    std::lock_guard lock(apic_.mutex_);
    if (offset == ioregsel)
        apic_.state_.select = static_cast<u8>(value);
    else if (offset == iowin && size >= 4)
        apic_.write_register(apic_.state_.select, static_cast<u32>(value));
    else if (offset == eoi_register)
        apic_.end_of_interrupt(static_cast<u8>(value));
    else
        apic_.log_.trace(Channel::mmio, "ioapic: a write of {} bytes at {:03x} is no access to a register", size,
                         offset);
}

} // namespace calque::devices
