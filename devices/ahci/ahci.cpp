#include "devices/ahci/ahci.h"

namespace calque::devices {

using namespace ahci;

namespace {
constexpr u32 capabilities =
    CAP_S64A | CAP_SNCQ | CAP_SCLO | 2u << 20 /* 3 Gb/s */ | CAP_SAM | CAP_PMD | (slots - 1) << 8 | (Ahci::ports - 1);
constexpr u32 implemented = (1u << Ahci::ports) - 1;
} // namespace

PciDescriptor Ahci::describe(const std::string& name, IoRegion& registers) {
    PciDescriptor d;
    d.name = fmt::format("{}.pci", name);
    d.vendor_id = 0x8086;
    d.device_id = 0x2922;
    d.revision_id = 2;
    d.class_code = 0x010601; // SATA, AHCI 1.
    d.subsystem_vendor_id = 0x1AF4;
    d.subsystem_id = 0x1100;
    d.interrupt_pin = 1;
    d.bars[5] = {PciBar::Kind::memory32, 0x1000, false, &registers};
    d.msi.vectors = 1;
    // MAP says that the mode is AHCI; PCS enables ports (ICH9, 14.1.29 and 14.1.30).
    d.registers = {{0x90, {0x40}, {}, {}}, {0x92, {implemented, 0x80}, {implemented}, {}}};
    return d;
}

Ahci::Ahci(Log& log, DmaPort& memory, Worker& worker, std::string name)
    : name_(std::move(name)), pci_(describe(name_, registers_), log), dma_(pci_, memory) {
    AhciHost& host = *this;
    for (unsigned i = 0; i < ports; ++i)
        ports_[i] = std::make_unique<AhciPort>(log, host, fmt::format("{}.{}", name_, i));
    task_ = worker.make_task([this] {
        std::lock_guard lock(mutex_);
        for (const auto& port : ports_)
            port->run();
    });
}

// IS has a bit for each port with something to tell; one that comes anew is a message of its own (10.6.2).
void Ahci::interrupts_changed() {
    u32 fresh = 0;
    for (unsigned i = 0; i < ports; ++i)
        if (ports_[i]->interrupt()) fresh |= 1u << i;
    fresh &= ~state_.status;
    state_.status |= fresh;
    const bool enabled = state_.control & GHC_IE;
    pci_.set_intx(enabled && state_.status != 0);
    if (enabled && fresh != 0 && pci_.messages_enabled()) pci_.send_message(0);
}

u32 Ahci::read_register(u32 offset) {
    if (offset >= port_base) {
        const u32 port = (offset - port_base) / port_size;
        return port < ports ? ports_[port]->read((offset - port_base) % port_size) : 0;
    }
    switch (offset) {
    case CAP: return capabilities;
    case GHC: return state_.control;
    case IS: return state_.status;
    case PI: return implemented;
    case VS: return version;
    default: return 0;
    }
}

void Ahci::write_register(u32 offset, u32 value) {
    if (offset >= port_base) {
        const u32 port = (offset - port_base) / port_size, at = (offset - port_base) % port_size;
        if (port >= ports) return;
        ports_[port]->write(at, value);
        if (at == PxCI || at == PxCMD) task_->schedule();
        return;
    }
    if (offset == IS) {
        state_.status &= ~value;
        interrupts_changed();
    } else if (offset == GHC) {
        if (value & GHC_HR) return reset_adapter();
        const bool before = state_.control & GHC_IE;
        state_.control = GHC_AE | (value & GHC_IE);
        interrupts_changed();
        if (!before && (value & GHC_IE) && state_.status != 0 && pci_.messages_enabled()) pci_.send_message(0);
    }
}

void Ahci::reset_adapter() {
    state_ = {};
    for (const auto& port : ports_)
        port->reset();
    state_.status = 0;
    pci_.set_intx(false);
}

u64 Ahci::Registers::read(u64 offset, unsigned size) {
    std::lock_guard lock(device_.mutex_);
    u64 value = device_.read_register(static_cast<u32>(offset & ~u64{3}));
    if (size == 8 && offset % 8 == 0) value |= u64{device_.read_register(static_cast<u32>(offset) + 4)} << 32;
    return value >> (8 * (offset & 3));
}

// Registers are written whole: nothing smaller than a doubleword is an access that AHCI knows (3.0).
void Ahci::Registers::write(u64 offset, u64 value, unsigned size) {
    if (size < 4 || offset % 4 != 0) return;
    std::lock_guard lock(device_.mutex_);
    device_.write_register(static_cast<u32>(offset), static_cast<u32>(value));
    if (size == 8) device_.write_register(static_cast<u32>(offset) + 4, static_cast<u32>(value >> 32));
}

void Ahci::reset() {
    pci_.reset();
    std::lock_guard lock(mutex_);
    reset_adapter();
}

void Ahci::serialize(Archive& archive) {
    archive.section(name_, 1, [&](u32) {
        pci_.serialize(archive);
        std::lock_guard lock(mutex_);
        archive.field("control", state_.control);
        archive.field("status", state_.status);
        for (const auto& port : ports_)
            port->serialize(archive);
    });
    if (!archive.loading() || !archive.ok()) return;
    task_->schedule();
}

} // namespace calque::devices
