#include "firmware/acpi/pci_slots.h"

#include <fmt/format.h>

namespace calque::firmware {

namespace {

using namespace aml;

constexpr unsigned first_slot = 2;                 // 0 is the host bridge, 1 the ISA bridge with its companions.
constexpr u64 device_check = 1, eject_request = 3; // What Notify says (5.6.6).
constexpr u8 sta_present_hidden = 0x0B;            // Present, enabled, working (6.3.7).
constexpr unsigned last_slot = pci_slots - 1;

std::string slot_name(unsigned slot) { return fmt::format("S{:02X}", slot); }

Term removable_slot(unsigned slot) {
    return device(slot_name(slot),
                  {define("_ADR", integer(u64{slot} << 16)), define("_SUN", integer(slot)),
                   method("_EJ0", 1, Calls::concurrent, {assign(integer(u64{1} << slot), name("B0EJ"))})});
}

} // namespace

Terms removable_slots(const Platform& platform) {
    if (platform.pci_hotplug_base == 0) return {};
    const u16 base = platform.pci_hotplug_base;
    Terms terms{device("PHPR", {define("_HID", eisa_id("PNP0A06")), define("_UID", integer(1)),
                                define("_STA", integer(sta_present_hidden)),
                                define("_CRS", resources({io(base, pci_hotplug_ports)}))}),
                operation_region("PCST", Space::system_io, base, pci_hotplug_ports),
                dword_fields("PCST", {{"PCIU", 32}, {"PCID", 32}, {"B0EJ", 32}})};
    // Reading takes what is read, so each is read once.
    Terms count{assign(name("PCIU"), local(0)), assign(name("PCID"), local(1))};
    for (unsigned slot = first_slot; slot <= last_slot; ++slot) {
        terms.push_back(removable_slot(slot));
        const Term bit = integer(u64{1} << slot), device = name(slot_name(slot));
        count.push_back(if_then(bit_and(local(0), bit), {notify(device, device_check)}));
        count.push_back(if_then(bit_and(local(1), bit), {notify(device, eject_request)}));
    }
    terms.push_back(method("PCNT", 0, Calls::serialized, count));
    return terms;
}

Term slot_event(const Platform& platform) {
    return scope("\\_GPE", {method(fmt::format("_E{:02X}", platform.pci_hotplug_event), 0, Calls::concurrent,
                                   {call("\\_SB.PCI0.PCNT")})});
}

} // namespace calque::firmware
