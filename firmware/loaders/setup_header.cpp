#include "firmware/loaders/setup_header.h"

#include "firmware/bytes.h"
#include "firmware/loaders/sizes.h"

#include <algorithm>

namespace calque::firmware {

namespace {

namespace field = setup_header;

constexpr u32 magic_hdrs = 0x53726448;
constexpr u16 protocol_oldest = 0x202; // The first with a command line anywhere below 640 KiB.
constexpr u32 sector = 512;

Result<void> check_identity(std::span<const u8> image, std::string_view name) {
    if (image.empty()) return error("kernel {} is empty", name);
    if (image.size() < field::version + 2)
        return error("kernel {} is truncated: {} are too few for a boot sector and a setup header", name,
                     size_text(image.size()));
    if (load(image, field::boot_flag, 2) != 0xAA55 || load(image, field::magic, 4) != magic_hdrs)
        return error("{} is not a bzImage: it has no setup header (\"HdrS\" at offset 0x202)", name);
    const u64 version = load(image, field::version, 2);
    if (version < protocol_oldest)
        return error(
            "kernel {} speaks Linux boot protocol {}.{:02}, too old: 2.02 (Linux 2.4) is the oldest that works", name,
            version >> 8, version & 0xFF);
    return {};
}

// The file against the sizes that its header gives.
Result<void> check_sizes(std::span<const u8> image, std::string_view name, SetupHeader& header) {
    const u64 sectors = image[field::setup_sects] ? image[field::setup_sects] : 4;
    header.kernel_offset = static_cast<u32>((sectors + 1) * sector);
    if (image.size() <= header.kernel_offset)
        return error("kernel {} is truncated: it has {}, and its setup code alone takes {}", name,
                     size_text(image.size()), size_text(header.kernel_offset));
    const u64 rest = image.size() - header.kernel_offset;
    header.kernel_size = rest;
    if (header.version >= 0x204) {
        // In units of 16 bytes; older tools did not pad the last one. Signatures may follow.
        const u64 wanted = load(image, field::syssize, 4) * 16;
        if (wanted == 0) return error("kernel {} is damaged: its header gives a size of zero", name);
        if (wanted >= rest + 16)
            return error("kernel {} is truncated: it has {}, and its header says {}", name, size_text(image.size()),
                         size_text(header.kernel_offset + wanted));
        header.kernel_size = std::min(rest, wanted);
    }
    if (header.version >= 0x208) {
        const u64 payload = load(image, field::payload_offset, 4);
        const u64 length = load(image, field::payload_length, 4);
        if (payload + length > header.kernel_size)
            return error(
                "kernel {} is damaged: its header places a compressed kernel of {} at {:#x}, past the end of the {} "
                "it has",
                name, size_text(length), payload, size_text(header.kernel_size));
    }
    return {};
}

// How far the header of each version reaches: the fields behind are not there and read as their defaults.
u32 fields_end(u16 version) {
    if (version >= 0x20F) return 0x26C;
    if (version >= 0x20B) return 0x268;
    if (version >= 0x20A) return 0x264;
    if (version >= 0x209) return 0x258;
    if (version >= 0x208) return 0x250;
    if (version >= 0x207) return 0x248;
    if (version >= 0x206) return 0x23C;
    if (version >= 0x205) return 0x238;
    if (version >= 0x203) return 0x230;
    return 0x22C;
}

Result<void> check_placement(std::string_view name, const SetupHeader& header) {
    const u64 alignment = header.kernel_alignment;
    if (header.relocatable && (alignment == 0 || (alignment & (alignment - 1)) != 0))
        return error("kernel {} is damaged: its alignment {:#x} is not a power of two", name, alignment);
    if (header.version < 0x20A) return {};
    if (header.pref_address < MiB || header.pref_address >= 4 * GiB)
        return error("kernel {} wants to run at {:#x}; only addresses from 1 MiB to 4 GiB can be served", name,
                     header.pref_address);
    if (header.init_size < header.kernel_size)
        return error("kernel {} is damaged: it holds {}, more than the {} that its header says it needs to start", name,
                     size_text(header.kernel_size), size_text(header.init_size));
    return {};
}

} // namespace

Result<SetupHeader> parse_setup_header(std::span<const u8> image, std::string_view name) {
    if (auto checked = check_identity(image, name); !checked) return checked.error();
    SetupHeader header;
    header.version = static_cast<u16>(load(image, field::version, 2));
    if (auto checked = check_sizes(image, name, header); !checked) return checked.error();
    if ((image[field::loadflags] & field::loaded_high) == 0)
        return error("kernel {} is a zImage, which loads below 640 KiB: build it as a bzImage", name);

    // The jump at 0x200 goes over the header, so its displacement says where the header ends.
    header.header_end = std::min<u32>(field::magic + image[field::jump + 1], field::end);
    const u32 needed = fields_end(header.version);
    if (image.size() < needed)
        return error("kernel {} is truncated: its setup header ends after {}", name, size_text(image.size()));
    header.header_end = std::max(header.header_end, needed);

    if (header.version >= 0x203) header.initrd_addr_max = static_cast<u32>(load(image, field::initrd_addr_max, 4));
    if (header.version >= 0x205) {
        header.kernel_alignment = static_cast<u32>(load(image, field::kernel_alignment, 4));
        header.relocatable = image[field::relocatable_kernel] != 0;
    }
    if (header.version >= 0x206) header.cmdline_size = static_cast<u32>(load(image, field::cmdline_size, 4));
    if (header.version >= 0x20A) {
        header.pref_address = load(image, field::pref_address, 8);
        header.init_size = load(image, field::init_size, 4);
    }
    if (header.version >= 0x20C) header.xloadflags = static_cast<u16>(load(image, field::xloadflags, 2));
    if (auto checked = check_placement(name, header); !checked) return checked.error();
    return header;
}

} // namespace calque::firmware
