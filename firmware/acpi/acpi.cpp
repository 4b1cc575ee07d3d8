#include "firmware/acpi/acpi.h"

#include "firmware/acpi/dsdt.h"
#include "firmware/acpi/tables.h"
#include "firmware/bytes.h"

namespace calque::firmware {

namespace {

using Blob = AcpiTables::Blob;
namespace offset = acpi_offset;

class Builder {
  public:
    // Appends a table to the blob, on a multiple of 16, and gives its offset.
    u32 add(const std::vector<u8>& table) {
        while (acpi_.tables.size() % 16)
            acpi_.tables.push_back(0);
        const u32 at = static_cast<u32>(acpi_.tables.size());
        append(acpi_.tables, table);
        return at;
    }
    // The same for one whose header has a checksum, which is to be computed after the pointers inside are set.
    u32 add_checked(const std::vector<u8>& table) {
        const u32 at = add(table);
        acpi_.checksums.push_back({Blob::tables, at + offset::header_checksum, at, static_cast<u32>(table.size())});
        return at;
    }
    void point(Blob in, u32 at, u8 size, u32 to) {
        store(in == Blob::tables ? acpi_.tables : acpi_.rsdp, at, to, size);
        acpi_.pointers.push_back({in, Blob::tables, at, size});
    }
    // RSDT or XSDT: a table of addresses.
    u32 add_root(std::string_view signature, const std::vector<u32>& tables, u8 width) {
        const u32 at = add_checked(acpi_table(signature, 1, std::vector<u8>(tables.size() * width)));
        for (u32 i = 0; i < tables.size(); ++i)
            point(Blob::tables, at + offset::header_size + i * width, width, tables[i]);
        return at;
    }
    void set_rsdp(u32 rsdt, u32 xsdt) {
        acpi_.rsdp = rsdp();
        point(Blob::rsdp, offset::rsdp_rsdt, 4, rsdt);
        point(Blob::rsdp, offset::rsdp_xsdt, 8, xsdt);
        acpi_.checksums.push_back({Blob::rsdp, offset::rsdp_checksum, 0, offset::rsdp_v1_size});
        acpi_.checksums.push_back({Blob::rsdp, offset::rsdp_ext_checksum, 0, offset::rsdp_size});
    }
    void pad_to_page() { acpi_.tables.resize(align_up(acpi_.tables.size(), page_size)); }
    AcpiTables take() { return std::move(acpi_); }

  private:
    AcpiTables acpi_;
};

std::vector<u8>& blob(AcpiTables& acpi, Blob which) { return which == Blob::tables ? acpi.tables : acpi.rsdp; }

} // namespace

AcpiTables build_acpi(const Platform& platform) {
    Builder builder;
    const u32 facs_at = builder.add(facs());
    builder.pad_to_page(); // The FACS stays in use and gets a page of its own in the memory map.
    const u32 dsdt_at = builder.add_checked(acpi_table("DSDT", 2, dsdt_aml(platform)));
    const u32 fadt_at = builder.add_checked(fadt(platform));
    builder.point(Blob::tables, fadt_at + offset::fadt_facs, 4, facs_at);
    builder.point(Blob::tables, fadt_at + offset::fadt_dsdt, 4, dsdt_at);
    builder.point(Blob::tables, fadt_at + offset::fadt_x_dsdt, 8, dsdt_at);

    std::vector<u32> listed{fadt_at, builder.add_checked(madt(platform))};
    if (platform.hpet) listed.push_back(builder.add_checked(hpet_table(platform)));
    listed.push_back(builder.add_checked(waet()));
    const u32 rsdt_at = builder.add_root("RSDT", listed, 4);
    const u32 xsdt_at = builder.add_root("XSDT", listed, 8);
    builder.set_rsdp(rsdt_at, xsdt_at);
    return builder.take();
}

void place(AcpiTables& acpi, PhysicalAddress tables, PhysicalAddress rsdp) {
    for (const auto& pointer : acpi.pointers) {
        auto& in = blob(acpi, pointer.in);
        const u64 target = pointer.to == Blob::tables ? tables.value : rsdp.value;
        store(in, pointer.offset, load(in, pointer.offset, pointer.size) + target, pointer.size);
    }
    for (const auto& check : acpi.checksums) {
        auto& in = blob(acpi, check.in);
        in[check.offset] = 0;
        in[check.offset] = static_cast<u8>(-sum(std::span(in).subspan(check.start, check.length)));
    }
}

} // namespace calque::firmware
