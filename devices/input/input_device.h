// A keyboard, mouse or tablet as a person's hand meets it; devices implement it, the machine gives them what is done.
#pragma once

#include "devices/input/keys.h"

#include <string_view>

namespace calque::devices {

enum class MouseButton : u8 { left, right, middle, side, extra };

// All calls: any thread, they return at once. What the guest does not take is dropped as the device does it, and so is
// what the device has no part for. Key repetition is the guest's or the keyboard's: presses and releases only.
class InputDevice {
  public:
    enum class Kind : u8 { keyboard, mouse, tablet };
    virtual ~InputDevice() = default;
    virtual Kind kind() const = 0;
    virtual std::string_view title() const = 0; // For people.
    // The guest's driver listens.
    virtual bool in_use() = 0;

    virtual void key(Key key, bool pressed) { static_cast<void>(key), static_cast<void>(pressed); }
    virtual void button(MouseButton button, bool pressed) { static_cast<void>(button), static_cast<void>(pressed); }
    virtual void move(i32 right, i32 down) { static_cast<void>(right), static_cast<void>(down); } // Counts.
    virtual void scroll(i32 up) { static_cast<void>(up); }                                        // Wheel steps.
    // A tablet's pointer: 0 is the left or upper edge of the screen, `place_end` would be the other one.
    static constexpr u32 place_end = 0x8000;
    virtual void place(u32 x, u32 y) { static_cast<void>(x), static_cast<void>(y); }

    // A keyboard's: the guest has taken every code, so that what is typed now is not lost.
    virtual bool idle() { return true; }
    // A keyboard's lamps as the guest set them: bit 0 Scroll Lock, 1 Num Lock, 2 Caps Lock.
    virtual u8 leds() { return 0; }
};

} // namespace calque::devices
