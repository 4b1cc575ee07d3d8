// The registers of a VGA (IBM Personal System/2 Hardware Interface Technical Reference, video subsystem) and of Bochs'
// VBE extension (the "DISPI" interface).
#pragma once

#include "base/archive.h"
#include "base/types.h"

#include <array>

namespace calque::devices::vga {

// Ports. Those at 3D4, 3D5 and 3DA are at 3B4, 3B5 and 3BA while MISC_COLOR is clear.
inline constexpr u16 MONO_PORTS = 0x3B0, CRTC_INDEX = 0x3D4, CRTC_DATA = 0x3D5, STATUS_1 = 0x3DA, ATTRIBUTE = 0x3C0,
                     ATTRIBUTE_READ = 0x3C1, MISC_WRITE = 0x3C2, VIDEO_ENABLE = 0x3C3, SEQUENCER_INDEX = 0x3C4,
                     SEQUENCER_DATA = 0x3C5, PEL_MASK = 0x3C6, DAC_READ_INDEX = 0x3C7, DAC_WRITE_INDEX = 0x3C8,
                     DAC_DATA = 0x3C9, FEATURE_READ = 0x3CA, MISC_READ = 0x3CC, GRAPHICS_INDEX = 0x3CE,
                     GRAPHICS_DATA = 0x3CF;

inline constexpr u8 MISC_COLOR = 1 << 0, MISC_RAM_ENABLE = 1 << 1;
inline constexpr u8 STATUS_0_SENSE = 1 << 4;
inline constexpr u8 STATUS_1_BLANK = 1 << 0, STATUS_1_RETRACE = 1 << 3;

// Sequencer.
inline constexpr unsigned SR_RESET = 0, SR_CLOCKING = 1, SR_MAP_MASK = 2, SR_CHARACTER_MAP = 3, SR_MEMORY_MODE = 4;
inline constexpr u8 CLOCKING_8_DOTS = 1 << 0, CLOCKING_HALF_DOT_CLOCK = 1 << 3, CLOCKING_SCREEN_OFF = 1 << 5;
inline constexpr u8 MEMORY_SEQUENTIAL = 1 << 2, MEMORY_CHAIN_4 = 1 << 3;

// Graphics controller.
inline constexpr unsigned GR_SET_RESET = 0, GR_ENABLE_SET_RESET = 1, GR_COLOR_COMPARE = 2, GR_ROTATE = 3,
                          GR_READ_MAP = 4, GR_MODE = 5, GR_MISCELLANEOUS = 6, GR_COLOR_DONT_CARE = 7, GR_BIT_MASK = 8;
inline constexpr u8 MODE_READ_COMPARE = 1 << 3, MODE_HOST_ODD_EVEN = 1 << 4, MODE_SHIFT_INTERLEAVE = 1 << 5,
                    MODE_SHIFT_256 = 1 << 6;
inline constexpr u8 MISCELLANEOUS_GRAPHICS = 1 << 0;

// Attribute controller.
inline constexpr unsigned AR_MODE = 0x10, AR_PLANE_ENABLE = 0x12, AR_PANNING = 0x13, AR_COLOR_SELECT = 0x14;
inline constexpr u8 ATTRIBUTE_LINE_GRAPHICS = 1 << 2, ATTRIBUTE_BLINK = 1 << 3, ATTRIBUTE_SPLIT_PANNING = 1 << 5,
                    ATTRIBUTE_COLOR_BITS_4_5 = 1 << 7;
inline constexpr u8 ATTRIBUTE_VIDEO_ENABLE = 1 << 5; // In the index.

// CRT controller.
inline constexpr unsigned CR_HORIZONTAL_TOTAL = 0x00, CR_DISPLAY_END = 0x01, CR_VERTICAL_TOTAL = 0x06,
                          CR_OVERFLOW = 0x07, CR_PRESET_ROW_SCAN = 0x08, CR_MAXIMUM_SCAN_LINE = 0x09,
                          CR_CURSOR_START = 0x0A, CR_CURSOR_END = 0x0B, CR_START_HIGH = 0x0C, CR_START_LOW = 0x0D,
                          CR_CURSOR_HIGH = 0x0E, CR_CURSOR_LOW = 0x0F, CR_RETRACE_START = 0x10, CR_RETRACE_END = 0x11,
                          CR_VERTICAL_DISPLAY_END = 0x12, CR_OFFSET = 0x13, CR_UNDERLINE = 0x14, CR_MODE = 0x17,
                          CR_LINE_COMPARE = 0x18;
inline constexpr u8 CRTC_PROTECT = 1 << 7;                                   // In CR_RETRACE_END: of 0 to 7.
inline constexpr u8 SCAN_DOUBLE = 1 << 7;                                    // In CR_MAXIMUM_SCAN_LINE.
inline constexpr u8 UNDERLINE_COUNT_BY_4 = 1 << 5, UNDERLINE_DWORD = 1 << 6; // In CR_UNDERLINE.
inline constexpr u8 CRTC_NO_CGA_BANKS = 1 << 0, CRTC_NO_HERCULES_BANKS = 1 << 1, CRTC_HALF_VERTICAL = 1 << 2,
                    CRTC_COUNT_BY_2 = 1 << 3, CRTC_ADDRESS_WRAP = 1 << 5, CRTC_BYTE_MODE = 1 << 6,
                    CRTC_SYNC_ENABLE = 1 << 7; // In CR_MODE.
inline constexpr u8 CURSOR_OFF = 1 << 5;       // In CR_CURSOR_START.

// DISPI registers, 16 bits each, by index at port 1CEh and data at 1CFh or 1D0h.
inline constexpr u16 DISPI_PORTS = 0x1CE;
inline constexpr unsigned DISPI_ID = 0, DISPI_XRES = 1, DISPI_YRES = 2, DISPI_BPP = 3, DISPI_ENABLE = 4, DISPI_BANK = 5,
                          DISPI_VIRT_WIDTH = 6, DISPI_VIRT_HEIGHT = 7, DISPI_X_OFFSET = 8, DISPI_Y_OFFSET = 9,
                          DISPI_VIDEO_MEMORY_64K = 10, DISPI_COUNT = 11;
inline constexpr u16 DISPI_ID_FIRST = 0xB0C0, DISPI_ID_LAST = 0xB0C5;
inline constexpr u16 DISPI_ENABLED = 1 << 0, DISPI_GETCAPS = 1 << 1, DISPI_8BIT_DAC = 1 << 5, DISPI_NOCLEARMEM = 1 << 7;
inline constexpr u16 DISPI_MAX_XRES = 8192, DISPI_MAX_YRES = 8192, DISPI_MAX_BPP = 32;

// All that software can set. Plain values: a copy is a picture of the device at one moment.
struct Registers {
    u8 misc_output = 0;
    u8 feature_control = 0;
    u8 video_enable = 1;
    u8 sequencer_index = 0;
    std::array<u8, 8> sequencer{};
    u8 graphics_index = 0;
    std::array<u8, 16> graphics{};
    u8 crtc_index = 0;
    std::array<u8, 32> crtc{};
    u8 attribute_index = 0;
    bool attribute_data = false; // The next write to 3C0 is data.
    std::array<u8, 32> attribute{};
    u8 pel_mask = 0xFF;
    u8 dac_index = 0;
    u8 dac_component = 0;
    bool dac_reading = false;
    std::array<u8, 768> palette{}; // Red, green, blue; 6 bits each, or 8 with DISPI_8BIT_DAC.
    std::array<u8, 4> latches{};   // A byte of each plane.
    u16 dispi_index = 0;
    std::array<u16, DISPI_COUNT> dispi{DISPI_ID_LAST, 640, 480, 8};
    bool operator==(const Registers&) const = default;

    bool vbe() const { return dispi[DISPI_ENABLE] & DISPI_ENABLED; }
    bool vbe_linear() const { return vbe() && dispi[DISPI_BPP] > 4; }
    void serialize(Archive& archive); // The fields alone.
};

// Writes a DISPI register as far as `memory` bytes of video memory allow. True when the mode was switched on and what
// it shows is to be cleared.
bool write_dispi(Registers& registers, unsigned index, u16 value, u64 memory);
u16 read_dispi(const Registers& registers, unsigned index, u64 memory);
// Makes the DISPI registers agree with each other and with the memory, whatever they held.
void settle_dispi(Registers& registers, u64 memory);
// Of a VBE mode: from one row to the next, in bytes (of each plane with 4 bits).
u32 dispi_pitch(const Registers& registers);

} // namespace calque::devices::vga
