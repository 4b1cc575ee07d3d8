#include "frontend/console/scaler.h"

#include <algorithm>
#include <vector>

namespace calque::console {

namespace {

// How a target dot lies between two source dots, in 256ths of the way.
struct Step {
    u32 first, second, weight;
};

std::vector<Step> steps(u32 source, u32 target) {
    std::vector<Step> result(target);
    for (u32 i = 0; i < target; ++i) {
        // The middle of the target's dot, in 256ths of a source dot from the middle of the first.
        const i64 at = std::max<i64>(0, (i64{2} * i + 1) * source * 128 / target - 128);
        const u32 first = std::min(static_cast<u32>(at / 256), source - 1);
        result[i] = {first, std::min(first + 1, source - 1), static_cast<u32>(at % 256)};
    }
    return result;
}

// Two channels at a time; the third in its own word.
u32 mix(u32 a, u32 b, u32 weight) {
    const u32 odd = (((a & 0xFF00FF) * (256 - weight) + (b & 0xFF00FF) * weight) >> 8) & 0xFF00FF;
    const u32 green = (((a & 0xFF00) * (256 - weight) + (b & 0xFF00) * weight) >> 8) & 0xFF00;
    return odd | green;
}

Rect draw_whole(const devices::Surface& picture, u32 first, u32 end, const Canvas& canvas, const Rect& where) {
    const u32 factor = static_cast<u32>(where.width) / picture.width;
    for (u32 y = first; y < end; ++y) {
        const u32* const from = picture.row(y);
        u32* const to = canvas.pixels + (static_cast<u32>(where.y) + y * factor) * canvas.pitch + where.x;
        if (factor == 1) {
            std::copy_n(from, picture.width, to);
            continue;
        }
        for (u32 x = 0; x < picture.width; ++x)
            std::fill_n(to + x * factor, factor, from[x]);
        for (u32 copy = 1; copy < factor; ++copy)
            std::copy_n(to, where.width, to + copy * canvas.pitch);
    }
    return {where.x, where.y + static_cast<i32>(first * factor), where.width, static_cast<i32>((end - first) * factor)};
}

Rect draw_smooth(const devices::Surface& picture, u32 first, u32 end, const Canvas& canvas, const Rect& where) {
    const auto across = steps(picture.width, static_cast<u32>(where.width));
    const auto down = steps(picture.height, static_cast<u32>(where.height));
    std::vector<u32> mixed(picture.width);
    i32 top = where.height, bottom = 0;
    for (i32 y = 0; y < where.height; ++y) {
        const Step& row = down[static_cast<u32>(y)];
        if (row.second < first || row.first >= end) continue;
        top = std::min(top, y);
        bottom = y + 1;
        const u32 *const above = picture.row(row.first), *const below = picture.row(row.second);
        for (u32 x = 0; x < picture.width; ++x)
            mixed[x] = mix(above[x], below[x], row.weight);
        u32* const to = canvas.pixels + static_cast<u32>(where.y + y) * canvas.pitch + where.x;
        for (i32 x = 0; x < where.width; ++x) {
            const Step& column = across[static_cast<u32>(x)];
            to[x] = mix(mixed[column.first], mixed[column.second], column.weight);
        }
    }
    return top < bottom ? Rect{where.x, where.y + top, where.width, bottom - top} : Rect{};
}

} // namespace

Rect place(u32 width, u32 height, u32 canvas_width, u32 canvas_height, Scaling scaling) {
    if (width == 0 || height == 0 || canvas_width == 0 || canvas_height == 0) return {};
    u64 w = canvas_width, h = canvas_height;
    const u32 factor = std::min(canvas_width / width, canvas_height / height);
    if (scaling == Scaling::whole && factor >= 1) {
        w = u64{width} * factor;
        h = u64{height} * factor;
    } else if (u64{canvas_width} * height > u64{canvas_height} * width) {
        w = std::max<u64>(1, u64{canvas_height} * width / height);
    } else {
        h = std::max<u64>(1, u64{canvas_width} * height / width);
    }
    return {static_cast<i32>((canvas_width - w) / 2), static_cast<i32>((canvas_height - h) / 2), static_cast<i32>(w),
            static_cast<i32>(h)};
}

Rect draw_scaled(const devices::Surface& picture, u32 first, u32 end, const Canvas& canvas, const Rect& where) {
    end = std::min(end, picture.height);
    if (first >= end || picture.width == 0 || where.width <= 0 || where.height <= 0) return {};
    const u32 width = static_cast<u32>(where.width), height = static_cast<u32>(where.height);
    const u32 factor = width / picture.width;
    const bool whole = factor >= 1 && width == picture.width * factor && height == picture.height * factor;
    return whole ? draw_whole(picture, first, end, canvas, where) : draw_smooth(picture, first, end, canvas, where);
}

void clear_around(const Canvas& canvas, const Rect& where) {
    for (i32 y = 0; y < static_cast<i32>(canvas.height); ++y) {
        u32* const row = canvas.pixels + static_cast<u32>(y) * canvas.pitch;
        if (y < where.y || y >= where.y + where.height) {
            std::fill_n(row, canvas.width, 0);
            continue;
        }
        std::fill_n(row, where.x, 0);
        std::fill(row + where.x + where.width, row + canvas.width, 0);
    }
}

} // namespace calque::console
