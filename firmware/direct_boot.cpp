#include "firmware/direct_boot.h"

#include "firmware/acpi/acpi.h"
#include "firmware/bios_data.h"
#include "firmware/bytes.h"
#include "firmware/e820/e820.h"
#include "firmware/layout.h"
#include "firmware/loaders/loaders.h"
#include "firmware/loaders/sizes.h"
#include "firmware/mptable/mptable.h"
#include "firmware/smbios/smbios.h"

namespace calque::firmware {

namespace {

// The 64 KiB below 1 MiB in which guests search for tables; each on a multiple of 16.
class FSegment {
  public:
    PhysicalAddress next() const { return PhysicalAddress(align_up(next_, 16)); }
    // False when it is full.
    bool put(std::span<const u8> bytes) {
        const u64 at = next().value;
        if (at > layout::reset_vector || bytes.size() > layout::reset_vector - at) return false;
        store_at(at, bytes);
        next_ = at + bytes.size();
        return true;
    }
    // Behind the tables: what is found at the reset vector stops, and says that this is a PC.
    void put_reset_vector() {
        constexpr u8 cli_hlt_loop[]{0xFA, 0xF4, 0xEB, 0xFC};
        constexpr u8 model_at = 0xFFFE & 0xF;
        store_at(layout::reset_vector, cli_hlt_loop);
        store_at(layout::reset_vector + 5, as_bytes("04/01/24"));
        bytes_[layout::reset_vector + model_at - layout::f_segment.base] = 0xFC; // Model: AT.
    }
    std::span<const u8> bytes() const { return bytes_; }

  private:
    void store_at(u64 address, std::span<const u8> bytes) {
        std::copy(bytes.begin(), bytes.end(),
                  bytes_.begin() + static_cast<std::ptrdiff_t>(address - layout::f_segment.base));
    }
    std::vector<u8> bytes_ = std::vector<u8>(layout::f_segment.size);
    u64 next_ = layout::f_segment.base;
};

// RSDP, SMBIOS, $PIR and MP tables.
Result<void> write_f_segment(GuestMemory& memory, const Platform& platform, std::span<const u8> rsdp) {
    FSegment segment;
    bool fits = segment.put(rsdp);
    SmbiosTables smbios = build_smbios(platform);
    const PhysicalAddress structures = PhysicalAddress(segment.next() + 64); // Behind the two entry points.
    place(smbios, structures);
    fits = fits && segment.put(smbios.entry_point) && segment.put(smbios.entry_point_64)
           && segment.put(smbios.structures) && segment.put(build_pir_table(platform));
    fits = fits && segment.put(build_mp_table(platform, segment.next()));
    if (!fits)
        return error(
            "the tables for {} processors and the strings of -smbios do not fit below 1 MiB: give fewer or shorter "
            "ones",
            platform.apic_ids.size());
    segment.put_reset_vector();
    if (!memory.write(PhysicalAddress(layout::f_segment.base), segment.bytes()))
        return error("the memory at {:#x} cannot be written", layout::f_segment.base);
    return {};
}

Result<BootState> load_kernel(const LoadContext& context, const BootRequest& request) {
    switch (detect(request.kernel)) {
    case ImageKind::bzimage: return load_bzimage(context, request);
    case ImageKind::multiboot: return load_multiboot(context, request);
    case ImageKind::pvh: return load_pvh(context, request);
    case ImageKind::empty:
    case ImageKind::elf:
    case ImageKind::unknown: break;
    }
    return unsupported_image(request.kernel, request.kernel_name);
}

} // namespace

Result<BootState> direct_boot(GuestMemory& memory, const Platform& platform, const BootRequest& request) {
    if (platform.ram.low < minimum_ram)
        return error("{} of RAM are too few to start a kernel: give the guest at least {} with -m",
                     size_text(platform.ram.total()), size_text(minimum_ram));
    AcpiTables acpi = build_acpi(platform);
    const FirmwareAreas areas = firmware_areas(platform, acpi.tables.size());
    const E820Map map = e820_map(platform, areas);
    const PhysicalAddress tables(areas.acpi_nvs.base), rsdp(layout::f_segment.base);
    place(acpi, tables, rsdp);

    auto state = load_kernel({memory, map, platform, rsdp}, request);
    if (!state) return state;
    if (!memory.write(tables, acpi.tables)) return error("the memory at {:#x} cannot be written", tables.value);
    if (auto written = write_f_segment(memory, platform, acpi.rsdp); !written) return written.error();
    write_bios_data(memory, platform);
    state->msrs = mtrr_settings(platform);
    return state;
}

} // namespace calque::firmware
