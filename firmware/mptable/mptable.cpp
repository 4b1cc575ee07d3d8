// Sections are those of the MultiProcessor Specification 1.4.

#include "firmware/mptable/mptable.h"

#include "firmware/bytes.h"

#include <algorithm>

namespace calque::firmware {

namespace {

constexpr u8 bus_pci = 0, bus_isa = 1;
constexpr u32 floating_pointer_size = 16, header_size = 44;
constexpr unsigned isa_irqs = 16, pci_slots = 32, pm_slot = 1;

enum InterruptType : u8 { type_int = 0, type_nmi = 1, type_ext_int = 3 };
constexpr u16 conforming = 0x0, active_high_level = 0xD;

class Entries {
  public:
    // 4.3.1
    void processor(const Platform& platform, u32 apic_id, bool boot) {
        constexpr u8 enabled = 1, boot_processor = 2;
        begin(0);
        append(out, apic_id, 1);
        append(out, platform.local_apic_version, 1);
        append(out, enabled | (boot ? boot_processor : 0), 1);
        append(out, platform.cpuid_signature, 4);
        append(out, platform.cpuid_features, 4);
        append(out, 0, 8);
    }
    // 4.3.2
    void bus(u8 id, std::string_view type) {
        begin(1);
        append(out, id, 1);
        append_fixed(out, type, 6, ' ');
    }
    // 4.3.3
    void ioapic(const Platform& platform) {
        begin(2);
        append(out, platform.ioapic_id, 1);
        append(out, platform.ioapic_version, 1);
        append(out, 1, 1); // Usable.
        append(out, platform.ioapic_base, 4);
    }
    // 4.3.4 and 4.3.5
    void interrupt(bool local, InterruptType type, u16 flags, u8 bus, u32 source, u8 target, u32 pin) {
        begin(local ? 4 : 3);
        append(out, type, 1);
        append(out, flags, 2);
        append(out, bus, 1);
        append(out, source, 1);
        append(out, target, 1);
        append(out, pin, 1);
    }
    std::vector<u8> out;
    u32 count = 0;

  private:
    void begin(u8 type) {
        append(out, type, 1);
        ++count;
    }
};

// Which IOAPIC pin a slot's interrupt pin ends at.
u32 ioapic_pin(const Platform& platform, unsigned slot, unsigned pin) {
    if (slot == pm_slot && pin == 0) return platform.sci_irq;
    const unsigned pirq = pirq_of_slot(slot, pin);
    return platform.pirq_gsi ? *platform.pirq_gsi + pirq : platform.pirq[pirq];
}

void add_interrupts(Entries& entries, const Platform& platform) {
    u32 level_pins = 1u << platform.sci_irq; // ISA IRQs that PCI took.
    for (unsigned slot = 0; slot < pci_slots; ++slot)
        for (unsigned pin = 0; pin < 4; ++pin) {
            const u32 target = ioapic_pin(platform, slot, pin);
            if (target < isa_irqs) level_pins |= 1u << target;
            entries.interrupt(false, type_int, active_high_level, bus_pci, slot << 2 | pin, platform.ioapic_id, target);
        }
    for (unsigned irq = 0; irq < isa_irqs; ++irq)
        if (irq != 2 && !(level_pins >> irq & 1)) // IRQ 2 is the cascade; pin 2 takes IRQ 0.
            entries.interrupt(false, type_int, conforming, bus_isa, irq, platform.ioapic_id, irq == 0 ? 2 : irq);
    constexpr u8 all_processors = 0xFF;
    entries.interrupt(true, type_ext_int, conforming, bus_isa, 0, static_cast<u8>(platform.apic_ids.front()), 0);
    entries.interrupt(true, type_nmi, conforming, bus_isa, 0, all_processors, 1);
}

Entries collect(const Platform& platform) {
    Entries entries;
    for (std::size_t i = 0; i < platform.apic_ids.size(); ++i)
        if (platform.apic_ids[i] < 0xFF) entries.processor(platform, platform.apic_ids[i], i == 0);
    entries.bus(bus_pci, "PCI");
    entries.bus(bus_isa, "ISA");
    entries.ioapic(platform);
    add_interrupts(entries, platform);
    return entries;
}

void fix_checksum(std::span<u8> bytes, std::size_t at) { bytes[at] = static_cast<u8>(bytes[at] - sum(bytes)); }

} // namespace

std::vector<u8> build_mp_table(const Platform& platform, PhysicalAddress address) {
    const Entries entries = collect(platform);
    std::vector<u8> out;
    append(out, std::string_view("_MP_")); // Floating pointer structure (4.1).
    append(out, address.value + floating_pointer_size, 4);
    append(out, 0x0401, 2); // Length in 16-byte units, revision 1.4.
    append(out, 0, 6);      // Checksum; a table is present; virtual wire mode.
    fix_checksum(out, 10);

    append(out, std::string_view("PCMP")); // Configuration table header (4.2).
    append(out, header_size + entries.out.size(), 2);
    append(out, 0x0004, 2); // Revision 1.4, checksum.
    append_fixed(out, "CALQUE", 8, ' ');
    append_fixed(out, "PC", 12, ' ');
    append(out, 0, 6); // No OEM table.
    append(out, entries.count, 2);
    append(out, platform.local_apic_base, 4);
    append(out, 0, 4); // No extended entries.
    append(out, entries.out);
    fix_checksum(std::span(out).subspan(floating_pointer_size), 7);
    return out;
}

std::vector<u8> build_pir_table(const Platform& platform) {
    constexpr u32 piix3_id = 0x70008086, pir_header = 32, pir_entry = 16;
    constexpr u8 route_register = 0x60; // PIRQRCA, the link value of PIRQA.
    constexpr u16 possible = 1u << 5 | 1u << 10 | 1u << 11;
    u16 exclusive = 0;
    for (const u8 irq : platform.pirq)
        exclusive |= static_cast<u16>(1u << (irq & 15));
    std::vector<u8> out;
    append(out, std::string_view("$PIR"));
    append(out, 0x0100, 2);
    append(out, pir_header + pir_entry * (pci_slots - 1), 2);
    append(out, 0, 1);
    append(out, pm_slot << 3, 1); // The router: the PIIX's function 0.
    append(out, exclusive & possible, 2);
    append(out, piix3_id, 4);
    append(out, 0, 8); // Miniport data, reserved.
    append(out, 0, 8); // Reserved, checksum.
    for (unsigned slot = 1; slot < pci_slots; ++slot) {
        append(out, slot << 3 << 8, 2); // Bus 0, device.
        for (unsigned pin = 0; pin < 4; ++pin) {
            append(out, route_register + pirq_of_slot(slot, pin), 1);
            append(out, possible, 2);
        }
        append(out, slot == pm_slot ? 0 : slot, 2); // Slot number (0: on the board), reserved.
    }
    fix_checksum(out, 31);
    return out;
}

} // namespace calque::firmware
