#include "firmware/post/pci_config.h"

#include <algorithm>

namespace calque::firmware {

namespace {

constexpr u32 command_io = 1u << 0, command_memory = 1u << 1;
constexpr u32 bar_io = 1u << 0, bar_64bit = 1u << 2;

struct Bar {
    PciFunction function;
    u8 offset = 0;
    bool io = false;
    bool wide = false;
    u64 size = 0;
};

// A BAR's size shows in the bits that stay zero after ones are written (PCI 3.0, 6.2.5.1).
u32 probe(PciConfig& config, PciFunction at, u8 offset) {
    config.write(at, offset, 4, 0xFFFFFFFF);
    const u32 mask = config.read(at, offset, 4);
    config.write(at, offset, 4, 0);
    return mask;
}

std::vector<Bar> find_bars(PciConfig& config, PciFunction at) {
    std::vector<Bar> bars;
    for (u8 offset = pci_register::bar0; offset < pci_register::bar0 + 24; offset += 4) {
        const u32 low = probe(config, at, offset);
        if (low == 0 || low == 0xFFFFFFFF) continue;
        Bar bar{at, offset, (low & bar_io) != 0, (low & (bar_io | bar_64bit)) == bar_64bit, 0};
        u64 mask = bar.io ? 0xFFFFFFFFFFFF0000 | (low & 0xFFFC) : 0xFFFFFFFF00000000 | (low & 0xFFFFFFF0);
        if (bar.wide) {
            offset += 4;
            if (offset >= pci_register::bar0 + 24) break;
            mask = u64{probe(config, at, offset)} << 32 | (low & 0xFFFFFFF0);
        }
        bar.size = mask & -mask;
        if (bar.size != 0) bars.push_back(bar);
    }
    return bars;
}

// Takes the next aligned piece of a window; false when it is used up.
bool take(AddressRange& window, u64 size, u64& address) {
    const u64 at = align_up(window.base, size);
    if (at < window.base || at > window.end() || window.end() - at < size) return false;
    window = {at + size, window.end() - at - size};
    address = at;
    return true;
}

void program(PciConfig& config, const Bar& bar, u64 address) {
    config.write(bar.function, bar.offset, 4, static_cast<u32>(address));
    if (bar.wide) config.write(bar.function, static_cast<u8>(bar.offset + 4), 4, static_cast<u32>(address >> 32));
    const u32 command = config.read(bar.function, pci_register::command, 2);
    config.write(bar.function, pci_register::command, 2, command | (bar.io ? command_io : command_memory));
}

void assign_interrupt(PciConfig& config, const Platform& platform, PciFunction at) {
    const u32 pin = config.read(at, pci_register::interrupt_pin, 1);
    if (pin >= 1 && pin <= 4)
        config.write(at, pci_register::interrupt_line, 1, platform.pirq[pirq_of_slot(at.device, pin - 1)]);
}

} // namespace

void assign_pci_resources(PciConfig& config, const Platform& platform) {
    std::vector<Bar> bars;
    for_each_function(config, [&](PciFunction at) {
        constexpr u32 type_mask = 0x7F, bridge_class = 0x06;
        assign_interrupt(config, platform, at);
        if ((config.read(at, pci_register::header_type, 1) & type_mask) != 0
            || config.read(at, pci_register::class_code + 1, 1) == bridge_class)
            return;
        for (const Bar& bar : find_bars(config, at))
            bars.push_back(bar);
    });
    // Largest first, so that alignment wastes nothing.
    std::stable_sort(bars.begin(), bars.end(), [](const Bar& a, const Bar& b) { return a.size > b.size; });
    AddressRange io{0xC000, 0x4000}, memory = platform.pci_window_32(), memory_64 = platform.pci_window_64;
    for (const Bar& bar : bars) {
        u64 address = 0;
        if (take(bar.io ? io : memory, bar.size, address) || (bar.wide && take(memory_64, bar.size, address)))
            program(config, bar, address);
    }
}

} // namespace calque::firmware
