#include "frontend/qmp/held_keys.h"

#include <utility>

namespace calque::qmp {

HeldKeys::HeldKeys(Clock& clock, machine::Inputs& inputs)
    : clock_(clock), inputs_(inputs), timer_(clock.make_timer([this] { release(); })) {}

HeldKeys::~HeldKeys() {
    timer_.reset(); // Its callback is not under way any more.
    release();
}

void HeldKeys::press(std::vector<devices::Key> keys, u64 milliseconds) {
    release();
    for (const devices::Key key : keys)
        inputs_.key(key, true);
    {
        std::lock_guard lock(mutex_);
        keys_ = std::move(keys);
    }
    timer_->arm(clock_.now() + milliseconds * 1'000'000);
}

void HeldKeys::release() {
    std::vector<devices::Key> keys;
    {
        std::lock_guard lock(mutex_);
        keys = std::exchange(keys_, {});
    }
    for (auto key = keys.rbegin(); key != keys.rend(); ++key)
        inputs_.key(*key, false);
}

} // namespace calque::qmp
