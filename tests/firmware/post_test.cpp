#include "firmware/post/pci_config.h"
#include "firmware/post/post.h"
#include "tests/firmware/support.h"

namespace calque::firmware::test {
namespace {

// A PCI function with BARs that answer a size probe.
struct FakeFunction {
    std::array<u8, 256> config{};
    std::array<u32, 6> bar_mask{}; // Writable bits.
    std::array<u32, 6> bar_flags{};

    FakeFunction(u16 vendor, u16 device, u16 device_class, u8 header = 0, u8 pin = 0) {
        store(config, 0, vendor, 2);
        store(config, 2, device, 2);
        store(config, 10, device_class, 2);
        config[14] = header;
        config[0x3D] = pin;
    }
    u64 bar(unsigned n) const { return load(config, 0x10 + 4 * n, 4) & ~0xFull; }
    u32 command() const { return static_cast<u32>(load(config, 4, 2)); }
};

// Mechanism 1, and a record of every other write.
class FakePorts final : public PortAccess {
  public:
    std::map<std::pair<unsigned, unsigned>, FakeFunction> functions;
    std::vector<std::pair<u16, u32>> writes;
    u8 port_92 = 0x01;

    u32 in(u16 port, unsigned size) override {
        if (port == 0x92) return port_92;
        FakeFunction* function = selected();
        if ((port & 0xFFFC) != 0xCFC || !function) return size == 4 ? ~0u : (1u << 8 * size) - 1;
        return static_cast<u32>(load(function->config, offset(port), size));
    }
    void out(u16 port, unsigned size, u32 value) override {
        if (port == 0xCF8)
            address_ = value;
        else if ((port & 0xFFFC) != 0xCFC)
            writes.emplace_back(port, value);
        else if (FakeFunction* function = selected())
            write_config(*function, offset(port), size, value);
    }

