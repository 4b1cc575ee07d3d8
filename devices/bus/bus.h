// The port and memory buses: who decodes an address.
#pragma once

#include "base/log.h"
#include "devices/device.h"

#include <functional>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <vector>

namespace calque::devices {

// One address space of ranges that devices decode. Ranges may overlap: the one mapped last wins, so that a BAR can lie
// over a hole. Accesses take a shared lock; mapping takes it exclusively. Unclaimed reads give all ones, unclaimed
// writes go nowhere; both are traced on the bus channel. An access that is larger than the range it starts in is split
// into bytes.
class Bus {
  public:
    enum class Kind : u8 { ports, memory };
    Bus(Kind kind, Log& log) : kind_(kind), log_(log) {}

    // Maps `region` (not owned) at [base, base + length). The name is for people.
    void map(u64 base, u64 length, IoRegion& region, std::string name);
    void unmap(IoRegion& region);           // Every range of this region.
    void unmap(IoRegion& region, u64 base); // The one at `base`.

    u64 read(u64 address, unsigned size);
    void write(u64 address, u64 value, unsigned size);

    struct Range {
        u64 base;
        u64 length;
        IoRegion* region;
        std::string name;
    };
    std::vector<Range> ranges() const; // For `info mtree`; in order of address.

    // Called after every change of the map, outside the lock (the machine rebuilds the memory map from ranges()).
    void set_change_observer(std::function<void()> observer) { changed_ = std::move(observer); }

  private:
    const Range* find(u64 address) const;

    Kind kind_;
    Log& log_;
    mutable std::shared_mutex mutex_;
    std::vector<Range> ranges_; // In order of mapping; the last match wins.
    std::vector<Range> flat_;   // Sorted, without overlaps, made from ranges_.
    std::function<void()> changed_;
};

} // namespace calque::devices
