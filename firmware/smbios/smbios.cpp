// Structure types and fields: DSP0134 3.0, chapter 7.

#include "firmware/smbios/smbios.h"

#include "firmware/bytes.h"
#include "firmware/smbios/structure.h"

#include <algorithm>
#include <fmt/format.h>

namespace calque::firmware {

namespace {

// Handles; those of repeated structures count up from here.
constexpr u16 handle_bios = 0x000, handle_system = 0x100, handle_board = 0x200, handle_chassis = 0x300,
              handle_processor = 0x400, handle_oem = 0xE00, handle_memory_array = 0x1000, handle_memory_device = 0x1100,
              handle_mapped = 0x1300, handle_boot = 0x2000, handle_end = 0x7F00;
constexpr u16 no_handle = 0xFFFF, no_error_information = 0xFFFE;
constexpr u64 dimm_size = 16 * GiB;
constexpr unsigned max_sockets = 0x900; // Handles up to the OEM strings.

std::string_view or_default(const std::string& text, std::string_view standard) {
    return text.empty() ? standard : std::string_view(text);
}

// The first three fields of a UUID are stored little-endian (7.2.1).
std::array<u8, 16> stored_uuid(const std::array<u8, 16>& written) {
    std::array<u8, 16> out = written;
    std::reverse(out.begin(), out.begin() + 4);
    std::reverse(out.begin() + 4, out.begin() + 6);
    std::reverse(out.begin() + 6, out.begin() + 8);
    return out;
}

class Table {
  public:
    void add(const SmbiosStructure& structure) {
        const auto bytes = structure.finish();
        append(out, bytes);
        largest = std::max(largest, bytes.size());
        ++count;
    }
    std::vector<u8> out;
    std::size_t largest = 0;
    u32 count = 0;
};

SmbiosStructure bios(const Identity& identity) {
    const auto& set = identity.bios;
    constexpr u64 characteristics_not_supported = 1u << 3;
    constexpr u8 virtual_machine = 1u << 4, uefi_supported = 1u << 3;
    SmbiosStructure out(0, handle_bios);
    out.string(or_default(set.vendor, "Calque")).string(or_default(set.version, "1.0"));
    out.number(0xE800, 2).string(or_default(set.date, "04/01/2024")).number(0, 1); // Segment; 64 KiB of ROM.
    out.number(characteristics_not_supported, 8).number(0, 1);
    out.number(virtual_machine | (set.uefi ? uefi_supported : 0), 1);
    out.number(set.release_major, 1).number(set.release_minor, 1).number(0xFFFF, 2); // No embedded controller.
    return out;
}

SmbiosStructure system(const Identity& identity) {
    const auto& set = identity.system;
    constexpr u8 wake_up_power_switch = 6;
    SmbiosStructure out(1, handle_system);
    out.string(or_default(set.manufacturer, "Calque")).string(or_default(set.product, "Standard PC (i440FX + PIIX)"));
    out.string(or_default(set.version, "pc")).string(set.serial);
    out.bytes(stored_uuid(identity.uuid.value_or(std::array<u8, 16>{})));
    out.number(wake_up_power_switch, 1).string(set.sku).string(set.family);
    return out;
}

SmbiosStructure board(const Identity& identity) {
    const auto& set = identity.board;
    constexpr u8 hosting_board = 1, type_motherboard = 0x0A;
    SmbiosStructure out(2, handle_board);
    out.string(set.manufacturer).string(set.product).string(set.version).string(set.serial).string(set.asset);
    out.number(hosting_board, 1)
        .string(set.location)
        .number(handle_chassis, 2)
        .number(type_motherboard, 1)
        .number(0, 1);
    return out;
}

SmbiosStructure chassis(const Identity& identity) {
    const auto& set = identity.chassis;
    constexpr u8 type_other = 1, state_safe = 3, security_unknown = 2;
    SmbiosStructure out(3, handle_chassis);
    out.string(or_default(set.manufacturer, "Calque")).number(type_other, 1).string(or_default(set.version, "pc"));
    out.string(set.serial).string(set.asset);
    out.number(state_safe, 1).number(state_safe, 1).number(state_safe, 1).number(security_unknown, 1);
    out.number(0, 4).number(0, 4).string(set.sku); // OEM; height, power cords, contained elements.
    return out;
}

SmbiosStructure processor(const Platform& platform, unsigned socket, unsigned cpus) {
    const auto& set = platform.identity.processor;
    constexpr u8 type_cpu = 3, family_other = 1, populated_enabled = 0x41, upgrade_other = 1;
    constexpr u16 unknown = 2;
    const unsigned cores = std::max(1u, cpus / std::max(1u, platform.threads_per_core));
    SmbiosStructure out(4, static_cast<u16>(handle_processor + socket));
    out.string(fmt::format("{} {}", or_default(set.socket_prefix, "CPU"), socket));
    out.number(type_cpu, 1).number(family_other, 1).string(or_default(set.manufacturer, "Calque"));
    out.number(platform.cpuid_signature, 4).number(platform.cpuid_features, 4);
    out.string(or_default(set.version, "pc")).number(0, 1).number(0, 2); // Voltage, external clock.
    out.number(set.max_speed_mhz, 2).number(set.current_speed_mhz, 2);
    out.number(populated_enabled, 1).number(upgrade_other, 1);
    out.number(no_handle, 2).number(no_handle, 2).number(no_handle, 2); // Caches.
    out.string(set.serial).string(set.asset).string(set.part);
    for (const unsigned count : {cores, cores, cpus})
        out.number(std::min(count, 0xFFu), 1);
    out.number(unknown, 2).number(family_other, 2);
    for (const unsigned count : {cores, cores, cpus})
        out.number(count, 2);
    return out;
}

SmbiosStructure memory_array(u64 total, unsigned devices) {
    constexpr u8 location_other = 1, use_system = 3, no_error_correction = 3;
    constexpr u32 see_extended = 0x80000000;
    SmbiosStructure out(16, handle_memory_array);
    out.number(location_other, 1).number(use_system, 1).number(no_error_correction, 1);
    const bool large = total / KiB >= see_extended;
    out.number(large ? see_extended : total / KiB, 4).number(no_error_information, 2).number(devices, 2);
    out.number(large ? total : 0, 8);
    return out;
}

SmbiosStructure memory_device(const Identity& identity, unsigned index, u64 size) {
    const auto& set = identity.memory;
    constexpr u16 unknown_width = 0xFFFF, see_extended = 0x7FFF, detail_other = 1u << 1;
    constexpr u8 form_dimm = 9, type_ram = 7;
    SmbiosStructure out(17, static_cast<u16>(handle_memory_device + index));
    out.number(handle_memory_array, 2)
        .number(no_error_information, 2)
        .number(unknown_width, 2)
        .number(unknown_width, 2);
    const bool large = size / MiB >= see_extended;
    out.number(large ? u64{see_extended} : size / MiB, 2).number(form_dimm, 1).number(0, 1);
    out.string(fmt::format("{} {}", or_default(set.locator_prefix, "DIMM"), index)).string(set.bank);
    out.number(type_ram, 1).number(detail_other, 2).number(set.speed_mts, 2);
    out.string(or_default(set.manufacturer, "Calque")).string(set.serial).string(set.asset).string(set.part);
    out.number(0, 1).number(large ? size / MiB : 0, 4).number(set.speed_mts, 2); // Attributes, extended size, speed.
    out.number(0, 2).number(0, 2).number(0, 2);                                  // Voltages.
    return out;
}

SmbiosStructure mapped_range(unsigned index, u64 base, u64 size) {
    constexpr u32 see_extended = 0xFFFFFFFF;
    const bool wide = (base + size) / KiB - 1 >= see_extended;
    SmbiosStructure out(19, static_cast<u16>(handle_mapped + index));
    out.number(wide ? see_extended : base / KiB, 4).number(wide ? see_extended : (base + size) / KiB - 1, 4);
    out.number(handle_memory_array, 2).number(1, 1);
    out.number(wide ? base : 0, 8).number(wide ? base + size - 1 : 0, 8);
    return out;
}

void add_processors(Table& table, const Platform& platform) {
    const unsigned per_socket = std::max(1u, platform.cores_per_socket * platform.threads_per_core);
    const unsigned cpus = static_cast<unsigned>(platform.apic_ids.size());
    const unsigned sockets = std::min((cpus + per_socket - 1) / per_socket, max_sockets);
    for (unsigned socket = 0; socket < sockets; ++socket)
        table.add(processor(platform, socket, std::min(per_socket, cpus - socket * per_socket)));
}

void add_memory(Table& table, const Platform& platform) {
    const u64 total = platform.ram.total();
    const u64 per_device = std::max(dimm_size, align_up(total / 256, MiB)); // At most 257 devices.
    const unsigned devices = static_cast<unsigned>((total + per_device - 1) / per_device);
    table.add(memory_array(total, devices));
    for (unsigned i = 0; i < devices; ++i)
        table.add(memory_device(platform.identity, i, std::min(per_device, total - i * per_device)));
    table.add(mapped_range(0, 0, platform.ram.low));
    if (platform.ram.high != 0) table.add(mapped_range(1, 4 * GiB, platform.ram.high));
}

void add_oem_strings(Table& table, const Identity& identity) {
    if (identity.oem_strings.empty()) return;
    SmbiosStructure out(11, handle_oem);
    unsigned count = 0;
    for (const std::string& text : identity.oem_strings)
        count = out.add_uncounted(text);
    table.add(out.number(count, 1));
}

std::vector<u8> entry_point_32(const Table& table) {
    std::vector<u8> out;
    append(out, std::string_view("_SM_"));
    append(out, 0x1F00, 2); // Checksum, length.
    append(out, 0x0802, 2); // 2.8
    append(out, table.largest, 2);
    append(out, 0, 6); // Revision, formatted area.
    append(out, std::string_view("_DMI_"));
    append(out, 0, 1);
    append(out, table.out.size(), 2);
    append(out, 0, 4);
    append(out, table.count, 2);
    append(out, 0x28, 1);
    return out;
}

std::vector<u8> entry_point_64(const Table& table) {
    std::vector<u8> out;
    append(out, std::string_view("_SM3_"));
    append(out, 0x1800, 2);   // Checksum, length.
    append(out, 0x000003, 3); // 3.0, document revision 0.
    append(out, 0x0001, 2);   // Entry point revision, reserved.
    append(out, table.out.size(), 4);
    append(out, 0, 8);
    return out;
}

void fix_checksum(std::span<u8> bytes, std::size_t at) {
    bytes[at] = 0;
    bytes[at] = static_cast<u8>(-sum(bytes));
}

} // namespace

SmbiosTables build_smbios(const Platform& platform) {
    Table table;
    table.add(bios(platform.identity));
    table.add(system(platform.identity));
    if (platform.identity.board.any()) table.add(board(platform.identity));
    table.add(chassis(platform.identity));
    add_processors(table, platform);
    add_oem_strings(table, platform.identity);
    add_memory(table, platform);
    table.add(SmbiosStructure(32, handle_boot).number(0, 6).number(0, 1)); // No errors detected.
    table.add(SmbiosStructure(127, handle_end));
    SmbiosTables out{table.out, entry_point_32(table), entry_point_64(table)};
    place(out, PhysicalAddress(0));
    return out;
}

void place(SmbiosTables& smbios, PhysicalAddress structures) {
    const std::span<u8> narrow(smbios.entry_point), wide(smbios.entry_point_64);
    store(narrow, 0x18, structures.value, 4);
    fix_checksum(narrow.subspan(0x10, 0x0F), 5);
    fix_checksum(narrow, 4);
    store(wide, 0x10, structures.value, 8);
    fix_checksum(wide, 5);
}

} // namespace calque::firmware
