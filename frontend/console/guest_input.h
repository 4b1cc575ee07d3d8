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
    void move(i32 right, i32 down);
    void scroll(i32 up);
    // Of a pointer that knows places: on the pixel of a screen of that size. Not empty, and the pixel is on it.
    void place(u32 x, u32 y, u32 width, u32 height);
    bool takes_places() { return machine_.chipset().inputs().takes_places(); }
    void button(devices::MouseButton button, bool pressed);
    void release_buttons();
    bool holds_button() const { return !buttons_.empty(); }
    // What becomes of a text, in characters.
    struct Pasted {
        std::size_t typed = 0, unknown = 0, too_many = 0; // On no key of the layout; beyond most_pasted.
    };
    static constexpr std::size_t most_pasted = 100'000;
    // Typed as fast as the guest reads. What cannot be is left out.
    Pasted paste(std::string_view text);
    void stop_pasting() { pasted_.clear(); }
    void press_together(std::initializer_list<devices::Key> keys); // And lets them go again.

    // Hands over what can be. False when something waits still.
    bool flush();

  private:
    void post(std::function<void(machine::Inputs&)> action);
    void type(machine::Inputs& inputs, char32_t character);

    static constexpr std::size_t most_waiting = 1000;
    machine::Machine& machine_;
    TryInput try_input_;
    const Layout& layout_;
    HeldKeys keys_{
        [this](devices::Key key, bool pressed) { post([=](machine::Inputs& inputs) { inputs.key(key, pressed); }); }};
    std::set<devices::MouseButton> buttons_;
    std::deque<std::function<void(machine::Inputs&)>> waiting_;
    std::deque<char32_t> pasted_;
};

// What a person should know of it: nothing when all was typed. `layout` by its name.
std::string describe(const GuestInput::Pasted& pasted, std::string_view layout);

} // namespace calque::console
