// What keys give a character on a guest's keyboard layout, for text that is pasted.
#pragma once

#include "devices/input/keys.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace calque::console {

struct Stroke {
    devices::Key key;
    bool shift = false, alt_gr = false;
};

// By -k's names. Null: there is none.
class Layout;
const Layout* find_layout(std::string_view name);
std::string layout_names();
// Nothing for a character that the layout has on no key.
std::optional<Stroke> stroke_for(const Layout& layout, char32_t character);
// UTF-8; what is none of it is left out.
std::vector<char32_t> characters_of(std::string_view text);

} // namespace calque::console
