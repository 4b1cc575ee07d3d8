#include "devices/usb/hid_descriptors.h"

#include "base/byte_order.h"

#include <span>

namespace calque::devices::usb {

namespace {

using Kind = InputDevice::Kind;

// Modifiers as bits, a reserved byte, three lamps to the device, six keys: the report of the boot protocol (HID 1.11,
// appendix B.1).
constexpr std::array<u8, 63> keyboard_report{
    0x05, 0x01, 0x09, 0x06, 0xA1, 0x01,                                                             // A keyboard:
    0x05, 0x07, 0x19, 0xE0, 0x29, 0xE7, 0x15, 0x00, 0x25, 0x01, 0x75, 0x01, 0x95, 0x08, 0x81, 0x02, // modifiers,
    0x95, 0x01, 0x75, 0x08, 0x81, 0x01,                                                             // a byte of 0,
    0x95, 0x03, 0x75, 0x01, 0x05, 0x08, 0x19, 0x01, 0x29, 0x03, 0x91, 0x02,                         // lamps,
    0x95, 0x01, 0x75, 0x05, 0x91, 0x01, // the rest of those,
    0x95, 0x06, 0x75, 0x08, 0x15, 0x00, 0x25, 0xE7, 0x05, 0x07, 0x19, 0x00, 0x29, 0xE7, 0x81, 0x00, // six keys.
    0xC0};

// Five buttons, then movement and the wheel as signed bytes.
constexpr std::array<u8, 52> mouse_report{0x05, 0x01, 0x09, 0x02, 0xA1, 0x01, 0x09, 0x01, 0xA1, 0x00, // A pointer:
                                          0x05, 0x09, 0x19, 0x01, 0x29, 0x05, 0x15, 0x00, 0x25, 0x01,
                                          0x95, 0x05, 0x75, 0x01, 0x81, 0x02, // buttons,
                                          0x95, 0x01, 0x75, 0x03, 0x81, 0x01, // the rest,
                                          0x05, 0x01, 0x09, 0x30, 0x09, 0x31, 0x09, 0x38, 0x15, 0x81,
                                          0x25, 0x7F, 0x75, 0x08, 0x95, 0x03, 0x81, 0x06, 0xC0, 0xC0};

// Five buttons, the place from 0 to 7FFF on each axis, and the wheel.
constexpr std::array<u8, 72> tablet_report{
    0x05, 0x01, 0x09, 0x02, 0xA1, 0x01, 0x09, 0x01, 0xA1, 0x00,                                     // A pointer:
    0x05, 0x09, 0x19, 0x01, 0x29, 0x05, 0x15, 0x00, 0x25, 0x01, 0x95, 0x05, 0x75, 0x01, 0x81, 0x02, // buttons,
    0x95, 0x01, 0x75, 0x03, 0x81, 0x01,                                                             // the rest,
    0x05, 0x01, 0x09, 0x30, 0x09, 0x31, 0x15, 0x00, 0x26, 0xFF, 0x7F, 0x35, 0x00, 0x46, 0xFF, 0x7F, // X and Y,
    0x75, 0x10, 0x95, 0x02, 0x81, 0x02,                                                             //
    0x09, 0x38, 0x15, 0x81, 0x25, 0x7F, 0x35, 0x00, 0x45, 0x00, 0x75, 0x08, 0x95, 0x01, 0x81, 0x06, // the wheel.
    0xC0, 0xC0};

std::span<const u8> report_of(Kind kind) {
    if (kind == Kind::keyboard) return keyboard_report;
    if (kind == Kind::mouse) return mouse_report;
    return tablet_report;
}

std::vector<u8> device(Kind kind) {
    std::vector<u8> d{18, DEVICE, 0x00, 0x02, 0, 0, 0, 64, 0x27, 0x06, 0, 0, 0x00, 0x01, 1, 2, 3, 1};
    d[10] = static_cast<u8>(1 + static_cast<u8>(kind));
    return d;
}

std::vector<u8> hid(Kind kind) {
    return {9, HID, 0x11, 0x01, 0, 1, REPORT, static_cast<u8>(report_of(kind).size()), 0};
}

// One interface with one endpoint to the host. A tablet is in no boot protocol.
std::vector<u8> configuration(Kind kind) {
    constexpr u8 interval = 10; // Milliseconds.
    const bool boot = kind != Kind::tablet;
    const u8 protocol = kind == Kind::keyboard ? 1 : kind == Kind::mouse ? 2 : 0;
    std::vector<u8> d{9, CONFIGURATION, 0, 0, 1, 1, 0, 0x80, 50};
    d.insert(d.end(), {9, 4, 0, 0, 1, 3, boot, protocol, 0});
    const auto class_part = hid(kind);
    d.insert(d.end(), class_part.begin(), class_part.end());
    d.insert(d.end(), {7, 5, 0x81, 3, 8, 0, interval});
    store_little(d, 2, d.size(), 2);
    return d;
}

std::vector<u8> string(std::string_view text) {
    constexpr std::size_t longest = 126;
    std::vector<u8> d{0, STRING};
    for (const char c : text.substr(0, longest))
        d.insert(d.end(), {static_cast<u8>(c), 0});
    d[0] = static_cast<u8>(d.size());
    return d;
}

} // namespace

std::string_view title_of(Kind kind) {
    return kind == Kind::keyboard ? "USB keyboard" : kind == Kind::mouse ? "USB mouse" : "USB tablet";
}

std::optional<std::vector<u8>> descriptor(Kind kind, u8 type, u8 index, std::string_view serial) {
    if (type == STRING) {
        if (index == 0) return std::vector<u8>{4, STRING, 0x09, 0x04}; // English.
        if (index == 1) return string("Calque");
        if (index == 2) return string(title_of(kind));
        if (index == 3) return string(serial);
        return std::nullopt;
    }
    if (index != 0) return std::nullopt;
    switch (type) {
    case DEVICE: return device(kind);
    case CONFIGURATION: return configuration(kind);
    case HID: return hid(kind);
    case REPORT: return std::vector<u8>(report_of(kind).begin(), report_of(kind).end());
    default: return std::nullopt;
    }
}

} // namespace calque::devices::usb
