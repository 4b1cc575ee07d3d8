#include "devices/pci/function.h"

#include "base/bits.h"
#include "devices/pci/pci_bus.h"

#include <algorithm>
#include <bit>

namespace calque::devices {

using namespace pci;

namespace {

void put(std::array<u8, 256>& bytes, unsigned offset, u64 value, unsigned size) {
    for (unsigned i = 0; i < size && offset + i < bytes.size(); ++i)
        bytes[offset + i] = static_cast<u8>(value >> (8 * i));
}

u64 take(const std::array<u8, 256>& bytes, unsigned offset, unsigned size) {
    u64 value = 0;
    for (unsigned i = 0; i < size && offset + i < bytes.size(); ++i)
        value |= u64{bytes[offset + i]} << (8 * i);
    return value;
}

constexpr u32 BAR_IO = 1, BAR_MEMORY_64 = 2 << 1, BAR_PREFETCHABLE = 1 << 3, ROM_ENABLE = 1;

} // namespace

PciFunction::PciFunction(PciDescriptor descriptor, Log& log) : descriptor_(std::move(descriptor)), log_(log) {
    add_message_capabilities();
    build_header();
    build_bars();
    build_capabilities();
    for (const PciRegisters& r : descriptor_.registers)
        add_registers(r);
    state_.config = reset_;
    if (descriptor_.msi.vectors) msi_at_ = capability_offset(CAPABILITY_MSI);
    if (descriptor_.msix.vectors) msix_at_ = capability_offset(CAPABILITY_MSIX);
}

PciFunction::~PciFunction() {
    if (bus_) bus_->detach(*this);
}

void PciFunction::build_header() {
    const PciDescriptor& d = descriptor_;
    put(reset_, VENDOR_ID, d.vendor_id, 2);
    put(reset_, DEVICE_ID, d.device_id, 2);
    put(reset_, COMMAND, d.command_reset, 2);
    put(writable_, COMMAND, d.command_writable, 2);
    put(reset_, STATUS, d.status_reset, 2);
    put(clear_, STATUS, 0xF900, 2); // Error bits: a written 1 clears them (PCI 3.0, 6.2.3).
    put(reset_, REVISION_ID, d.revision_id, 1);
    put(reset_, CLASS_CODE, d.class_code, 3);
    put(writable_, CACHE_LINE_SIZE, d.cache_line_size_writable, 1);
    put(writable_, LATENCY_TIMER, d.latency_timer_writable, 1);
    put(reset_, HEADER_TYPE, (d.multifunction ? HEADER_MULTIFUNCTION : 0) | (d.bridge ? HEADER_BRIDGE : 0), 1);
    if (!d.bridge) put(reset_, SUBSYSTEM_VENDOR_ID, d.subsystem_vendor_id | u32{d.subsystem_id} << 16, 4);
    put(reset_, INTERRUPT_PIN, d.interrupt_pin, 1);
    if (d.interrupt_pin) put(writable_, INTERRUPT_LINE, 0xFF, 1);
}

// PCI 3.0, 6.2.5: address bits below the size read as zero, the lowest tell the kind.
void PciFunction::build_bars() {
    for (unsigned i = 0; i < bar_count; ++i) {
        PciBar& b = i < 6 ? descriptor_.bars[i] : descriptor_.rom;
        if (b.kind == PciBar::Kind::none) continue;
        const bool io = b.kind == PciBar::Kind::io;
        b.size = std::bit_ceil(std::max<u64>(b.size, io ? 4 : i < 6 ? 16 : 2048));
        const unsigned offset = bar_offset(i);
        const bool wide = b.kind == PciBar::Kind::memory64 && i < 5;
        if (wide) descriptor_.bars[i + 1] = {};
        u64 writable = ~(b.size - 1);
        u32 flags = 0;
        if (i == 6) {
            writable |= ROM_ENABLE;
        } else if (io) {
            flags = BAR_IO;
        } else {
            flags = (wide ? BAR_MEMORY_64 : 0) | (b.prefetchable ? BAR_PREFETCHABLE : 0);
        }
        put(reset_, offset, flags, 4);
        put(writable_, offset, writable, wide ? 8 : 4);
    }
}

void PciFunction::set_option_rom(IoRegion& rom, u64 size) {
    descriptor_.rom = {PciBar::Kind::memory32, size, false, &rom};
    build_bars();
    state_.config = reset_;
}

// The list starts at 40h or above, doubleword-aligned, clear of the function's own registers.
void PciFunction::build_capabilities() {
    if (descriptor_.capabilities.empty()) return;
    unsigned next = 0x40;
    for (const PciRegisters& r : descriptor_.registers)
        next = std::max<unsigned>(next, r.offset + static_cast<unsigned>(r.reset.size()));
    unsigned link = CAPABILITIES_POINTER;
    for (const PciCapability& c : descriptor_.capabilities) {
        next = static_cast<unsigned>(align_up(next, 4));
        if (next + 2 + c.reset.size() > 256) return; // No room: what does not fit is not offered.
        put(reset_, link, next, 1);
        put(reset_, next, c.id, 1);
        link = next + 1;
        add_registers({next + 2, c.reset, c.writable, c.write_1_clear});
        next += 2 + static_cast<unsigned>(c.reset.size());
        put(reset_, STATUS, take(reset_, STATUS, 2) | STATUS_CAPABILITIES, 2);
    }
}

void PciFunction::add_registers(const PciRegisters& r) {
    for (unsigned i = 0; i < r.reset.size() && r.offset + i < 256; ++i) {
        reset_[r.offset + i] = r.reset[i];
        if (i < r.writable.size()) writable_[r.offset + i] = r.writable[i];
        if (i < r.write_1_clear.size()) clear_[r.offset + i] = r.write_1_clear[i];
    }
}

void PciFunction::attached(PciBus& bus, unsigned devfn) {
    bus_ = &bus;
    devfn_ = devfn;
    for (unsigned i = 0; i < bar_count; ++i) {
        const PciBar& b = bar(i);
        if (b.kind == PciBar::Kind::none || !b.region) continue;
        Bus& space = b.kind == PciBar::Kind::io ? bus.ports_ : bus.memory_;
        windows_[i] = std::make_unique<Window>(space, *b.region, b.size,
                                               i < 6 ? fmt::format("{} BAR{}", descriptor_.name, i)
                                                     : fmt::format("{} ROM", descriptor_.name));
    }
    std::lock_guard lock(mutex_);
    update_intx_locked();
}

void PciFunction::detached() {
    for (auto& window : windows_)
        window.reset();
    bus_ = nullptr;
}

u32 PciFunction::read(unsigned offset, unsigned size) const {
    std::lock_guard lock(mutex_);
    return static_cast<u32>(take(state_.config, offset, size));
}

void PciFunction::set_register(unsigned offset, u32 value, unsigned size) {
    std::lock_guard lock(mutex_);
    put(state_.config, offset, value, size);
}

void PciFunction::write(unsigned offset, u32 value, unsigned size) {
    {
        std::lock_guard lock(mutex_);
        for (unsigned i = 0; i < size && offset + i < 256; ++i) {
            u8& byte = state_.config[offset + i];
            const u8 written = static_cast<u8>(value >> (8 * i));
            const u8 w = writable_[offset + i];
            byte = static_cast<u8>(((byte & ~w) | (written & w)) & ~(written & clear_[offset + i]));
        }
        update_messages_locked(true);
        update_intx_locked();
    }
    place_bars();
    if (hook_) hook_(offset, size);
}

std::optional<u64> PciFunction::decoded_base(unsigned i) const {
    const PciBar& b = bar(i);
    const u16 command = static_cast<u16>(take(state_.config, COMMAND, 2));
    const unsigned offset = bar_offset(i);
    if (b.kind == PciBar::Kind::io) {
        const u64 base = take(state_.config, offset, 4) & ~u64{3};
        if (!(command & COMMAND_IO) || base == 0 || base + b.size > 0x10000) return std::nullopt;
        return base;
    }
    if (!(command & COMMAND_MEMORY)) return std::nullopt;
    const bool wide = b.kind == PciBar::Kind::memory64 && i < 5;
    const u64 raw = take(state_.config, offset, wide ? 8 : 4);
    if (i == 6 && !(raw & ROM_ENABLE)) return std::nullopt;
    const u64 base = raw & ~(i == 6 ? u64{0x7FF} : u64{0xF});
    const u64 last = base + (b.size - 1);
    // Address 0 is "not assigned". All ones is a BAR in the middle of being sized: its window would end at the top of
    // the address space, where the chipset decodes the boot ROM.
    if (base == 0 || last < base || last == (wide ? ~u64{0} : u64{0xFFFF'FFFF})) return std::nullopt;
    return base;
}

void PciFunction::place_bars() {
    for (unsigned i = 0; i < bar_count; ++i) {
        if (!windows_[i]) continue;
        std::optional<u64> base;
        {
            std::lock_guard lock(mutex_);
            base = decoded_base(i);
        }
        if (base == windows_[i]->base()) continue;
        if (base)
            log_.trace(Channel::pci, "{} BAR {} at {:#x}, {:#x} bytes", descriptor_.name, i, *base, bar(i).size);
        else
            log_.trace(Channel::pci, "{} BAR {} is not decoded", descriptor_.name, i);
        windows_[i]->place(base);
    }
}

std::optional<u64> PciFunction::bar_base(unsigned i) const {
    if (i >= bar_count || bar(i).kind == PciBar::Kind::none) return std::nullopt;
    std::lock_guard lock(mutex_);
    return decoded_base(i);
}

unsigned PciFunction::capability_offset(u8 id) const {
    unsigned at = reset_[CAPABILITIES_POINTER];
    for (unsigned steps = 0; at >= 0x40 && steps < 64; ++steps) {
        if (reset_[at] == id) return at;
        at = at < 255 ? reset_[at + 1] : 0;
    }
    return 0;
}

void PciFunction::set_intx(bool level) {
    std::lock_guard lock(mutex_);
    state_.intx = level;
    update_intx_locked();
}

// PCI 3.0, 6.2.2 and 6.2.3: the interrupt status bit shows the pin even while COMMAND keeps it off the bus.
void PciFunction::update_intx_locked() {
    u8& status = state_.config[STATUS];
    status = static_cast<u8>(state_.intx ? status | STATUS_INTERRUPT : status & ~STATUS_INTERRUPT);
    const bool level =
        state_.intx && !msi_on_ && !msix_on_ && !(take(state_.config, COMMAND, 2) & COMMAND_INTX_DISABLE);
    if (level == intx_driven_ || !bus_ || descriptor_.interrupt_pin == 0) return;
    intx_driven_ = level;
    bus_->drive_pirq(devfn_, descriptor_.interrupt_pin - 1u, level);
}

void PciFunction::reset() {
    {
        std::lock_guard lock(mutex_);
        state_ = {};
        state_.config = reset_;
        if (msix_) msix_->reset();
        update_messages_locked(false);
        update_intx_locked();
    }
    place_bars();
}

void PciFunction::serialize(Archive& archive) {
    {
        std::lock_guard lock(mutex_);
        archive.section(descriptor_.name, 1, [&](u32) {
            archive.bytes("config", state_.config);
            archive.field("intx", state_.intx);
        });
        if (msix_)
            archive.section(fmt::format("{}.msix", descriptor_.name), 1, [&](u32) { msix_->serialize(archive); });
        if (!archive.loading()) return;
        if (archive.ok()
            && (take(state_.config, VENDOR_ID, 4) != take(reset_, VENDOR_ID, 4)
                || state_.config[HEADER_TYPE] != reset_[HEADER_TYPE]))
            archive.fail(fmt::format("the saved PCI function is not a {}", descriptor_.name));
        // What the header fixes stays fixed, whatever the file says.
        for (unsigned i = BAR0; i < 0x40; ++i)
            state_.config[i] = static_cast<u8>((state_.config[i] & writable_[i]) | (reset_[i] & ~writable_[i]));
        update_messages_locked(false);
        update_intx_locked();
    }
    place_bars();
}

} // namespace calque::devices
