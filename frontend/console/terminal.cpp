#include "frontend/console/terminal.h"

#include "frontend/console/font.h"

#include <algorithm>
#include <fmt/core.h>

namespace calque::console {

namespace {
constexpr u8 ESC = 0x1B, BEL = 0x07, DEL = 0x7F;
constexpr std::size_t most_parameters = 16;
constexpr u32 largest_parameter = 9999;
// ECMA-48's colours in the order of VGA's.
constexpr u8 vga_color(u32 ansi) { return static_cast<u8>((ansi & 1) << 2 | (ansi & 2) | (ansi & 4) >> 2); }
} // namespace

std::string Terminal::write(std::span<const u8> bytes) {
    if (bytes.empty()) return {};
    view_ = 0;
    ++version_;
    for (const u8 c : bytes)
        byte(c);
    return std::exchange(answer_, {});
}

void Terminal::scroll_view(i32 lines) {
    const auto wanted = static_cast<i64>(view_) + lines;
    view_ = static_cast<std::size_t>(std::clamp<i64>(wanted, 0, static_cast<i64>(history_.size())));
    ++version_;
}

const Terminal::Row& Terminal::row(u32 y) const {
    return y < view_ ? history_[history_.size() - view_ + y] : screen_[y - view_];
}

Terminal::Cursor Terminal::cursor() const { return {x_, y_, cursor_visible_ && view_ == 0}; }

std::string Terminal::text() const {
    std::string text;
    for (u32 y = 0; y < rows; ++y) {
        std::string line;
        for (const Cell& cell : row(y))
            line += static_cast<char>(cell.character);
        text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
    }
    return text;
}

u8 Terminal::attribute() const {
    const u8 front = static_cast<u8>(foreground_ | (bold_ ? 8 : 0));
    return reverse_ ? static_cast<u8>((foreground_ & 7) << 4 | background_) : static_cast<u8>(background_ << 4 | front);
}

// --- Parsing (ECMA-48, 5.3 and 5.4)

void Terminal::byte(u8 c) {
    if (state_ == State::string || state_ == State::string_escape) { // A title or the like; nobody shows it.
        const bool ended = c == BEL || (state_ == State::string_escape && c == '\\');
        state_ = ended ? State::ground : c == ESC ? State::string_escape : State::string;
        return;
    }
    if (c < 0x20 || c == DEL) return control(c);
    switch (state_) {
    case State::ground: return character(c);
    case State::escape: return escape(c);
    case State::intermediate: state_ = State::ground; return; // Character sets: there is one.
    default: break;
    }
    if (c >= '0' && c <= '9') {
        if (parameters_.empty()) parameters_.push_back(0);
        parameters_.back() = std::min(parameters_.back() * 10 + (c - '0'), largest_parameter);
    } else if (c == ';') {
        if (parameters_.empty()) parameters_.push_back(0);
        if (parameters_.size() < most_parameters) parameters_.push_back(0);
    } else if (c >= 0x3C && c <= 0x3F) {
        private_ = true;
    } else if (c >= 0x40) {
        state_ = State::ground;
        sequence(c);
    }
}

// UTF-8 where it is that; a byte that cannot be is one of code page 437.
void Terminal::character(u32 c) {
    if (utf8_left_ > 0 && (c & 0xC0) == 0x80) {
        utf8_ = utf8_ << 6 | (c & 0x3F);
        if (--utf8_left_ == 0) put(to_code_page_437(utf8_));
        return;
    }
    utf8_left_ = 0;
    if (c >= 0xC2 && c < 0xF5) {
        utf8_left_ = c < 0xE0 ? 1 : c < 0xF0 ? 2 : 3;
        utf8_ = c & (0x3Fu >> utf8_left_);
        return;
    }
    put(static_cast<u8>(c));
}

void Terminal::control(u8 c) {
    switch (c) {
    case '\r': x_ = 0; break;
    case '\n':
    case 0x0B:
    case 0x0C: line_feed(); break;
    case '\b': x_ -= x_ > 0; break;
    case '\t': x_ = std::min((x_ | 7) + 1, columns - 1); break;
    case 0x18:
    case 0x1A: state_ = State::ground; return; // CAN, SUB.
    case ESC:
        state_ = State::escape;
        parameters_.clear();
        private_ = false;
        return;
    default: return;
    }
    wrap_next_ = false;
}

void Terminal::escape(u8 c) {
    state_ = State::ground;
    switch (c) {
    case '[': state_ = State::sequence; return;
    case ']':
    case 'P':
    case 'X':
    case '^':
    case '_': state_ = State::string; return;
    case '(':
    case ')':
    case '#':
    case '%':
    case ' ': state_ = State::intermediate; return;
    case '7':
        saved_x_ = x_;
        saved_y_ = y_;
        return;
    case '8':
        x_ = saved_x_;
        y_ = saved_y_;
        break;
    case 'D': line_feed(); break;
    case 'E':
        x_ = 0;
        line_feed();
        break;
    case 'M': reverse_line_feed(); break;
    case 'c': reset(); break;
    default: return;
    }
    wrap_next_ = false;
}

u32 Terminal::parameter(std::size_t index, u32 if_missing) const {
    return index < parameters_.size() && parameters_[index] != 0 ? parameters_[index] : if_missing;
}

void Terminal::sequence(u8 final) {
    if (private_) {
        if (final == 'h' || final == 'l') set_private_modes(final == 'h');
        return;
    }
    const u32 n = parameter(0, 1), last_row = rows - 1, last_column = columns - 1;
    wrap_next_ = wrap_next_ && final == 'm';
    switch (final) {
    case 'A': y_ -= std::min(n, y_); break;
    case 'B': y_ = std::min(y_ + n, last_row); break;
    case 'C': x_ = std::min(x_ + n, last_column); break;
    case 'D': x_ -= std::min(n, x_); break;
    case 'E':
        x_ = 0;
        y_ = std::min(y_ + n, last_row);
        break;
    case 'F':
        x_ = 0;
        y_ -= std::min(n, y_);
        break;
    case 'G':
    case '`': x_ = std::min(n - 1, last_column); break;
    case 'd': y_ = std::min(n - 1, last_row); break;
    case 'H':
    case 'f':
        y_ = std::min(n - 1, last_row);
        x_ = std::min(parameter(1, 1) - 1, last_column);
        break;
    case 'J': erase_display(parameter(0, 0)); break;
    case 'K': {
        const u32 what = parameter(0, 0);
        erase(y_, what == 0 ? x_ : 0, what == 1 ? x_ + 1 : columns);
        break;
    }
    case 'X': erase(y_, x_, std::min(x_ + n, columns)); break;
    case 'P': {
        auto& row = screen_[y_];
        std::move(row.begin() + x_ + std::min(n, columns - x_), row.end(), row.begin() + x_);
        erase(y_, columns - std::min(n, columns - x_), columns);
        break;
    }
    case '@': {
        auto& row = screen_[y_];
        const u32 count = std::min(n, columns - x_);
        std::move_backward(row.begin() + x_, row.end() - count, row.end());
        erase(y_, x_, x_ + count);
        break;
    }
    case 'L':
        if (y_ >= top_ && y_ <= bottom_) scroll_down(y_, n);
        break;
    case 'M':
        if (y_ >= top_ && y_ <= bottom_) scroll_up(y_, n);
        break;
    case 'S': scroll_up(top_, n); break;
    case 'T': scroll_down(top_, n); break;
    case 'm': set_attributes(); break;
    case 'n':
        if (n == 6) answer_ += fmt::format("\x1b[{};{}R", y_ + 1, x_ + 1);
        if (n == 5) answer_ += "\x1b[0n";
        break;
    case 'c': answer_ += "\x1b[?6c"; break; // A VT102.
    case 'r': {
        const u32 first = n - 1, last = std::min(parameter(1, rows), rows) - 1;
        if (first >= last) break;
        top_ = first;
        bottom_ = last;
        x_ = y_ = 0;
        break;
    }
    case 's':
        saved_x_ = x_;
        saved_y_ = y_;
        break;
    case 'u':
        x_ = saved_x_;
        y_ = saved_y_;
        break;
    default: break;
    }
}

void Terminal::set_private_modes(bool on) {
    for (const u32 mode : parameters_)
        if (mode == 25) cursor_visible_ = on;
}

void Terminal::set_attributes() {
    if (parameters_.empty()) parameters_.push_back(0);
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
        const u32 p = parameters_[i];
        if (p == 0) {
            foreground_ = 7;
            background_ = 0;
            bold_ = reverse_ = false;
        } else if (p == 1 || p == 22) {
            bold_ = p == 1;
        } else if (p == 7 || p == 27) {
            reverse_ = p == 7;
        } else if (p >= 30 && p <= 37) {
            foreground_ = vga_color(p - 30);
        } else if (p >= 90 && p <= 97) {
            foreground_ = static_cast<u8>(vga_color(p - 90) | 8);
        } else if (p == 39) {
            foreground_ = 7;
        } else if (p >= 40 && p <= 47) {
            background_ = vga_color(p - 40);
        } else if (p >= 100 && p <= 107) {
            background_ = vga_color(p - 100);
        } else if (p == 49) {
            background_ = 0;
        } else if (p == 38 || p == 48) { // 256 colours or RGB: there are sixteen.
            i += parameter(i + 1, 0) == 5 ? 2 : 4;
        }
    }
}

