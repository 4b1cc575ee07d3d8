#include "devices/ahci/ahci_port.h"

#include "devices/ata/atapi_cd.h"

namespace calque::devices {

using namespace ahci;
using namespace ata;

AhciPort::AhciPort(Log& log, AhciHost& host, std::string name) : log_(log), host_(host), name_(std::move(name)) {}

AhciPort::~AhciPort() {
    if (drive_) drive_->backend().set_medium_observer({});
}

void AhciPort::attach(BlockBackend& backend, bool cd, std::string serial) {
    AtaCable& cable = *this;
    if (cd) {
        drive_ = std::make_unique<AtapiCd>(log_, cable, backend, name_ + "-cd", std::move(serial));
    } else {
        auto disk = std::make_unique<AtaDisk>(log_, cable, backend, name_ + "-hd", std::move(serial));
        disk_ = disk.get();
        drive_ = std::move(disk);
    }
    backend.set_medium_observer([this](bool wanted) {
        std::lock_guard lock(mutex());
        drive_->medium_event(wanted);
    });
    std::lock_guard lock(mutex());
    reset();
}

// --- Registers

// Two bits follow from PxSERR (3.3.5).
u32 AhciPort::status() const {
    return state_.interrupts | (state_.sata_error & SERR_DIAG_X ? PxIS_PCS : 0)
           | (state_.sata_error & SERR_DIAG_N ? PxIS_PRCS : 0);
}

void AhciPort::raise(u32 bits) {
    state_.interrupts |= bits;
    host_.interrupts_changed();
}

u32 AhciPort::read(u32 offset) const {
    switch (offset) {
    case PxCLB: return static_cast<u32>(state_.list);
    case PxCLBU: return static_cast<u32>(state_.list >> 32);
    case PxFB: return static_cast<u32>(state_.frames);
    case PxFBU: return static_cast<u32>(state_.frames >> 32);
    case PxIS: return status();
    case PxIE: return state_.interrupt_enable;
    case PxCMD: return state_.command | (state_.command & PxCMD_ST ? u32{state_.slot} << PxCMD_CCS : 0);
    case PxTFD: return state_.task_file;
    case PxSIG: return state_.signature;
    case PxSSTS: return state_.sata_status;
    case PxSCTL: return state_.sata_control;
    case PxSERR: return state_.sata_error;
    case PxSACT: return state_.active;
    case PxCI: return state_.issued;
    default: return 0;
    }
}

void AhciPort::write(u32 offset, u32 value) {
    const auto half = [&](u64& whole, bool upper, u32 mask) {
        whole = upper ? (whole & ~u32{0}) | u64{value} << 32 : (whole >> 32 << 32) | (value & mask);
    };
    switch (offset) {
    case PxCLB: return half(state_.list, false, ~0x3FFu);
    case PxCLBU: return half(state_.list, true, 0);
    case PxFB: return half(state_.frames, false, ~0xFFu);
    case PxFBU: return half(state_.frames, true, 0);
    case PxIS: state_.interrupts &= ~value; return host_.interrupts_changed();
    case PxIE: state_.interrupt_enable = value & PxIE_writable; return host_.interrupts_changed();
    case PxCMD: return write_command(value);
    case PxSCTL: return write_control(value);
    case PxSERR: state_.sata_error &= ~value; return host_.interrupts_changed();
    case PxSACT:
        if (state_.command & PxCMD_ST) state_.active |= value;
        return;
    case PxCI:
        if (state_.command & PxCMD_ST) state_.issued |= value;
        return;
    default: return;
    }
}

void AhciPort::write_command(u32 value) {
    constexpr u32 kept = PxCMD_ST | PxCMD_FRE | PxCMD_ATAPI | PxCMD_DLAE;
    const u32 before = state_.command;
    state_.command = (value & kept) | PxCMD_SUD | PxCMD_POD;
    if (value & PxCMD_FRE) state_.command |= PxCMD_FR;
    if (value & PxCMD_CLO) state_.task_file &= ~u32{STATUS_BSY | STATUS_DRQ};
    if (value & PxCMD_ST) {
        state_.command |= PxCMD_CR;
    } else if (before & PxCMD_ST) {
        stop();
    }
}

// ST was cleared: the port forgets its commands, and the drive goes on with its own (5.3.2.3, 10.3.2).
void AhciPort::stop() {
    state_.issued = state_.active = 0;
    state_.halted = state_.busy = false;
    state_.slot = 0;
    drop_queued();
}

void AhciPort::drop_queued() {
    ++epoch_;
    queued_ = {};
}

// PxSCTL.DET: 1 keeps the link in COMRESET, 4 takes it off line, 0 lets it come up (10.4.2).
void AhciPort::write_control(u32 value) {
    const u32 before = state_.sata_control & 0xF, det = value & 0xF;
    state_.sata_control = value & 0xFFF;
    if (det == 1 || det == 4) {
        state_.sata_status = det == 4 ? 4 : 0;
        state_.task_file = 0x7F;
        state_.busy = false;
        drop_queued();
    } else if (before == 1 || before == 4) {
        connect();
        host_.interrupts_changed();
    }
}

// The drive has been reset by COMRESET, and tells who it is.
void AhciPort::connect() {
    state_.sata_status = 0;
    state_.task_file = 0x7F;
    state_.signature = SIG_none;
    if (!drive_) return;
    drive_->hardware_reset();
    state_.sata_status = SSTS_present;
    state_.sata_error |= SERR_DIAG_X | SERR_DIAG_N;
    take_signature();
}

void AhciPort::take_signature() {
    state_.signature = u32{drive_->read_register(SECTOR_COUNT, false)} | u32{drive_->read_register(LBA_LOW, false)} << 8
                       | u32{drive_->read_register(LBA_MID, false)} << 16
                       | u32{drive_->read_register(LBA_HIGH, false)} << 24;
    post_registers(false);
}

void AhciPort::reset() {
    drop_queued();
    state_ = {};
    walk_ = {};
    connect();
}

void AhciPort::serialize(Archive& archive) {
    archive.section(name_, 1, [&](u32) {
        archive.field("list", state_.list);
        archive.field("frames", state_.frames);
        archive.field("interrupts", state_.interrupts);
        archive.field("interrupt_enable", state_.interrupt_enable);
        archive.field("command", state_.command);
        archive.field("task_file", state_.task_file);
        archive.field("signature", state_.signature);
        archive.field("sata_status", state_.sata_status);
        archive.field("sata_control", state_.sata_control);
        archive.field("sata_error", state_.sata_error);
        archive.field("active", state_.active);
        archive.field("issued", state_.issued);
        archive.field("halted", state_.halted);
        archive.field("busy", state_.busy);
        archive.field("slot", state_.slot);
        archive.field("code", state_.code);
        archive.field("first_block", state_.first_block);
        walk_.serialize(archive);
        bool present = drive_ != nullptr;
        archive.field("present", present);
        if (present != (drive_ != nullptr)) return archive.fail("another set of drives");
        if (drive_) drive_->serialize(archive);
        if (!archive.loading()) return;
        drop_queued(); // None is under way while a machine is saved.
        if (state_.slot >= slots || (state_.busy && !drive_)) archive.fail("a command that no guest can have given");
    });
}

} // namespace calque::devices
