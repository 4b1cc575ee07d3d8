// The keyboards and pointers of the machine, and which of them a person's hand is on.
#pragma once

#include "devices/i8042/i8042.h"
#include "devices/input/input_device.h"

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace calque::machine {

// What is done goes to the device whose driver listens: to one of -device before the PS/2 keyboard and mouse, which are
// always there; to a tablet before a mouse, unless select() has said otherwise. A release goes where the press went.
// Any thread.
class Inputs {
  public:
    explicit Inputs(devices::I8042& i8042);
    ~Inputs();
    // Not owned.
    void add(devices::InputDevice& device);
    void remove(devices::InputDevice& device); // What is held down on it is let go of.

    void key(devices::Key key, bool pressed);
    void button(devices::MouseButton button, bool pressed);
    void move(i32 right, i32 down); // Of a mouse, even where a tablet is in use.
    void scroll(i32 up);
    void place(u32 x, u32 y); // As InputDevice::place; nothing without a tablet in use.
    // Whether the pointer is a tablet, which knows places, or a mouse, which knows movements.
    bool takes_places();
    bool keyboard_idle();
    u8 leds();

    struct Pointer {
        std::string title;
        unsigned index;
        bool current, absolute;
    };
    std::vector<Pointer> pointers();
    // Makes it the one in use, as soon as its driver listens. False: there is no such pointer.
    bool select(unsigned index);

  private:
    using Kind = devices::InputDevice::Kind;
    class Ps2Keys;
    class Ps2Pointer;
    devices::InputDevice& keyboard();
    devices::InputDevice& pointer();
    devices::InputDevice* pointer_of(Kind kind);
    template <class Part, class Current>
    devices::InputDevice& target(std::map<Part, devices::InputDevice*>& held, Part part, bool pressed, Current current);

    std::unique_ptr<Ps2Keys> ps2_keys_;
    std::unique_ptr<Ps2Pointer> ps2_mouse_;
    std::vector<devices::InputDevice*> keyboards_, pointers_; // The PS/2 ones first.
    std::mutex mutex_;
    devices::InputDevice* selected_ = nullptr;
    std::map<devices::Key, devices::InputDevice*> held_keys_;
    std::map<devices::MouseButton, devices::InputDevice*> held_buttons_;
};

} // namespace calque::machine
