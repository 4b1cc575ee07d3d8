// The CRT controller's way through memory: which address shows where (IBM Personal System/2 Hardware Interface
// Technical Reference, video subsystem, "CRT controller registers").
#pragma once

#include "devices/vga/registers.h"

namespace calque::devices::vga {

class Crtc {
  public:
    explicit Crtc(const Registers& registers);

    u32 columns() const { return columns_; } // Character clocks that are displayed.
    u32 lines() const { return lines_; }

    struct Line {
        u32 counter;  // Of the memory address at the left edge.
        u32 row_scan; // Line within a row of characters.
        bool split;   // Below the line compare: without panning.
    };
    Line line(u32 y) const;
    // The address in each plane at a column of a line.
    u32 address(const Line& line, u32 column) const;
    // What the address counter is there, for the cursor.
    u32 counter(const Line& line, u32 column) const { return (line.counter + (column >> column_shift_)) & 0xFFFF; }
    // Where in the planes the shown lines lie at most: [first, end), or all 64 KiB where it is not one piece.
    struct Range {
        u32 first, end;
    };
    Range range(const Line& line) const;

  private:
    const Registers& r_;
    u32 columns_, lines_, compare_, start_, step_, row_lines_;
    u32 preset_, scan_shift_, column_shift_;
};

} // namespace calque::devices::vga
