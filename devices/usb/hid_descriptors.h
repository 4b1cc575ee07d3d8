// What the keyboard, the mouse and the tablet say of themselves (USB 2.0, 9.5; Device Class Definition for HID 1.11).
#pragma once

#include "devices/input/input_device.h"

#include <optional>
#include <vector>

namespace calque::devices::usb {

// Descriptor types.
inline constexpr u8 DEVICE = 1, CONFIGURATION = 2, STRING = 3, HID = 0x21, REPORT = 0x22;
// Bytes of a report, by the report descriptors.
constexpr std::size_t report_size(InputDevice::Kind kind) {
    return kind == InputDevice::Kind::keyboard ? 8 : kind == InputDevice::Kind::mouse ? 4 : 6;
}
std::string_view title_of(InputDevice::Kind kind);
// Nothing when the device has no such descriptor.
std::optional<std::vector<u8>> descriptor(InputDevice::Kind kind, u8 type, u8 index, std::string_view serial);

} // namespace calque::devices::usb
