// A small terminal, for serial consoles and the monitor in the window: what programs for a VT100 with colours send
// (ECMA-48), as cells of code page 437.
#pragma once

#include "base/types.h"

#include <deque>
#include <span>
#include <string>
#include <vector>

namespace calque::console {

struct Cell {
    u8 character = ' ';
    u8 attribute = 7; // As in VGA's text modes: foreground in bits 0-3, background in bits 4-6.
    bool operator==(const Cell&) const = default;
};

class Terminal {
  public:
    static constexpr u32 columns = 80, rows = 25;
    static constexpr std::size_t history_rows = 1000;

    // From the program. What the terminal answers, if it was asked something.
    std::string write(std::span<const u8> bytes);

    // Moves what is seen into the past; positive goes back. Output brings the present back.
    void scroll_view(i32 lines);

    using Row = std::vector<Cell>;
    const Row& row(u32 y) const; // As seen, from the top.
    struct Cursor {
        u32 x = 0, y = 0;
        bool visible = true;
    };
    Cursor cursor() const;                   // Not visible where the past is seen.
    u64 version() const { return version_; } // Another one when anything that is seen has changed.
    std::string text() const;                // The rows, without what is blank at their ends.

  private:
    enum class State : u8 { ground, escape, intermediate, sequence, string, string_escape };
    void byte(u8 c);
    void character(u32 c);
    void control(u8 c);
    void escape(u8 c);
    void sequence(u8 final);
    void set_attributes();
    void set_private_modes(bool on);
    void put(u8 c);
    void line_feed();
    void reverse_line_feed();
    void scroll_up(u32 top, u32 count);
    void scroll_down(u32 top, u32 count);
    void erase(u32 y, u32 from, u32 to);
    void erase_display(u32 what);
    void reset();
    u32 parameter(std::size_t index, u32 if_missing) const;
    Cell blank() const { return {' ', attribute()}; }
    u8 attribute() const;

    std::vector<Row> screen_ = std::vector<Row>(rows, Row(columns));
    std::deque<Row> history_;
    std::size_t view_ = 0; // Rows back.
    u32 x_ = 0, y_ = 0;
    bool wrap_next_ = false; // The last column is written; the next character begins a line.
    u32 top_ = 0, bottom_ = rows - 1;
    u32 saved_x_ = 0, saved_y_ = 0;
    u8 foreground_ = 7, background_ = 0;
    bool bold_ = false, reverse_ = false, cursor_visible_ = true;

    State state_ = State::ground;
    bool private_ = false;
    std::vector<u32> parameters_;
    u32 utf8_ = 0;
    unsigned utf8_left_ = 0;
    std::string answer_;
    u64 version_ = 1;
};

} // namespace calque::console
