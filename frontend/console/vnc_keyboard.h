// From what a remote keyboard says to the guest's keys. RFB names what is printed on a key (X keysyms; RFC
// 6143, 7.5.4), and the guest wants to know where the key is: where its own layout has that character.
#pragma once

#include "frontend/console/keyboard.h"
#include "frontend/console/layouts.h"

#include <optional>

namespace calque::console {

// Of a key that gives no character: Enter, F1, Shift, the number pad.
std::optional<devices::Key> key_of_keysym(u32 keysym);
std::optional<char32_t> character_of_keysym(u32 keysym);

// Where the guest's layout needs Shift or AltGr for a character and the remote one does not, or the other way round,
// they are pressed or let go while the key goes down.
class VncKeyboard {
  public:
    VncKeyboard(HeldKeys& keys, const Layout& layout) : keys_(keys), layout_(layout) {}
    // What the guest has no key for does nothing.
    void event(u32 keysym, bool pressed);

  private:
    void type(const Stroke& stroke);

    HeldKeys& keys_;
    const Layout& layout_;
};

} // namespace calque::console
