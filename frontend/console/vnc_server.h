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
    bool wants_password = false;    // Without one, everybody is let in.
    std::string password;           // Empty: nobody is let in until one is set. VncPassword::longest at most.
    std::string keyboard = "en-us"; // The guest's layout.
};

// Has a thread of its own, which serves all viewers and never waits for the machine. While there is no viewer the
// screen is not looked at. Viewers give the pointer's place: a tablet takes it as it is; a mouse moves by steps, so
// that the two may drift apart. Text that a viewer has cut is kept until it presses Ctrl-Alt-V, as in the window, and
// typed then: viewers send their clipboard unasked, whenever it changes.
class VncServer : public machine::RemoteScreen {
  public:
    // `try_input` as a window's. The machine's observer must be set before. The machine must outlive it.
    static Result<std::unique_ptr<VncServer>> open(machine::Machine& machine, const VncOptions& options,
                                                   GuestInput::TryInput try_input);
};

} // namespace calque::console
