#include "base/manual_clock.h"
#include "devices/monitor/edid.h"
#include "devices/pci/option_rom.h"
#include "devices/vga/vga.h"
#include "tests/devices/virtio_driver.h"

#include <gtest/gtest.h>

namespace calque::devices {
namespace {

using namespace test;
using namespace vga;

class VgaTest : public testing::Test {
  protected:
    static constexpr u64 framebuffer = 0xE000'0000, registers = 0xFEBF'0000, memory = u64{1} << 20;

    VgaTest() { make(); }
    void make() {
        device.reset();
        Vga::Options options;
        options.memory = memory;
        device = std::make_unique<Vga>(
            board.log, clock, options, [this] { ++map_changes; }, "vga");
        device->map_legacy(board.ports, board.memory_bus);
        board.plug(device->function());
        board.write_config(pci::BAR0, framebuffer, 4);
        board.write_config(pci::BAR0 + 8, registers, 4);
    }
    u8 in(u16 port) { return static_cast<u8>(board.ports.read(port, 1)); }
    void out(u16 port, u8 value) { board.ports.write(port, value, 1); }
    void set(u16 port, u8 index, u8 value) { board.ports.write(port, index | value << 8, 2); }
    u8 get(u16 port, u8 index) {
        out(port, index);
        return in(port + 1);
    }
    void attribute(u8 index, u8 value) {
        in(STATUS_1);
        out(ATTRIBUTE, index);
        out(ATTRIBUTE, value);
    }
    void show() {
        in(STATUS_1);
        out(ATTRIBUTE, ATTRIBUTE_VIDEO_ENABLE);
    }
    void dispi(unsigned index, u16 value) {
        board.ports.write(DISPI_PORTS, index, 2);
        board.ports.write(DISPI_PORTS + 1, value, 2);
    }
    u16 dispi(unsigned index) {
        board.ports.write(DISPI_PORTS, index, 2);
        return static_cast<u16>(board.ports.read(DISPI_PORTS + 1, 2));
    }
    void vbe(u16 width, u16 height, u16 depth, u16 flags = 0) {
        dispi(DISPI_ENABLE, 0);
        dispi(DISPI_XRES, width);
        dispi(DISPI_YRES, height);
        dispi(DISPI_BPP, depth);
        dispi(DISPI_ENABLE, DISPI_ENABLED | 0x40 | flags);
    }
    u8 peek(u64 at) { return static_cast<u8>(board.memory_bus.read(at, 1)); }
    void poke(u64 at, u8 value) { board.memory_bus.write(at, value, 1); }
    u8 plane(u32 address, unsigned number) { return peek(framebuffer + address * 4 + number); }
    void palette(u8 index, u8 red, u8 green, u8 blue) {
        out(DAC_WRITE_INDEX, index);
        for (const u8 value : {red, green, blue})
            out(DAC_DATA, value);
    }
    // Planes at A0000, everything written as it comes; sixteen colours, `columns` characters by `lines`.
    void planar(u8 columns, u16 lines) {
        out(MISC_WRITE, MISC_COLOR | MISC_RAM_ENABLE);
        for (const auto& [index, value] :
             {std::pair{SR_RESET, 3}, {SR_CLOCKING, 1}, {SR_MAP_MASK, 15}, {SR_MEMORY_MODE, 6}})
            set(SEQUENCER_INDEX, static_cast<u8>(index), static_cast<u8>(value));
        for (u8 i = 0; i < 9; ++i)
            set(GRAPHICS_INDEX, i, 0);
        set(GRAPHICS_INDEX, GR_MISCELLANEOUS, 5);
        set(GRAPHICS_INDEX, GR_COLOR_DONT_CARE, 15);
        set(GRAPHICS_INDEX, GR_BIT_MASK, 0xFF);
        crtc(columns, lines, 0xE3);
        for (u8 i = 0; i < 16; ++i) {
            attribute(i, i);
            palette(i, i, i, i);
        }
        attribute(AR_MODE, 1);
        attribute(AR_PLANE_ENABLE, 15);
        show();
    }
    void crtc(u8 columns, u16 lines, u8 mode) {
        set(CRTC_INDEX, CR_RETRACE_END, 0);
        for (u8 i = 0; i < 0x19; ++i)
            set(CRTC_INDEX, i, 0);
        set(CRTC_INDEX, CR_DISPLAY_END, static_cast<u8>(columns - 1));
        set(CRTC_INDEX, CR_VERTICAL_DISPLAY_END, static_cast<u8>(lines - 1));
        set(CRTC_INDEX, CR_OVERFLOW, static_cast<u8>(0x10 | ((lines - 1) >> 8 & 1) << 1 | ((lines - 1) >> 9 & 1) << 6));
        set(CRTC_INDEX, CR_MAXIMUM_SCAN_LINE, 0x40);
        set(CRTC_INDEX, CR_LINE_COMPARE, 0xFF);
        set(CRTC_INDEX, CR_OFFSET, columns / 2);
        set(CRTC_INDEX, CR_MODE, mode);
    }
    // 80 by 25 characters of 9 by 16 dots, in which character c is c in each line of the font.
    void text_mode() {
        planar(80, 400);
        set(SEQUENCER_INDEX, SR_MAP_MASK, 4);
        for (u32 at = 0; at < 256 * 32; ++at)
            poke(0xA0000 + at, static_cast<u8>(at / 32));
        set(SEQUENCER_INDEX, SR_CLOCKING, 0);
        set(SEQUENCER_INDEX, SR_MAP_MASK, 3);
        set(SEQUENCER_INDEX, SR_MEMORY_MODE, 2);
        set(GRAPHICS_INDEX, GR_MODE, MODE_HOST_ODD_EVEN);
        set(GRAPHICS_INDEX, GR_MISCELLANEOUS, 0x0E);
        set(CRTC_INDEX, CR_MAXIMUM_SCAN_LINE, 0x4F);
        set(CRTC_INDEX, CR_MODE, 0xA3);
        set(CRTC_INDEX, CR_CURSOR_START, CURSOR_OFF);
        set(CRTC_INDEX, CR_UNDERLINE, 0x1F);
        attribute(AR_MODE, ATTRIBUTE_LINE_GRAPHICS | ATTRIBUTE_BLINK);
        attribute(AR_PANNING, 8);
        show();
    }
    static u32 grey(u8 six) { return (six << 2 | six >> 4) * 0x010101u; }
    Surface picture() {
        Surface surface;
        device->take_picture(surface);
        return surface;
    }

