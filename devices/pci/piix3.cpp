#include "devices/pci/piix3.h"

namespace calque::devices {

namespace {

// PIIX3 datasheet, 2.2: PCI configuration registers of function 0.
constexpr unsigned IORT = 0x4C, XBCS = 0x4E, PIRQRCA = 0x60, TOM = 0x69, MBIRQ0 = 0x70, MBDMA0 = 0x76, APICBASE = 0x80,
                   DLC = 0x82, SMICNTL = 0xA0;
constexpr u8 PIRQRC_DISABLE = 0x80;

PciDescriptor descriptor() {
    PciDescriptor d;
    d.name = "piix3_pci";
    d.vendor_id = 0x8086;
    d.device_id = 0x7000;
    d.class_code = 0x060100;
    d.subsystem_vendor_id = 0x1AF4;
    d.subsystem_id = 0x1100;
    d.multifunction = true;
    d.command_reset = pci::COMMAND_IO | pci::COMMAND_MEMORY | pci::COMMAND_MASTER; // Fixed.
    d.command_writable = pci::COMMAND_SPECIAL | pci::COMMAND_SERR;
    d.status_reset = pci::STATUS_DEVSEL_MEDIUM;
    d.latency_timer_writable = 0;
    d.cache_line_size_writable = 0;
    d.registers = {
        {IORT, {0x4D}, {0x7F}, {}},
        {XBCS, {0x03, 0x00}, {0xFF, 0x01}, {}},
        {PIRQRCA, {0x80, 0x80, 0x80, 0x80}, {0x8F, 0x8F, 0x8F, 0x8F}, {}},
        {TOM, {0x02, 0x00, 0x00}, {0xFE, 0x7F, 0x80}, {}},
        {MBIRQ0, {0x80, 0x80}, {0xEF, 0xEF}, {}},
        {MBDMA0, {0x0C, 0x0C, 0x02, 0x00}, {0x8F, 0x8F, 0xFF, 0xFF}, {}},
        {APICBASE, {0x00, 0x00, 0x00}, {0x7F, 0x00, 0x0F}, {}},
        // SMICNTL, SMIEN, SEE, FTMR, SMIREQ, CTLTMR, CTHTMR: the system management timers, which never expire here.
        {SMICNTL,
         {0x08, 0, 0, 0, 0, 0, 0, 0, 0x0F, 0, 0, 0, 0, 0, 0},
         {0x1F, 0, 0xFF, 0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0x00, 0x00, 0xFF, 0, 0xFF},
         {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0x01}},
    };
    return d;
}

} // namespace

Piix3::Piix3(Log& log, IrqSink& router) : log_(log), router_(router), pci_(descriptor(), log) {
    static_assert(APICBASE + 2 == DLC);
    pci_.set_write_hook([this](unsigned offset, unsigned size) { config_written(offset, size); });
}

int Piix3::route(unsigned pirq) const {
    const u32 value = pci_.get(PIRQRCA + (pirq & 3), 1);
    return value & PIRQRC_DISABLE ? -1 : static_cast<int>(value & 0xF);
}

void Piix3::set_irq(unsigned pirq, bool level) {
    std::lock_guard lock(mutex_);
    state_.pirq[pirq & 3] = level;
    drive_locked();
}

void Piix3::config_written(unsigned offset, unsigned size) {
    if (offset + size <= PIRQRCA || offset > PIRQRCA + 3) return;
    std::lock_guard lock(mutex_);
    for (unsigned i = 0; i < 4; ++i)
        log_.trace(Channel::irq, "PIRQ{} goes to IRQ {}", "ABCD"[i], route(i));
    drive_locked();
}

void Piix3::drive_locked() {
    std::array<bool, 16> wanted{};
    for (unsigned i = 0; i < 4; ++i)
        if (const int irq = route(i); irq >= 0 && state_.pirq[i]) wanted[static_cast<unsigned>(irq)] = true;
    // Falling lines first: a route that moves must not show two lines high.
    for (const bool level : {false, true}) {
        for (unsigned irq = 0; irq < 16; ++irq) {
            if (wanted[irq] != level || driven_[irq] == level) continue;
            driven_[irq] = level;
            router_.set_irq(irq, level);
        }
    }
}

// The PIRQ inputs are the functions' to lower: they are reset on their own.
void Piix3::reset() {
    pci_.reset();
    std::lock_guard lock(mutex_);
    drive_locked();
}

void Piix3::serialize(Archive& archive) {
    archive.section("piix3", 1, [&](u32) {
        pci_.serialize(archive);
        std::lock_guard lock(mutex_);
        archive.field("pirq", state_.pirq);
        if (archive.loading() && archive.ok()) drive_locked();
    });
}

} // namespace calque::devices
