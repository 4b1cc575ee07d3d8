#include "devices/ide/ide_channel.h"

#include "devices/ata/ata_disk.h"
#include "devices/ata/atapi_cd.h"

namespace calque::devices {

using namespace ata;

namespace {
constexpr u8 floating = 0x7F; // Nobody drives the bus but the resistor that pulls DD7 down.
} // namespace

IdeChannel::IdeChannel(Log& log, DmaPort& dma, IrqLine irq, unsigned number, const std::array<IdeSlot, 2>& drives)
    : master_(dma), irq_(irq), name_(fmt::format("ide{}", number)) {
    for (unsigned i = 0; i < 2; ++i) {
        const IdeSlot& slot = drives[i];
        if (!slot.backend) continue;
        const std::string name = fmt::format("ide{}-{}", number, i);
        if (slot.cd)
            drives_[i] = std::make_unique<AtapiCd>(log, *this, *slot.backend, name, slot.serial);
        else
            drives_[i] = std::make_unique<AtaDisk>(log, *this, *slot.backend, name, slot.serial);
        AtaDrive* const drive = drives_[i].get();
        slot.backend->set_medium_observer([this, drive](bool wanted) {
            std::lock_guard lock(mutex_);
            drive->medium_event(wanted);
        });
    }
}

IdeChannel::~IdeChannel() {
    for (const auto& drive : drives_)
        if (drive) drive->backend().set_medium_observer({});
}

// --- Interrupt and bus master

void IdeChannel::interrupt_changed() {
    const AtaDrive* const drive = selected();
    const bool level = drive && drive->interrupt() && !(state_.control & CONTROL_NIEN);
    if (level == line_) return;
    line_ = level;
    if (level) master_.interrupt();
    irq_.set(level);
}

void IdeChannel::dma_wanted() { run_dma(); }

// A step may ask for the next one: a loop, not a recursion.
void IdeChannel::run_dma() {
    if (running_) return;
    running_ = true;
    for (AtaDrive* drive = selected(); drive && drive->wants_dma() && master_.active() && state_.mastering;)
        drive->dma_ready();
    running_ = false;
}

u8 IdeChannel::read_bus_master(unsigned offset) {
    std::lock_guard lock(mutex_);
    return master_.read(offset);
}

void IdeChannel::write_bus_master(unsigned offset, u8 value) {
    std::lock_guard lock(mutex_);
    switch (master_.write(offset, value)) {
    case BusMaster::Change::started: return run_dma();
    case BusMaster::Change::stopped:
        for (const auto& drive : drives_)
            if (drive) drive->dma_stopped();
        return;
    case BusMaster::Change::none: return;
    }
}

void IdeChannel::set_mastering(bool allowed) {
    std::lock_guard lock(mutex_);
    state_.mastering = allowed;
    run_dma();
}

// --- Ports

u8 IdeChannel::read_register(unsigned index) {
    if (empty()) return floating;
    AtaDrive* const drive = selected();
    if (!drive) return 0; // The other drive answers for the one that is not there.
    if (index == COMMAND) {
        const u8 status = drive->status();
        drive->acknowledge();
        return status;
    }
    return drive->read_register(index, state_.control & CONTROL_HOB);
}

void IdeChannel::write_register(unsigned index, u8 value) {
    state_.control &= static_cast<u8>(~CONTROL_HOB);
    if (index == COMMAND) {
        if (state_.control & CONTROL_SRST) return;
        if (value == EXECUTE_DEVICE_DIAGNOSTIC) {
            state_.device = 0;
            for (unsigned i = 0; i < 2; ++i)
                if (drives_[i]) drives_[i]->diagnose(i == 0);
            return interrupt_changed();
        }
        if (AtaDrive* const drive = selected()) {
            drive->command(value);
            run_dma();
        }
        return;
    }
    if (index == DEVICE) {
        state_.device = value;
        for (const auto& drive : drives_)
            if (drive) drive->write_device(value);
        return interrupt_changed();
    }
    for (const auto& drive : drives_)
        if (drive) drive->write_register(index, value);
}

void IdeChannel::write_control(u8 value) {
    const u8 before = state_.control;
    state_.control = value & (CONTROL_NIEN | CONTROL_SRST | CONTROL_HOB);
    if ((before & CONTROL_SRST) && !(value & CONTROL_SRST)) state_.device = 0;
    for (const auto& drive : drives_) {
        if (!drive) continue;
        if (value & ~before & CONTROL_SRST) drive->hold_in_reset();
        if (before & ~value & CONTROL_SRST) drive->software_reset();
    }
    interrupt_changed();
}

u64 IdeChannel::Command::read(u64 offset, unsigned size) {
    std::lock_guard lock(channel_.mutex_);
    if (offset == DATA && size > 1) {
        AtaDrive* const drive = channel_.selected();
        return drive ? drive->read_data(size) : 0xFFFFFFFF;
    }
    u64 value = 0;
    for (unsigned i = 0; i < size; ++i) {
        AtaDrive* const drive = channel_.selected();
        const u64 byte = offset + i == DATA ? (drive ? drive->read_data(1) : 0xFF)
                                            : channel_.read_register(static_cast<unsigned>(offset) + i);
        value |= byte << (8 * i);
    }
    return value;
}

void IdeChannel::Command::write(u64 offset, u64 value, unsigned size) {
    std::lock_guard lock(channel_.mutex_);
    if (offset == DATA) {
        if (AtaDrive* const drive = channel_.selected()) {
            drive->write_data(value, size);
            channel_.run_dma();
        }
        return;
    }
    for (unsigned i = 0; i < size; ++i)
        channel_.write_register(static_cast<unsigned>(offset) + i, static_cast<u8>(value >> (8 * i)));
}

// The alternate status: without effect on the interrupt.
u64 IdeChannel::Control::read(u64, unsigned) {
    std::lock_guard lock(channel_.mutex_);
    if (channel_.empty()) return floating;
    AtaDrive* const drive = channel_.selected();
    return drive ? drive->status() : 0;
}

void IdeChannel::Control::write(u64, u64 value, unsigned) {
    std::lock_guard lock(channel_.mutex_);
    channel_.write_control(static_cast<u8>(value));
}

// --- Reset and saving

void IdeChannel::reset() {
    std::lock_guard lock(mutex_);
    state_ = {};
    master_.reset();
    for (const auto& drive : drives_)
        if (drive) drive->hardware_reset();
    interrupt_changed();
}

void IdeChannel::serialize(Archive& archive) {
    std::lock_guard lock(mutex_);
    archive.section(name_, 1, [&](u32) {
        archive.field("device", state_.device);
        archive.field("control", state_.control);
        archive.field("mastering", state_.mastering);
        master_.serialize(archive, "bus_master");
        for (const auto& drive : drives_)
            if (drive) drive->serialize(archive);
    });
    if (!archive.loading() || !archive.ok()) return;
    const AtaDrive* const drive = selected();
    line_ = drive && drive->interrupt() && !(state_.control & CONTROL_NIEN);
    irq_.set(line_);
}

} // namespace calque::devices
