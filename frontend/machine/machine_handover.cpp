// A migration's ends: the machine that is let go of, and the one that becomes it.
#include "frontend/backends/block/overlay_image.h"
#include "frontend/machine/machine.h"

namespace calque::machine {

Result<void> Machine::can_hand_over() const {
    for (const backends::Disk* disk : backends_.disks) {
        const auto image = disk->image();
        if (dynamic_cast<const backends::OverlayImage*>(image.get()))
            return error("what was written to {} is in a temporary file of this process (-snapshot); leave that out to "
                         "migrate",
                         disk->options().id);
    }
    return {};
}

// From request_stopped(), whose end leaves the machine as it is when it does not run.
Result<void> Machine::hand_over() {
    const bool ran = state_ == RunState::running;
    state_ = RunState::finish_migrate;
    if (ran) notify(event::Stopped{});
    for (backends::Disk* disk : backends_.disks)
        if (auto released = disk->set_active(false); !released) return released;
    return {};
}

void Machine::handed_over() { state_ = RunState::post_migrate; }

void Machine::take_back(RunState before) {
    if (state_ != RunState::finish_migrate) return;
    state_ = before == RunState::running ? RunState::paused : before;
    if (auto taken = activate_disks(); !taken) {
        fmt::print(stderr, "calque: the machine stays stopped: {}\n", taken.error().message);
        return;
    }
    if (before == RunState::running) go_on();
}

Result<void> Machine::activate_disks() {
    for (backends::Disk* disk : backends_.disks)
        if (auto taken = disk->set_active(true); !taken) return taken;
    return {};
}

Result<std::vector<u8>> Machine::receive_ram(backends::StateSource& source) {
    PageSet loaded(memory_->page_count());
    auto devices = read_records(source, [&](std::span<const u8> record) { return memory_->unpack(record, loaded); });
    if (devices) memory_->clear_all_but(loaded);
    return devices;
}

Result<void> Machine::become(std::vector<u8> devices) {
    // Flash chips write to their images when they are loaded.
    if (auto taken = activate_disks(); !taken) return taken;
    {
        const auto held = backends_.hold_input ? backends_.hold_input() : nullptr;
        chipset_->order_as(saved_order_);
        if (auto loaded = load_devices(std::move(devices)); !loaded) return loaded;
    }
    state_ = RunState::paused;
    if (ran_ && !config_.start_stopped) go_on();
    return {};
}

// In its turn: whoever received it waits for this to return.
void Machine::fail_incoming(const std::string& problem) {
    post([this, problem] { end(1, fmt::format("the machine that was to come has not: {}", problem)); });
}

} // namespace calque::machine
