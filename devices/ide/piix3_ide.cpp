#include "devices/ide/piix3_ide.h"

namespace calque::devices {

namespace {
// PIIX3 datasheet, 2.3: IDE configuration registers.
constexpr unsigned IDETIM = 0x40, SIDETIM = 0x44;
constexpr u16 IDE_DECODE_ENABLE = 0x8000;
constexpr std::array<u16, 2> command_base{0x1F0, 0x170}, control_base{0x3F6, 0x376};
} // namespace

PciDescriptor Piix3Ide::descriptor() {
    PciDescriptor d;
    d.name = "piix3_ide_pci";
    d.vendor_id = 0x8086;
    d.device_id = 0x7010;
    d.class_code = 0x010180; // IDE at its legacy ports, with a bus master.
    d.subsystem_vendor_id = 0x1AF4;
    d.subsystem_id = 0x1100;
    d.command_writable = pci::COMMAND_IO | pci::COMMAND_MASTER;
    d.status_reset = pci::STATUS_DEVSEL_MEDIUM | pci::STATUS_FAST_BACK_TO_BACK;
    d.cache_line_size_writable = 0;
    d.bars[4] = {PciBar::Kind::io, 16, false, &master_};
    d.registers = {
        // The datasheet's reset is 0: nothing is decoded. OVMF knows no PIIX3 and expects what the board had set up.
        {IDETIM, {0, 0x80, 0, 0x80}, {0xFF, 0xF3, 0xFF, 0xF3}, {}},
        {SIDETIM, {0}, {0xFF}, {}},
    };
    return d;
}

Piix3Ide::Ports::Ports(Bus& bus, IdeChannel& channel, unsigned number)
    : command(bus, channel.command_block(), 8, fmt::format("ide{}", number)),
      control(bus, channel.control(), 1, fmt::format("ide{}-control", number)) {}

Piix3Ide::Piix3Ide(Log& log, Bus& ports, DmaPort& dma, IrqLine primary, IrqLine secondary, const Drives& drives)
    : pci_(descriptor(), log), channels_{{{log, dma, primary, 0, {drives[0], drives[1]}},
                                          {log, dma, secondary, 1, {drives[2], drives[3]}}}},
      ports_{{{ports, channels_[0], 0}, {ports, channels_[1], 1}}} {
    pci_.set_write_hook([this](unsigned, unsigned) { config_written(); });
}

void Piix3Ide::config_written() {
    const u32 command = pci_.get(pci::COMMAND, 2);
    for (unsigned i = 0; i < 2; ++i) {
        const bool decoded = (command & pci::COMMAND_IO) && (pci_.get(IDETIM + 2 * i, 2) & IDE_DECODE_ENABLE);
        ports_[i].command.place(decoded ? std::optional<u64>(command_base[i]) : std::nullopt);
        ports_[i].control.place(decoded ? std::optional<u64>(control_base[i]) : std::nullopt);
        channels_[i].set_mastering(command & pci::COMMAND_MASTER);
    }
}

u64 Piix3Ide::MasterPorts::read(u64 offset, unsigned size) {
    u64 value = 0;
    for (unsigned i = 0; i < size; ++i) {
        const unsigned at = static_cast<unsigned>(offset) + i;
        value |= u64{ide_.channels_[at >> 3 & 1].read_bus_master(at & 7)} << (8 * i);
    }
    return value;
}

void Piix3Ide::MasterPorts::write(u64 offset, u64 value, unsigned size) {
    for (unsigned i = 0; i < size; ++i) {
        const unsigned at = static_cast<unsigned>(offset) + i;
        ide_.channels_[at >> 3 & 1].write_bus_master(at & 7, static_cast<u8>(value >> (8 * i)));
    }
}

void Piix3Ide::reset() {
    pci_.reset();
    for (IdeChannel& channel : channels_)
        channel.reset();
    config_written();
}

void Piix3Ide::serialize(Archive& archive) {
    archive.section("piix3_ide", 1, [&](u32) {
        pci_.serialize(archive);
        if (archive.loading() && archive.ok()) config_written();
        for (IdeChannel& channel : channels_)
            channel.serialize(archive);
    });
}

} // namespace calque::devices