// --- The screen

void Terminal::put(u8 c) {
    if (wrap_next_) {
        x_ = 0;
        line_feed();
        wrap_next_ = false;
    }
    screen_[y_][x_] = {c, attribute()};
    if (x_ + 1 == columns)
        wrap_next_ = true;
    else
        ++x_;
}

void Terminal::line_feed() {
    if (y_ == bottom_) {
        if (top_ == 0) {
            history_.push_back(screen_[0]);
            if (history_.size() > history_rows) history_.pop_front();
        }
        scroll_up(top_, 1);
    } else if (y_ + 1 < rows) {
        ++y_;
    }
}

void Terminal::reverse_line_feed() {
    if (y_ == top_)
        scroll_down(top_, 1);
    else if (y_ > 0)
        --y_;
}

void Terminal::scroll_up(u32 top, u32 count) {
    count = std::min(count, bottom_ - top + 1);
    std::rotate(screen_.begin() + top, screen_.begin() + top + count, screen_.begin() + bottom_ + 1);
    for (u32 y = bottom_ + 1 - count; y <= bottom_; ++y)
        erase(y, 0, columns);
}

void Terminal::scroll_down(u32 top, u32 count) {
    count = std::min(count, bottom_ - top + 1);
    std::rotate(screen_.begin() + top, screen_.begin() + bottom_ + 1 - count, screen_.begin() + bottom_ + 1);
    for (u32 y = top; y < top + count; ++y)
        erase(y, 0, columns);
}

void Terminal::erase(u32 y, u32 from, u32 to) {
    std::fill(screen_[y].begin() + from, screen_[y].begin() + to, blank());
}

void Terminal::erase_display(u32 what) {
    if (what == 0) erase(y_, x_, columns);
    if (what == 1) erase(y_, 0, x_ + 1);
    for (u32 y = 0; y < rows; ++y)
        if (what >= 2 || (what == 0 && y > y_) || (what == 1 && y < y_)) erase(y, 0, columns);
    if (what == 3) history_.clear();
}

void Terminal::reset() {
    foreground_ = 7;
    background_ = 0;
    bold_ = reverse_ = wrap_next_ = false;
    cursor_visible_ = true;
    top_ = x_ = y_ = saved_x_ = saved_y_ = 0;
    bottom_ = rows - 1;
    erase_display(2);
}

} // namespace calque::console
