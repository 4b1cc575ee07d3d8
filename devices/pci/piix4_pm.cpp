#include "devices/pci/piix4_pm.h"

namespace calque::devices {

namespace {

// PIIX4 datasheet, 7.1: PCI configuration registers of function 3.
constexpr unsigned PMBA = 0x40, CNTA = 0x44, DEVACTB = 0x58, DEVRESA = 0x5C, PMREGMISC = 0x80, SMBBA = 0x90,
                   SMBHSTCFG = 0xD2;
constexpr u32 APMC_EN = 1u << 25;
constexpr u8 PMIOSE = 1 << 0, SMB_HST_EN = 1 << 0;

PciDescriptor descriptor() {
    PciDescriptor d;
    d.name = "piix4_pm_pci";
    d.vendor_id = 0x8086;
    d.device_id = 0x7113;
    d.revision_id = 0x03;
    d.class_code = 0x068000;
    d.subsystem_vendor_id = 0x1AF4;
    d.subsystem_id = 0x1100;
    d.interrupt_pin = 1;
    d.command_writable = pci::COMMAND_IO | pci::COMMAND_SPECIAL;
    d.status_reset = pci::STATUS_DEVSEL_MEDIUM | pci::STATUS_FAST_BACK_TO_BACK;
    d.latency_timer_writable = 0;
    d.cache_line_size_writable = 0;
    const std::vector<u8> all(0x18, 0xFF);
    d.registers = {
        {PMBA, {0x01, 0x00, 0x00, 0x00}, {0xC0, 0xFF, 0x00, 0x00}, {}},
        {CNTA, std::vector<u8>(0x18, 0), all, {}},    // CNTA, CNTB, GPICTL, DEVRESD and so on.
        {DEVRESA, std::vector<u8>(0x18, 0), all, {}}, // Device resources: decoders that trap nothing here.
        {PMREGMISC, {0x00}, {0x01}, {}},
        {SMBBA, {0x01, 0x00, 0x00, 0x00}, {0xF0, 0xFF, 0x00, 0x00}, {}},
        // SMBHSTCFG, SMBSLVC, SMBSHDW1, SMBSHDW2, SMBREV.
        {SMBHSTCFG, {0x00, 0x00, 0x00, 0x00, 0x00}, {0x0F, 0xFF, 0xFF, 0xFF, 0x00}, {}},
    };
    return d;
}

} // namespace

Piix4Pm::Piix4Pm(Log& log, Bus& ports, IoRegion& pm, IoRegion* smbus)
    : pci_(descriptor(), log), pm_(ports, pm, pm_size, "PIIX4 PM") {
    if (smbus) smbus_ = std::make_unique<Window>(ports, *smbus, smbus_size, "PIIX4 SMBus");
    pci_.set_write_hook([this](unsigned, unsigned) { place(); });
}

// A base of 0 is "not assigned": it would hide the DMA controller.
void Piix4Pm::place() {
    const u64 pm = pci_.get(PMBA, 4) & 0xFFC0;
    pm_.place(pm && (pci_.get(PMREGMISC, 1) & PMIOSE) ? std::optional<u64>(pm) : std::nullopt);
    if (apm_enable_) apm_enable_(pci_.get(DEVACTB, 4) & APMC_EN);
    if (!smbus_) return;
    const u64 smb = pci_.get(SMBBA, 4) & 0xFFF0;
    smbus_->place(smb && (pci_.get(SMBHSTCFG, 1) & SMB_HST_EN) ? std::optional<u64>(smb) : std::nullopt);
}

void Piix4Pm::reset() {
    pci_.reset();
    place();
}

void Piix4Pm::serialize(Archive& archive) {
    archive.section("piix4_pm", 1, [&](u32) { pci_.serialize(archive); });
    if (archive.loading() && archive.ok()) place();
}

} // namespace calque::devices
