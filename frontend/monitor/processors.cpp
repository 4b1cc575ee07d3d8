#include "frontend/monitor/processors.h"

#include "base/bits.h"

namespace calque::monitor {

namespace {

// The numbers of the bits that are set, highest first, as interrupts are served.
std::string vectors(const std::array<u32, 8>& words) {
    std::string text;
    for (unsigned vector = 256; vector-- > 0;)
        if (bit(words[vector / 32], vector % 32)) text += fmt::format(" {:02x}", vector);
    return text.empty() ? " none" : text;
}

std::string describe_pic(const devices::I8259Chip::State& chip, std::string_view name) {
    return fmt::format(
        "8259 {}: requests {:02x}, in service {:02x}, masked {:02x}, level {:02x}, vectors from {:02x}\n", name,
        chip.irr, chip.isr, chip.imr, chip.elcr, chip.vector_base);
}

// 82093AA datasheet, 3.2.4.
std::string describe_entry(unsigned pin, u64 entry, bool high) {
    static constexpr std::string_view modes[] = {"fixed", "lowest", "SMI",      "reserved",
                                                 "NMI",   "INIT",   "reserved", "ExtINT"};
    return fmt::format("  pin {:2}: vector {:02x} {} to {} {:02x}, {}, {}{}{}{}\n", pin, bits(entry, 0, 8),
                       modes[bits(entry, 8, 3)], bit(entry, 11) ? "logical" : "physical", bits(entry, 56, 8),
                       bit(entry, 15) ? "level" : "edge", bit(entry, 13) ? "active low" : "active high",
                       bit(entry, 16) ? ", masked" : "", bit(entry, 14) ? ", in service" : "",
                       high ? ", asserted" : "");
}

std::string describe_lapic(const devices::LocalApic::State& apic, u32 id) {
    return fmt::format("local APIC {}: TPR {:02x}, SVR {:03x}, LVT timer {:x} LINT0 {:x} LINT1 {:x}\n"
                       "  requested:{}\n  in service:{}\n",
                       id, apic.tpr, apic.svr, apic.lvt[static_cast<unsigned>(devices::LvtEntry::timer)],
                       apic.lvt[static_cast<unsigned>(devices::LvtEntry::lint0)],
                       apic.lvt[static_cast<unsigned>(devices::LvtEntry::lint1)], vectors(apic.irr), vectors(apic.isr));
}

} // namespace

std::string describe_interrupts(machine::Machine& machine) {
    const auto pics = machine.chipset().pic().snapshot();
    std::string text = describe_pic(pics[0], "master") + describe_pic(pics[1], "slave");
    const auto ioapic = machine.chipset().ioapic().snapshot();
    text += "I/O APIC:\n";
    for (unsigned pin = 0; pin < devices::IoApic::pins; ++pin)
        text += describe_entry(pin, ioapic.table[pin], bit(ioapic.lines, pin));
    for (auto& vcpu : machine.vcpus())
        text += describe_lapic(vcpu->lapic().snapshot(), vcpu->lapic().initial_id());
    return text;
}

std::string describe_translator(machine::Machine& machine) {
    std::string text;
    for (std::size_t n = 0; n < machine.vcpus().size(); ++n)
        if (jit::Engine* const engine = machine.vcpus()[n]->translator())
            text += fmt::format("vCPU {}\n{}", n, engine->describe());
    return text.empty() ? "the interpreter runs everything (-accel interp)\n" : text;
}

} // namespace calque::monitor
