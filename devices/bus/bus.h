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

// One address space of ranges that devices decode. Ranges may overlap: at each address the one mapped last wins, so
// that a BAR can lie over a hole. Looking up takes a shared lock, mapping takes it exclusively; the device is called
// outside the lock, so that it may map and unmap. Unclaimed reads give all ones, unclaimed writes go nowhere; both are
// traced on the bus channel.
//
// The range that decodes an access's first byte gets all of it, even where a later byte lies under another range: a
// doubleword at port CF8 is CONFADD although a byte at CF9 is the reset control register. An access that runs past the
// end of that range is split into bytes.
class Bus {
  public:
    enum class Kind : u8 { ports, memory };
    Bus(Kind kind, Log& log) : kind_(kind), log_(log) {}

    // Maps `region` (not owned) at [base, base + length). The name is for people. A length of 0 maps nothing; a range
    // that would wrap is cut at the end of the address space.
    void map(u64 base, u64 length, IoRegion& region, std::string name);
    void unmap(IoRegion& region);           // Every range of this region.
    void unmap(IoRegion& region, u64 base); // The one at `base`.

    // size is 1, 2, 4 or 8.
    u64 read(u64 address, unsigned size);
    void write(u64 address, u64 value, unsigned size);

    struct Range {
        u64 base;
        u64 length;
        IoRegion* region;
        std::string name;
    };
    std::vector<Range> ranges() const; // As mapped, overlaps and all, for `info mtree`; in order of address.

    // What is decoded after overlaps are resolved, in order of address, without overlaps.
    struct Piece {
        u64 first;
        u64 last;   // Inclusive.
        u64 offset; // Of `first` within the region.
        IoRegion* region;
    };
    std::vector<Piece> pieces() const;

    // Called after every change of the map, outside the lock (the machine rebuilds the memory map from pieces()). Set
    // before the machine runs.
    void set_change_observer(std::function<void()> observer) { changed_ = std::move(observer); }
    // A region's direct_memory() is another now.
    void tell_changed() {
        if (changed_) changed_();
    }

  private:
    struct Flat {
        u64 first;
        u64 last;
        std::size_t range; // Index in ranges_.
    };
    struct Target {
        IoRegion* region = nullptr;
        u64 offset = 0;
        bool whole = false; // The access fits in the range.
    };
    Target find(u64 address, unsigned size) const;
    bool touches_any(u64 address, unsigned size) const;
    void flatten();
    Channel access_channel() const { return kind_ == Kind::ports ? Channel::io : Channel::mmio; }

    Kind kind_;
    Log& log_;
    mutable std::shared_mutex mutex_;
    std::vector<Range> ranges_; // In order of mapping; the last match wins.
    std::vector<Flat> flat_;    // Sorted, without overlaps, made from ranges_.
    std::function<void()> changed_;
};

} // namespace calque::devices
