// Small things with text.
#pragma once

#include <string_view>

namespace calque {

// Without the spaces at both ends.
constexpr std::string_view trim(std::string_view text) {
    while (text.starts_with(' '))
        text.remove_prefix(1);
    while (text.ends_with(' '))
        text.remove_suffix(1);
    return text;
}

} // namespace calque
