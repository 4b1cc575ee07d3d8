// What a person does, on its way to the guest's keyboard and mouse: kept while the machine takes nothing.
#pragma once

#include "frontend/console/keyboard.h"
#include "frontend/console/layouts.h"
#include "frontend/machine/machine.h"

#include <deque>
#include <functional>
#include <mutex>

namespace calque::console {

class GuestInput {
  public:
    using TryInput = std::function<std::unique_lock<std::mutex>()>;
    GuestInput(machine::Machine& machine, TryInput try_input, const Layout& layout)
        : machine_(machine), try_input_(std::move(try_input)), layout_(layout) {}

    HeldKeys& keys() { return keys_; }
    void move(i32 right, i32 down, i32 wheel_up);
    void button(devices::MouseButton button, bool pressed);
    void release_buttons();
    // Typed as fast as the guest reads. Characters that its layout has not are left out.
    void paste(std::string_view text);
    void stop_pasting() { pasted_.clear(); }
    void press_together(std::initializer_list<devices::Key> keys); // And lets them go again.

    // Hands over what can be. False when something waits still.
    bool flush();

  private:
    void post(std::function<void(devices::I8042&)> action);
    void type(devices::I8042& keyboard, char32_t character);

    static constexpr std::size_t most_waiting = 1000, most_pasted = 100'000;
    machine::Machine& machine_;
    TryInput try_input_;
    const Layout& layout_;
    HeldKeys keys_{[this](devices::Key key, bool pressed) {
        post([=](devices::I8042& keyboard) { keyboard.key(key, pressed); });
    }};
    std::set<devices::MouseButton> buttons_;
    std::deque<std::function<void(devices::I8042&)>> waiting_;
    std::deque<char32_t> pasted_;
};

} // namespace calque::console
