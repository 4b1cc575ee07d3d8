// The part of a PCI function that sends interrupt messages: its MSI and MSI-X capabilities (PCI 3.0, 6.8.1 and 6.8.2).
#include "base/bits.h"
#include "base/byte_order.h"
#include "devices/pci/function.h"
#include "devices/pci/pci_bus.h"

#include <bit>

namespace calque::devices {

using namespace pci;

namespace {

// Offsets from the start of the capability.
constexpr unsigned CONTROL = 2, MSI_ADDRESS = 4, MSI_DATA = 12, MSI_MASK = 16, MSI_PENDING = 20;
constexpr u16 MSI_ENABLE = 1 << 0, MSI_64_BIT = 1 << 7, MSI_PER_VECTOR_MASK = 1 << 8;
constexpr u16 MSIX_ENABLE = 1 << 15, MSIX_FUNCTION_MASK = 1 << 14;
constexpr unsigned most_msi = 32, most_msix = 2048;

void append(std::vector<u8>& bytes, u64 value, unsigned size) {
    for (unsigned i = 0; i < size; ++i)
        bytes.push_back(static_cast<u8>(value >> (8 * i)));
}

// Without the two leading bytes, which all capabilities share.
PciCapability msi_capability(unsigned vectors) {
    PciCapability c{CAPABILITY_MSI, {}, {}, {}};
    const unsigned log2 = static_cast<unsigned>(std::countr_zero(vectors));
    append(c.reset, MSI_64_BIT | MSI_PER_VECTOR_MASK | log2 << 1, 2);
    c.reset.resize(MSI_PENDING + 4 - CONTROL);
    append(c.writable, MSI_ENABLE | 7u << 4, 2);
    append(c.writable, 0xFFFF'FFFC, 4);
    append(c.writable, 0xFFFF'FFFF, 4);
    append(c.writable, 0xFFFF, 4); // Data, and two reserved bytes.
    append(c.writable, low_mask(vectors), 4);
    return c;
}

PciCapability msix_capability(const PciMsix& msix) {
    PciCapability c{CAPABILITY_MSIX, {}, {}, {}};
    append(c.reset, msix.vectors - 1, 2);
    append(c.reset, msix.table_offset | msix.bar, 4);
    append(c.reset, msix.pba_offset | msix.bar, 4);
    append(c.writable, MSIX_ENABLE | MSIX_FUNCTION_MASK, 2);
    return c;
}

} // namespace

void PciFunction::add_message_capabilities() {
    PciMsi& msi = descriptor_.msi;
    if (msi.vectors) {
        msi.vectors = std::bit_floor(std::min(msi.vectors, most_msi));
        descriptor_.capabilities.push_back(msi_capability(msi.vectors));
    }
    PciMsix& msix = descriptor_.msix;
    if (!msix.vectors) return;
    msix.vectors = std::min(msix.vectors, most_msix);
    descriptor_.capabilities.push_back(msix_capability(msix));
    msix_ = std::make_unique<MsixTable>(msix.vectors, [this](u64 address, u32 data) { write_message(address, data); });
    PciBar& bar = descriptor_.bars[msix.bar % 6];
    if (bar.kind == PciBar::Kind::none) {
        const u64 table_end = msix.table_offset + u64{msix.vectors} * MsixTable::entry_size;
        const u64 pba_end = msix.pba_offset + align_up(msix.vectors, 64) / 8;
        bar = {PciBar::Kind::memory32, std::max<u64>(page_size, std::max(table_end, pba_end)), false, nullptr};
    }
    if (!bar.region) bar.region = &msix_region_;
}

void PciFunction::write_message(u64 address, u32 data) {
    const bool master = state_.config[COMMAND] & COMMAND_MASTER;
    log_.trace(Channel::irq, "{}: message {:#x} <- {:#x}{}", descriptor_.name, address, data,
               master ? "" : " is lost: bus mastering is off");
    MsiSink* const sink = bus_ ? bus_->messages() : nullptr;
    if (master && sink) sink->send_msi(PhysicalAddress(address), data);
}

bool PciFunction::msix_enabled() const {
    std::lock_guard lock(mutex_);
    return msix_on_;
}

bool PciFunction::messages_enabled() const {
    std::lock_guard lock(mutex_);
    return msix_on_ || msi_on_;
}

void PciFunction::send_message(unsigned vector) {
    std::lock_guard lock(mutex_);
    if (msix_on_)
        msix_->notify(vector);
    else if (msi_on_)
        send_msi_locked(vector);
}

// The low bits of the data select the vector, as many as software granted.
void PciFunction::send_msi_locked(unsigned vector) {
    auto& config = state_.config;
    const unsigned granted = std::min(1u << bits(config[msi_at_ + CONTROL], 4, 3), descriptor_.msi.vectors);
    vector = vector < granted ? vector : 0;
    if (bit(little32(config, msi_at_ + MSI_MASK), vector))
        return store_little(config, msi_at_ + MSI_PENDING, little32(config, msi_at_ + MSI_PENDING) | 1u << vector, 4);
    store_little(config, msi_at_ + MSI_PENDING, little32(config, msi_at_ + MSI_PENDING) & ~(1u << vector), 4);
    const u64 address =
        little32(config, msi_at_ + MSI_ADDRESS) | u64{little32(config, msi_at_ + MSI_ADDRESS + 4)} << 32;
    const u32 data = little32(config, msi_at_ + MSI_DATA) & 0xFFFF;
    write_message(address, (data & ~(granted - 1)) | vector);
}

// After configuration space changed: what was pending and is not masked any more is sent, if `deliver`.
void PciFunction::update_messages_locked(bool deliver) {
    auto& config = state_.config;
    master_ = config[COMMAND] & COMMAND_MASTER;
    if (msix_) {
        const u32 control = little32(config, msix_at_) >> 16;
        msix_on_ = control & MSIX_ENABLE;
        if (deliver || !msix_on_)
            msix_->set_control(msix_on_, control & MSIX_FUNCTION_MASK);
        else // As saved: pending vectors wait for software's next write.
            msix_->restore_control(control & MSIX_FUNCTION_MASK);
    }
    if (!msi_at_) return;
    msi_on_ = config[msi_at_ + CONTROL] & MSI_ENABLE;
    if (!msi_on_ || !deliver) return;
    const u32 open = little32(config, msi_at_ + MSI_PENDING) & ~little32(config, msi_at_ + MSI_MASK);
    for (unsigned v = 0; v < descriptor_.msi.vectors; ++v)
        if (bit(open, v)) send_msi_locked(v);
}

u64 PciFunction::MsixRegion::read(u64 offset, unsigned size) {
    std::lock_guard lock(function_.mutex_);
    const PciMsix& layout = function_.descriptor_.msix;
    u64 value = 0;
    for (unsigned i = 0; i < size && function_.msix_; ++i) {
        const u64 at = offset + i;
        const MsixTable& table = *function_.msix_;
        const u64 byte = at >= layout.pba_offset ? table.read_pending(at - layout.pba_offset)
                                                 : table.read_table(at - layout.table_offset);
        value |= byte << (8 * i);
    }
    return value;
}

void PciFunction::MsixRegion::write(u64 offset, u64 value, unsigned size) {
    std::lock_guard lock(function_.mutex_);
    const PciMsix& layout = function_.descriptor_.msix;
    if (function_.msix_ && offset >= layout.table_offset)
        function_.msix_->write_table(offset - layout.table_offset, value, size);
}

} // namespace calque::devices
