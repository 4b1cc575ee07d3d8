// Keyboard, mouse and tablet (virtio 1.2, 5.8). What they send are the events of Linux's evdev.
#pragma once

#include "devices/input/input_device.h"
#include "devices/virtio/virtio_device.h"

#include <deque>

namespace calque::devices {

class VirtioInput final : public VirtioDevice, public InputDevice {
  public:
    static constexpr std::size_t config_size = 136;
    static constexpr unsigned queues = 2;
    // `serial` may be empty: the guest then finds none.
    VirtioInput(Log& log, DmaPort& memory, Worker& worker, Kind kind, std::string serial, std::string name);
    ~VirtioInput() override { end_tasks(); }

    Kind kind() const override { return kind_; }
    std::string_view title() const override;
    bool in_use() override;
    void key(Key key, bool pressed) override;
    void button(MouseButton button, bool pressed) override;
    void move(i32 right, i32 down) override;
    void scroll(i32 up) override;
    void place(u32 x, u32 y) override;
    bool idle() override;
    u8 leds() override;

  private:
    struct Event { // struct virtio_input_event
        u16 type = 0, code = 0;
        u32 value = 0;
    };
    // What the guest can see and change.
    struct State {
        u8 select = 0, subselect = 0;
        u8 leds = 0; // As leds() gives them.
        std::deque<Event> waiting;
    };

    void report(std::initializer_list<Event> events, std::size_t room);
    void send_events();
    void take_status();
    std::vector<u8> answer() const;
    std::vector<u8> bitmap(u8 type) const;

    std::vector<u8> config() override;
    void config_written(u64 offset, u64 value, unsigned size) override;
    void stopped() override { state_ = {}; }
    void save(Archive& archive) override;

    const Kind kind_;
    const std::string serial_;
    State state_;
};

} // namespace calque::devices
