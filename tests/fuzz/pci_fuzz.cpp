// Configuration space of the chipset, of a bridge and of cards with every kind of BAR, and the BARs and windows that
// move.
#include "devices/pci/i440fx.h"
#include "devices/pci/pci_bridge.h"
#include "devices/pci/pci_bus.h"
#include "devices/pci/piix3.h"
#include "devices/pci/piix4_pm.h"
#include "tests/fuzz/device_driver.h"

using namespace calque;
using namespace calque::devices;

namespace {

class Scratch final : public IoRegion {
  public:
    u64 read(u64 offset, unsigned) override { return offset; }
    void write(u64, u64, unsigned) override {}
    std::vector<DirectMemory> direct_memory() const override {
        return {{0, bytes.size(), const_cast<u8*>(bytes.data()), true}};
    }
    std::vector<u8> bytes = std::vector<u8>(0x4000);
};

struct NoShaper final : MemoryShaper {
    void shape_memory(const MemoryShape&) override {}
};

PciDescriptor card(IoRegion& region, const char* name) {
    PciDescriptor d;
    d.name = name;
    d.vendor_id = 0x1234;
    d.interrupt_pin = 2;
    d.bars[0] = {PciBar::Kind::io, 32, false, &region};
    d.bars[1] = {PciBar::Kind::memory32, 0x1000, false, &region};
    d.bars[2] = {PciBar::Kind::memory64, 0x10000, true, &region};
    d.bars[4] = {PciBar::Kind::memory32, 0x8000'0000, true, &region};
    d.rom = {PciBar::Kind::memory32, 0x1000, false, &region};
    d.capabilities.push_back({pci::CAPABILITY_VENDOR, {1, 2, 3, 4}, {0xFF, 0x0F}, {0, 0, 0xFF}});
    return d;
}

// Everything on the bus, as one device to save, load and reset.
class Chipset final : public Device {
  public:
    Chipset(Log& log, Bus& ports, Bus& memory)
        : pci(log, ports, memory), host(log, shaper), piix3(log, lines), pm(log, ports, region, &region),
          function(card(region, "card"), log), bridge(log, ports, memory, 1, "bridge"),
          behind(card(region, "behind"), log) {
        pci.map_config_ports();
        pci.set_interrupt_sink(&piix3);
        static_cast<void>(pci.attach(host.function(), 0, 0));
        static_cast<void>(pci.attach(piix3.function(), 1, 0));
        static_cast<void>(pci.attach(pm.function(), 1, 3));
        static_cast<void>(pci.attach(function, 2, 0));
        static_cast<void>(pci.attach(bridge.function(), 3, 0));
        static_cast<void>(bridge.secondary().attach(behind, 1, 0));
        bridge.set_secondary_reset([this] { behind.reset(); });
    }
    std::string_view name() const override { return "chipset"; }
    void reset() override {
        pci.reset();
        host.reset();
        piix3.reset();
        pm.reset();
        function.reset();
        bridge.reset();
        behind.reset();
    }
    void serialize(Archive& archive) override {
        pci.serialize(archive);
        host.serialize(archive);
        piix3.serialize(archive);
        pm.serialize(archive);
        function.serialize(archive);
        bridge.serialize(archive);
        behind.serialize(archive);
    }

    Scratch region;
    NoShaper shaper;
    fuzz::NoLines lines;
    PciBus pci;
    I440fx host;
    Piix3 piix3;
    Piix4Pm pm;
    PciFunction function;
    PciBridge bridge;
    PciFunction behind;
};

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
    Log log;
    Bus ports(Bus::Kind::ports, log), memory(Bus::Kind::memory, log);
    Chipset chipset(log, ports, memory);
    // As the machine does: every change is followed by a look at the memory behind the ranges.
    memory.set_change_observer([&] {
        for (const auto& piece : memory.pieces())
            for (const auto& direct : piece.region->direct_memory())
                if (direct.offset + direct.length < direct.offset) __builtin_trap();
    });
    fuzz::drive({chipset,
                 ports,
                 {{0xCF8, 8}, {0x00, 0x100}, {0xFFE0, 0x40}},
                 nullptr,
                 [&](fuzz::Input& input) {
                     // A configuration write that hits, an interrupt, or a memory access.
                     const u8 what = input.byte();
                     static constexpr u8 devfns[]{0x08, 0x10, 0x18, 0x08};
                     const unsigned width = 1u << (what >> 4) % 3;
                     if (what & 1)
                         chipset.function.set_intx(what & 2);
                     else if (what & 2)
                         memory.read(input.integer(8), 1u << (what >> 4) % 4);
                     else
                         chipset.pci.config_write((what & 0x0C) == 0x0C, devfns[(what >> 2) & 3],
                                                  input.byte() & ~(width - 1), static_cast<u32>(input.integer(4)),
                                                  width);
                 }},
                data, size);
    return 0;
}
