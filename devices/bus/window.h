// A mapping that moves: a BAR, or a block whose base a configuration register sets.
#pragma once

#include "devices/bus/bus.h"

#include <optional>
#include <string>

namespace calque::devices {

// At most one mapping of `region` (not owned) on `bus`, at a base that changes. Not thread-safe: the owner orders
// place() calls.
class Window {
  public:
    Window(Bus& bus, IoRegion& region, u64 length, std::string name)
        : bus_(bus), region_(region), length_(length), name_(std::move(name)) {}
    ~Window() { place(std::nullopt); }
    Window(const Window&) = delete;
    Window& operator=(const Window&) = delete;

    // Maps the region at `base`, or nowhere. Does nothing when it is there already.
    void place(std::optional<u64> base) {
        if (base == base_) return;
        if (base_) bus_.unmap(region_, *base_);
        base_ = base;
        if (base_) bus_.map(*base_, length_, region_, name_);
    }
    std::optional<u64> base() const { return base_; }

  private:
    Bus& bus_;
    IoRegion& region_;
    u64 length_;
    std::string name_;
    std::optional<u64> base_;
};

} // namespace calque::devices
