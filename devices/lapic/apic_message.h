// An interrupt message as it travels between APICs (SDM volume 3, 11.6 and 11.11).
#pragma once

#include "base/bits.h"
#include "base/types.h"

namespace calque::devices {

enum class DeliveryMode : u8 { fixed = 0, lowest_priority = 1, smi = 2, nmi = 4, init = 5, startup = 6, ext_int = 7 };

struct ApicMessage {
    static constexpr u32 broadcast = 0xffff'ffff;

    u32 destination = 0;  // An APIC ID or a logical destination; `broadcast` for all.
    bool logical = false; // Destination mode.
    u8 mode = 0;          // A DeliveryMode; 3 is reserved.
    u8 vector = 0;
    bool level = false; // Level-triggered: its EOI is broadcast to the IOAPICs.

    // The message of a write of `data` to `address` in FEExxxxxh: MSI, and what the IOAPIC sends. The destination has
    // 8 bits, FFh in physical mode means all.
    static constexpr ApicMessage from_msi(PhysicalAddress address, u32 data) {
        ApicMessage message;
        message.destination = static_cast<u32>(bits(address.value, 12, 8));
        message.logical = bit(address.value, 2);
        if (message.destination == 0xff && !message.logical) message.destination = broadcast;
        message.mode = static_cast<u8>(bits(data, 8, 3));
        // The redirection hint: one of the processors that the logical destination names.
        if (bit(address.value, 3) && message.logical && message.mode == 0) message.mode = 1;
        message.vector = static_cast<u8>(data);
        message.level = bit(data, 15);
        return message;
    }
};

} // namespace calque::devices
