// Copying an image into another format. What reads as zeros takes no room in the new image.
#include "frontend/backends/block/qcow2_image.h"
#include "frontend/tools/commands.h"

#include <algorithm>
#include <cstring>

namespace calque::tools {

using namespace backends;

namespace {

constexpr u64 step = 2 << 20;
constexpr u64 smallest_hole = 4096;

bool is_zero(std::span<const u8> bytes) {
    return bytes.empty() || (bytes[0] == 0 && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

// How much from `offset` on is known to be zeros without reading it.
u64 known_zeros(BlockImage& image, u64 offset, u64 length) {
    auto* const qcow2 = dynamic_cast<Qcow2Image*>(&image);
    Qcow2Image::Status status;
    if (!qcow2 || qcow2->status(offset, length, status) != 0 || !status.zero) return 0;
    return status.length;
}

// Writes what is not zeros; the new image has zeros where nothing was written.
int write_sparse(BlockImage& to, u64 offset, std::span<const u8> data) {
    for (u64 at = 0; at < data.size();) {
        const auto block = [&](u64 from) {
            return data.subspan(from, std::min<u64>(smallest_hole, data.size() - from));
        };
        const bool zero = is_zero(block(at));
        u64 end = at + block(at).size();
        while (end < data.size() && is_zero(block(end)) == zero)
            end += block(end).size();
        if (!zero)
            if (const int error = to.write(offset + at, data.subspan(at, end - at))) return error;
        at = end;
    }
    return 0;
}

int copy(BlockImage& from, BlockImage& to) {
    std::vector<u8> buffer(step);
    for (u64 at = 0; at < from.size();) {
        const u64 left = from.size() - at;
        if (const u64 zeros = known_zeros(from, at, left)) {
            at += zeros;
            continue;
        }
        const std::span<u8> data(buffer.data(), std::min(left, step));
        if (const int error = from.read(at, data)) return error;
        if (const int error = write_sparse(to, at, data)) return error;
        at += data.size();
    }
    return to.flush();
}

} // namespace

Result<int> convert_command(const std::vector<std::string>& words) {
    const auto arguments = parse_arguments(words, "qpU", "fOotTm");
    if (!arguments) return arguments.error();
    if (arguments->names.size() != 2) return error("convert takes two names: the image and the new one");
    const auto from = open(arguments->names[0], arguments->value('f'), true, !arguments->has('U'));
    if (!from) return from.error();
    const std::string format = arguments->has('O') ? arguments->value('O') : "raw";
    const std::string& path = arguments->names[1];
    if (auto made = create(path, format, arguments->value('o'), (*from)->size(), "", ""); !made) return made.error();
    const auto to = open(path, format, false);
    if (!to) return to.error();
    int code = copy(**from, **to);
    if (auto* const qcow2 = dynamic_cast<Qcow2Image*>(to->get()); qcow2 && code == 0) code = qcow2->close();
    if (code != 0) return error("'{}' cannot be copied to '{}' ({})", arguments->names[0], path, std::strerror(code));
    return 0;
}

} // namespace calque::tools
