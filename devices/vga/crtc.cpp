#include "devices/vga/crtc.h"

namespace calque::devices::vga {

Crtc::Crtc(const Registers& r) : r_(r) {
    const auto& c = r.crtc;
    const u32 overflow = c[CR_OVERFLOW], maximum = c[CR_MAXIMUM_SCAN_LINE], mode = c[CR_MODE];
    const u32 vertical = mode & CRTC_HALF_VERTICAL ? 2 : 1;
    columns_ = c[CR_DISPLAY_END] + 1u;
    lines_ = ((c[CR_VERTICAL_DISPLAY_END] | (overflow >> 1 & 1) << 8 | (overflow >> 6 & 1) << 9) + 1) * vertical;
    compare_ = ((c[CR_LINE_COMPARE] | (overflow >> 4 & 1) << 8 | (maximum >> 6 & 1) << 9) + 1) * vertical;
    const u32 byte_panning = c[CR_PRESET_ROW_SCAN] >> 5 & 3;
    start_ = (u32{c[CR_START_HIGH]} << 8 | c[CR_START_LOW]) + byte_panning;
    step_ = c[CR_OFFSET] * 2u;
    row_lines_ = (maximum & 31) + 1;
    preset_ = c[CR_PRESET_ROW_SCAN] & 31;
    scan_shift_ = maximum & SCAN_DOUBLE ? 1 : 0;
    column_shift_ = c[CR_UNDERLINE] & UNDERLINE_COUNT_BY_4 ? 2 : mode & CRTC_COUNT_BY_2 ? 1 : 0;
}

Crtc::Line Crtc::line(u32 y) const {
    const bool split = y >= compare_;
    const u32 scan = split ? (y - compare_) >> scan_shift_ : (y >> scan_shift_) + preset_;
    return {((split ? 0 : start_) + scan / row_lines_ * step_) & 0xFFFF, scan % row_lines_, split};
}

u32 Crtc::address(const Line& line, u32 column) const {
    const u32 counter = this->counter(line, column), mode = r_.crtc[CR_MODE];
    u32 at = counter;
    if (r_.crtc[CR_UNDERLINE] & UNDERLINE_DWORD)
        at = counter << 2 | (counter >> 14 & 3);
    else if (!(mode & CRTC_BYTE_MODE))
        at = counter << 1 | (counter >> (mode & CRTC_ADDRESS_WRAP ? 15 : 13) & 1);
    if (!(mode & CRTC_NO_CGA_BANKS)) at = (at & ~0x2000u) | (line.row_scan & 1) << 13;
    if (!(mode & CRTC_NO_HERCULES_BANKS)) at = (at & ~0x4000u) | (line.row_scan >> 1 & 1) << 14;
    return at & 0xFFFF;
}

Crtc::Range Crtc::range(const Line& line) const {
    const u32 first = address(line, 0), last = address(line, columns_);
    return last >= first ? Range{first, last + 1} : Range{0, 0x10000};
}

} // namespace calque::devices::vga
