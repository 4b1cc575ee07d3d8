#include "frontend/machine/chipset.h"

#include <algorithm>

namespace calque::machine {

using devices::IrqLine;
using devices::PcRouter;

namespace {
struct SerialPort {
    u16 base;
    unsigned irq;
};
constexpr std::array<SerialPort, Chipset::serial_port_count> serial_ports{
    {{0x3F8, 4}, {0x2F8, 3}, {0x3E8, 4}, {0x2E8, 3}}};

devices::Hpet::Lines hpet_lines(PcRouter& router) {
    devices::Hpet::Lines lines;
    lines.pins = &router;
    lines.first_pin = PcRouter::hpet;
    lines.legacy_irq0 = IrqLine(router, PcRouter::hpet_legacy_irq0);
    lines.legacy_irq8 = IrqLine(router, PcRouter::hpet_legacy_irq8);
    lines.legacy_mode = IrqLine(router, PcRouter::hpet_legacy_mode);
    return lines;
}
} // namespace

Chipset::Chipset(const MachineConfig& config, Log& log, Clock& clock, Memory& memory, const ChipsetBackends& backends,
                 ChipsetEvents events)
    : events_(std::move(events)), ports_(devices::Bus::Kind::ports, log), memory_bus_(devices::Bus::Kind::memory, log),
      apics_(log), intr_{IrqLine(apics_, devices::ApicBus::lint0), IrqLine(ioapic_, 0)}, pic_(log, IrqLine(intr_, 0)),
      ioapic_(log, clock, apics_), router_(log, pic_, ioapic_, IrqLine()),
      pit_(log, clock, IrqLine(router_, PcRouter::isa + 0)),
      rtc_(log, clock, {config.rtc_offset}, IrqLine(router_, PcRouter::isa + 8)),
      hpet_(config.hpet ? std::make_unique<devices::Hpet>(log, clock, hpet_lines(router_), apics_) : nullptr),
      pm_(log, clock, {}, IrqLine(router_, PcRouter::isa + 9),
          {[this] { events_.power_off(); }, [this] { events_.smi(); }}),
      pci_hotplug_(log, {[this] {
                             // An edge each time.
                             pm_.set_gpe(pci_hotplug_event, true);
                             pm_.set_gpe(pci_hotplug_event, false);
                         },
                         [this](u32 slots) {
                             if (events_.slots_let_go) events_.slots_let_go(slots);
                         }}),
      fw_cfg_(log, memory), pci_(log, ports_, memory_bus_), host_bridge_(log, memory), isa_bridge_(log, router_),
      ide_(log, ports_, memory, IrqLine(router_, PcRouter::isa + 14), IrqLine(router_, PcRouter::isa + 15),
           backends.ide),
      pm_function_(log, ports_, pm_.pm_ports(), nullptr), pirq_(isa_bridge_, router_), dma_(log, memory),
      keyboard_(log, clock, IrqLine(router_, PcRouter::isa + 1), IrqLine(router_, PcRouter::isa + 12),
                {[this](bool on) {
                     a20_keyboard_ = on;
                     update_a20();
                 },
                 [this] { events_.init(); }}),
      port92_(
          log,
          [this](bool on) {
              a20_fast_ = on;
              update_a20();
          },
          [this] { events_.init(); }),
      reset_control_(log, [this](bool hard) { hard ? events_.reset() : events_.init(); }), post_(log),
      cpus_(config.cpus), firmware_folders_(config.firmware_folders), network_boot_(config.boots_network()) {
    if (backends.floppies[0] || backends.floppies[1])
        floppy_ = std::make_unique<devices::Floppy>(log, IrqLine(router_, PcRouter::isa + 6), dma_, backends.floppies);
    if (backends.debugcon) debugcon_ = std::make_unique<devices::Debugcon>(*backends.debugcon);
    if (config.debug_exit)
        debug_exit_ = std::make_unique<devices::IsaDebugExit>([this](u32 status) { events_.debug_exit(status); });
    apics_.set_eoi_observer([this](u8 vector) { ioapic_.eoi(vector); });
    router_.set_timer_listens([this] {
        const auto vector = ioapic_.edge_vector(PcRouter::timer_pin);
        apics_.watch(vector);
        return vector || !pic_.masked(0);
    });
    apics_.set_taken_observer([this] { router_.timer_taken(); });
    pic_.set_taken_observer([this](unsigned irq) {
        if (irq == 0) router_.timer_taken();
    });
    for (std::size_t i = 0; i < serial_ports.size() && i < backends.serials.size(); ++i) {
        if (!backends.serial_present[i]) continue;
        const auto& port = serial_ports[i];
        uarts_.push_back(std::make_unique<devices::Uart16550>(log, clock, IrqLine(router_, PcRouter::isa + port.irq),
                                                              backends.serials[i], fmt::format("serial{}", i)));
        ports_.map(port.base, devices::Uart16550::size, *uarts_.back(), fmt::format("serial{}", i));
    }
    // The slots of this board: host bridge 0.0, ISA bridge 1.0, IDE 1.1, power management 1.3. They are ours and free.
    (void)pci_.attach(host_bridge_.function(), 0, 0);
    (void)pci_.attach(isa_bridge_.function(), 1, 0);
    (void)pci_.attach(ide_.function(), 1, 1);
    (void)pci_.attach(pm_function_.function(), 1, 3);
    pm_function_.set_apm_enable_hook([this](bool on) { pm_.set_apm_smi_enabled(on); });
    pci_.set_interrupt_sink(&pirq_);
    pci_.set_msi_sink(&apics_);
    constexpr unsigned first_free_slot = 2; // 0 is the host bridge, 1 the ISA bridge and its companions.
    buses_.push_back(std::make_unique<NamedBus>(NamedBus{"pci.0", &pci_, "/pci@i0cf8", first_free_slot}));
    map_ports(config);
    fill_cmos(config, memory);
    describe_drives(backends.ide);
    describe_floppies(backends.floppies);
    all_ = {&pit_,         &rtc_, &pm_,       &fw_cfg_, &pci_,           &host_bridge_, &isa_bridge_, &ide_,
            &pm_function_, &dma_, &keyboard_, &port92_, &reset_control_, &post_,        &pci_hotplug_};
    if (floppy_) all_.push_back(floppy_.get());
    if (debugcon_) all_.push_back(debugcon_.get());
    if (debug_exit_) all_.push_back(debug_exit_.get());
    if (hpet_) all_.push_back(hpet_.get());
    for (const auto& uart : uarts_)
        all_.push_back(uart.get());
    for (devices::Device* samples : std::initializer_list<devices::Device*>{&router_, &pic_, &ioapic_})
        all_.push_back(samples);
}

// What is behind a bridge goes before it.
Chipset::~Chipset() {
    while (!plugged_.empty())
        plugged_.pop_back();
}

// Either of the two gates opens the address line.
void Chipset::update_a20() { events_.set_a20(a20_keyboard_ || a20_fast_); }

void Chipset::map_ports(const MachineConfig& config) {
    ports_.map(0x20, 2, pic_.master_ports(), "i8259-master");
    ports_.map(0xA0, 2, pic_.slave_ports(), "i8259-slave");
    ports_.map(0x4D0, 2, pic_.elcr_ports(), "elcr");
    ports_.map(0x40, 4, pit_.ports(), "i8254");
    ports_.map(0x61, 1, pit_.port_61(), "port61");
    ports_.map(0x70, 4, rtc_.ports(), "rtc");
    ports_.map(0xB2, 2, pm_.apm_ports(), "apm");
    ports_.map(0xF0, 2, router_.coprocessor_ports(), "coprocessor");
    ports_.map(0x510, 2, fw_cfg_.ports(), "fw_cfg");
    ports_.map(0x514, 8, fw_cfg_.dma_port(), "fw_cfg-dma");
    ports_.map(0x00, 16, dma_.first(), "i8237-first");
    ports_.map(0x81, 15, dma_.pages(), "i8237-pages");
    ports_.map(0xC0, 32, dma_.second(), "i8237-second");
    ports_.map(0x60, 1, keyboard_.data(), "i8042-data");
    ports_.map(0x64, 1, keyboard_.command(), "i8042-command");
    ports_.map(0x80, 1, post_, "post");
    ports_.map(0x92, 1, port92_, "port92");
    pci_.map_config_ports();
    ports_.map(0xCF9, 1, reset_control_, "reset-control");
    ports_.map(devices::PciHotplug::default_base, devices::PciHotplug::size, pci_hotplug_, "pci-hotplug");
    if (floppy_) {
        ports_.map(0x3F0, 6, floppy_->ports(), "floppy");
        ports_.map(0x3F7, 1, floppy_->port_7(), "floppy-dir");
    }
    if (debugcon_) ports_.map(config.debugcon_port, 1, *debugcon_, "debugcon");
    if (debug_exit_) ports_.map(config.debug_exit->base, config.debug_exit->size, *debug_exit_, "isa-debug-exit");
    memory_bus_.map(devices::IoApic::default_base, devices::IoApic::mmio_size, ioapic_.mmio(), "ioapic");
    if (hpet_) memory_bus_.map(devices::Hpet::default_base, devices::Hpet::mmio_size, hpet_->mmio(), "hpet");
}

// The sizes of memory where firmware and old kernels look for them: in KiB up to 64 MiB, in 64 KiB above 16 MiB and
// above 4 GiB; number of processors less one at 5Fh.
void Chipset::fill_cmos(const MachineConfig& config, const Memory& memory) {
    const auto put16 = [&](u8 index, u64 value) {
        rtc_.set_cmos(index, static_cast<u8>(value));
        rtc_.set_cmos(static_cast<u8>(index + 1), static_cast<u8>(value >> 8));
    };
    const u64 low = memory.layout().low, high = memory.layout().high;
    const u64 mib = u64{1} << 20;
    put16(0x15, 640);
    const u64 extended_kib = low > mib ? std::min<u64>((low - mib) / 1024, 65535) : 0;
    put16(0x17, extended_kib);
    put16(0x30, extended_kib);
    put16(0x34, low > 16 * mib ? std::min<u64>((low - 16 * mib) / 65536, 65535) : 0);
    rtc_.set_cmos(0x5B, static_cast<u8>(high / 65536));
    rtc_.set_cmos(0x5C, static_cast<u8>(high / 65536 >> 8));
    rtc_.set_cmos(0x5D, static_cast<u8>(high / 65536 >> 16));
    rtc_.set_cmos(0x5F, static_cast<u8>(config.cpus - 1));
}

// How SeaBIOS is to translate cylinders and heads, two bits a drive: as they are while they fit into INT 13h, by LBA
// else.
void Chipset::describe_drives(const devices::Piix3Ide::Drives& drives) {
    constexpr u64 addressable = u64{1024} * 16 * 63 * devices::BlockBackend::sector;
    u8 translation = 0;
    for (unsigned i = 0; i < drives.size(); ++i)
        if (drives[i].backend && !drives[i].cd && drives[i].backend->size() > addressable) translation |= 1u << (2 * i);
    rtc_.set_cmos(0x39, translation);
}

// Their types in 10h; in the equipment byte whether there are any, and how many less one.
void Chipset::describe_floppies(const devices::Floppy::Drives& drives) {
    const u8 first = devices::Floppy::drive_type(drives[0]), second = devices::Floppy::drive_type(drives[1]);
    rtc_.set_cmos(0x10, static_cast<u8>(first << 4 | second));
    constexpr u8 fpu_and_mouse = 0x06;
    rtc_.set_cmos(0x14, static_cast<u8>(fpu_and_mouse | (first || second ? 1 : 0) | (first && second ? 0x40 : 0)));
}

// Three nibbles: the first two in 3Dh, the third in the high half of 38h.
void Chipset::set_boot_order(std::string_view letters) {
    const auto nibble = [&](std::size_t n) -> u8 {
        if (n >= letters.size()) return 0;
        switch (letters[n]) {
        case 'a':
        case 'b': return 1;
        case 'c': return 2;
        case 'd': return 3;
        default: return 4;
        }
    };
    rtc_.set_cmos(0x3D, static_cast<u8>(nibble(0) | nibble(1) << 4));
    rtc_.set_cmos(0x38, static_cast<u8>(nibble(2) << 4));
}

void Chipset::reset() {
    for (devices::Device* device : all_)
        device->reset();
}

void Chipset::serialize(Archive& archive) {
    for (devices::Device* device : all_)
        device->serialize(archive);
}

} // namespace calque::machine
