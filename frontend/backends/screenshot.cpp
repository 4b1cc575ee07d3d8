#include "frontend/backends/screenshot.h"

#include <fmt/core.h>
#include <png.h>

namespace calque::backends {

namespace {

std::vector<u8> rgb_bytes(const devices::Surface& surface) {
    std::vector<u8> bytes;
    bytes.reserve(surface.pixels.size() * 3);
    for (const u32 pixel : surface.pixels)
        for (const unsigned shift : {16u, 8u, 0u})
            bytes.push_back(static_cast<u8>(pixel >> shift));
    return bytes;
}

} // namespace

std::vector<u8> encode_ppm(const devices::Surface& surface) {
    const std::string header = fmt::format("P6\n{} {}\n255\n", surface.width, surface.height);
    std::vector<u8> file(header.begin(), header.end());
    const auto pixels = rgb_bytes(surface);
    file.insert(file.end(), pixels.begin(), pixels.end());
    return file;
}

Result<std::vector<u8>> encode_png(const devices::Surface& surface) {
    png_image image{};
    image.version = PNG_IMAGE_VERSION;
    image.width = surface.width;
    image.height = surface.height;
    image.format = PNG_FORMAT_RGB;
    const auto pixels = rgb_bytes(surface);
    png_alloc_size_t size = 0;
    std::vector<u8> file;
    // Once for the size.
    if (png_image_write_to_memory(&image, nullptr, &size, 0, pixels.data(), 0, nullptr)) {
        file.resize(size);
        if (png_image_write_to_memory(&image, file.data(), &size, 0, pixels.data(), 0, nullptr)) {
            file.resize(size);
            return file;
        }
    }
    return error("the screen cannot be written as PNG: {}", static_cast<const char*>(image.message));
}

Result<std::vector<u8>> encode_screenshot(const devices::Surface& surface, std::string_view format) {
    if (format == "png") return encode_png(surface);
    if (format == "ppm") return encode_ppm(surface);
    return error("there is no image format '{}'; there are: ppm, png", format);
}

} // namespace calque::backends
