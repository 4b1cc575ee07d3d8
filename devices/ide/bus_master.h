// One channel's half of the bus master: the PIIX3's registers at BAR4 and its walk through the PRD table.
// PIIX3 datasheet (290550), 2.7 and 3.6; Programming Interface for Bus Master IDE Controller, 1.0.
#pragma once

#include "base/archive.h"
#include "devices/ata/ata_drive.h"
#include "devices/dma.h"

#include <functional>
#include <span>

namespace calque::devices {

// Guarded by its channel's mutex.
class BusMaster {
  public:
    static constexpr u8 COMMAND_START = 0x01, COMMAND_TO_MEMORY = 0x08;
    static constexpr u8 STATUS_ACTIVE = 0x01, STATUS_ERROR = 0x02, STATUS_INTERRUPT = 0x04, STATUS_CAPABLE = 0x60;

    explicit BusMaster(DmaPort& dma) : dma_(dma) {}

    // Offsets 0 to 7. What a write to COMMAND makes of the START bit.
    enum class Change : u8 { none, started, stopped };
    u8 read(unsigned offset) const;
    Change write(unsigned offset, u8 value);

    bool active() const { return state_.status & STATUS_ACTIVE; }
    bool to_memory() const { return state_.command & COMMAND_TO_MEMORY; }

    // Moves the next bytes, in the direction that the drive goes; the guest's own choice must agree with it.
    DmaOutcome transfer(std::span<u8> bytes, bool to_memory);
    void interrupt(); // The drive interrupts: it has transferred what it had.

    void reset() { state_ = {}; }
    void serialize(Archive& archive, std::string_view section);

  private:
    bool next_descriptor();
    void stop(u8 status) { state_.status = static_cast<u8>((state_.status & ~STATUS_ACTIVE) | status); }

    DmaPort& dma_;
    struct State {
        u8 command = 0;
        u8 status = 0;
        u32 table = 0; // BMIDTP.
        // Where the walk is: the next descriptor, what is left of the current one, and whether that is the last.
        u32 next = 0;
        u32 address = 0;
        u32 left = 0;
        u32 descriptors = 0; // Seen so far: the table has at most 64 KiB.
        bool last = false;
    } state_;
};

} // namespace calque::devices
