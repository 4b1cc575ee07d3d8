#include "devices/bus/bus.h"

#include "base/bits.h"

#include <algorithm>

namespace calque::devices {

void Bus::map(u64 base, u64 length, IoRegion& region, std::string name) {
    if (length == 0) return;
    if (base + (length - 1) < base) length = u64{0} - base;
    {
        std::unique_lock lock(mutex_);
        ranges_.push_back({base, length, &region, std::move(name)});
        flatten();
    }
    if (changed_) changed_();
}

void Bus::unmap(IoRegion& region) {
    {
        std::unique_lock lock(mutex_);
        if (std::erase_if(ranges_, [&](const Range& r) { return r.region == &region; }) == 0) return;
        flatten();
    }
    if (changed_) changed_();
}

void Bus::unmap(IoRegion& region, u64 base) {
    {
        std::unique_lock lock(mutex_);
        if (std::erase_if(ranges_, [&](const Range& r) { return r.region == &region && r.base == base; }) == 0) return;
        flatten();
    }
    if (changed_) changed_();
}

// Lays every range over the ones mapped before it, cutting what it covers.
void Bus::flatten() {
    std::vector<Flat> flat;
    for (std::size_t i = 0; i < ranges_.size(); ++i) {
        const u64 first = ranges_[i].base;
        const u64 last = first + (ranges_[i].length - 1);
        std::vector<Flat> next;
        for (const Flat& f : flat) {
            if (f.last < first || f.first > last) {
                next.push_back(f);
                continue;
            }
            if (f.first < first) next.push_back({f.first, first - 1, f.range});
            if (f.last > last) next.push_back({last + 1, f.last, f.range});
        }
        next.push_back({first, last, i});
        flat = std::move(next);
    }
    std::sort(flat.begin(), flat.end(), [](const Flat& a, const Flat& b) { return a.first < b.first; });
    flat_ = std::move(flat);
}

Bus::Target Bus::find(u64 address, unsigned size) const {
    std::shared_lock lock(mutex_);
    auto after = std::upper_bound(flat_.begin(), flat_.end(), address,
                                  [](u64 wanted, const Flat& f) { return wanted < f.first; });
    if (after == flat_.begin()) return {};
    const Flat& f = *--after;
    if (f.last < address) return {};
    const Range& range = ranges_[f.range];
    const u64 offset = address - range.base;
    return {range.region, offset, range.length - offset >= size};
}

bool Bus::touches_any(u64 address, unsigned size) const {
    std::shared_lock lock(mutex_);
    const u64 last = address + (size - 1) < address ? ~u64{0} : address + (size - 1);
    return std::any_of(flat_.begin(), flat_.end(), [&](const Flat& f) { return f.first <= last && f.last >= address; });
}

u64 Bus::read(u64 address, unsigned size) {
    const Target target = find(address, size);
    u64 value = low_mask(8 * size);
    if (target.region && target.whole) {
        value = target.region->read(target.offset, size) & low_mask(8 * size);
    } else if (size > 1 && touches_any(address, size)) {
        value = 0;
        for (unsigned i = 0; i < size; ++i)
            value |= read(address + i, 1) << (8 * i);
        return value;
    } else {
        log_.trace(Channel::bus, "unclaimed {} read of {} bytes at {:#x}", kind_ == Kind::ports ? "port" : "memory",
                   size, address);
    }
    log_.trace(access_channel(), "read{} {:#x} -> {:#x}", 8 * size, address, value);
    return value;
}

void Bus::write(u64 address, u64 value, unsigned size) {
    value &= low_mask(8 * size);
    const Target target = find(address, size);
    if (target.region && target.whole) {
        log_.trace(access_channel(), "write{} {:#x} <- {:#x}", 8 * size, address, value);
        target.region->write(target.offset, value, size);
    } else if (size > 1 && touches_any(address, size)) {
        for (unsigned i = 0; i < size; ++i)
            write(address + i, (value >> (8 * i)) & 0xFF, 1);
    } else {
        log_.trace(Channel::bus, "unclaimed {} write of {} bytes at {:#x}: {:#x}",
                   kind_ == Kind::ports ? "port" : "memory", size, address, value);
    }
}

std::vector<Bus::Range> Bus::ranges() const {
    std::shared_lock lock(mutex_);
    std::vector<Range> sorted = ranges_;
    std::stable_sort(sorted.begin(), sorted.end(), [](const Range& a, const Range& b) { return a.base < b.base; });
    return sorted;
}

std::vector<Bus::Piece> Bus::pieces() const {
    std::shared_lock lock(mutex_);
    std::vector<Piece> pieces;
    for (const Flat& f : flat_)
        pieces.push_back({f.first, f.last, f.first - ranges_[f.range].base, ranges_[f.range].region});
    return pieces;
}

} // namespace calque::devices
