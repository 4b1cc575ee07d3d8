#include "frontend/console/guest_input.h"

namespace calque::console {

using devices::I8042;
using devices::Key;

void GuestInput::post(std::function<void(I8042&)> action) {
    // A machine that takes nothing for so long has lost the rest; a keyboard does the same.
    if (waiting_.size() < most_waiting) waiting_.push_back(std::move(action));
    flush();
}

void GuestInput::move(i32 right, i32 down, i32 wheel_up) {
    post([=](I8042& controller) { controller.mouse_move(right, -down, -wheel_up); });
}

void GuestInput::button(devices::MouseButton button, bool pressed) {
    if (pressed ? !buttons_.insert(button).second : buttons_.erase(button) == 0) return;
    post([=](I8042& controller) { controller.mouse_button(button, pressed); });
}

void GuestInput::release_buttons() {
    while (!buttons_.empty())
        button(*buttons_.begin(), false);
}

void GuestInput::paste(std::string_view text) {
    for (const char32_t character : characters_of(text))
        if (pasted_.size() < most_pasted) pasted_.push_back(character);
}

void GuestInput::press_together(std::initializer_list<Key> keys) {
    keys_.release_all();
    for (const Key key : keys)
        keys_.press(key);
    keys_.release_all();
}

void GuestInput::type(I8042& keyboard, char32_t character) {
    const auto stroke = stroke_for(layout_, character);
    if (!stroke) return;
    if (stroke->shift) keyboard.key(Key::shift_left, true);
    if (stroke->alt_gr) keyboard.key(Key::alt_right, true);
    keyboard.key(stroke->key, true);
    keyboard.key(stroke->key, false);
    if (stroke->alt_gr) keyboard.key(Key::alt_right, false);
    if (stroke->shift) keyboard.key(Key::shift_left, false);
}

bool GuestInput::flush() {
    if (waiting_.empty() && pasted_.empty()) return true;
    const auto held = try_input_();
    if (!held.owns_lock()) return false;
    I8042& keyboard = machine_.chipset().keyboard();
    for (; !waiting_.empty(); waiting_.pop_front())
        waiting_.front()(keyboard);
    // One at a time: a keyboard holds few codes, and a guest that does not look takes none.
    if (!pasted_.empty() && keyboard.keyboard_idle()) {
        type(keyboard, pasted_.front());
        pasted_.pop_front();
    }
    return pasted_.empty();
}

} // namespace calque::console
