// What the firmware tables describe: the figures of the i440FX/PIIX PC that the machine wires.
#pragma once

#include "base/bits.h"
#include "base/types.h"

#include <array>
#include <optional>
#include <string>
#include <vector>

namespace calque::firmware {

inline constexpr u64 KiB = 1024;
inline constexpr u64 MiB = 1024 * KiB;
inline constexpr u64 GiB = 1024 * MiB;

// How guest RAM lies in the physical address space: `low` bytes from 0 and `high` bytes from 4 GiB.
struct RamLayout {
    u64 low = 0;
    u64 high = 0;
    u64 total() const { return low + high; }
};

// The convention of i440FX machines: all RAM below 4 GiB while it is less than 3.5 GiB; from there on 3 GiB stay below
// and the rest moves above the PCI hole.
constexpr RamLayout ram_layout(u64 ram_bytes) {
    if (ram_bytes < 3584 * MiB) return {ram_bytes, 0};
    return {3 * GiB, ram_bytes - 3 * GiB};
}

struct AddressRange {
    u64 base = 0;
    u64 size = 0;
    constexpr u64 end() const { return base + size; }
};

// The strings and numbers that a person may set with -uuid and -smbios; an empty string keeps the default.
struct Identity {
    std::optional<std::array<u8, 16>> uuid;
    struct Bios { // SMBIOS type 0
        std::string vendor, version, date;
        u8 release_major = 0, release_minor = 0;
        bool uefi = false;
    } bios;
    struct System { // type 1
        std::string manufacturer, product, version, serial, sku, family;
    } system;
    struct Board { // type 2: present when any field is set
        std::string manufacturer, product, version, serial, asset, location;
        bool any() const {
            return !(manufacturer.empty() && product.empty() && version.empty() && serial.empty() && asset.empty()
                     && location.empty());
        }
    } board;
    struct Chassis { // type 3
        std::string manufacturer, version, serial, asset, sku;
    } chassis;
    struct Processor { // type 4
        std::string socket_prefix, manufacturer, version, serial, asset, part;
        u16 max_speed_mhz = 2000, current_speed_mhz = 2000;
    } processor;
    struct Memory { // type 17
        std::string locator_prefix, bank, manufacturer, serial, asset, part;
        u16 speed_mts = 0;
    } memory;
    std::vector<std::string> oem_strings; // type 11: present when there are any
};

struct Platform {
    RamLayout ram;
    std::vector<u32> apic_ids{0};                        // One per vCPU, in order; the first is the boot processor.
    unsigned cores_per_socket = 1, threads_per_core = 1; // As CPUID shows them; for SMBIOS.
    u8 physical_address_bits = 40;
    u32 cpuid_signature = 0; // CPUID.1:EAX and EDX, for the MP table and SMBIOS.
    u32 cpuid_features = 0;  //
    u8 local_apic_version = 0x15;

    u32 local_apic_base = 0xFEE00000;
    u32 ioapic_base = 0xFEC00000;
    u8 ioapic_id = 0;
    u8 ioapic_version = 0x11;

    bool hpet = true;
    u32 hpet_base = 0xFED00000;
    u32 hpet_id = 0x8086A201; // Bits 31:0 of its General Capabilities and ID register.

    // PIIX4 power management: the PM1 and timer block, general-purpose events, and the SMI command port with the two
    // values that switch ACPI mode. smi_command 0 says that the machine is always in ACPI mode (SCI_EN reads as one).
    u16 pm_base = 0x600;
    u16 gpe0_base = 0xAFE0; // 0: none.
    u8 gpe0_length = 4;
    u8 sci_irq = 9;
    u16 smi_command = 0xB2;
    u8 acpi_enable = 0xF1;
    u8 acpi_disable = 0xF0;
    // The ports by which PCI devices come and go while the machine runs (devices/pci_hotplug), and the general-purpose
    // event that says that they have something. 0: slots are what they are.
    u16 pci_hotplug_base = 0;
    unsigned pci_hotplug_event = 1;
    u16 reset_port = 0xCF9;
    u8 reset_value = 0x06;
    u8 s5_sleep_type = 0;            // SLP_TYP that PM1_CNT takes for soft-off.
    std::optional<u8> s3_sleep_type; // Suspend to RAM, where the machine has it.

    // ISA devices that are there.
    bool com1 = true, com2 = false;
    bool ps2 = true;
    bool vga = false;

    // The ISA IRQ that each PCI interrupt line PIRQA-PIRQD is routed to at power-on, and the slots' wiring (below).
    std::array<u8, 4> pirq{10, 10, 11, 11};
    // Where pins of the IOAPIC of their own are wired to PIRQA-PIRQD, the first GSI (16 on boards that have them).
    // Without, PCI interrupts reach the IOAPIC through the ISA IRQs above.
    std::optional<u32> pirq_gsi;

    // A window for BARs above 4 GiB; size 0: none.
    AddressRange pci_window_64;

    Identity identity;

    // The window for PCI memory BARs below 4 GiB: above low RAM, below the IOAPIC. A multiple of 16 MiB, so that eight
    // MTRR pairs always cover it.
    constexpr AddressRange pci_window_32() const {
        u64 base = align_up(ram.low, 16 * MiB);
        if (base < 2 * GiB) base = 2 * GiB;
        return {base, 0xFEC00000 - base};
    }
};

// Which of PIRQA-PIRQD (0-3) interrupt pin INTA-INTD (0-3) of a slot is wired to.
constexpr unsigned pirq_of_slot(unsigned slot, unsigned pin) { return (slot + pin + 3) & 3; }

} // namespace calque::firmware