    PciBoard board;
    ManualClock clock;
    unsigned map_changes = 0;
    std::unique_ptr<Vga> device;
};

TEST_F(VgaTest, IdentifiesItself) {
    EXPECT_EQ(board.config(pci::VENDOR_ID, 4), 0x1111'1234u);
    EXPECT_EQ(board.config(pci::CLASS_CODE, 2), 0x0000u);
    EXPECT_EQ(board.config(pci::CLASS_CODE + 2, 1), 0x03u);
    EXPECT_EQ(dispi(DISPI_ID), DISPI_ID_LAST);
    dispi(DISPI_ID, 0xB0C2);
    EXPECT_EQ(dispi(DISPI_ID), 0xB0C2);
    dispi(DISPI_ID, 0x1234);
    EXPECT_EQ(dispi(DISPI_ID), 0xB0C2);
    EXPECT_EQ(dispi(DISPI_VIDEO_MEMORY_64K), memory >> 16);
}

TEST_F(VgaTest, TheMonitorsBlockSumsUpAndPrefersWhatItWasGiven) {
    u8 sum = 0;
    for (unsigned i = 0; i < 128; ++i)
        sum = static_cast<u8>(sum + peek(registers + i));
    EXPECT_EQ(sum, 0);
    EXPECT_EQ(board.memory_bus.read(registers, 8), 0x00FF'FFFF'FFFF'FF00u);
    EXPECT_EQ(peek(registers + 56) | (peek(registers + 58) & 0xF0) << 4, 1280);
    EXPECT_EQ(peek(registers + 59) | (peek(registers + 61) & 0xF0) << 4, 800);
    EXPECT_EQ(make_edid(100000, 0)[56], 0xFF); // Clamped, not wrapped.
}

TEST_F(VgaTest, RegistersInMemoryAreThePorts) {
    out(MISC_WRITE, MISC_COLOR);
    board.memory_bus.write(registers + 0x404, 0x0F02, 2); // Sequencer, map mask.
    EXPECT_EQ(get(SEQUENCER_INDEX, SR_MAP_MASK), 0x0F);
    board.memory_bus.write(registers + 0x502, 800, 2);
    EXPECT_EQ(dispi(DISPI_XRES), 800);
    EXPECT_EQ(board.memory_bus.read(registers + 0x502, 2), 800u);
    EXPECT_EQ(board.memory_bus.read(registers + 0x600, 4), 8u);
    EXPECT_EQ(board.memory_bus.read(registers + 0x604, 4), 0x1E1E1E1Eu);
}

TEST_F(VgaTest, TheCrtcMovesWithTheMiscellaneousOutputRegister) {
    out(MISC_WRITE, 0);
    EXPECT_EQ(in(CRTC_DATA), 0xFF);
    out(0x3B4, 0x0A);
    out(0x3B5, 0x2E);
    out(MISC_WRITE, MISC_COLOR);
    EXPECT_EQ(get(CRTC_INDEX, 0x0A), 0x2E);
    EXPECT_EQ(in(0x3B5), 0xFF);
}

TEST_F(VgaTest, ProtectedCrtcRegistersKeepAllButTheLineComparesBit) {
    out(MISC_WRITE, MISC_COLOR);
    set(CRTC_INDEX, CR_RETRACE_END, CRTC_PROTECT);
    set(CRTC_INDEX, CR_HORIZONTAL_TOTAL, 0x5F);
    set(CRTC_INDEX, CR_OVERFLOW, 0xFF);
    EXPECT_EQ(get(CRTC_INDEX, CR_HORIZONTAL_TOTAL), 0);
    EXPECT_EQ(get(CRTC_INDEX, CR_OVERFLOW), 0x10);
}

TEST_F(VgaTest, TheDacCountsThroughItsEntries) {
    palette(255, 1, 2, 0xFF);
    out(DAC_READ_INDEX, 255);
    EXPECT_EQ(in(DAC_READ_INDEX)&3, 3);
    EXPECT_EQ(in(DAC_DATA), 1);
    EXPECT_EQ(in(DAC_DATA), 2);
    EXPECT_EQ(in(DAC_DATA), 0x3F);
    EXPECT_EQ(in(DAC_WRITE_INDEX), 0); // And around.
}

TEST_F(VgaTest, Status1SeesTheBeamAndMakesTheAttributePortAnIndex) {
    planar(80, 400);
    set(CRTC_INDEX, CR_HORIZONTAL_TOTAL, 0x5F);
    set(CRTC_INDEX, CR_VERTICAL_TOTAL, 0xBF);
    set(CRTC_INDEX, CR_OVERFLOW, 0x1F);
    set(CRTC_INDEX, CR_RETRACE_START, 0x9C);
    set(CRTC_INDEX, CR_RETRACE_END, 0x0E);
    unsigned shown = 0, retrace = 0, both = 0;
    for (unsigned i = 0; i < 14'000; ++i) { // A frame of 70 Hz, microsecond by microsecond.
        const u8 status = in(STATUS_1);
        shown += !(status & STATUS_1_BLANK);
        retrace += (status & STATUS_1_RETRACE) != 0;
        both += (status & STATUS_1_RETRACE) && !(status & STATUS_1_BLANK);
        clock.advance(1000);
    }
    EXPECT_NEAR(shown, 10'200, 300); // 400 lines of 449, 80 characters of 100.
    EXPECT_NEAR(retrace, 64, 10);    // Two lines.
    EXPECT_EQ(both, 0u);
}

TEST_F(VgaTest, WriteMode0RotatesSetsAndMasks) {
    planar(80, 400);
    set(GRAPHICS_INDEX, GR_ROTATE, 4);
    poke(0xA0010, 0x12);
    EXPECT_EQ(plane(0x10, 0), 0x21);
    set(GRAPHICS_INDEX, GR_ROTATE, 0);
    set(GRAPHICS_INDEX, GR_SET_RESET, 0b0101);
    set(GRAPHICS_INDEX, GR_ENABLE_SET_RESET, 0b0011);
    set(GRAPHICS_INDEX, GR_BIT_MASK, 0x0F);
    peek(0xA0010); // Into the latches.
    poke(0xA0010, 0xAA);
    EXPECT_EQ(plane(0x10, 0), 0x2F);
    EXPECT_EQ(plane(0x10, 1), 0x20);
    EXPECT_EQ(plane(0x10, 2), 0x2A);
    set(SEQUENCER_INDEX, SR_MAP_MASK, 8);
    set(GRAPHICS_INDEX, GR_BIT_MASK, 0xFF);
    poke(0xA0010, 0x55);
    EXPECT_EQ(plane(0x10, 2), 0x2A);
    EXPECT_EQ(plane(0x10, 3), 0x55);
}

TEST_F(VgaTest, LogicalFunctionsCombineWithTheLatches) {
    planar(80, 400);
    for (const auto& [function, expected] : {std::pair{1, 0x08}, {2, 0x7E}, {3, 0x76}}) {
        set(GRAPHICS_INDEX, GR_ROTATE, 0);
        poke(0xA0000, 0x1C);
        peek(0xA0000);
        set(GRAPHICS_INDEX, GR_ROTATE, static_cast<u8>(function << 3));
        poke(0xA0000, 0x6A);
        EXPECT_EQ(plane(0, 1), expected) << function;
    }
}

TEST_F(VgaTest, WriteModes1To3) {
    planar(80, 400);
    for (unsigned p = 0; p < 4; ++p)
        poke(framebuffer + 4 * 7 + p, static_cast<u8>(0x10 << p));
    set(GRAPHICS_INDEX, GR_MODE, 1);
    peek(0xA0007);
    poke(0xA0009, 0);
    EXPECT_EQ(board.memory_bus.read(framebuffer + 4 * 9, 4), 0x8040'2010u);
    set(GRAPHICS_INDEX, GR_MODE, 2);
    set(GRAPHICS_INDEX, GR_BIT_MASK, 0xF0);
    poke(0xA0009, 0b0110);
    EXPECT_EQ(board.memory_bus.read(framebuffer + 4 * 9, 4), 0x00F0'F000u);
    set(GRAPHICS_INDEX, GR_MODE, 3);
    set(GRAPHICS_INDEX, GR_BIT_MASK, 0x3C);
    set(GRAPHICS_INDEX, GR_SET_RESET, 0b1001);
    peek(0xA0009);
    poke(0xA0009, 0x0F); // The mask is 0C.
    EXPECT_EQ(board.memory_bus.read(framebuffer + 4 * 9, 4), 0x0CF0'F00Cu);
}

TEST_F(VgaTest, ReadMode1ComparesColours) {
    planar(80, 400);
    for (const auto& [p, value] : {std::pair{0u, 0xF0}, {1u, 0xCC}, {2u, 0x00}, {3u, 0x81}})
        poke(framebuffer + p, static_cast<u8>(value));
    set(GRAPHICS_INDEX, GR_MODE, MODE_READ_COMPARE);
    set(GRAPHICS_INDEX, GR_COLOR_COMPARE, 0b0011);
    EXPECT_EQ(peek(0xA0000), 0x40);
    set(GRAPHICS_INDEX, GR_COLOR_DONT_CARE, 0b0111);
    EXPECT_EQ(peek(0xA0000), 0xC0);
    set(GRAPHICS_INDEX, GR_COLOR_DONT_CARE, 0);
    EXPECT_EQ(peek(0xA0000), 0xFF);
}

TEST_F(VgaTest, TheWindowLiesWhereTheMemoryMapSays) {
    planar(80, 400);
    poke(0xA0000, 0x77);
    poke(0xB8000, 0x66); // Outside.
    EXPECT_EQ(peek(0xB8000), 0xFF);
    set(GRAPHICS_INDEX, GR_MISCELLANEOUS, 0x0D);
    EXPECT_EQ(peek(0xB8000), 0x77);
    EXPECT_EQ(peek(0xA0000), 0xFF);
    out(MISC_WRITE, MISC_COLOR);
    EXPECT_EQ(peek(0xB8000), 0xFF);
}

TEST_F(VgaTest, ChainsSpreadAddressesOverPlanes) {
    planar(80, 400);
    set(SEQUENCER_INDEX, SR_MEMORY_MODE, MEMORY_CHAIN_4 | 6);
    for (unsigned i = 0; i < 8; ++i)
        poke(0xA0000 + i, static_cast<u8>(0x10 + i));
    EXPECT_EQ(board.memory_bus.read(framebuffer, 4), 0x13121110u);
    EXPECT_EQ(board.memory_bus.read(framebuffer + 16, 4), 0x17161514u);
    EXPECT_EQ(peek(0xA0005), 0x15);
    set(SEQUENCER_INDEX, SR_MEMORY_MODE, 2);
    set(GRAPHICS_INDEX, GR_MODE, MODE_HOST_ODD_EVEN);
    poke(0xA0002, 0xAB);
    poke(0xA0003, 0xCD);
    EXPECT_EQ(board.memory_bus.read(framebuffer + 8, 4), 0xCDABCDABu);
    EXPECT_EQ(peek(0xA0003), 0xCD);
}

TEST_F(VgaTest, TextIsDrawnByItsFont) {
    text_mode();
    const u8 cells[] = {0xA5, 0x4E, 0xC1, 0x0F, 'X', 0x07};
    for (unsigned i = 0; i < sizeof cells; ++i)
        poke(0xB8000 + i, cells[i]);
    const Surface surface = picture();
    ASSERT_EQ(surface.width, 720u);
    ASSERT_EQ(surface.height, 400u);
    for (const u32 y : {0u, 15u}) {
        for (u32 x = 0; x < 8; ++x)
            EXPECT_EQ(surface.row(y)[x], grey(0xA5 >> (7 - x) & 1 ? 14 : 4)) << x;
        EXPECT_EQ(surface.row(y)[8], grey(4));      // The ninth dot is background,
        EXPECT_EQ(surface.row(y)[9 + 8], grey(15)); // but of line graphics.
    }
    EXPECT_EQ(surface.row(16)[0], grey(0)); // The next row: character and attribute 0.
    const auto text = device->text();
    ASSERT_TRUE(text);
    ASSERT_EQ(text->size(), 25u);
    EXPECT_EQ((*text)[0].substr(0, 3), "\xA5\xC1X");
    EXPECT_EQ((*text)[1].size(), 80u);
}

TEST_F(VgaTest, TheCursorAndBlinkingCharactersComeAndGo) {
    text_mode();
    poke(0xB8000, 0xFF);
    poke(0xB8001, 0x87);
    poke(0xB8002, 0);
    poke(0xB8003, 0x07);
    set(CRTC_INDEX, CR_CURSOR_START, 14);
    set(CRTC_INDEX, CR_CURSOR_END, 15);
    set(CRTC_INDEX, CR_CURSOR_LOW, 1);
    Surface surface;
    const auto at = [&](u64 frame) {
        clock.advance((frame * 16'666'667 + 1000) - clock.now());
        device->update(surface);
        return std::pair{surface.row(0)[0] == grey(7), surface.row(14)[9] == grey(7)};
    };
    EXPECT_EQ(at(0), std::pair(true, true));
    EXPECT_EQ(surface.row(13)[9], grey(0));
    EXPECT_EQ(at(8), std::pair(true, false));
    EXPECT_EQ(at(16), std::pair(false, true));
    EXPECT_EQ(at(24), std::pair(false, false));
    EXPECT_EQ(at(32), std::pair(true, true));
}

TEST_F(VgaTest, SixteenColoursPannedAndSplit) {
    planar(80, 400);
    for (u32 at = 0; at < 80; ++at)
        board.memory_bus.write(framebuffer + (80 * 2 + at) * 4, 0x000F'33FFu, 4); // Line 2.
    set(CRTC_INDEX, CR_START_LOW, 80);
    Surface surface = picture();
    ASSERT_EQ(surface.width, 640u);
    const u8 colours[8] = {1, 1, 3, 3, 5, 5, 7, 7};
    for (u32 x = 0; x < 8; ++x)
        EXPECT_EQ(surface.row(1)[x], grey(colours[x])) << x;
    attribute(AR_PANNING, 3);
    show();
    EXPECT_EQ(picture().row(1)[0], grey(3));
    // Below the line compare it starts again at address 0.
    set(CRTC_INDEX, CR_OVERFLOW, 0x02);
    set(CRTC_INDEX, CR_MAXIMUM_SCAN_LINE, 0);
    set(CRTC_INDEX, CR_LINE_COMPARE, 99);
    surface = picture();
    EXPECT_EQ(surface.row(100 + 2)[0], grey(3));
    attribute(AR_MODE, 1 | ATTRIBUTE_SPLIT_PANNING);
    show();
    EXPECT_EQ(picture().row(100 + 2)[0], grey(1));
}

TEST_F(VgaTest, TwoHundredAndFiftySixColoursAreTwoDotsWide) {
    planar(80, 400);
    set(SEQUENCER_INDEX, SR_MEMORY_MODE, MEMORY_CHAIN_4 | 6);
    set(GRAPHICS_INDEX, GR_MODE, MODE_SHIFT_256);
    set(CRTC_INDEX, CR_UNDERLINE, UNDERLINE_DWORD);
    set(CRTC_INDEX, CR_MODE, 0xA3);
    set(CRTC_INDEX, CR_MAXIMUM_SCAN_LINE, 0x41);
    palette(200, 63, 0, 21);
    poke(0xA0000 + 320 + 7, 200);
    const Surface surface = picture();
    ASSERT_EQ(surface.height, 400u);
    EXPECT_EQ(surface.row(2)[14], 0xFF0055u);
    EXPECT_EQ(surface.row(3)[15], 0xFF0055u);
    EXPECT_EQ(surface.row(2)[13], 0u);
    EXPECT_EQ(surface.row(4)[14], 0u);
}

TEST_F(VgaTest, TheCgasModeInterleavesLinesAndPixels) {
    planar(40, 200);
    set(SEQUENCER_INDEX, SR_CLOCKING, CLOCKING_8_DOTS | CLOCKING_HALF_DOT_CLOCK);
    set(SEQUENCER_INDEX, SR_MEMORY_MODE, 2);
    set(GRAPHICS_INDEX, GR_MODE, MODE_HOST_ODD_EVEN | MODE_SHIFT_INTERLEAVE);
    set(GRAPHICS_INDEX, GR_MISCELLANEOUS, 0x0F);
    set(SEQUENCER_INDEX, SR_MAP_MASK, 3);
    set(CRTC_INDEX, CR_MAXIMUM_SCAN_LINE, 0x41);
    set(CRTC_INDEX, CR_MODE, 0xA2);
    set(CRTC_INDEX, CR_OFFSET, 20);
    poke(0xB8000, 0b00'01'10'11);
    poke(0xB8000 + 81, 0b11'00'00'00);     // Line 2, pixel 4.
    poke(0xB8000 + 0x2000, 0b10'00'00'00); // Line 1.
    const Surface surface = picture();
    ASSERT_EQ(surface.width, 640u);
    for (u32 x = 0; x < 4; ++x)
        EXPECT_EQ(surface.row(0)[2 * x], grey(static_cast<u8>(x)));
    EXPECT_EQ(surface.row(1)[1], grey(2));
    EXPECT_EQ(surface.row(2)[8], grey(3));
}

TEST_F(VgaTest, LinearModesOfAllDepths) {
    struct Row {
        u16 depth;
        u32 value, bytes, expected;
    };
    for (const Row& row : {Row{15, 0x7C1F, 2, 0xFF00FF},
                           {16, 0x07E0, 2, 0x00FF00},
                           {24, 0x123456, 3, 0x123456},
                           {32, 0xFF654321, 4, 0x654321},
                           {8, 9, 1, 0x0480FF}}) {
        vbe(64, 48, row.depth, DISPI_8BIT_DAC);
        palette(9, 4, 0x80, 0xFF);
        for (u32 i = 0; i < row.bytes; ++i)
            poke(framebuffer + (64 * 5 + 3) * row.bytes + i, static_cast<u8>(row.value >> (8 * i)));
        const Surface surface = picture();
        ASSERT_EQ(surface.width, 64u);
        ASSERT_EQ(surface.height, 48u);
        EXPECT_EQ(surface.row(5)[3], row.expected) << row.depth;
    }
}

TEST_F(VgaTest, VirtualScreensScrollAndStayInMemory) {
    vbe(320, 200, 8);
    dispi(DISPI_VIRT_WIDTH, 1024);
    EXPECT_EQ(dispi(DISPI_VIRT_HEIGHT), memory / 1024);
    dispi(DISPI_X_OFFSET, 8);
    dispi(DISPI_Y_OFFSET, 100);
    palette(1, 63, 63, 63);
    poke(framebuffer + 101 * 1024 + 9, 1);
    EXPECT_EQ(picture().row(1)[1], 0xFFFFFFu);
    dispi(DISPI_Y_OFFSET, 0xFFFF);
    EXPECT_EQ(dispi(DISPI_Y_OFFSET), memory / 1024 - 200);
    vbe(8000, 8000, 32); // 1 MiB holds 32 lines.
    EXPECT_EQ(dispi(DISPI_YRES), memory / (8000 * 4));
    EXPECT_EQ(picture().height, memory / (8000 * 4));
    dispi(DISPI_ENABLE, DISPI_GETCAPS);
    EXPECT_EQ(dispi(DISPI_XRES), DISPI_MAX_XRES);
}

TEST_F(VgaTest, EnablingClearsUnlessToldNotTo) {
    poke(framebuffer, 0xAA);
    vbe(64, 48, 32, DISPI_NOCLEARMEM);
    EXPECT_EQ(peek(framebuffer), 0xAA);
    vbe(64, 48, 32);
    EXPECT_EQ(peek(framebuffer), 0);
}

TEST_F(VgaTest, TheWindowShowsABankOfALinearMode) {
    vbe(640, 480, 8);
    dispi(DISPI_BANK, 3);
    poke(0xA0123, 0x5A);
    EXPECT_EQ(peek(framebuffer + 0x30123), 0x5A);
    EXPECT_EQ(peek(0xA0123), 0x5A);
    EXPECT_EQ(peek(0xB0000), 0xFF);
    dispi(DISPI_BANK, 16); // There are 16.
    EXPECT_EQ(dispi(DISPI_BANK), 0);
}

TEST_F(VgaTest, TheFramebufferIsMemoryThatNeedsNoDeviceUntilSomebodyLooks) {
    vbe(512, 256, 32);
    const auto pieces = board.memory_bus.pieces();
    const auto piece = std::find_if(pieces.begin(), pieces.end(), [](const auto& p) { return p.first == framebuffer; });
    ASSERT_NE(piece, pieces.end());
    const auto all = piece->region->direct_memory();
    ASSERT_EQ(all.size(), 1u);
    EXPECT_TRUE(all[0].writable);
    EXPECT_EQ(all[0].length, memory / 2 * 2);

    Surface surface;
    device->update(surface);
    device->update(surface);
    device->update(surface);
    EXPECT_FALSE(piece->region->direct_memory()[0].writable);
    const unsigned changes = map_changes;
    Display::Damage damage = device->update(surface);
    EXPECT_EQ(damage.end, 0u);
    EXPECT_EQ(map_changes, changes) << "an idle screen costs nothing";

    board.memory_bus.write(framebuffer + 512 * 4 * 100, 0xABCDEF, 4);
    EXPECT_EQ(map_changes, changes + 1);
    const auto some = piece->region->direct_memory();
    ASSERT_EQ(some.size(), 3u);
    EXPECT_TRUE(some[1].writable);
    EXPECT_LE(some[1].offset, 512u * 4 * 100);
    some[1].data[4] = 0x77; // As a processor does from now on: it tells nobody.
    damage = device->update(surface);
    EXPECT_LE(damage.first, 100u);
    EXPECT_GT(damage.end, 100u);
    EXPECT_LT(damage.end - damage.first, 64u);
    EXPECT_EQ(surface.row(100)[0], 0xABCDEFu);
    device->update(surface);
    device->update(surface);
    EXPECT_EQ(device->update(surface).end, 0u);
    device->stop_updates();
    EXPECT_TRUE(piece->region->direct_memory()[0].writable);
}

TEST_F(VgaTest, AWriteJustAfterALookShowsAtTheNextOne) {
    vbe(512, 256, 32);
    Surface surface;
    for (unsigned i = 0; i < 4; ++i)
        device->update(surface);
    board.memory_bus.write(framebuffer, 1, 4);
    u8* const data = device->function().descriptor().bars[0].region->direct_memory()[0].data;
    device->update(surface);
    data[0] = 2; // By a processor that had not yet heard that the page is closed.
    device->update(surface);
    EXPECT_EQ(surface.row(0)[0], 2u);
}

TEST_F(VgaTest, ASavedScreenComesBack) {
    text_mode();
    poke(0xB8000, 'Q');
    poke(0xB8001, 0x1F);
    board.ports.write(DISPI_PORTS, DISPI_XRES, 2);
    const Surface before = picture();
    const auto saved = save(*device);
    make();
    EXPECT_NE(picture().pixels, before.pixels);
    ASSERT_TRUE(load(*device, saved).ok());
    EXPECT_EQ(picture().pixels, before.pixels);
    EXPECT_EQ(save(*device), saved);
}

TEST_F(VgaTest, ResetEndsTheModeAndKeepsTheMemory) {
    vbe(64, 48, 32);
    poke(framebuffer + 5, 0x99);
    device->reset();
    EXPECT_EQ(dispi(DISPI_ENABLE), 0);
    EXPECT_EQ(picture().width, 640u); // Black, as nothing is set.
    board.write_config(pci::BAR0, framebuffer, 4);
    board.write_config(pci::COMMAND, pci::COMMAND_MEMORY, 2);
    EXPECT_EQ(peek(framebuffer + 5), 0x99);
}

TEST(OptionRom, IsSeenThroughItsBarAndPaddedWithOnes) {
    PciBoard board;
    ManualClock clock;
    OptionRom rom({0x55, 0xAA, 5});
    Vga device(board.log, clock, {}, {}, "vga");
    device.function().set_option_rom(rom, rom.size());
    board.plug(device.function());
    board.write_config(pci::ROM_BASE, 0xFFFF'FFFE, 4);
    EXPECT_EQ(board.config(pci::ROM_BASE, 4), 0xFFFF'F800u);
    board.write_config(pci::ROM_BASE, 0xFEB0'0001, 4);
    EXPECT_EQ(board.memory_bus.read(0xFEB0'0000, 4), 0xFF05'AA55u);
    board.memory_bus.write(0xFEB0'0000, 0, 4);
    EXPECT_EQ(board.memory_bus.read(0xFEB0'0000, 2), 0xAA55u);
    device.reset();
    EXPECT_EQ(board.config(pci::ROM_BASE, 4), 0u);
}

} // namespace
} // namespace calque::devices
