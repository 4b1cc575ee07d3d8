// The VGA's ports, a byte each.
#include "devices/vga/vga.h"

namespace calque::devices {

using namespace vga;

namespace {

// The bits that each register keeps; what is not there reads as zero.
constexpr std::array<u8, 5> sequencer_bits{0x03, 0x3D, 0x0F, 0x3F, 0x0E};
constexpr std::array<u8, 9> graphics_bits{0x0F, 0x0F, 0x0F, 0x1F, 0x03, 0x7B, 0x0F, 0x0F, 0xFF};
constexpr std::array<u8, 0x15> attribute_bits{0x3F, 0x3F, 0x3F, 0x3F, 0x3F, 0x3F, 0x3F, 0x3F, 0x3F, 0x3F, 0x3F,
                                              0x3F, 0x3F, 0x3F, 0x3F, 0x3F, 0xEF, 0xFF, 0x3F, 0x0F, 0x0F};
constexpr std::size_t crtc_count = 0x19;

template <std::size_t N, std::size_t M>
void put(std::array<u8, N>& file, const std::array<u8, M>& bits, u8 index, u8 value) {
    if (index < M) file[index] = value & bits[index];
}

} // namespace

u8 Vga::Ports::read_byte(u64 offset) {
    std::lock_guard lock(vga_.mutex_);
    return vga_.read_port(static_cast<u16>(base_ + offset));
}

void Vga::Ports::write_byte(u64 offset, u8 value) {
    std::lock_guard lock(vga_.mutex_);
    vga_.write_port(static_cast<u16>(base_ + offset), value);
}

// The CRTC and status 1 answer at 3Bx or at 3Dx, as the miscellaneous output register says.
u8 Vga::read_port(u16 port) {
    const bool color = state_.misc_output & MISC_COLOR;
    if (port < 0x3C0 || port >= 0x3D0) {
        if ((port >= 0x3D0) != color) return 0xFF;
        port = static_cast<u16>(0x3D0 | (port & 0xF));
    }
    switch (port) {
    case ATTRIBUTE: return state_.attribute_data ? 0 : state_.attribute_index;
    case ATTRIBUTE_READ: return state_.attribute[state_.attribute_index & 31];
    case MISC_WRITE: return STATUS_0_SENSE;
    case VIDEO_ENABLE: return state_.video_enable;
    case SEQUENCER_INDEX: return state_.sequencer_index;
    case SEQUENCER_DATA: return state_.sequencer[state_.sequencer_index & 7];
    case PEL_MASK: return state_.pel_mask;
    case DAC_READ_INDEX: return state_.dac_reading ? 3 : 0;
    case DAC_WRITE_INDEX: return state_.dac_index;
    case DAC_DATA: return read_dac();
    case FEATURE_READ: return state_.feature_control;
    case MISC_READ: return state_.misc_output;
    case GRAPHICS_INDEX: return state_.graphics_index;
    case GRAPHICS_DATA: return state_.graphics[state_.graphics_index & 15];
    case CRTC_INDEX: return state_.crtc_index;
    case CRTC_DATA: return state_.crtc[state_.crtc_index & 31];
    case STATUS_1: return status_1();
    default: return 0xFF;
    }
}

void Vga::write_port(u16 port, u8 value) {
    const bool color = state_.misc_output & MISC_COLOR;
    if (port < 0x3C0 || port >= 0x3D0) {
        if ((port >= 0x3D0) != color) return;
        port = static_cast<u16>(0x3D0 | (port & 0xF));
    }
    switch (port) {
    case ATTRIBUTE: return write_attribute(value);
    case MISC_WRITE: state_.misc_output = value & 0xEF; return;
    case VIDEO_ENABLE: state_.video_enable = value & 1; return;
    case SEQUENCER_INDEX: state_.sequencer_index = value & 7; return;
    case SEQUENCER_DATA: return put(state_.sequencer, sequencer_bits, state_.sequencer_index, value);
    case PEL_MASK: state_.pel_mask = value; return;
    case DAC_READ_INDEX:
    case DAC_WRITE_INDEX:
        state_.dac_index = value;
        state_.dac_component = 0;
        state_.dac_reading = port == DAC_READ_INDEX;
        return;
    case DAC_DATA: return write_dac(value);
    case GRAPHICS_INDEX: state_.graphics_index = value & 15; return;
    case GRAPHICS_DATA: return put(state_.graphics, graphics_bits, state_.graphics_index, value);
    case CRTC_INDEX: state_.crtc_index = value & 31; return;
    case CRTC_DATA: return write_crtc(value);
    case STATUS_1: state_.feature_control = value & 0x0B; return;
    default: return;
    }
}

void Vga::write_crtc(u8 value) {
    const unsigned index = state_.crtc_index;
    if (index >= crtc_count) return;
    if (index <= CR_OVERFLOW && (state_.crtc[CR_RETRACE_END] & CRTC_PROTECT)) {
        // All but bit 8 of the line compare.
        if (index == CR_OVERFLOW) state_.crtc[index] = static_cast<u8>((state_.crtc[index] & ~0x10) | (value & 0x10));
        return;
    }
    state_.crtc[index] = value;
}

// Index and data take turns at one port; reading status 1 makes the next one an index.
void Vga::write_attribute(u8 value) {
    if (!state_.attribute_data)
        state_.attribute_index = value & 0x3F;
    else
        put(state_.attribute, attribute_bits, state_.attribute_index & 31, value);
    state_.attribute_data = !state_.attribute_data;
}

u8 Vga::read_dac() {
    const u8 value = state_.palette[state_.dac_index * 3u + state_.dac_component];
    if (++state_.dac_component == 3) {
        state_.dac_component = 0;
        ++state_.dac_index;
    }
    return value;
}

void Vga::write_dac(u8 value) {
    const bool wide = state_.dispi[DISPI_ENABLE] & DISPI_8BIT_DAC;
    state_.palette[state_.dac_index * 3u + state_.dac_component] = wide ? value : value & 0x3F;
    if (++state_.dac_component == 3) {
        state_.dac_component = 0;
        ++state_.dac_index;
    }
}

// Where the beam is, by the CRTC's own counters and the dot clock.
u8 Vga::status_1() {
    state_.attribute_data = false;
    const auto& c = state_.crtc;
    const bool vbe = state_.vbe();
    const u64 clock_hz = (state_.misc_output >> 2 & 3) == 1 ? 28'322'000 : 25'175'000;
    const u64 dots = state_.sequencer[SR_CLOCKING] & CLOCKING_8_DOTS ? 8 : 9;
    const u64 overflow = c[CR_OVERFLOW];
    u64 columns = c[CR_HORIZONTAL_TOTAL] + 5u, shown_columns = c[CR_DISPLAY_END] + 1u;
    u64 lines = (c[CR_VERTICAL_TOTAL] | (overflow & 1) << 8 | (overflow >> 5 & 1) << 9) + 2;
    u64 shown = (c[CR_VERTICAL_DISPLAY_END] | (overflow >> 1 & 1) << 8 | (overflow >> 6 & 1) << 9) + 1;
    u64 retrace = c[CR_RETRACE_START] | (overflow >> 2 & 1) << 8 | (overflow >> 7 & 1) << 9;
    u64 line_ns =
        columns * dots * (state_.sequencer[SR_CLOCKING] & CLOCKING_HALF_DOT_CLOCK ? 2 : 1) * 1'000'000'000 / clock_hz;
    if (vbe) { // The extension has no timing of its own: 60 frames a second.
        shown = state_.dispi[DISPI_YRES];
        lines = shown + shown / 20 + 8;
        retrace = shown + 2;
        line_ns = 1'000'000'000 / 60 / lines;
    }
    line_ns = std::max<u64>(line_ns, 100);
    const u64 now = clock_.now(), line = now / line_ns % lines, column = now % line_ns * columns / line_ns;
    const u64 retrace_lines = ((c[CR_RETRACE_END] - retrace) & 15) ? ((c[CR_RETRACE_END] - retrace) & 15) : 16;
    u8 status = 0;
    if (line >= shown || column >= shown_columns) status |= STATUS_1_BLANK;
    if (line >= retrace && line < retrace + (vbe ? 6 : retrace_lines)) status |= STATUS_1_RETRACE;
    return status;
}

} // namespace calque::devices
