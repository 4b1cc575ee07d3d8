// What viewers must know to be shown the screen (RFC 6143, 7.2.2: VNC authentication).
#pragma once

#include "base/result.h"
#include "base/types.h"

#include <array>
#include <functional>
#include <optional>
#include <span>
#include <string>

namespace calque::console {

// Any thread may use it, one at a time.
class VncPassword {
  public:
    static constexpr std::size_t longest = 8; // The key of a DES cipher.
    using Challenge = std::array<u8, 16>;
    using Now = std::function<i64()>; // Seconds since 1970.

    explicit VncPassword(Now now) : now_(std::move(now)) {}
    // Empty: there is none, and nobody is let in. Fails for one that is too long.
    Result<void> set(const std::string& password);
    void expire(std::optional<i64> when) { expires_ = when; }
    bool is_set() const { return !password_.empty(); }
    std::optional<i64> expires() const { return expires_; }
    // Whether the response was made of the challenge by one who knows the password, in time.
    bool accepts(const Challenge& challenge, std::span<const u8> response) const;

  private:
    Now now_;
    std::string password_;
    std::optional<i64> expires_;
};

} // namespace calque::console
