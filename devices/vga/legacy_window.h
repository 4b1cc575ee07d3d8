// A0000-BFFFF: four planes behind the graphics controller's data path (IBM Personal System/2 Hardware Interface
// Technical Reference, video subsystem, "Graphics controller"), or a bank of a VBE mode's linear framebuffer.
#pragma once

#include "devices/vga/registers.h"
#include "devices/vga/video_memory.h"

#include <optional>

namespace calque::devices::vga {

// The planes lie in video memory byte by byte: plane p of address a is byte 4 * a + p. Called under the device's lock.
class LegacyWindow {
  public:
    static constexpr u64 base = 0xA0000, size = 0x20000;

    LegacyWindow(Registers& registers, VideoMemory& memory) : r_(registers), memory_(memory) {}

    u8 read(u32 offset); // From A0000.
    void write(u32 offset, u8 value);

  private:
    struct Place {
        u32 address; // In each plane.
        u8 planes;   // Those that can be written, a bit each.
        u8 plane;    // The one that read mode 0 reads.
    };
    std::optional<u32> decode(u32 offset) const; // The address in the window that the memory map chooses.
    std::optional<u64> linear(u32 offset) const;
    Place place(u32 address) const;
    u8 read_planes(const Place& place);
    void write_planes(const Place& place, u8 value);
    u8* planes_at(u32 address);

    Registers& r_;
    VideoMemory& memory_;
};

} // namespace calque::devices::vga
