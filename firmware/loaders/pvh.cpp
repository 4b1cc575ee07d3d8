// The PVH boot protocol: an ELF kernel whose XEN_ELFNOTE_PHYS32_ENTRY note names a 32-bit entry point, and struct
// hvm_start_info (Xen's "x86/HVM direct boot ABI").

#include "firmware/bytes.h"
#include "firmware/layout.h"
#include "firmware/loaders/arena.h"
#include "firmware/loaders/cpu_setup.h"
#include "firmware/loaders/elf.h"
#include "firmware/loaders/loaders.h"
#include "firmware/loaders/sizes.h"

#include <algorithm>

namespace calque::firmware {

namespace {

constexpr u32 start_info_magic = 0x336EC578, start_info_version = 1;

// Modules lie as high as they can below 4 GiB. Gives the module list.
Result<std::vector<u8>> load_modules(const LoadContext& context, const BootRequest& request, Arena& arena,
                                     u64 kernel_end) {
    std::vector<u8> list;
    u64 limit = 4 * GiB;
    for (const BootModule& module : request.modules) {
        if (module.bytes.empty()) return error("initrd {} is empty", module.name);
        const u64 size = module.bytes.size();
        const u64 address = context.map.highest_fit(size, page_size, std::max(kernel_end, MiB), limit);
        if (address == 0)
            return error(
                "initrd {} is too large for the guest's memory: it has {}, beside a kernel that ends at {:#x}, in {} "
                "of RAM; give the guest more with -m",
                module.name, size_text(size), kernel_end, size_text(context.platform.ram.total()));
        const auto text = arena.put_text(module.text);
        if (!text)
            return error("module {}: the texts of all modules are too long for the guest's low memory: shorten them",
                         module.name);
        if (!context.memory.write(PhysicalAddress(address), module.bytes))
            return error("initrd {}: the memory at {:#x} cannot be written", module.name, address);
        for (const u64 field : {address, size, u64{*text}, u64{0}})
            append(list, field, 8);
        limit = address;
    }
    return list;
}

std::vector<u8> memory_map(const E820Map& map) {
    std::vector<u8> out;
    for (const E820Entry& entry : map.entries()) {
        append(out, entry.base, 8);
        append(out, entry.size, 8);
        append(out, static_cast<u32>(entry.type), 4);
        append(out, 0, 4);
    }
    return out;
}

Result<u32> write_start_info(const LoadContext& context, const BootRequest& request, u64 kernel_end) {
    Arena arena(context.memory);
    const auto line = arena.put_text(request.command_line);
    if (!line)
        return error("the command line has {} characters, more than the guest's low memory holds: shorten -append",
                     request.command_line.size());
    const auto modules = load_modules(context, request, arena, kernel_end);
    if (!modules) return modules.error();
    const auto module_list = arena.put(*modules);
    const auto map_table = arena.put(memory_map(context.map));

    std::vector<u8> info;
    append(info, start_info_magic, 4);
    append(info, start_info_version, 4);
    append(info, 0, 4); // Flags.
    append(info, request.modules.size(), 4);
    append(info, request.modules.empty() ? 0 : module_list.value_or(0), 8);
    append(info, *line, 8);
    append(info, context.rsdp.value, 8);
    append(info, map_table.value_or(0), 8);
    append(info, context.map.entries().size(), 4);
    append(info, 0, 4);
    const auto info_at = arena.put(info);
    if (!module_list || !map_table || !info_at)
        return error("{} modules are more than the guest's low memory can list: give fewer", request.modules.size());
    return *info_at;
}

} // namespace

Result<BootState> load_pvh(const LoadContext& context, const BootRequest& request) {
    const auto elf = parse_elf(request.kernel, request.kernel_name);
    if (!elf) return elf.error();
    const auto entry = pvh_entry(request.kernel, *elf);
    if (!entry) return error("{} has no PVH entry note", request.kernel_name);
    if (*entry >= 4 * GiB)
        return error("kernel {} is damaged: its PVH entry point {:#x} is above 4 GiB", request.kernel_name, *entry);
    if (auto loaded = load_elf(context, *elf, request); !loaded) return loaded.error();
    const auto info = write_start_info(context, request, elf->physical_end());
    if (!info) return info.error();
    BootState state = flat_protected_mode(context.memory);
    state.rip = *entry;
    state.rbx = *info;
    return state;
}

} // namespace calque::firmware
