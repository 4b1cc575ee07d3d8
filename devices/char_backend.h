// The far end of a serial line or console.
#pragma once

#include "base/types.h"

#include <functional>
#include <span>

namespace calque::devices {

class CharBackend {
  public:
    virtual ~CharBackend() = default;
    // Takes bytes from the device. Never blocks for long: what the host cannot take is buffered or dropped, as the
    // backend says.
    virtual void transmit(std::span<const u8> bytes) = 0;
    // How many bytes transmit() takes now without dropping any. After 0, the receiver's `drained` is called when there
    // is room again.
    virtual std::size_t transmit_room() { return ~std::size_t{0}; }
    // Sets who gets bytes from the host. `room` answers how many bytes the device can take now; `deliver` gets at most
    // that many. `opened` tells, before anything is delivered, that somebody is there now: at the start, or a socket's
    // next client; behind a multiplexer nobody is told. `closed` tells that they have gone. All run on the backend's
    // thread. When the device has room again it calls resume().
    struct Receiver {
        std::function<std::size_t()> room;
        std::function<void(std::span<const u8>)> deliver;
        std::function<void()> send_break;   // May be empty.
        std::function<void()> opened = {};  // May be empty.
        std::function<void()> closed = {};  // May be empty.
        std::function<void()> drained = {}; // May be empty.
    };
    virtual void set_receiver(Receiver receiver) = 0;
    virtual void resume() = 0;
    // The oldest of the open files that the host's end has passed along with its bytes, the caller's from now on; -1
    // when there is none.
    virtual int take_descriptor() { return -1; }
};

} // namespace calque::devices
