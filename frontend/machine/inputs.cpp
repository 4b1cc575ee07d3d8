#include "frontend/machine/inputs.h"

#include <algorithm>

namespace calque::machine {

using devices::InputDevice;
using devices::Key;
using devices::MouseButton;

class Inputs::Ps2Keys final : public InputDevice {
  public:
    explicit Ps2Keys(devices::I8042& i8042) : i8042_(i8042) {}
    Kind kind() const override { return Kind::keyboard; }
    std::string_view title() const override { return "PS/2 keyboard"; }
    bool in_use() override { return true; }
    void key(Key key, bool pressed) override { i8042_.key(key, pressed); }
    bool idle() override { return i8042_.keyboard_idle(); }
    u8 leds() override { return i8042_.leds(); }

  private:
    devices::I8042& i8042_;
};

// The mouse counts upwards, and the wheel's steps towards its user.
class Inputs::Ps2Pointer final : public InputDevice {
  public:
    explicit Ps2Pointer(devices::I8042& i8042) : i8042_(i8042) {}
    Kind kind() const override { return Kind::mouse; }
    std::string_view title() const override { return "PS/2 mouse"; }
    bool in_use() override { return true; }
    void button(MouseButton button, bool pressed) override { i8042_.mouse_button(button, pressed); }
    void move(i32 right, i32 down) override { i8042_.mouse_move(right, -down, 0); }
    void scroll(i32 up) override { i8042_.mouse_move(0, 0, -up); }

  private:
    devices::I8042& i8042_;
};

Inputs::Inputs(devices::I8042& i8042)
    : ps2_keys_(std::make_unique<Ps2Keys>(i8042)),
      ps2_mouse_(std::make_unique<Ps2Pointer>(i8042)), keyboards_{ps2_keys_.get()}, pointers_{ps2_mouse_.get()} {}

Inputs::~Inputs() = default;

void Inputs::add(InputDevice& device) {
    std::lock_guard lock(mutex_);
    (device.kind() == Kind::keyboard ? keyboards_ : pointers_).push_back(&device);
}

void Inputs::remove(InputDevice& device) {
    std::lock_guard lock(mutex_);
    std::erase(keyboards_, &device);
    std::erase(pointers_, &device);
    if (selected_ == &device) selected_ = nullptr;
    std::erase_if(held_keys_, [&](const auto& held) { return held.second == &device; });
    std::erase_if(held_buttons_, [&](const auto& held) { return held.second == &device; });
}

InputDevice& Inputs::keyboard() {
    const auto last =
        std::find_if(keyboards_.rbegin(), keyboards_.rend(), [](auto* device) { return device->in_use(); });
    return **last; // The PS/2 keyboard always is.
}

// The selected one, else the last of -device; null when the guest uses none of that kind.
InputDevice* Inputs::pointer_of(Kind kind) {
    const auto fits = [&](InputDevice* device) { return device->kind() == kind && device->in_use(); };
    if (selected_ && fits(selected_)) return selected_;
    const auto last = std::find_if(pointers_.rbegin(), pointers_.rend(), fits);
    return last == pointers_.rend() ? nullptr : *last;
}

InputDevice& Inputs::pointer() {
    if (selected_ && selected_->in_use()) return *selected_;
    InputDevice* const tablet = pointer_of(Kind::tablet);
    return tablet ? *tablet : *pointer_of(Kind::mouse);
}

template <class Part, class Current>
InputDevice& Inputs::target(std::map<Part, InputDevice*>& held, Part part, bool pressed, Current current) {
    const auto found = held.find(part);
    if (found == held.end()) {
        InputDevice& device = current();
        if (pressed) held.emplace(part, &device);
        return device;
    }
    InputDevice& device = *found->second;
    if (!pressed) held.erase(found);
    return device;
}

void Inputs::key(Key key, bool pressed) {
    std::lock_guard lock(mutex_);
    target(held_keys_, key, pressed, [this]() -> InputDevice& { return keyboard(); }).key(key, pressed);
}

void Inputs::button(MouseButton button, bool pressed) {
    std::lock_guard lock(mutex_);
    target(held_buttons_, button, pressed, [this]() -> InputDevice& { return pointer(); }).button(button, pressed);
}

void Inputs::move(i32 right, i32 down) {
    std::lock_guard lock(mutex_);
    pointer_of(Kind::mouse)->move(right, down);
}

void Inputs::scroll(i32 up) {
    std::lock_guard lock(mutex_);
    pointer().scroll(up);
}

void Inputs::place(u32 x, u32 y) {
    std::lock_guard lock(mutex_);
    if (InputDevice* const tablet = pointer_of(Kind::tablet)) tablet->place(x, y);
}

bool Inputs::takes_places() {
    std::lock_guard lock(mutex_);
    return pointer().kind() == Kind::tablet;
}

bool Inputs::keyboard_idle() {
    std::lock_guard lock(mutex_);
    return keyboard().idle();
}

u8 Inputs::leds() {
    std::lock_guard lock(mutex_);
    return keyboard().leds();
}

std::vector<Inputs::Pointer> Inputs::pointers() {
    std::lock_guard lock(mutex_);
    const InputDevice& current = pointer();
    std::vector<Pointer> list;
    for (InputDevice* const device : pointers_)
        list.push_back({std::string(device->title()), static_cast<unsigned>(list.size()), device == &current,
                        device->kind() == Kind::tablet});
    return list;
}

bool Inputs::select(unsigned index) {
    std::lock_guard lock(mutex_);
    if (index >= pointers_.size()) return false;
    selected_ = pointers_[index];
    return true;
}

} // namespace calque::machine
