// Telling an image's format by its first bytes.
#include "frontend/backends/block/open_image.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace calque::backends {

namespace {

using namespace std::string_view_literals;

struct Signature {
    std::string_view format;
    std::size_t offset;
    std::string_view bytes;
};
// The magic numbers of the formats' own descriptions.
constexpr std::array signatures{
    Signature{"qcow", 0, "QFI\xfb\0\0\0\1"sv},
    Signature{"qcow2", 0, "QFI\xfb"sv},
    Signature{"qed", 0, "QED\0"sv},
    Signature{"vmdk", 0, "KDMV"sv},
    Signature{"vmdk", 0, "COWD"sv},
    Signature{"vmdk", 0, "# Disk DescriptorFile"sv},
    Signature{"vdi", 64, "\x7f\x10\xda\xbe"sv},
    Signature{"vhdx", 0, "vhdxfile"sv},
    Signature{"vpc", 0, "conectix"sv},
    Signature{"luks", 0, "LUKS\xba\xbe"sv},
    Signature{"parallels", 0, "WithoutFreeSpace"sv},
    Signature{"parallels", 0, "WithouFreSpacExt"sv},
    Signature{"bochs", 0, "Bochs Virtual HD Image"sv},
};

} // namespace

std::string probe_format(std::span<const u8> start) {
    const std::string_view text(reinterpret_cast<const char*>(start.data()), start.size());
    for (const Signature& signature : signatures)
        if (text.size() >= signature.offset && text.substr(signature.offset).starts_with(signature.bytes))
            return std::string(signature.format);
    return "raw";
}

} // namespace calque::backends
