#include "frontend/console/guest_input.h"

#include <fmt/core.h>

namespace calque::console {

using devices::InputDevice;
using devices::Key;
using machine::Inputs;

void GuestInput::post(std::function<void(Inputs&)> action) {
    // A machine that takes nothing for so long has lost the rest; a keyboard does the same.
    if (waiting_.size() < most_waiting) waiting_.push_back(std::move(action));
    flush();
}

void GuestInput::move(i32 right, i32 down) {
    post([=](Inputs& inputs) { inputs.move(right, down); });
}

void GuestInput::scroll(i32 up) {
    post([=](Inputs& inputs) { inputs.scroll(up); });
}

// The middle of the pixel, so that the guest comes to the same one whichever way it rounds.
void GuestInput::place(u32 x, u32 y, u32 width, u32 height) {
    const auto scaled = [](u32 at, u32 size) {
        return static_cast<u32>((2 * u64{at} + 1) * InputDevice::place_end / (2 * u64{size}));
    };
    post([x = scaled(x, width), y = scaled(y, height)](Inputs& inputs) { inputs.place(x, y); });
}

void GuestInput::button(devices::MouseButton button, bool pressed) {
    if (pressed ? !buttons_.insert(button).second : buttons_.erase(button) == 0) return;
    post([=](Inputs& inputs) { inputs.button(button, pressed); });
}

void GuestInput::release_buttons() {
    while (!buttons_.empty())
        button(*buttons_.begin(), false);
}

GuestInput::Pasted GuestInput::paste(std::string_view text) {
    Pasted result;
    for (const char32_t character : characters_of(text)) {
        if (!stroke_for(layout_, character)) {
            ++result.unknown;
        } else if (pasted_.size() >= most_pasted) {
            ++result.too_many;
        } else {
            ++result.typed;
            pasted_.push_back(character);
        }
    }
    return result;
}

void GuestInput::press_together(std::initializer_list<Key> keys) {
    keys_.release_all();
    for (const Key key : keys)
        keys_.press(key);
    keys_.release_all();
}

void GuestInput::type(Inputs& inputs, char32_t character) {
    const auto stroke = stroke_for(layout_, character);
    if (!stroke) return;
    if (stroke->shift) inputs.key(Key::shift_left, true);
    if (stroke->alt_gr) inputs.key(Key::alt_right, true);
    inputs.key(stroke->key, true);
    inputs.key(stroke->key, false);
    if (stroke->alt_gr) inputs.key(Key::alt_right, false);
    if (stroke->shift) inputs.key(Key::shift_left, false);
}

bool GuestInput::flush() {
    if (waiting_.empty() && pasted_.empty()) return true;
    const auto held = try_input_();
    if (!held.owns_lock()) return false;
    Inputs& inputs = machine_.chipset().inputs();
    for (; !waiting_.empty(); waiting_.pop_front())
        waiting_.front()(inputs);
    // One at a time: a keyboard holds few codes, and a guest that does not look takes none.
    if (!pasted_.empty() && inputs.keyboard_idle()) {
        type(inputs, pasted_.front());
        pasted_.pop_front();
    }
    return pasted_.empty();
}

std::string describe(const GuestInput::Pasted& pasted, std::string_view layout) {
    std::string text;
    if (pasted.unknown)
        text = fmt::format("{} of the {} characters are on no key of the guest's keyboard (-k {})", pasted.unknown,
                           pasted.unknown + pasted.typed + pasted.too_many, layout);
    if (pasted.too_many)
        text +=
            fmt::format("{}only {} characters are typed at a time", text.empty() ? "" : "; ", GuestInput::most_pasted);
    return text;
}

} // namespace calque::console
