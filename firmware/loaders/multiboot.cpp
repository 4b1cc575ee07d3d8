// Multiboot Specification 0.6.96: 3.1 header, 3.2 machine state, 3.3 boot information.

#include "firmware/bytes.h"
#include "firmware/layout.h"
#include "firmware/loaders/arena.h"
#include "firmware/loaders/cpu_setup.h"
#include "firmware/loaders/elf.h"
#include "firmware/loaders/loaders.h"
#include "firmware/loaders/multiboot_header.h"
#include "firmware/loaders/sizes.h"

#include <algorithm>

namespace calque::firmware {

namespace {

constexpr u32 loaded_by_multiboot = 0x2BADB002;
constexpr u32 info_size = 116;
constexpr u32 info_has_memory = 1u << 0, info_has_command_line = 1u << 2, info_has_modules = 1u << 3,
              info_has_memory_map = 1u << 6, info_has_loader_name = 1u << 9;

struct LoadedKernel {
    u64 entry = 0;
    u64 end = 0; // Free memory starts here.
};

// By the header's address fields (flag 16): one piece of the file, then zeros.
Result<LoadedKernel> load_by_addresses(const LoadContext& context, const BootRequest& request,
                                       const MultibootHeader& header) {
    const auto& name = request.kernel_name;
    if (header.header_addr < header.load_addr || header.header_addr - header.load_addr > header.offset)
        return error(
            "kernel {} is damaged: its multiboot header says that loading starts at {:#x}, before the file does", name,
            header.load_addr);
    const u64 offset = header.offset - (header.header_addr - header.load_addr);
    const u64 rest = request.kernel.size() - offset;
    if (header.load_end_addr != 0 && header.load_end_addr < header.load_addr)
        return error("kernel {} is damaged: its multiboot load_end_addr {:#x} is below its load_addr {:#x}", name,
                     header.load_end_addr, header.load_addr);
    const u64 size = header.load_end_addr == 0 ? rest : header.load_end_addr - header.load_addr;
    if (size > rest)
        return error("kernel {} is truncated: its multiboot header asks for {} from offset {:#x}, and {} are there",
                     name, size_text(size), offset, size_text(rest));
    const u64 file_end = header.load_addr + size;
    const u64 end = header.bss_end_addr == 0 ? file_end : header.bss_end_addr;
    if (end < file_end)
        return error("kernel {} is damaged: its multiboot bss_end_addr {:#x} is below the end of its data {:#x}", name,
                     end, file_end);
    if (auto checked = check_load_range(context, name, header.load_addr, end - header.load_addr); !checked)
        return checked.error();
    if (!context.memory.write(PhysicalAddress(header.load_addr), request.kernel.subspan(offset, size))
        || !context.memory.zero(PhysicalAddress(file_end), end - file_end))
        return error("kernel {}: the memory at {:#x} cannot be written", name, header.load_addr);
    return LoadedKernel{header.entry_addr, end};
}

Result<LoadedKernel> load_as_elf(const LoadContext& context, const BootRequest& request) {
    const auto elf = parse_elf(request.kernel, request.kernel_name);
    if (!elf) return elf.error();
    if (elf->is_64bit)
        return error(
            "{} is a 64-bit ELF file, and multiboot 1 starts 32-bit ones: convert it with objcopy -O elf32-i386 or "
            "give it a PVH note",
            request.kernel_name);
    if (auto loaded = load_elf(context, *elf, request); !loaded) return loaded.error();
    return LoadedKernel{elf->physical_entry(), elf->physical_end()};
}

// Modules follow the kernel, each on a page of its own. Gives the module table (3.3, mods_addr).
Result<std::vector<u8>> load_modules(const LoadContext& context, const BootRequest& request, Arena& arena, u64 free) {
    std::vector<u8> table;
    for (const BootModule& module : request.modules) {
        const u64 address = align_up(std::max(free, MiB), page_size);
        const u64 size = module.bytes.size();
        if (!context.map.is_ram(address, size) || address + size > 4 * GiB)
            return error(
                "module {} is too large for the guest's memory: it has {}, from {:#x} on, in {} of RAM; give the "
                "guest more with -m",
                module.name, size_text(size), address, size_text(context.platform.ram.total()));
        const auto text = arena.put_text(module.text);
        if (!text)
            return error("module {}: the texts of all modules are too long for the guest's low memory: shorten them",
                         module.name);
        if (!context.memory.write(PhysicalAddress(address), module.bytes))
            return error("module {}: the memory at {:#x} cannot be written", module.name, address);
        for (const u64 field : {address, address + size, u64{*text}, u64{0}})
            append(table, field, 4);
        free = address + size;
    }
    return table;
}

std::vector<u8> memory_map(const E820Map& map) {
    std::vector<u8> out;
    for (const E820Entry& entry : map.entries()) {
        append(out, 20, 4); // Size of what follows.
        append(out, entry.base, 8);
        append(out, entry.size, 8);
        append(out, static_cast<u32>(entry.type), 4);
    }
    return out;
}

// KiB of RAM from 1 MiB up to the first hole.
u64 upper_memory(const E820Map& map) {
    for (const E820Entry& entry : map.entries())
        if (entry.type == E820Type::ram && entry.base == MiB) return entry.size / KiB;
    return 0;
}

} // namespace

Result<BootState> load_multiboot(const LoadContext& context, const BootRequest& request) {
    const auto header = find_multiboot_header(request.kernel);
    if (!header) return error("{} has no multiboot header", request.kernel_name);
    if (header->unknown_requirements() != 0)
        return error("kernel {} requires multiboot features {:#x}, which this loader does not have",
                     request.kernel_name, header->unknown_requirements());
    const auto kernel =
        header->has_addresses() ? load_by_addresses(context, request, *header) : load_as_elf(context, request);
    if (!kernel) return kernel.error();

    Arena arena(context.memory);
    const std::string separator = request.command_line.empty() ? "" : " ";
    const auto line = arena.put_text(request.kernel_name + separator + request.command_line);
    if (!line)
        return error("the command line has {} characters, more than the guest's low memory holds: shorten -append",
                     request.command_line.size());
    const auto modules = load_modules(context, request, arena, kernel->end);
    if (!modules) return modules.error();
    const auto map = memory_map(context.map);
    const auto loader_name = arena.put_text("Calque");
    const auto module_table = arena.put(*modules);
    const auto map_table = arena.put(map);

    std::vector<u8> info(info_size);
    const std::span<u8> out(info);
    store(out, 0,
          info_has_memory | info_has_command_line | info_has_memory_map | info_has_loader_name
              | (request.modules.empty() ? 0 : info_has_modules),
          4);
    store(out, 4, layout::ebda / KiB, 4); // mem_lower
    store(out, 8, upper_memory(context.map), 4);
    store(out, 16, *line, 4);
    store(out, 20, request.modules.size(), 4);
    store(out, 24, module_table.value_or(0), 4);
    store(out, 44, map.size(), 4);
    store(out, 48, map_table.value_or(0), 4);
    store(out, 64, loader_name.value_or(0), 4);
    const auto info_at = arena.put(info);
    if (!loader_name || !module_table || !map_table || !info_at)
        return error("{} modules are more than the guest's low memory can list: give fewer", request.modules.size());

    BootState state = flat_protected_mode(context.memory);
    state.rip = kernel->entry;
    state.rax = loaded_by_multiboot;
    state.rbx = *info_at;
    if (header->wants_video())
        state.notes.push_back(fmt::format("kernel {} asks for a video mode; none is set", request.kernel_name));
    return state;
}

} // namespace calque::firmware
