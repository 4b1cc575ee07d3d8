// A USB keyboard, mouse or tablet: a full-speed device of the HID class.
#pragma once

#include "base/log.h"
#include "devices/device.h"
#include "devices/input/input_device.h"
#include "devices/usb/usb_device.h"

#include <array>
#include <bitset>
#include <deque>
#include <mutex>
#include <string>

namespace calque::devices {

class UsbHid final : public Device, public UsbDevice, public InputDevice {
  public:
    UsbHid(Log& log, Kind kind, std::string serial, std::string name);
    ~UsbHid() override;

    Speed speed() const override { return Speed::full; }
    void bus_reset() override;
    UsbAnswer control(const UsbSetup& setup, std::vector<u8>& data) override;
    UsbAnswer in(unsigned endpoint, std::vector<u8>& data) override;
    void set_socket(UsbSocket* socket) override { socket_ = socket; }

    Kind kind() const override { return kind_; }
    std::string_view title() const override;
    bool in_use() override; // A driver has configured it.
    void key(Key key, bool pressed) override;
    void button(MouseButton button, bool pressed) override;
    void move(i32 right, i32 down) override;
    void scroll(i32 up) override;
    void place(u32 x, u32 y) override;
    bool idle() override;
    u8 leds() override;

    std::string_view name() const override { return name_; }
    void reset() override { bus_reset(); }
    void serialize(Archive& archive) override;

  private:
    // A report, and what the next one may be merged with: movement alone.
    struct Report {
        std::array<u8, 8> bytes{};
        bool moves = false;
    };
    struct State {
        u8 configuration = 0, protocol = 1, idle_rate = 0;
        u8 leds = 0;           // As InputDevice::leds().
        std::bitset<256> held; // Keys, by usage.
        u8 buttons = 0;        // By MouseButton.
        u16 x = 0, y = 0;      // A tablet's.
        std::deque<Report> waiting;
    };

    // Adds what the device is like now, with steps of a mouse or a wheel; then tells the controller.
    void report(std::unique_lock<std::mutex> lock, bool moves, i32 right = 0, i32 down = 0, i32 up = 0);
    Report compose(i8 right, i8 down, i8 up) const;
    UsbAnswer standard(const UsbSetup& setup, std::vector<u8>& data);
    UsbAnswer hid(const UsbSetup& setup, std::vector<u8>& data);

    Log& log_;
    const Kind kind_;
    const std::string serial_, name_;
    UsbSocket* socket_ = nullptr;
    std::mutex mutex_;
    State state_;
};

} // namespace calque::devices
