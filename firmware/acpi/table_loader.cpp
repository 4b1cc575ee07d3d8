// The linker/loader script of fw_cfg (the file etc/table-loader): commands of 128 bytes that a BIOS runs to allocate
// the blobs, patch pointers into them and compute checksums.

#include "firmware/acpi/acpi.h"
#include "firmware/bytes.h"

namespace calque::firmware {

namespace {

constexpr std::size_t command_size = 128;
constexpr std::size_t file_name_size = 56;
enum Command : u32 { allocate = 1, add_pointer = 2, add_checksum = 3 };
enum Zone : u8 { high = 1, f_segment = 2 };

std::string_view file_name(AcpiTables::Blob blob) {
    return blob == AcpiTables::Blob::tables ? "etc/acpi/tables" : "etc/acpi/rsdp";
}

void append_file(std::vector<u8>& out, AcpiTables::Blob blob) {
    append_fixed(out, file_name(blob), file_name_size, '\0');
}

void finish(std::vector<u8>& out) { out.resize(align_up(out.size(), command_size)); }

void append_allocate(std::vector<u8>& out, AcpiTables::Blob blob, u32 alignment, Zone zone) {
    append(out, allocate, 4);
    append_file(out, blob);
    append(out, alignment, 4);
    append(out, zone, 1);
    finish(out);
}

} // namespace

std::vector<u8> table_loader_script(const AcpiTables& acpi) {
    std::vector<u8> out;
    append_allocate(out, AcpiTables::Blob::tables, page_size, high);
    append_allocate(out, AcpiTables::Blob::rsdp, 16, f_segment);
    for (const auto& pointer : acpi.pointers) {
        append(out, add_pointer, 4);
        append_file(out, pointer.in);
        append_file(out, pointer.to);
        append(out, pointer.offset, 4);
        append(out, pointer.size, 1);
        finish(out);
    }
    for (const auto& check : acpi.checksums) {
        append(out, add_checksum, 4);
        append_file(out, check.in);
        append(out, check.offset, 4);
        append(out, check.start, 4);
        append(out, check.length, 4);
        finish(out);
    }
    return out;
}

} // namespace calque::firmware