  private:
    FakeFunction* selected() {
        const auto found = functions.find({address_ >> 11 & 31, address_ >> 8 & 7});
        return (address_ >> 31) && (address_ >> 16 & 0xFF) == 0 && found != functions.end() ? &found->second : nullptr;
    }
    u32 offset(u16 port) const { return (address_ & 0xFC) + (port & 3); }
    static void write_config(FakeFunction& function, u32 at, unsigned size, u32 value) {
        if (at >= 0x10 && at < 0x28) {
            const unsigned n = (at - 0x10) / 4;
            value = (value & function.bar_mask[n]) | function.bar_flags[n];
        }
        store(function.config, at, value, size);
    }
    u32 address_ = 0;
};

struct Machine {
    Machine() {
        platform.ram = ram_layout(128 * MiB);
        ports.functions.emplace(std::pair(0, 0), FakeFunction(0x8086, 0x1237, 0x0600));
        ports.functions.emplace(std::pair(1, 0), FakeFunction(0x8086, 0x7000, 0x0601, 0x80));
        ports.functions.emplace(std::pair(1, 1), FakeFunction(0x8086, 0x7010, 0x0101));
        ports.functions.emplace(std::pair(1, 3), FakeFunction(0x8086, 0x7113, 0x0680, 0, 1));
    }
    FakeFunction& add(unsigned slot, u8 pin) {
        return ports.functions.emplace(std::pair(slot, 0), FakeFunction(0x1AF4, 0x1000, 0x0200, 0, pin)).first->second;
    }
    FakeFunction& at(unsigned slot, unsigned function) { return ports.functions.at({slot, function}); }
    void run() { power_on_self_test(ports, platform); }
    Platform platform;
    FakePorts ports;
};

TEST(Post, ChipsetRegisters) {
    Machine machine;
    machine.run();
    EXPECT_EQ(load(machine.at(0, 0).config, 0x59, 7), 0x33333333333310u);
    EXPECT_EQ(load(machine.at(1, 0).config, 0x60, 4), 0x0B0B0A0Au);
    EXPECT_EQ(load(machine.at(1, 3).config, 0x40, 4), 0x601u);
    EXPECT_EQ(machine.at(1, 3).config[0x80] & 1, 1);
    EXPECT_EQ(machine.at(1, 3).config[0x3C], 9);
    EXPECT_EQ(load(machine.at(1, 1).config, 0x40, 4), 0x80008000u);
}

TEST(Post, PortsInTheirOrder) {
    Machine machine;
    machine.run();
    std::string text;
    for (const auto& [port, value] : machine.ports.writes)
        text += fmt::format("{:x}={:x} ", port, value);
    EXPECT_EQ(text,
              "92=2 20=11 21=8 21=4 21=1 21=fb a0=11 a1=70 a1=2 a1=1 a1=ff 4d0=0 4d1=c 43=34 40=0 40=0 d=0 da=0 d6=c0 "
              "d4=0 70=a 71=26 70=b 71=2 64=60 60=65 ");
}

TEST(Post, BarsAreSizedPlacedAndDecoded) {
    Machine machine;
    FakeFunction& large = machine.add(3, 1);
    large.bar_mask[0] = 0xFF000000; // 16 MiB of memory
    large.bar_mask[1] = 0xFFFFFFE0; // 32 ports
    large.bar_flags[1] = 1;
    FakeFunction& small = machine.add(2, 2);
    small.bar_mask[2] = 0xFFFFF000; // 4 KiB of memory, 64-bit
    small.bar_flags[2] = 0xC;
    small.bar_mask[3] = 0xFFFFFFFF;
    machine.run();
    EXPECT_EQ(large.bar(0), 0x80000000u);
    EXPECT_EQ(load(large.config, 0x14, 4), 0xC001u);
    EXPECT_EQ(large.command() & 3, 3u);
    EXPECT_EQ(small.bar(2), 0x81000000u);
    EXPECT_EQ(load(small.config, 0x1C, 4), 0u);
    EXPECT_EQ(small.command() & 3, 2u);
    EXPECT_EQ(large.config[0x3C], 11); // Slot 3 INTA: PIRQC.
    EXPECT_EQ(small.config[0x3C], 11); // Slot 2 INTB: PIRQC.
}

TEST(Post, SixtyFourBitBarThatIsTooLargeForTheLowWindow) {
    Machine machine;
    machine.platform.pci_window_64 = {0x800000000, 0x800000000};
    FakeFunction& huge = machine.add(2, 0);
    huge.bar_flags[0] = 0xC; // 8 GiB
    huge.bar_mask[1] = 0xFFFFFFFE;
    machine.run();
    EXPECT_EQ(huge.bar(0), 0u);
    EXPECT_EQ(load(huge.config, 0x14, 4), 0x8u);
    Machine without;
    FakeFunction& left = without.add(2, 0);
    left.bar_flags[0] = 0xC;
    left.bar_mask[1] = 0xFFFFFFFE;
    without.run();
    EXPECT_EQ(left.command() & 3, 0u);
}

TEST(Post, BarsThatDoNotFitStayOff) {
    Machine machine;
    for (unsigned slot = 2; slot < 6; ++slot)
        machine.add(slot, 0).bar_mask[0] = 0xC0000000; // 1 GiB each: one fits.
    machine.run();
    unsigned decoding = 0;
    for (unsigned slot = 2; slot < 6; ++slot)
        decoding += machine.at(slot, 0).command() >> 1 & 1;
    EXPECT_EQ(decoding, 1u);
}

TEST(Post, BridgesKeepTheirHeaders) {
    Machine machine;
    auto& bridge =
        machine.ports.functions.emplace(std::pair(5, 0), FakeFunction(0x8086, 0x244E, 0x0604, 1)).first->second;
    bridge.bar_mask[2] = 0xFFFFFFFF; // Bus numbers, in a bridge's header.
    store(bridge.config, 0x18, 0x00010100, 4);
    machine.run();
    EXPECT_EQ(load(bridge.config, 0x18, 4), 0x00010100u);
}

TEST(Post, EmptyBusIsNoHarm) {
    FakePorts ports;
    Platform platform;
    platform.ram = ram_layout(128 * MiB);
    platform.ps2 = false;
    power_on_self_test(ports, platform);
    for (const auto& [port, value] : ports.writes)
        EXPECT_NE(port, 0x64);
}

} // namespace
} // namespace calque::firmware::test
