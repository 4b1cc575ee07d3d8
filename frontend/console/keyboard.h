// From the host's keys to the guest's: by their place on the keyboard, whatever is printed on them.
#pragma once

#include "devices/input/keys.h"

#include <functional>
#include <optional>
#include <set>

namespace calque::console {

// By the key's number on the keyboard page of the USB HID usage tables, which is SDL's scancode.
std::optional<devices::Key> key_at(unsigned scancode);

// Which keys the guest believes held, so that none stays so when the window loses sight of the keyboard.
class HeldKeys {
  public:
    using Send = std::function<void(devices::Key, bool pressed)>;
    explicit HeldKeys(Send send) : send_(std::move(send)) {}

    void press(devices::Key key) {
        if (held_.insert(key).second) send_(key, true);
    }
    void release(devices::Key key) {
        if (held_.erase(key)) send_(key, false);
    }
    bool holds(devices::Key key) const { return held_.contains(key); }
    void release_all() {
        for (const devices::Key key : held_)
            send_(key, false);
        held_.clear();
    }

  private:
    Send send_;
    std::set<devices::Key> held_;
};

} // namespace calque::console
