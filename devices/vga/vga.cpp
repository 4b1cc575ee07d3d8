#include "devices/vga/vga.h"

#include "base/byte_order.h"
#include "devices/monitor/edid.h"
#include "devices/vga/text_screen.h"

#include <cstring>

namespace calque::devices {

using namespace vga;

namespace {
// Offsets in BAR 2.
constexpr u64 registers_size = 0x1000, edid_size = 0x400, ports_at = 0x400, ports_size = 0x20, dispi_at = 0x500,
              extended_at = 0x600, extended_size = 8;
constexpr u32 little_endian = 0x1E1E'1E1E; // The byte order register: this framebuffer has no other.
} // namespace

Vga::Vga(Log& log, Clock& clock, const Options& options, std::function<void()> memory_changed, std::string name)
    : log_(log), clock_(clock), options_(options), memory_changed_(std::move(memory_changed)), name_(std::move(name)),
      edid_(make_edid(options.width, options.height)), memory_(options.memory), pci_(descriptor(), log) {
    reset();
}

PciDescriptor Vga::descriptor() {
    PciDescriptor d;
    d.name = name_ + "_pci";
    d.vendor_id = 0x1234;
    d.device_id = 0x1111;
    d.revision_id = 2;
    d.class_code = 0x030000;
    d.subsystem_vendor_id = 0x1AF4;
    d.subsystem_id = 0x1100;
    d.bars[0] = framebuffer_bar();
    d.bars[2] = registers_bar();
    return d;
}

PciBar Vga::framebuffer_bar() { return {PciBar::Kind::memory32, memory_.size(), true, &framebuffer_}; }
PciBar Vga::registers_bar() { return {PciBar::Kind::memory32, registers_size, false, &registers_}; }

void Vga::map_legacy(Bus& ports, Bus& memory) {
    ports.map(0x3B0, 12, ports_3b0_, name_ + " mono"); // Behind it lies a printer port.
    ports.map(0x3C0, 32, ports_3c0_, name_);
    ports.map(DISPI_PORTS, 4, dispi_ports_, name_ + " DISPI");
    memory.map(LegacyWindow::base, LegacyWindow::size, window_, name_ + " window");
}

void Vga::reset() {
    {
        std::lock_guard lock(mutex_);
        state_ = {};
        settle_dispi(state_, memory_.size());
    }
    pci_.reset();
}

// --- The framebuffer, where processors do not reach it directly

u64 Vga::Framebuffer::read(u64 offset, unsigned size) { return load_little(vga_.memory_.bytes(), offset, size); }

void Vga::Framebuffer::write(u64 offset, u64 value, unsigned size) {
    const bool changed = vga_.memory_.open_for_write(offset, size);
    store_little({vga_.memory_.data(), vga_.memory_.size()}, offset, value, size);
    if (changed && vga_.memory_changed_) vga_.memory_changed_();
}

u8 Vga::Window::read_byte(u64 offset) {
    std::lock_guard lock(vga_.mutex_);
    return vga_.legacy_.read(static_cast<u32>(offset));
}

void Vga::Window::write_byte(u64 offset, u8 value) {
    std::lock_guard lock(vga_.mutex_);
    vga_.legacy_.write(static_cast<u32>(offset), value);
}

// --- DISPI

void Vga::set_dispi(unsigned index, u16 value) {
    if (!write_dispi(state_, index, value, memory_.size())) return;
    const u64 bytes = std::min<u64>(
        u64{dispi_pitch(state_)} * state_.dispi[DISPI_YRES] * (state_.dispi[DISPI_BPP] == 4 ? 4 : 1), memory_.size());
    std::memset(memory_.data(), 0, bytes);
    memory_.note_write(0, bytes);
}

u64 Vga::DispiPorts::read(u64 offset, unsigned size) {
    std::lock_guard lock(vga_.mutex_);
    const u64 value =
        offset == 0 ? vga_.state_.dispi_index : read_dispi(vga_.state_, vga_.state_.dispi_index, vga_.memory_.size());
    return size == 1 ? value & 0xFF : value;
}

void Vga::DispiPorts::write(u64 offset, u64 value, unsigned) {
    std::lock_guard lock(vga_.mutex_);
    if (offset == 0)
        vga_.state_.dispi_index = static_cast<u16>(value);
    else
        vga_.set_dispi(vga_.state_.dispi_index, static_cast<u16>(value));
}

// --- BAR 2

u64 Vga::Registers::read(u64 offset, unsigned size) {
    u64 value = 0;
    if (offset < edid_size) {
        for (unsigned i = 0; i < size && vga_.options_.edid && offset + i < vga_.edid_.size(); ++i)
            value |= u64{vga_.edid_[offset + i]} << (8 * i);
        return value;
    }
    std::lock_guard lock(vga_.mutex_);
    if (offset >= ports_at && offset < ports_at + ports_size) {
        for (unsigned i = 0; i < size; ++i)
            value |= u64{vga_.read_port(static_cast<u16>(ATTRIBUTE + (offset - ports_at) + i))} << (8 * i);
    } else if (offset >= dispi_at && offset < dispi_at + 2 * DISPI_COUNT) {
        for (unsigned i = 0; i < size; ++i) {
            const u64 at = offset + i - dispi_at;
            const u16 word = read_dispi(vga_.state_, static_cast<unsigned>(at / 2), vga_.memory_.size());
            value |= u64{static_cast<u8>(at % 2 ? word >> 8 : word)} << (8 * i);
        }
    } else if (offset >= extended_at && offset < extended_at + extended_size) {
        const u64 registers = u64{little_endian} << 32 | extended_size;
        value = registers >> (8 * (offset - extended_at));
    }
    return value;
}

void Vga::Registers::write(u64 offset, u64 value, unsigned size) {
    std::lock_guard lock(vga_.mutex_);
    if (offset >= ports_at && offset + size <= ports_at + ports_size) {
        for (unsigned i = 0; i < size; ++i)
            vga_.write_port(static_cast<u16>(ATTRIBUTE + (offset - ports_at) + i), static_cast<u8>(value >> (8 * i)));
    } else if (offset >= dispi_at && offset + size <= dispi_at + 2 * DISPI_COUNT && offset % 2 == 0) {
        for (unsigned i = 0; i < std::max(size, 2u); i += 2)
            vga_.set_dispi(static_cast<unsigned>((offset - dispi_at + i) / 2), static_cast<u16>(value >> (8 * i)));
    } else if (offset >= extended_at && offset < extended_at + extended_size
               && static_cast<u32>(value) != little_endian) {
        vga_.log_.unimplemented(Channel::bus, "vga.big_endian");
    }
}

// --- What is shown

void Vga::take_picture(Surface& surface) {
    vga::Registers registers;
    {
        std::lock_guard lock(mutex_);
        registers = state_;
    }
    render_all({registers, memory_.bytes(), {}}, surface);
}

Display::Damage Vga::update(Surface& surface) {
    vga::Registers registers;
    {
        std::lock_guard lock(mutex_);
        registers = state_;
    }
    // What reading and drawing leave behind shows nowhere.
    registers.latches = {};
    registers.attribute_index &= ATTRIBUTE_VIDEO_ENABLE;
    registers.attribute_data = registers.dac_reading = false;
    registers.crtc_index = registers.sequencer_index = registers.graphics_index = registers.dac_index =
        registers.dac_component = 0;
    registers.dispi_index = registers.dispi[DISPI_BANK] = 0;
    bool changed = false;
    const auto written = memory_.collect(changed);
    if (changed && memory_changed_) memory_changed_();
    const Blink blink = blink_at(clock_.now());
    const Picture picture{registers, memory_.bytes(), blink};
    const bool everything = !updating_ || registers != shown_ || surface.pixels.empty();
    const bool blinked = blink != shown_blink_;
    updating_ = true;
    shown_ = registers;
    shown_blink_ = blink;
    if (everything) return render_all(picture, surface);
    return render_written(picture, written, blinked, surface);
}

void Vga::stop_updates() {
    updating_ = false;
    if (memory_.stop_watching() && memory_changed_) memory_changed_();
}

std::optional<std::vector<std::string>> Vga::text() {
    vga::Registers registers;
    {
        std::lock_guard lock(mutex_);
        registers = state_;
    }
    return text_screen(registers, memory_.bytes());
}

// --- Saving

void vga::Registers::serialize(Archive& archive) {
    archive.field("misc_output", misc_output);
    archive.field("feature_control", feature_control);
    archive.field("video_enable", video_enable);
    archive.field("sequencer_index", sequencer_index);
    archive.field("sequencer", sequencer);
    archive.field("graphics_index", graphics_index);
    archive.field("graphics", graphics);
    archive.field("crtc_index", crtc_index);
    archive.field("crtc", crtc);
    archive.field("attribute_index", attribute_index);
    archive.field("attribute_data", attribute_data);
    archive.field("attribute", attribute);
    archive.field("pel_mask", pel_mask);
    archive.field("dac_index", dac_index);
    archive.field("dac_component", dac_component);
    archive.field("dac_reading", dac_reading);
    archive.field("palette", palette);
    archive.field("latches", latches);
    archive.field("dispi_index", dispi_index);
    archive.field("dispi", dispi);
}

void Vga::serialize(Archive& archive) {
    archive.section(name_, 1, [&](u32) {
        {
            std::lock_guard lock(mutex_);
            state_.serialize(archive);
            if (archive.loading()) {
                state_.dac_component %= 3;
                settle_dispi(state_, memory_.size());
            }
        }
        memory_.serialize(archive);
    });
    if (archive.loading()) memory_.note_write(0, memory_.size());
    pci_.serialize(archive);
}

} // namespace calque::devices
