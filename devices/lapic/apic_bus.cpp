#include "devices/lapic/apic_bus.h"

#include "devices/lapic/lapic.h"

#include <algorithm>

namespace calque::devices {

void ApicBus::attach(LocalApic& apic) { apics_.push_back(&apic); }

void ApicBus::detach(LocalApic& apic) { std::erase(apics_, &apic); }

void ApicBus::send_msi(PhysicalAddress address, u32 data) {
    if (address.value >> 20 != 0xfee) {
        log_.trace(Channel::irq, "a message to {:x} (data {:x}) is not for an APIC", address.value, data);
        return;
    }
    constexpr u32 level = 1 << 15;
    constexpr u32 assert_level = 1 << 14;
    if ((data & level) && !(data & assert_level)) return; // A deassert message changes nothing (SDM 3, 11.11.2).
    deliver(ApicMessage::from_msi(address, data));
}

void ApicBus::set_irq(unsigned number, bool level) {
    if (number > lint1) return;
    for (LocalApic* apic : apics_)
        apic->set_lint(number, level);
}

bool ApicBus::deliver(const ApicMessage& message, const LocalApic* exclude) {
    constexpr u8 reserved_mode = 3;
    if (message.mode == reserved_mode || message.mode > 7) {
        log_.trace(Channel::irq, "an interrupt message has the reserved delivery mode {}", message.mode);
        return false;
    }
    const auto mode = static_cast<DeliveryMode>(message.mode);
    if (mode == DeliveryMode::lowest_priority) return deliver_lowest_priority(message, exclude);
    bool any = false;
    for (LocalApic* apic : apics_) {
        if (apic == exclude || !apic->matches(message)) continue;
        apic->deliver(mode, message.vector, message.level);
        any = true;
    }
    return any;
}

// The processor with the lowest priority now; among equals, each in turn.
bool ApicBus::deliver_lowest_priority(const ApicMessage& message, const LocalApic* exclude) {
    const std::size_t count = apics_.size();
    const std::size_t first = count ? next_.fetch_add(1, std::memory_order_relaxed) % count : 0;
    LocalApic* best = nullptr;
    for (std::size_t i = 0; i < count; ++i) {
        LocalApic* apic = apics_[(first + i) % count];
        if (apic == exclude || !apic->takes_fixed() || !apic->matches(message)) continue;
        if (!best || apic->processor_priority() < best->processor_priority()) best = apic;
    }
    if (best) best->deliver(DeliveryMode::fixed, message.vector, message.level);
    return best != nullptr;
}

} // namespace calque::devices
