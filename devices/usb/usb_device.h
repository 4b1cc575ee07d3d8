// What a USB device is to the controller that it is plugged into (Universal Serial Bus Specification 2.0, chapters 5, 8
// and 9).
#pragma once

#include "base/types.h"

#include <vector>

namespace calque::devices {

struct UsbSetup { // 9.3
    u8 type = 0, request = 0;
    u16 value = 0, index = 0, length = 0;
    bool to_host() const { return type & 0x80; }
};

enum class UsbAnswer : u8 {
    done,
    stall,
    nothing, // NAK: the controller asks again after the next notice.
};

class UsbDevice;

// Where a device is plugged in: the controller's side of it.
class UsbSocket {
  public:
    virtual ~UsbSocket() = default;
    // An endpoint that had nothing has something. Any thread, without a lock of the device's; returns at once.
    virtual void notice() = 0;
    // The device is about to go. When it returns the device is not called any more.
    virtual void pull(UsbDevice& device) = 0;
};

// The controller calls it under its own lock.
class UsbDevice {
  public:
    virtual ~UsbDevice() = default;
    enum class Speed : u8 { full = 1, low = 2, high = 3 }; // As xHCI's default speed IDs (xHCI 1.2, 7.2.2.1.1).
    virtual Speed speed() const = 0;
    virtual void bus_reset() = 0;
    // A transfer on the default endpoint: `data` is what the host sends, or where the device's answer goes.
    virtual UsbAnswer control(const UsbSetup& setup, std::vector<u8>& data) = 0;
    // A transfer from an endpoint to the host.
    virtual UsbAnswer in(unsigned endpoint, std::vector<u8>& data) = 0;
    // Null: it is in none. Not owned.
    virtual void set_socket(UsbSocket* socket) = 0;
};

} // namespace calque::devices
