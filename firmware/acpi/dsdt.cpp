#include "firmware/acpi/dsdt.h"

#include "firmware/acpi/aml.h"
#include "firmware/acpi/pci_slots.h"
#include "firmware/bytes.h"

#include <array>
#include <fmt/format.h>

namespace calque::firmware {

namespace {

using namespace aml;

constexpr u8 sta_present = 0x0F;  // Present, enabled, shown, working (6.3.7).
constexpr u8 sta_link_on = 0x0B;  // Present, enabled, working.
constexpr u8 sta_link_off = 0x09; // Present, working.
constexpr unsigned pm_slot = 1;   // The PIIX's slot, whose function 3 raises the SCI on INTA.

constexpr std::array<std::string_view, 4> link_names{"\\_SB.LNKA", "\\_SB.LNKB", "\\_SB.LNKC", "\\_SB.LNKD"};
constexpr std::string_view sci_link = "\\_SB.LNKS";
constexpr std::array<std::string_view, 4> route_fields{"\\_SB.PCI0.ISA.PRQA", "\\_SB.PCI0.ISA.PRQB",
                                                       "\\_SB.PCI0.ISA.PRQC", "\\_SB.PCI0.ISA.PRQD"};

// --- PCI host bridge
// ---------------------------------------------------------------------------------------------------

Term host_bridge_resources(const Platform& platform) {
    const AddressRange low = platform.pci_window_32();
    const AddressRange high = platform.pci_window_64;
    Terms windows{word_bus_number(0, 0xFF), io(0xCF8, 8), word_io(0, 0xCF7)};
    // No BAR may be put over the registers of hot-plugging.
    if (const u16 hotplug = platform.pci_hotplug_base) {
        windows.push_back(word_io(0xD00, static_cast<u16>(hotplug - 1)));
        windows.push_back(word_io(static_cast<u16>(hotplug + pci_hotplug_ports), 0xFFFF));
    } else {
        windows.push_back(word_io(0xD00, 0xFFFF));
    }
    windows.push_back(dword_memory(0xA0000, 0xBFFFF, true));
    windows.push_back(dword_memory(static_cast<u32>(low.base), static_cast<u32>(low.end() - 1), false));
    if (high.size != 0) windows.push_back(qword_memory(high.base, high.end() - 1, true));
    return resources(windows);
}

// _PRT entries (6.2.13): {slot << 16 | any function, pin, link or 0, index or GSI}.
template <class Source> Term routing_table(Source source) {
    Terms entries;
    for (unsigned slot = 0; slot < pci_slots; ++slot)
        for (unsigned pin = 0; pin < 4; ++pin) {
            Terms entry{integer(u64{slot} << 16 | 0xFFFF), integer(pin)};
            for (Term& part : source(slot, pin))
                entry.push_back(std::move(part));
            entries.push_back(package(entry));
        }
    return package(entries);
}

Term link_routing() {
    return routing_table([](unsigned slot, unsigned pin) {
        const bool sci = slot == pm_slot && pin == 0;
        return Terms{name(sci ? sci_link : link_names[pirq_of_slot(slot, pin)]), integer(0)};
    });
}

Term gsi_routing(u32 first_gsi, u8 sci) {
    return routing_table([&](unsigned slot, unsigned pin) {
        const bool is_sci = slot == pm_slot && pin == 0;
        return Terms{integer(0), integer(is_sci ? sci : first_gsi + pirq_of_slot(slot, pin))};
    });
}

// With IOAPIC pins of their own for PIRQA-PIRQD, the table depends on the mode that _PIC announced.
Terms interrupt_routing(const Platform& platform) {
    if (!platform.pirq_gsi) return {define("_PRT", link_routing())};
    return {define("PRTP", link_routing()), define("PRTA", gsi_routing(*platform.pirq_gsi, platform.sci_irq)),
            method("_PRT", 0, Calls::concurrent,
                   {if_then(name("\\PICM"), {return_value(name("PRTA"))}), return_value(name("PRTP"))})};
}

// An interrupt link (PNP0C0F) over one PIRQ route control register: bit 7 off, bits 3:0 the IRQ (82371SB datasheet).
Term interrupt_link(unsigned n) {
    const Term route = name(route_fields[n]);
    constexpr u64 irq_offset = 5; // Of the first interrupt in an extended interrupt descriptor.
    return device(link_names[n].substr(5),
                  {define("_HID", eisa_id("PNP0C0F")), define("_UID", integer(n)),
                   define("_PRS", resources({interrupt({5, 10, 11})})),
                   method("_STA", 0, Calls::concurrent,
                          {if_then(bit_and(route, integer(0x80)), {return_value(integer(sta_link_off))}),
                           return_value(integer(sta_link_on))}),
                   method("_DIS", 0, Calls::concurrent, {set_bits(route, integer(0x80))}),
                   define("PRR0", resources({interrupt({0})})),
                   method("_CRS", 0, Calls::serialized,
                          {create_dword_field(name("PRR0"), irq_offset, "IRQN"),
                           assign_and(route, integer(0x0F), name("IRQN")), return_value(name("PRR0"))}),
                   method("_SRS", 1, Calls::serialized,
                          {create_dword_field(arg(0), irq_offset, "IRQN"), assign(name("IRQN"), route)})});
}

// The SCI's link: wired to one IRQ for good.
Term sci_interrupt_link(const Platform& platform) {
    const Term fixed = resources({interrupt({platform.sci_irq})});
    return device("LNKS", {define("_HID", eisa_id("PNP0C0F")), define("_UID", integer(4)), define("_PRS", fixed),
                           define("_STA", integer(sta_link_on)), define("_CRS", fixed),
                           method("_DIS", 0, Calls::concurrent, {}), method("_SRS", 1, Calls::concurrent, {})});
}

// --- Devices on the ISA bus
// --------------------------------------------------------------------------------------------

Term isa_device(std::string_view path, std::string_view id, const Terms& descriptors) {
    return device(path, {define("_HID", eisa_id(id)), define("_STA", integer(sta_present)),
                         define("_CRS", resources(descriptors))});
}

Term serial_port(std::string_view path, unsigned uid, u16 base, unsigned line) {
    return device(path, {define("_HID", eisa_id("PNP0501")), define("_UID", integer(uid)),
                         define("_STA", integer(sta_present)), define("_CRS", resources({io(base, 8), irq(line)}))});
}

Term isa_bridge(const Platform& platform) {
    Terms terms{define("_ADR", integer(0x00010000)),
                operation_region("PIRQ", Space::pci_config, 0x60, 4),
                byte_fields("PIRQ", {{"PRQA", 8}, {"PRQB", 8}, {"PRQC", 8}, {"PRQD", 8}}),
                isa_device("PIC", "PNP0000", {io(0x20, 2), io(0xA0, 2), io(0x4D0, 2), irq(2)}),
                isa_device("TIMR", "PNP0100", {io(0x40, 4), irq(0)}),
                isa_device("DMAC", "PNP0200", {io(0x00, 0x10), io(0x81, 0x0F), io(0xC0, 0x20), dma(4)}),
                isa_device("FPU", "PNP0C04", {io(0xF0, 1), irq(13)}),
                isa_device("RTC", "PNP0B00", {io(0x70, 2), irq(8)})};
    if (platform.ps2) {
        terms.push_back(isa_device("KBD", "PNP0303", {io(0x60, 1), io(0x64, 1), irq(1)}));
        terms.push_back(isa_device("MOU", "PNP0F13", {irq(12)}));
    }
    if (platform.com1) terms.push_back(serial_port("COM1", 1, 0x3F8, 4));
    if (platform.com2) terms.push_back(serial_port("COM2", 2, 0x2F8, 3));
    return device("ISA", terms);
}

Term host_bridge(const Platform& platform) {
    Terms terms{define("_HID", eisa_id("PNP0A03")), define("_UID", integer(0)),
                define("_CRS", host_bridge_resources(platform))};
    for (Term& term : interrupt_routing(platform))
        terms.push_back(std::move(term));
    terms.push_back(isa_bridge(platform));
    for (Term& term : removable_slots(platform))
        terms.push_back(std::move(term));
    return device("PCI0", terms);
}

Term timer_block(const Platform& platform) {
    return isa_device("HPET", "PNP0103", {memory32_fixed(false, platform.hpet_base, 0x400)});
}

// Processor devices; _UID is the processor UID of the MADT entry.
Term processor(unsigned index) {
    return device(
        fmt::format("C{:03X}", index & 0xFFF),
        {define("_HID", string("ACPI0007")), define("_UID", integer(index)), define("_STA", integer(sta_present))});
}

// \_Sx (7.4.2): the SLP_TYP values for PM1a_CNT and PM1b_CNT.
Term sleep_state(std::string_view path, u8 type) {
    return define(path, package({integer(type), integer(type), integer(0), integer(0)}));
}

} // namespace

std::vector<u8> dsdt_aml(const Platform& platform) {
    std::vector<u8> out;
    if (platform.pirq_gsi) {
        append(out, define("\\PICM", integer(0)));
        append(out, method("\\_PIC", 1, Calls::concurrent, {assign(arg(0), name("\\PICM"))}));
    }
    Terms system_bus{host_bridge(platform)};
    for (unsigned n = 0; n < 4; ++n)
        system_bus.push_back(interrupt_link(n));
    system_bus.push_back(sci_interrupt_link(platform));
    if (platform.hpet) system_bus.push_back(timer_block(platform));
    for (unsigned index = 0; index < platform.apic_ids.size(); ++index)
        system_bus.push_back(processor(index));
    append(out, scope("\\_SB", system_bus));
    if (platform.pci_hotplug_base) append(out, slot_event(platform));
    if (platform.s3_sleep_type) append(out, sleep_state("\\_S3", *platform.s3_sleep_type));
    append(out, sleep_state("\\_S5", platform.s5_sleep_type));
    return out;
}

} // namespace calque::firmware
