// What devices do that those who watch the machine are told of.
#include "devices/virtio/virtio_balloon.h"
#include "devices/virtio/virtio_pci.h"
#include "frontend/machine/machine.h"

#include <cerrno>
#include <cstring>

namespace calque::machine {

namespace {

std::string_view name_of(backends::ErrorAction action) {
    switch (action) {
    case backends::ErrorAction::ignore: return "ignore";
    case backends::ErrorAction::stop: return "stop";
    default: return "report";
    }
}

} // namespace

void Machine::watch_devices() {
    chipset_->rtc().set_time_observer(
        [this](i64 shown) { notify(event::ClockSet{shown - time_.wall_seconds() - config_.rtc_offset}); });
    for (const auto& device : chipset_->plugged())
        watch_device(*device);
}

void Machine::watch_device(devices::Device& device) {
    if (auto* const function = dynamic_cast<devices::VirtioPci*>(&device))
        if (auto* const balloon = dynamic_cast<devices::VirtioBalloon*>(&function->kind()))
            balloon->set_observer([this](u64 actual) { notify(event::BalloonChanged{actual}); });
}

void Machine::watch_disk(backends::Disk& disk) {
    disk.set_stop_request([this](const std::string& why) {
        fmt::print(stderr, "calque: {}; the machine is stopped, the monitor's 'cont' tries again\n", why);
        post([this] { stop(RunState::io_error); });
    });
    const std::string id = disk.options().id;
    disk.set_watcher({[this, id](bool write, int error, backends::ErrorAction action) {
                          notify(event::DiskError{id, write, error == ENOSPC, name_of(action), std::strerror(error)});
                      },
                      [this, id](bool open) {
                          notify(event::TrayMoved{id, open});
                      }});
}

} // namespace calque::machine
