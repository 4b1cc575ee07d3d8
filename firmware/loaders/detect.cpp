#include "firmware/bytes.h"
#include "firmware/loaders/elf.h"
#include "firmware/loaders/loaders.h"
#include "firmware/loaders/multiboot_header.h"
#include "firmware/loaders/setup_header.h"
#include "firmware/loaders/sizes.h"

#include <algorithm>

namespace calque::firmware {

namespace {

bool has_at(std::span<const u8> image, u64 offset, std::string_view signature) {
    const auto found = part(image, offset, signature.size());
    const auto wanted = as_bytes(signature);
    return found && std::equal(found->begin(), found->end(), wanted.begin());
}

// Files that people give by mistake, by their signatures.
struct Known {
    u64 offset;
    std::string_view signature;
    std::string_view what;
};
using namespace std::string_view_literals;
constexpr Known known_files[]{
    {0, "\x1F\x8B"sv, "is compressed with gzip: decompress it with gunzip first"},
    {0,
     "\xFD"
     "7zXZ"sv,
     "is compressed with xz: decompress it with unxz first"},
    {0, "\x28\xB5\x2F\xFD"sv, "is compressed with zstd: decompress it with unzstd first"},
    {0, "BZh"sv, "is compressed with bzip2: decompress it with bunzip2 first"},
    {0, "QFI\xFB"sv, "is a qcow2 disk image: give it with -drive file=...,format=qcow2"},
    {0, "070701"sv, "is an initramfs (cpio archive): give it with -initrd beside a -kernel"},
    {0x38, "ARM\x64"sv, "is a Linux kernel for AArch64: this machine is an x86-64 PC"},
    {0x8001, "CD001"sv, "is a CD image: give it with -cdrom"},
    {0, "MZ"sv,
     "is an EFI program, which needs UEFI firmware: give an EFI firmware with -bios and the program on a disk"},
    {510, "\x55\xAA"sv, "looks like a disk with a boot sector: give it with -hda or -drive"},
};

} // namespace

ImageKind detect(std::span<const u8> image) {
    if (image.empty()) return ImageKind::empty;
    if (has_at(image, setup_header::magic, "HdrS")) return ImageKind::bzimage;
    if (find_multiboot_header(image)) return ImageKind::multiboot;
    if (!looks_like_elf(image)) return ImageKind::unknown;
    const auto elf = parse_elf(image, "");
    return elf && pvh_entry(image, *elf) ? ImageKind::pvh : ImageKind::elf;
}

Error unsupported_image(std::span<const u8> image, std::string_view name) {
    if (image.empty()) return error("kernel {} is empty", name);
    if (has_multiboot2_header(image))
        return error(
            "{} is a multiboot 2 kernel: -kernel takes multiboot 1, PVH and Linux kernels; start it from a disk by its "
            "boot loader",
            name);
    if (looks_like_elf(image)) {
        if (const auto elf = parse_elf(image, name); !elf) return elf.error();
        return error(
            "{} is an ELF file without a multiboot header or a PVH note, so nothing says how to start it: give a "
            "bzImage, or a kernel that has one of these",
            name);
    }
    for (const Known& known : known_files)
        if (has_at(image, known.offset, known.signature)) return error("{} {}", name, known.what);
    if (image.size() < setup_header::version + 2)
        return error("{} has only {}, too few for any kernel: it may be truncated", name, size_text(image.size()));
    return error("{} is not a kernel that -kernel takes: it is neither a Linux bzImage nor an ELF file with a "
                 "multiboot header or "
                 "a PVH note",
                 name);
}

} // namespace calque::firmware
