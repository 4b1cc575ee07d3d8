#include "firmware/post/post.h"

#include "firmware/post/pci_config.h"

namespace calque::firmware {

namespace {

constexpr u16 intel = 0x8086, i440fx = 0x1237, piix3_isa = 0x7000, piix3_ide = 0x7010, piix4_pm = 0x7113;

// 82441FX PMC datasheet, 3.2.18: PAM0 governs 0xF0000-0xFFFFF, PAM1-PAM6 the 192 KiB below. RAM everywhere; the tables
// in the F segment can only be read.
void set_shadow_ram(PciConfig& config, PciFunction at) {
    constexpr u8 pam0 = 0x59;
    constexpr u8 high_read_only = 0x10, read_write = 0x33;
    config.write(at, pam0, 1, high_read_only);
    for (u8 n = 1; n <= 6; ++n)
        config.write(at, static_cast<u8>(pam0 + n), 1, read_write);
}

void set_interrupt_routes(PciConfig& config, PciFunction at, const Platform& platform) {
    constexpr u8 pirqrca = 0x60; // 82371SB datasheet, 2.2.9
    for (u8 n = 0; n < 4; ++n)
        config.write(at, static_cast<u8>(pirqrca + n), 1, platform.pirq[n]);
}

// 82371AB (PIIX4) datasheet, 7.1: the PM block's base and its enable; the SCI is wired to one IRQ.
void set_power_management(PciConfig& config, PciFunction at, const Platform& platform) {
    constexpr u8 pmbase = 0x40, pmregmisc = 0x80, pmiose = 0x01;
    config.write(at, pmbase, 4, platform.pm_base | 1u);
    config.write(at, pmregmisc, 1, pmiose);
    config.write(at, pci_register::interrupt_line, 1, platform.sci_irq);
}

// 82371SB datasheet, 2.3.9: both IDE channels decode their ports.
void enable_ide(PciConfig& config, PciFunction at) {
    constexpr u8 idetim = 0x40;
    constexpr u16 decode_enable = 0x8000;
    config.write(at, idetim, 2, decode_enable);
    config.write(at, idetim + 2, 2, decode_enable);
    config.write(at, pci_register::command, 2, config.read(at, pci_register::command, 2) | 1);
}

void set_up_chipset(PciConfig& config, const Platform& platform) {
    for_each_function(config, [&](PciFunction at) {
        if (config.read(at, pci_register::vendor_id, 2) != intel) return;
        switch (config.read(at, pci_register::device_id, 2)) {
        case i440fx: return set_shadow_ram(config, at);
        case piix3_isa: return set_interrupt_routes(config, at, platform);
        case piix3_ide: return enable_ide(config, at);
        case piix4_pm: return set_power_management(config, at, platform);
        default: return;
        }
    });
}

// 8259A: vectors 08h and 70h, all masked but the cascade; ELCR: PCI lines are level-triggered. (The
// SCI's trigger mode is left to the guest that turns ACPI on.)
void set_up_interrupt_controllers(PortAccess& ports, const Platform& platform) {
    constexpr u8 icw1_init_icw4 = 0x11, icw4_8086 = 0x01, cascade_irq = 2;
    const auto initialise = [&](u16 base, u8 vector, u8 icw3, u8 mask) {
        ports.out(base, 1, icw1_init_icw4);
        for (const u8 value : {vector, icw3, icw4_8086, mask})
            ports.out(static_cast<u16>(base + 1), 1, value);
    };
    initialise(0x20, 0x08, 1u << cascade_irq, static_cast<u8>(~(1u << cascade_irq)));
    initialise(0xA0, 0x70, cascade_irq, 0xFF);
    u32 level = 0;
    for (const u8 irq : platform.pirq)
        level |= 1u << (irq & 15);
    ports.out(0x4D0, 1, level & 0xF8);
    ports.out(0x4D1, 1, level >> 8 & 0xDE);
}

// 8254 channel 0: mode 2, count 65536, 18.2 Hz. 8237: channel 4 cascades the first controller.
void set_up_timer_and_dma(PortAccess& ports) {
    ports.out(0x43, 1, 0x34);
    ports.out(0x40, 1, 0);
    ports.out(0x40, 1, 0);
    ports.out(0x0D, 1, 0); // Master clear.
    ports.out(0xDA, 1, 0);
    ports.out(0xD6, 1, 0xC0); // Cascade mode.
    ports.out(0xD4, 1, 0x00); // Unmasked.
}

// MC146818: 32768 Hz time base, 1024 Hz rate; 24-hour BCD, no interrupts.
void set_up_rtc(PortAccess& ports) {
    ports.out(0x70, 1, 0x0A);
    ports.out(0x71, 1, 0x26);
    ports.out(0x70, 1, 0x0B);
    ports.out(0x71, 1, 0x02);
}

// 8042 command byte: keyboard interrupt, system flag, auxiliary device off, scan codes translated to set 1.
void set_up_keyboard_controller(PortAccess& ports) {
    ports.out(0x64, 1, 0x60);
    ports.out(0x60, 1, 0x65);
}

void enable_a20(PortAccess& ports) {
    constexpr u16 system_control_a = 0x92;
    constexpr u8 a20 = 1u << 1, fast_reset = 1u << 0;
    ports.out(system_control_a, 1, (ports.in(system_control_a, 1) & ~u32{fast_reset}) | a20);
}

} // namespace

void power_on_self_test(PortAccess& ports, const Platform& platform) {
    enable_a20(ports);
    set_up_interrupt_controllers(ports, platform);
    set_up_timer_and_dma(ports);
    set_up_rtc(ports);
    if (platform.ps2) set_up_keyboard_controller(ports);
    PciConfig config(ports);
    assign_pci_resources(config, platform);
    set_up_chipset(config, platform);
}

} // namespace calque::firmware
