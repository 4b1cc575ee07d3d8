#include "devices/pci_hotplug/pci_hotplug.h"

#include "base/bits.h"

#include <utility>

namespace calque::devices {

namespace {
constexpr unsigned slots = 32;
constexpr u32 bit_of(unsigned slot) { return slot < slots ? u32{1} << slot : 0; }
} // namespace

void PciHotplug::plugged(unsigned slot, bool tell) {
    {
        std::lock_guard lock(mutex_);
        removable_ |= bit_of(slot);
        state_.down &= ~bit_of(slot);
        state_.asked_back &= ~bit_of(slot);
        if (tell) state_.up |= bit_of(slot);
    }
    if (tell && callbacks_.announce) callbacks_.announce();
}

void PciHotplug::ask_back(unsigned slot) {
    {
        std::lock_guard lock(mutex_);
        state_.down |= bit_of(slot) & removable_;
        state_.asked_back |= bit_of(slot) & removable_;
    }
    if (callbacks_.announce) callbacks_.announce();
}

void PciHotplug::unplugged(unsigned slot) {
    std::lock_guard lock(mutex_);
    for (u32* bits : {&removable_, &state_.up, &state_.down, &state_.asked_back})
        *bits &= ~bit_of(slot);
}

u32 PciHotplug::asked_back() const {
    std::lock_guard lock(mutex_);
    return state_.asked_back;
}

// What is read is told: were it told twice, a slot that has another device by then could be given up for it.
u32 PciHotplug::take(u32& bits, u32 lanes) {
    const u32 taken = bits & lanes;
    bits &= ~lanes;
    return taken;
}

u64 PciHotplug::read(u64 offset, unsigned size) {
    std::lock_guard lock(mutex_);
    const unsigned shift = 8 * (offset & 3);
    const u32 lanes = static_cast<u32>(low_mask(8 * size) << shift);
    u32 value = 0;
    switch (offset & ~u64{3}) {
    case up: value = state_.bus == 0 ? take(state_.up, lanes) : 0; break;
    case down: value = state_.bus == 0 ? take(state_.down, lanes) : 0; break;
    case removable: value = state_.bus == 0 ? removable_ : 0; break;
    case bus: value = state_.bus; break;
    default: break;
    }
    return value >> shift;
}

void PciHotplug::write(u64 offset, u64 value, unsigned) {
    u32 gone = 0;
    {
        std::lock_guard lock(mutex_);
        const u32 word = static_cast<u32>(value << (8 * (offset & 3)));
        switch (offset & ~u64{3}) {
        case eject: gone = state_.bus == 0 ? word & removable_ : 0; break;
        case bus: state_.bus = word; break;
        default: break;
        }
    }
    if (gone == 0) return;
    log_.trace(Channel::pci, "the guest lets go of slots {:#x}", gone);
    if (callbacks_.gone) callbacks_.gone(gone);
}

void PciHotplug::reset() {
    std::lock_guard lock(mutex_);
    state_ = {};
}

void PciHotplug::serialize(Archive& archive) {
    std::lock_guard lock(mutex_);
    archive.section(name(), 1, [&](u32) {
        archive.field("up", state_.up);
        archive.field("down", state_.down);
        archive.field("asked_back", state_.asked_back);
        archive.field("bus", state_.bus);
    });
    if (!archive.loading()) return;
    for (u32* bits : {&state_.up, &state_.down, &state_.asked_back})
        *bits &= removable_;
}

} // namespace calque::devices
