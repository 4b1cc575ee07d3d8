// What every device is: pure logic behind read and write, with everything else injected.
//
// A device has a State struct whose default values are its reset, and one serialize() that lists its fields for saving
// and loading. It gets its interrupt lines, clock, DMA port and backend through its constructor and never touches the
// host.
//
// Threads: any vCPU, the clock's thread and backend threads may call in; a device guards itself with its own mutex. The
// order of locks is device -> IOAPIC/PIC -> local APIC -> vCPU: whoever calls "upwards" (an EOI broadcast) lets go of
// its own lock first. A device must not hold its lock while it calls a Timer's arm()/disarm() only if its callback
// takes the lock *and* the clock waits for callbacks: Clock does not, so arming under the lock is fine.
#pragma once

#include "base/archive.h"
#include "base/types.h"

#include <string_view>
#include <vector>

namespace calque::devices {

class Device {
  public:
    virtual ~Device() = default;
    virtual std::string_view name() const = 0; // Unique in a machine: the section name in saved states ("i8254").
    virtual void reset() = 0;                  // As RESET# does.
    // Saves or loads all of the state. After loading, lines and timers are set again from the state.
    virtual void serialize(Archive& archive) = 0;
};

// Memory behind a part of a region. The device owns it, for as long as the region is mapped.
struct DirectMemory {
    u64 offset = 0; // In the region; a multiple of the page size, as is the length.
    u64 length = 0;
    u8* data = nullptr;
    bool writable = false; // False: writes come to write().
};

// A range of ports or of physical addresses that a device decodes. `offset` counts from the range's start; size is 1,
// 2, 4 or (memory only) 8; the bus has checked that the whole access lies in the range. Values are little-endian.
class IoRegion {
  public:
    virtual ~IoRegion() = default;
    virtual u64 read(u64 offset, unsigned size) = 0;
    virtual void write(u64 offset, u64 value, unsigned size) = 0;
    // What processors may reach of a range of physical addresses without asking the device. When it changes, the device
    // has to have the bus say so (Bus::tell_changed()), without a lock that this takes.
    virtual std::vector<DirectMemory> direct_memory() const { return {}; }
};

} // namespace calque::devices
