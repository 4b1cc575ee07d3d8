#include "firmware/fw_cfg/files.h"

#include "firmware/acpi/acpi.h"
#include "firmware/bytes.h"
#include "firmware/e820/e820.h"
#include "firmware/smbios/smbios.h"

namespace calque::firmware {

namespace {

// A BIOS adds the holes and its own areas; what it needs to hear is where RAM is.
std::vector<u8> ram_entries(const RamLayout& ram) {
    std::vector<u8> out;
    const auto add = [&](u64 base, u64 size) {
        append(out, base, 8);
        append(out, size, 8);
        append(out, static_cast<u32>(E820Type::ram), 4);
    };
    add(0, ram.low);
    if (ram.high != 0) add(4 * GiB, ram.high);
    return out;
}

} // namespace

std::vector<FwCfgFile> fw_cfg_files(const Platform& platform) {
    AcpiTables acpi = build_acpi(platform);
    SmbiosTables smbios = build_smbios(platform);
    std::vector<FwCfgFile> files;
    files.push_back({"etc/table-loader", table_loader_script(acpi)});
    files.push_back({"etc/acpi/tables", std::move(acpi.tables)});
    files.push_back({"etc/acpi/rsdp", std::move(acpi.rsdp)});
    files.push_back({"etc/smbios/smbios-tables", std::move(smbios.structures)});
    files.push_back({"etc/smbios/smbios-anchor", std::move(smbios.entry_point)});
    files.push_back({"etc/e820", ram_entries(platform.ram)});
    return files;
}

} // namespace calque::firmware
