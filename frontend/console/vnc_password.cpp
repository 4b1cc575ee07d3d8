#include "frontend/console/vnc_password.h"

#include <rfb/rfb.h>

namespace calque::console {

Result<void> VncPassword::set(const std::string& password) {
    if (password.size() > longest) return error("VNC passwords have {} characters at most", longest);
    password_ = password;
    return {};
}

bool VncPassword::accepts(const Challenge& challenge, std::span<const u8> response) const {
    if (!is_set() || response.size() != challenge.size() || (expires_ && now_() >= *expires_)) return false;
    Challenge expected = challenge;
    std::string key = password_; // The library takes it as one that could be changed.
    rfbEncryptBytes(expected.data(), key.data());
    u8 difference = 0; // All of it is looked at, so that the time taken tells nothing.
    for (std::size_t i = 0; i < expected.size(); ++i)
        difference |= expected[i] ^ response[i];
    return difference == 0;
}

} // namespace calque::console
