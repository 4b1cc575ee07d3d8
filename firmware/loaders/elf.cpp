#include "firmware/loaders/elf.h"

#include "firmware/bytes.h"
#include "firmware/layout.h"
#include "firmware/loaders/sizes.h"

#include <algorithm>

namespace calque::firmware {

namespace {

constexpr u8 class_32 = 1, class_64 = 2, data_little_endian = 1;
constexpr u16 type_executable = 2, machine_386 = 3, machine_x86_64 = 62;
constexpr u32 pt_load = 1, pt_note = 4;
constexpr u32 ident_class = 4, ident_data = 5, ident_version = 6, e_type = 16, e_machine = 18, e_version = 20;

// Where the fields of one class are.
struct Layout {
    u32 header_size, address_size, e_entry, e_phoff, e_ehsize, e_phentsize, e_phnum;
    u32 entry_size, p_offset, p_vaddr, p_paddr, p_filesz, p_memsz, p_align;
};
constexpr Layout layout_32{52, 4, 24, 28, 40, 42, 44, 32, 4, 8, 12, 16, 20, 28};
constexpr Layout layout_64{64, 8, 24, 32, 52, 54, 56, 56, 8, 16, 24, 32, 40, 48};

std::string machine_name(u64 machine) {
    switch (machine) {
    case 8: return "MIPS";
    case 20: return "PowerPC";
    case 21: return "64-bit PowerPC";
    case 22: return "S/390";
    case 40: return "32-bit ARM";
    case 62: return "x86-64";
    case 183: return "AArch64";
    case 243: return "RISC-V";
    case 258: return "LoongArch";
    default: return fmt::format("machine number {}", machine);
    }
}

std::string_view type_name(u64 type) {
    switch (type) {
    case 1: return "an object file that is not linked yet";
    case 3: return "a shared object or position-independent";
    case 4: return "a core dump";
    default: return "of an unknown type";
    }
}

Result<void> check_ident(std::span<const u8> image, std::string_view name) {
    if (image.size() < layout_32.header_size)
        return error("{} is truncated: {} are too few for an ELF header", name, size_text(image.size()));
    if (image[ident_class] != class_32 && image[ident_class] != class_64)
        return error("{} is damaged: ELF class {} is neither 32-bit nor 64-bit", name, image[ident_class]);
    if (image[ident_data] != data_little_endian)
        return error("{} is a big-endian ELF file: x86 needs a little-endian one", name);
    if (image[ident_version] != 1 || load(image, e_version, 4) != 1)
        return error("{} is damaged: its ELF version is not 1", name);
    return {};
}

Result<void> check_header(std::span<const u8> image, std::string_view name, const Layout& at) {
    if (image.size() < at.header_size)
        return error("{} is truncated: {} are too few for an ELF header", name, size_text(image.size()));
    const u64 machine = load(image, e_machine, 2);
    const bool is_64bit = image[ident_class] == class_64;
    if (machine != machine_386 && machine != machine_x86_64)
        return error("{} is an ELF file for {}: this machine is an x86-64 PC", name, machine_name(machine));
    if ((machine == machine_x86_64) != is_64bit)
        return error("{} is a {}-bit ELF file for {}: that pairing (x32) is not supported", name, is_64bit ? 64 : 32,
                     is_64bit ? "i386" : "x86-64");
    const u64 type = load(image, e_type, 2);
    if (type != type_executable)
        return error("{} is {} ELF file: link the kernel as an executable at fixed addresses", name, type_name(type));
    if (load(image, at.e_ehsize, 2) < at.header_size)
        return error("{} is damaged: it gives its ELF header {} bytes, and {} belong there", name,
                     load(image, at.e_ehsize, 2), at.header_size);
    return {};
}

Result<std::span<const u8>> program_headers(std::span<const u8> image, std::string_view name, const Layout& at) {
    constexpr u64 count_elsewhere = 0xFFFF; // PN_XNUM
    const u64 count = load(image, at.e_phnum, 2);
    if (count == 0)
        return error("{} has no program headers, so there is nothing to load: link it as an executable", name);
    if (count == count_elsewhere) return error("{} has more than 65534 program headers, too many to load", name);
    if (load(image, at.e_phentsize, 2) != at.entry_size)
        return error("{} is damaged: its program headers have {} bytes each, and {} belong there", name,
                     load(image, at.e_phentsize, 2), at.entry_size);
    const auto table = part(image, load(image, at.e_phoff, at.address_size), count * at.entry_size);
    if (!table)
        return error("{} is truncated: its program headers lie past its end ({})", name, size_text(image.size()));
    return *table;
}

Result<ElfSegment> read_segment(std::span<const u8> image, std::string_view name, const Layout& at,
                                std::span<const u8> entry) {
    const auto number = [&](u32 offset) { return load(entry, offset, at.address_size); };
    const ElfSegment segment{number(at.p_offset), number(at.p_filesz), number(at.p_vaddr),
                             number(at.p_paddr),  number(at.p_memsz),  number(at.p_align)};
    if (!part(image, segment.offset, segment.file_size))
        return error("{} is truncated: a segment of {} at offset {:#x} lies past its end ({})", name,
                     size_text(segment.file_size), segment.offset, size_text(image.size()));
    return segment;
}

Result<void> check_loads(std::string_view name, const std::vector<ElfSegment>& loads) {
    if (loads.empty()) return error("{} has no segment to load: link it as an executable", name);
    u64 end = 0;
    for (const ElfSegment& segment : loads) {
        if (segment.file_size > segment.memory_size)
            return error("{} is damaged: a segment has {} in the file and only {} in memory", name,
                         size_text(segment.file_size), size_text(segment.memory_size));
        if (segment.physical + segment.memory_size < segment.physical)
            return error("{} is damaged: its segment at {:#x} passes the end of the address space", name,
                         segment.physical);
        if (segment.physical < end)
            return error("{} is damaged: its segments overlap at {:#x}", name, segment.physical);
        end = segment.physical + segment.memory_size;
    }
    return {};
}

} // namespace

u64 ElfImage::physical_entry() const {
    for (const ElfSegment& segment : loads)
        if (entry >= segment.linear && entry - segment.linear < segment.memory_size)
            return entry - segment.linear + segment.physical;
    return entry;
}

bool looks_like_elf(std::span<const u8> image) { return image.size() >= 4 && load(image, 0, 4) == 0x464C457F; }

Result<ElfImage> parse_elf(std::span<const u8> image, std::string_view name) {
    if (!looks_like_elf(image)) return error("{} is not an ELF file", name);
    if (auto checked = check_ident(image, name); !checked) return checked.error();
    ElfImage elf;
    elf.is_64bit = image[ident_class] == class_64;
    const Layout& at = elf.is_64bit ? layout_64 : layout_32;
    if (auto checked = check_header(image, name, at); !checked) return checked.error();
    elf.entry = load(image, at.e_entry, at.address_size);
    const auto table = program_headers(image, name, at);
    if (!table) return table.error();

    for (std::size_t offset = 0; offset < table->size(); offset += at.entry_size) {
        const auto entry = table->subspan(offset, at.entry_size);
        const u64 type = load(entry, 0, 4);
        if (type != pt_load && type != pt_note) continue;
        const auto segment = read_segment(image, name, at, entry);
        if (!segment) return segment.error();
        if (type == pt_note)
            elf.notes.push_back(*segment);
        else if (segment->memory_size != 0 || segment->file_size != 0)
            elf.loads.push_back(*segment);
    }
    std::sort(elf.loads.begin(), elf.loads.end(),
              [](const ElfSegment& a, const ElfSegment& b) { return a.physical < b.physical; });
    if (auto checked = check_loads(name, elf.loads); !checked) return checked.error();
    return elf;
}

Result<void> check_load_range(const LoadContext& context, std::string_view name, u64 address, u64 size) {
    if (address < layout::arena.end())
        return error("kernel {} loads at {:#x}, where the boot information is: link it at 1 MiB or above", name,
                     address);
    if (!context.map.is_ram(address, size))
        return error(
            "kernel {} needs {} of memory at {:#x}, which is not free RAM in a guest of {}: give it more with -m or "
            "link it elsewhere",
            name, size_text(size), address, size_text(context.platform.ram.total()));
    return {};
}

Result<void> load_elf(const LoadContext& context, const ElfImage& elf, const BootRequest& request) {
    for (const ElfSegment& segment : elf.loads)
        if (auto checked = check_load_range(context, request.kernel_name, segment.physical, segment.memory_size);
            !checked)
            return checked;
    for (const ElfSegment& segment : elf.loads) {
        const PhysicalAddress at(segment.physical);
        const bool written = context.memory.write(at, request.kernel.subspan(segment.offset, segment.file_size))
                             && context.memory.zero(at + segment.file_size, segment.memory_size - segment.file_size);
        if (!written)
            return error("kernel {}: the memory at {:#x} cannot be written", request.kernel_name, segment.physical);
    }
    return {};
}

// Notes (gABI chapter 5): name size, descriptor size, type, then both, each padded to four bytes (eight where the
// segment says so).
std::optional<u64> pvh_entry(std::span<const u8> image, const ElfImage& elf) {
    constexpr u64 phys32_entry = 18;
    constexpr u64 header = 12;
    for (const ElfSegment& segment : elf.notes) {
        const auto notes = image.subspan(segment.offset, segment.file_size);
        const u64 alignment = segment.alignment == 8 ? 8 : 4;
        for (u64 at = 0; at < notes.size() && notes.size() - at >= header;) {
            const u64 name_size = load(notes, at, 4), value_size = load(notes, at + 4, 4);
            const u64 value_at = align_up(at + header + name_size, alignment);
            const auto name = part(notes, at + header, name_size);
            const auto value = part(notes, value_at, value_size);
            if (!name || !value) break;
            const bool xen = name_size == 4 && std::equal(name->begin(), name->end(), "Xen");
            if (xen && load(notes, at + 8, 4) == phys32_entry && (value_size == 4 || value_size == 8))
                return load(*value, 0, static_cast<unsigned>(value_size));
            at = align_up(value_at + value_size, alignment);
        }
    }
    return std::nullopt;
}

} // namespace calque::firmware
