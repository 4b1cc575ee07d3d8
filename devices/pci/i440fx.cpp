#include "devices/pci/i440fx.h"

#include "base/bits.h"

namespace calque::devices {

namespace {

// 440FX PCIset datasheet, 3.2: offsets and bits of the PCI and memory controller's registers.
constexpr unsigned PMCCFG = 0x50, PAM0 = 0x59, DRB0 = 0x60, FDHC = 0x68, MTT = 0x70, SMRAM = 0x72, ERRCMD = 0x90,
                   TRC = 0x93;
constexpr u8 PAM_READ_ENABLE = 1, PAM_WRITE_ENABLE = 2;
constexpr u8 SMRAM_D_OPEN = 1 << 6, SMRAM_D_CLS = 1 << 5, SMRAM_D_LCK = 1 << 4, SMRAM_G_SMRAME = 1 << 3,
             SMRAM_C_BASE_SEG = 0x02;

PciDescriptor descriptor() {
    PciDescriptor d;
    d.name = "i440fx_pci";
    d.vendor_id = 0x8086;
    d.device_id = 0x1237;
    d.revision_id = 0x02;
    d.class_code = 0x060000;
    // The 82441FX has no subsystem ID; SeaBIOS knows an emulated PC by this one.
    d.subsystem_vendor_id = 0x1AF4;
    d.subsystem_id = 0x1100;
    d.command_reset = pci::COMMAND_MEMORY | pci::COMMAND_MASTER; // Fixed.
    d.command_writable = pci::COMMAND_PARITY | pci::COMMAND_SERR;
    d.status_reset = pci::STATUS_DEVSEL_MEDIUM | pci::STATUS_FAST_BACK_TO_BACK;
    d.cache_line_size_writable = 0;
    d.registers = {
        // PMCCFG (2), DETURBO, DBC, AXC, DRT (2), DRAMC, DRAMT: clocks and DRAM timing, which have no effect here.
        {PMCCFG,
         {0x00, 0x00, 0x00, 0x80, 0x00, 0x00, 0x00, 0x01, 0x10},
         {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF},
         {}},
        {PAM0, {0, 0, 0, 0, 0, 0, 0}, {0x70, 0x77, 0x77, 0x77, 0x77, 0x77, 0x77}, {}},
        {DRB0, {1, 1, 1, 1, 1, 1, 1, 1}, {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}, {}},
        {FDHC, {0x00}, {0xC0}, {}},
        {MTT, {0x20, 0x10}, {0xF8, 0xFF}, {}},
        {SMRAM, {SMRAM_C_BASE_SEG}, {SMRAM_D_OPEN | SMRAM_D_CLS | SMRAM_D_LCK | SMRAM_G_SMRAME}, {}},
        {ERRCMD, {0x00, 0x00}, {0x1B}, {0x00, 0x11}},
        {TRC, {0x00}, {0x0E}, {}},
    };
    return d;
}

} // namespace

I440fx::I440fx(Log& log, MemoryShaper& shaper) : shaper_(shaper), pci_(descriptor(), log) {
    pci_.set_write_hook([this](unsigned offset, unsigned size) { config_written(offset, size); });
    applied_ = shape();
}

MemoryShape I440fx::shape() const {
    MemoryShape shape{};
    for (unsigned i = 0; i < 12; ++i) {
        // PAM1-PAM6: the low nibble is the lower 16 KiB, the high nibble the upper.
        const u32 pam = pci_.get(PAM0 + 1 + i / 2, 1) >> (4 * (i % 2));
        shape.segments[i] = {0xC0000 + i * 0x4000, 0x4000, (pam & PAM_READ_ENABLE) != 0, (pam & PAM_WRITE_ENABLE) != 0};
    }
    const u32 pam0 = pci_.get(PAM0, 1) >> 4;
    shape.segments[12] = {0xF0000, 0x10000, (pam0 & PAM_READ_ENABLE) != 0, (pam0 & PAM_WRITE_ENABLE) != 0};
    const u32 smram = pci_.get(SMRAM, 1);
    shape.smram_enabled = smram & SMRAM_G_SMRAME;
    shape.smram_open = smram & SMRAM_D_OPEN;
    shape.smram_closed = smram & SMRAM_D_CLS;
    return shape;
}

void I440fx::config_written(unsigned offset, unsigned size) {
    const unsigned last = offset + size - 1;
    // D_LCK holds until reset; setting it closes D_OPEN for good.
    if (offset <= SMRAM && last >= SMRAM) {
        u8 smram = static_cast<u8>(pci_.get(SMRAM, 1));
        if (smram_locked_) smram |= SMRAM_D_LCK;
        if (smram & SMRAM_D_LCK) smram &= static_cast<u8>(~SMRAM_D_OPEN);
        smram_locked_ = smram & SMRAM_D_LCK;
        pci_.set_register(SMRAM, smram, 1);
    }
    if (offset <= SMRAM && last >= PAM0) apply();
}

void I440fx::apply() {
    const MemoryShape wanted = shape();
    if (wanted == applied_) return;
    applied_ = wanted;
    shaper_.shape_memory(wanted);
}

void I440fx::reset() {
    pci_.reset();
    smram_locked_ = false;
    apply();
}

void I440fx::serialize(Archive& archive) {
    archive.section("i440fx", 1, [&](u32) { pci_.serialize(archive); });
    if (!archive.loading()) return;
    smram_locked_ = pci_.get(SMRAM, 1) & SMRAM_D_LCK;
    apply();
}

} // namespace calque::devices
