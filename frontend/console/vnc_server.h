// The machine's screen, keyboard and mouse for remote viewers, by RFB (RFC 6143). libvncserver has the protocol.
#pragma once

#include "base/result.h"
#include "frontend/console/guest_input.h"
#include "frontend/machine/machine.h"

#include <memory>
#include <string>

namespace calque::console {

struct VncOptions {
    std::string address = "127.0.0.1"; // Of this host, as four numbers.
    u16 port = 5900;
    std::string password;           // Empty: none. Of more than eight characters only eight count (RFC 6143, 7.2.2).
    std::string keyboard = "en-us"; // The guest's layout.
};

// Has a thread of its own, which serves all viewers and never waits for the machine. While there is no viewer the
// screen is not looked at. Viewers give the pointer's place: a tablet takes it as it is; a mouse moves by steps, so
// that the two may drift apart.
class VncServer {
  public:
    virtual ~VncServer() = default;
    // `try_input` as a window's.
    static Result<std::unique_ptr<VncServer>> open(machine::Machine& machine, const VncOptions& options,
                                                   GuestInput::TryInput try_input);
};

} // namespace calque::console
