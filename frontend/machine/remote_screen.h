// Those who watch the machine's screen from elsewhere, for the monitor and the machine protocol.
#pragma once

#include "base/result.h"
#include "base/types.h"

#include <optional>
#include <string>
#include <vector>

namespace calque::machine {

// An end of a connection: a numeric address and a port.
struct NetworkPlace {
    std::string host;
    u16 port = 0;
    bool operator==(const NetworkPlace&) const = default;
};

// Implemented by what serves viewers. Any thread, as all its functions.
class RemoteScreen {
  public:
    struct Viewer {
        NetworkPlace place;
        bool watches = false;      // It has said all that is needed to be shown the screen.
        std::size_t clipboard = 0; // Bytes of text (UTF-8) that it has for the guest.
        std::string last_paste;    // What became of the text that was typed last, where there is more to say than
                                   // that it was.
    };
    struct Status {
        NetworkPlace place;
        bool wants_password = false, has_password = false;
        std::optional<i64> expires; // Seconds since 1970; none: never.
        std::vector<Viewer> viewers;
    };

    virtual ~RemoteScreen() = default;
    virtual Status status() const = 0;
    // For viewers that come from now on; with an empty one none is let in. Of eight characters at most.
    virtual Result<void> set_password(const std::string& password) = 0;
    // From then on, in seconds since 1970, no password is good. None: never.
    virtual Result<void> expire_password(std::optional<i64> when) = 0;
};

} // namespace calque::machine
