// Chapter and section numbers are those of the ACPI specification 6.4.

#include "firmware/acpi/tables.h"

#include "firmware/bytes.h"

#include <set>

namespace calque::firmware {

namespace {

constexpr std::string_view oem_id = "CALQUE", oem_table_id = "CALQUEPC", creator_id = "CALQ";

// Generic address structure (5.2.3.2) of an I/O port register; all zero where there is none.
void append_io_register(std::vector<u8>& out, u16 port, u8 bytes, u8 access_size) {
    const bool present = port != 0 && bytes != 0;
    append(out, present ? 1 : 0, 1); // System I/O.
    append(out, present ? bytes * 8 : 0, 1);
    append(out, 0, 1);
    append(out, present ? access_size : 0, 1);
    append(out, present ? port : 0, 8);
}

constexpr u8 byte_access = 1, word_access = 2, dword_access = 3;

// FADT flags (5.2.9, table 5.10).
constexpr u32 fadt_wbinvd = 1u << 0, fadt_proc_c1 = 1u << 2, fadt_slp_button = 1u << 5, fadt_reset_reg_sup = 1u << 10,
              fadt_use_platform_clock = 1u << 15;
// IA-PC boot architecture flags (5.2.9.3).
constexpr u16 boot_legacy_devices = 1u << 0, boot_8042 = 1u << 1, boot_no_vga = 1u << 2;

// Interrupt source override (5.2.12.5). Flags as in the MPS: polarity 1:0, trigger mode 3:2.
constexpr u16 inti_conforming = 0x0, inti_active_high_level = 0xD;
void append_override(std::vector<u8>& out, u8 isa_irq, u32 gsi, u16 flags) {
    append(out, 2, 1);
    append(out, 10, 1);
    append(out, 0, 1); // ISA
    append(out, isa_irq, 1);
    append(out, gsi, 4);
    append(out, flags, 2);
}

// Which ISA IRQs are level-triggered: the SCI, and what PIRQA-PIRQD can be routed to (_PRS of the links).
std::set<u8> level_irqs(const Platform& platform) {
    std::set<u8> irqs{platform.sci_irq};
    if (!platform.pirq_gsi) irqs.insert({5, 10, 11});
    return irqs;
}

} // namespace

std::vector<u8> acpi_table(std::string_view signature, u8 revision, const std::vector<u8>& body) {
    std::vector<u8> out;
    append(out, signature);
    append(out, acpi_offset::header_size + body.size(), 4);
    append(out, revision, 1);
    append(out, 0, 1); // Checksum.
    append_fixed(out, oem_id, 6, ' ');
    append_fixed(out, oem_table_id, 8, ' ');
    append(out, 1, 4); // OEM revision.
    append(out, creator_id);
    append(out, 1, 4); // Creator revision.
    append(out, body);
    return out;
}

// Firmware ACPI control structure (5.2.10): the global lock and the wake vector, all zero at first.
std::vector<u8> facs() {
    std::vector<u8> out;
    append(out, std::string_view("FACS"));
    append(out, 64, 4);
    out.resize(64);
    out[32] = 1; // Version.
    return out;
}

std::vector<u8> fadt(const Platform& platform) {
    const u16 pm = platform.pm_base;
    const u8 gpe_length = platform.gpe0_base ? platform.gpe0_length : u8{0};
    std::vector<u8> out;
    append(out, 0, 4); // FIRMWARE_CTRL
    append(out, 0, 4); // DSDT
    append(out, 0, 1);
    append(out, 1, 1); // Preferred_PM_Profile: desktop.
    append(out, platform.sci_irq, 2);
    append(out, platform.smi_command, 4);
    append(out, platform.smi_command ? platform.acpi_enable : 0, 1);
    append(out, platform.smi_command ? platform.acpi_disable : 0, 1);
    append(out, 0, 2); // S4BIOS_REQ, PSTATE_CNT
    for (const u32 block : {pm + 0u, 0u, pm + 4u, 0u, 0u, pm + 8u, u32{platform.gpe0_base}, 0u})
        append(out, block, 4); // PM1a/b_EVT, PM1a/b_CNT, PM2_CNT, PM_TMR, GPE0, GPE1
    for (const u8 length : {4, 2, 0, 4, int{gpe_length}, 0, 0, 0})
        append(out, length, 1); // Their lengths; GPE1_BASE, CST_CNT
    append(out, 0x0FFF, 2);     // P_LVL2_LAT: above 100, no C2.
    append(out, 0x0FFF, 2);     // P_LVL3_LAT: above 1000, no C3.
    append(out, 0, 4);          // FLUSH_SIZE, FLUSH_STRIDE
    append(out, 0, 4);          // DUTY_OFFSET, DUTY_WIDTH, DAY_ALRM, MON_ALRM
    append(out, 0x32, 1);       // CENTURY: the CMOS byte.
    append(out, boot_legacy_devices | (platform.ps2 ? boot_8042 : 0) | (platform.vga ? 0 : boot_no_vga), 2);
    append(out, 0, 1);
    append(out, fadt_wbinvd | fadt_proc_c1 | fadt_slp_button | fadt_reset_reg_sup | fadt_use_platform_clock, 4);
    append_io_register(out, platform.reset_port, 1, byte_access);
    append(out, platform.reset_value, 1);
    append(out, 0, 3);
    append(out, 0, 8); // X_FIRMWARE_CTRL: zero, the 32-bit field serves.
    append(out, 0, 8); // X_DSDT
    append_io_register(out, pm, 4, word_access);
    append_io_register(out, 0, 0, 0);
    append_io_register(out, static_cast<u16>(pm + 4), 2, word_access);
    append_io_register(out, 0, 0, 0);
    append_io_register(out, 0, 0, 0);
    append_io_register(out, static_cast<u16>(pm + 8), 4, dword_access);
    append_io_register(out, platform.gpe0_base, gpe_length, byte_access);
    append_io_register(out, 0, 0, 0);
    return acpi_table("FACP", 3, out);
}

// Multiple APIC description table (5.2.12).
std::vector<u8> madt(const Platform& platform) {
    constexpr u32 enabled = 1, pcat_compat = 1;
    constexpr u32 all_processors = 0xFFFFFFFF;
    std::vector<u8> out;
    append(out, platform.local_apic_base, 4);
    append(out, pcat_compat, 4);
    bool wide = false;
    for (u32 uid = 0; uid < platform.apic_ids.size(); ++uid) {
        const u32 id = platform.apic_ids[uid];
        if (id < 0xFF && uid < 0xFF) { // Processor local APIC (5.2.12.2).
            append(out, 0x0800, 2);
            append(out, uid, 1);
            append(out, id, 1);
            append(out, enabled, 4);
        } else { // Processor local x2APIC (5.2.12.12).
            wide = true;
            append(out, 0x1009, 2);
            append(out, 0, 2);
            append(out, id, 4);
            append(out, enabled, 4);
            append(out, uid, 4);
        }
    }
    append(out, 0x0C01, 2); // I/O APIC (5.2.12.3).
    append(out, platform.ioapic_id, 1);
    append(out, 0, 1);
    append(out, platform.ioapic_base, 4);
    append(out, 0, 4); // GSI base.

    append_override(out, 0, 2, inti_conforming); // The PIT's IRQ 0 is wired to pin 2.
    for (const u8 irq : level_irqs(platform))
        append_override(out, irq, irq, inti_active_high_level);

    append(out, 0x0604, 2); // Local APIC NMI (5.2.12.7): LINT1 of every processor.
    append(out, 0xFF, 1);
    append(out, 0, 2);
    append(out, 1, 1);
    if (wide) { // Local x2APIC NMI (5.2.12.13).
        append(out, 0x0C0A, 2);
        append(out, 0, 2);
        append(out, all_processors, 4);
        append(out, 1, 1);
        append(out, 0, 3);
    }
    return acpi_table("APIC", 3, out);
}

// IA-PC HPET specification 1.0a, 3.2.4.
std::vector<u8> hpet_table(const Platform& platform) {
    std::vector<u8> out;
    append(out, platform.hpet_id, 4);
    append(out, 0, 1); // System memory.
    append(out, 64, 1);
    append(out, 0, 2);
    append(out, platform.hpet_base, 8);
    append(out, 0, 1); // HPET number.
    append(out, 0, 2); // Main counter minimum tick in periodic mode.
    append(out, 0, 1); // No page protection.
    return acpi_table("HPET", 1, out);
}

// Windows ACPI emulated devices table: the PM timer needs to be read once only.
std::vector<u8> waet() {
    constexpr u32 pm_timer_good = 1u << 1;
    std::vector<u8> out;
    append(out, pm_timer_good, 4);
    return acpi_table("WAET", 1, out);
}

// Root system description pointer (5.2.5.3).
std::vector<u8> rsdp() {
    std::vector<u8> out;
    append(out, std::string_view("RSD PTR "));
    append(out, 0, 1);
    append_fixed(out, oem_id, 6, ' ');
    append(out, 2, 1); // Revision.
    append(out, 0, 4); // RSDT
    append(out, acpi_offset::rsdp_size, 4);
    append(out, 0, 8); // XSDT
    append(out, 0, 4);
    return out;
}

} // namespace calque::firmware
