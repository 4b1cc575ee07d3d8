// Linux, by the x86 boot protocol (Documentation/arch/x86/boot.rst and zero-page.rst): 64-bit entry where the kernel
// has it, else the 32-bit one. The real-mode setup code never runs, so what it would ask a BIOS stands in boot_params.

#include "firmware/bytes.h"
#include "firmware/layout.h"
#include "firmware/loaders/arena.h"
#include "firmware/loaders/cpu_setup.h"
#include "firmware/loaders/loaders.h"
#include "firmware/loaders/setup_header.h"
#include "firmware/loaders/sizes.h"

#include <algorithm>

namespace calque::firmware {

namespace {

namespace field = setup_header;

// boot_params outside the setup header.
constexpr u32 bp_screen_info = 0x000, bp_acpi_rsdp_addr = 0x070, bp_ext_ramdisk_image = 0x0C0,
              bp_ext_ramdisk_size = 0x0C4, bp_alt_mem_k = 0x1E0, bp_e820_entries = 0x1E8, bp_e820_table = 0x2D0;
constexpr u32 e820_max_entries = 128;
constexpr u32 entry_64 = 0x200; // The 64-bit entry point, behind the 32-bit one.
constexpr u8 loader_unassigned = 0xFF;

struct Loaded {
    u64 address = 0; // Where the kernel is, where it will run, and from where on memory is free for an initrd.
    u64 floor = 0;
};

Result<Loaded> place_kernel(const LoadContext& context, const BootRequest& request, const SetupHeader& header) {
    const auto code = request.kernel.subspan(header.kernel_offset, header.kernel_size);
    // A kernel that is not relocatable starts at 1 MiB and moves itself to pref_address.
    const u64 address = header.relocatable ? align_up(header.pref_address, header.kernel_alignment) : MiB;
    const u64 runs_at = std::max(address, header.pref_address);
    const u64 needed = std::max(header.init_size, header.kernel_size);
    if (!context.map.is_ram(address, header.kernel_size) || !context.map.is_ram(runs_at, needed))
        return error("kernel {} needs {} of memory from address {:#x}, and the guest has {}: give it more with -m",
                     request.kernel_name, size_text(needed), runs_at, size_text(context.platform.ram.total()));
    if (!context.memory.write(PhysicalAddress(address), code))
        return error("kernel {}: the memory at {:#x} cannot be written", request.kernel_name, address);
    return Loaded{address, std::max(runs_at + needed, address + header.kernel_size)};
}

// The number behind "mem=" on the command line, or `none`: an initrd must lie below, as the kernel takes the memory
// above as not there.
u64 mem_limit(std::string_view line, u64 none) {
    u64 limit = none;
    for (std::size_t at = line.find("mem="); at != line.npos; at = line.find("mem=", at + 4)) {
        if (at != 0 && line[at - 1] != ' ') continue;
        u64 value = 0;
        std::size_t i = at + 4;
        for (; i < line.size() && line[i] >= '0' && line[i] <= '9' && value < (u64{1} << 40); ++i)
            value = value * 10 + static_cast<u64>(line[i] - '0');
        const char unit = i < line.size() ? static_cast<char>(line[i] | 0x20) : ' ';
        const u64 scale = unit == 'k' ? KiB : unit == 'm' ? MiB : unit == 'g' ? GiB : 1;
        if (i != at + 4) limit = std::min(limit, value * scale);
    }
    return limit;
}

Result<u64> place_initrd(const LoadContext& context, const BootRequest& request, const SetupHeader& header, u64 floor) {
    const BootModule& initrd = request.modules.front();
    if (initrd.bytes.empty()) return error("initrd {} is empty", initrd.name);
    const u64 size = initrd.bytes.size();
    const u64 limit = mem_limit(request.command_line, ~u64{0});
    const u64 below = std::min(limit, u64{header.initrd_addr_max} + 1);
    u64 address = context.map.highest_fit(size, page_size, floor, below);
    if (address == 0 && header.has_64bit_entry() && header.initrd_above_4g())
        address = context.map.highest_fit(size, page_size, std::max(floor, 4 * GiB), limit);
    if (address == 0) {
        u64 free = 0;
        for (const E820Entry& entry : context.map.entries())
            if (entry.type == E820Type::ram && std::min(entry.end(), below) > std::max(entry.base, floor))
                free = std::max(free, std::min(entry.end(), below) - std::max(entry.base, floor));
        return error(
            "initrd {} is too large for the guest's memory: it has {}, and {} are free for it beside the kernel in {} "
            "of RAM; give the guest more with -m",
            initrd.name, size_text(size), size_text(free), size_text(context.platform.ram.total()));
    }
    if (!context.memory.write(PhysicalAddress(address), initrd.bytes))
        return error("initrd {}: the memory at {:#x} cannot be written", initrd.name, address);
    return address;
}

void fill_memory_map(std::span<u8> params, const LoadContext& context) {
    const auto& entries = context.map.entries();
    const std::size_t count = std::min<std::size_t>(entries.size(), e820_max_entries);
    params[bp_e820_entries] = static_cast<u8>(count);
    for (std::size_t i = 0; i < count; ++i) {
        const std::size_t at = bp_e820_table + 20 * i;
        store(params, at, entries[i].base, 8);
        store(params, at + 8, entries[i].size, 8);
        store(params, at + 16, static_cast<u32>(entries[i].type), 4);
    }
    const u64 above_1m = std::min<u64>(context.platform.ram.low - MiB, ~u32{0} * KiB) / KiB;
    store(params, bp_screen_info + 2, std::min<u64>(above_1m, 0xFC00), 2); // ext_mem_k
    store(params, bp_alt_mem_k, above_1m, 4);
}

// struct screen_info: 80x25 text, VGA. All zero says that there is no text console.
void fill_screen_info(std::span<u8> params, bool vga) {
    if (!vga) return;
    params[bp_screen_info + 0x06] = 3;  // orig_video_mode
    params[bp_screen_info + 0x07] = 80; // orig_video_cols
    params[bp_screen_info + 0x0E] = 25; // orig_video_lines
    params[bp_screen_info + 0x0F] = 1;  // orig_video_isVGA
    params[bp_screen_info + 0x10] = 16; // orig_video_points
}

void fill_initrd(std::span<u8> params, u64 address, u64 size) {
    store(params, field::ramdisk_image, address & 0xFFFFFFFF, 4);
    store(params, field::ramdisk_size, size & 0xFFFFFFFF, 4);
    store(params, bp_ext_ramdisk_image, address >> 32, 4);
    store(params, bp_ext_ramdisk_size, size >> 32, 4);
}

Result<void> check_request(const BootRequest& request, const SetupHeader& header) {
    if (request.modules.size() > 1)
        return error("{} is a Linux kernel, which takes one -initrd, and {} are given: join them with cat",
                     request.kernel_name, request.modules.size());
    if (request.command_line.size() > header.cmdline_size)
        return error("the command line has {} characters, and kernel {} takes at most {}: shorten -append",
                     request.command_line.size(), request.kernel_name, header.cmdline_size);
    return {};
}

} // namespace

Result<BootState> load_bzimage(const LoadContext& context, const BootRequest& request) {
    const auto header = parse_setup_header(request.kernel, request.kernel_name);
    if (!header) return header.error();
    if (auto checked = check_request(request, *header); !checked) return checked.error();
    const auto kernel = place_kernel(context, request, *header);
    if (!kernel) return kernel.error();

    std::vector<u8> params(page_size);
    const std::span<u8> out(params);
    const auto copied = request.kernel.subspan(field::setup_sects, header->header_end - field::setup_sects);
    std::copy(copied.begin(), copied.end(), out.begin() + field::setup_sects);
    if (!request.modules.empty()) {
        const auto initrd = place_initrd(context, request, *header, kernel->floor);
        if (!initrd) return initrd.error();
        fill_initrd(out, *initrd, request.modules.front().bytes.size());
    }
    Arena arena(context.memory);
    const auto line = arena.put_text(request.command_line);
    if (!line)
        return error("the command line has {} characters, more than the guest's low memory holds: shorten -append",
                     request.command_line.size());

    fill_screen_info(out, context.platform.vga);
    fill_memory_map(out, context);
    store(out, field::cmd_line_ptr, *line, 4);
    store(out, field::code32_start, kernel->address, 4);
    store(out, field::vid_mode, 0xFFFF, 2); // "normal"
    store(out, bp_acpi_rsdp_addr, context.rsdp.value, 8);
    out[field::type_of_loader] = loader_unassigned;
    out[field::loadflags] &= static_cast<u8>(~field::keep_segments);
    context.memory.write(PhysicalAddress(layout::boot_params), params);

    const bool wide = header->has_64bit_entry();
    BootState state = wide ? identity_mapped_long_mode(context.memory) : flat_protected_mode(context.memory);
    state.rip = kernel->address + (wide ? entry_64 : 0);
    state.rsi = layout::boot_params;
    return state;
}

} // namespace calque::firmware
