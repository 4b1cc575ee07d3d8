// What a terminal's keys send to the program behind it.
#pragma once

#include <string>

namespace calque::console {

// By SDL's key code and modifiers (SDL_Keycode, SDL_Keymod); empty: the key sends nothing, or comes as text.
std::string terminal_bytes(int key, unsigned modifiers);

} // namespace calque::console
