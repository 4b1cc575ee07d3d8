#include "frontend/cli/connections.h"

#include <algorithm>

namespace calque::cli {

namespace {
// What two uses of one place have in common: "mon:stdio" is the terminal that "stdio" is.
std::string key_of(const std::string& text) { return text == "mon:stdio" ? "stdio" : text; }
} // namespace

Result<void> Connections::open(const Options& options) {
    for (const auto& chardev : options.chardevs)
        named_[chardev.id] = chardev;

    if (auto opened = open_drives(options); !opened) return opened;
    if (auto opened = open_objects(options); !opened) return opened;
    std::vector<std::string> serials = options.serials;
    std::vector<std::string> monitors = options.monitors;
    // Without a word on either, the terminal is the first serial port, with the monitor behind Ctrl-A c; in a window
    // each has a console.
    has_window_ = options.has_window;
    if (has_window_ && !options.no_defaults) {
        if (serials.empty()) serials.push_back("vc");
        if (monitors.empty()) monitors.push_back("vc");
    } else if (serials.empty() && !options.no_defaults && !options.display_none) {
        const bool monitor_elsewhere = !monitors.empty();
        serials.push_back(monitor_elsewhere && monitors[0] == "stdio" ? "null" : "mon:stdio");
    }
    if (serials.size() > machine::Chipset::serial_port_count)
        return error("there are {} -serial options; a PC has {} serial ports", serials.size(),
                     machine::Chipset::serial_port_count);
    for (const std::string& serial : serials) {
        chipset_.serial_present.push_back(serial != "none");
        auto backend = connect(serial, "-serial", false);
        if (!backend) return backend.error();
        chipset_.serials.push_back(*backend);
        if (serial.starts_with("mon:")) monitors.push_back(serial);
    }
    for (const std::string& monitor : monitors) {
        auto backend = connect(monitor, "-monitor", true);
        if (!backend) return backend.error();
        if (*backend) monitors_.push_back({*backend, multiplexers_.contains(key_of(monitor)) ? key_of(monitor) : ""});
    }
    if (auto opened = open_controls(options); !opened) return opened;
    if (!options.debugger.empty()) {
        auto backend = connect(options.debugger, "-gdb", true);
        if (!backend) return backend.error();
        debugger_ = *backend;
    }
    if (auto opened = open_for_devices(options); !opened) return opened;
    // Last: where it shares a terminal, Ctrl-A c goes from the console to the monitor first.
    if (!options.debugcon.empty()) {
        auto backend = connect(options.debugcon, "-debugcon", false);
        if (!backend) return backend.error();
        chipset_.debugcon = *backend;
    }
    return {};
}

Result<devices::CharBackend*> Connections::connect(const std::string& text, const std::string& option, bool monitor) {
    if (text == "none") return nullptr;
    if (text.starts_with("chardev:")) {
        const std::string id = text.substr(8);
        const auto named = named_.find(id);
        if (named == named_.end()) return error("{} {}: there is no -chardev with id={}", option, text, id);
        auto backend = use(named->second, "chardev:" + id, monitor);
        if (!backend) return error("{} {}: {}", option, text, backend.error().message);
        return backend;
    }
    auto parsed = backends::parse_short_chardev(text);
    if (!parsed) return error("{} {}: {}", option, text, parsed.error().message);
    const bool in_window = parsed->kind == backends::ChardevOptions::Kind::vc;
    const std::string name = monitor ? "monitor" : option.substr(1);
    auto backend = use(*parsed, in_window ? fmt::format("{}{}", name, window_consoles_.size()) : key_of(text), monitor);
    if (!backend) return error("{} {}: {}", option, text, backend.error().message);
    return backend;
}

Result<devices::CharBackend*> Connections::use(const backends::ChardevOptions& options, const std::string& key,
                                               bool monitor) {
    if (const auto shared = multiplexers_.find(key); shared != multiplexers_.end())
        return &shared->second->add_channel(monitor);
    if (options.kind == backends::ChardevOptions::Kind::stdio) {
        if (stdio_taken_)
            return error("the terminal is taken already; use mon:stdio, or mux=on with a -chardev, to share it");
        stdio_taken_ = true;
    }
    if (chardevs_.contains(key) && options.kind != backends::ChardevOptions::Kind::null)
        return error("it is in use already; name it with a -chardev that has mux=on to share it");
    auto chardev = backends::open_chardev(loop_, log_, options);
    if (!chardev) return chardev.error();
    if (const std::string address = (*chardev)->address();
        !address.empty() && options.kind == backends::ChardevOptions::Kind::pty)
        fmt::print(stderr, "calque: {} is at {}\n", key, address);
    if (options.kind == backends::ChardevOptions::Kind::vc)
        if (auto shown = show_in_window(key, **chardev, monitor); !shown) return shown.error();
    if (!options.mux) return (chardevs_[key] = std::move(*chardev)).get();
    auto& multiplexer = multiplexers_[key];
    multiplexer = std::make_unique<backends::Multiplexer>(loop_, std::move(*chardev), commands(key));
    return &multiplexer->add_channel(monitor);
}

Result<void> Connections::show_in_window(const std::string& key, backends::Chardev& chardev, bool monitor) {
    if (!has_window_) return error("vc is a console in the window, and there is none; use -display sdl, or stdio");
    auto* const backend = dynamic_cast<backends::VcChardev*>(&chardev);
    std::string name = key.starts_with("chardev:") ? key.substr(8) : key;
    if (monitor) name = "monitor";
    // As in QEMU the monitor is on Ctrl-Alt-2.
    const auto place = monitor ? std::find_if(window_consoles_.begin(), window_consoles_.end(),
                                              [](const auto& console) { return !console.monitor; })
                               : window_consoles_.end();
    window_consoles_.insert(place, {name, backend, monitor});
    return {};
}

backends::Multiplexer::Commands Connections::commands(const std::string& key) {
    backends::Multiplexer::Commands commands;
    commands.quit = [this] {
        std::lock_guard lock(listener_mutex_);
        quit_asked_ = true;
        if (listener_.quit) listener_.quit();
    };
    commands.milliseconds = [this] {
        std::lock_guard lock(listener_mutex_);
        return listener_.milliseconds ? listener_.milliseconds() : 0;
    };
    commands.focus_changed = [this, key](bool monitor) {
        std::lock_guard lock(listener_mutex_);
        if (monitor && listener_.monitor_focused) listener_.monitor_focused(key);
    };
    return commands;
}

// Each has its place to itself: others' output between the messages would be no JSON.
Result<void> Connections::open_controls(const Options& options) {
    for (const std::string& control : options.controls) {
        auto backend = connect(control, "-qmp", true);
        if (!backend) return backend.error();
        if (multiplexers_.contains(key_of(control)))
            return error("-qmp {} cannot share its place; use a -chardev without mux=on", control);
        if (*backend) controls_.push_back(*backend);
    }
    return {};
}

qmp::Surroundings Connections::surroundings(const Options& options) const {
    qmp::Surroundings around;
    around.nothing_to_run = options.machine_none;
    around.char_devices = [this] {
        std::vector<qmp::Surroundings::CharDevice> all;
        const auto add = [&](std::string key, const backends::Chardev& chardev) {
            if (key.starts_with("chardev:")) key.erase(0, 8);
            const std::string address = chardev.address();
            // As clients look for it: the path of a terminal has its kind before it.
            all.push_back({key, address.empty() ? key : (address[0] == '/' ? "pty:" : "") + address, true});
        };
        for (const auto& [key, chardev] : chardevs_)
            add(key, *chardev);
        for (const auto& [key, multiplexer] : multiplexers_)
            add(key, multiplexer->terminal());
        return all;
    };
    for (std::string& name : option_names())
        around.command_line.push_back({std::move(name), {}});
    return around;
}

Result<void> Connections::open_drives(const Options& options) {
    if (auto opened = drives_.open(options); !opened) return opened;
    for (const backends::DriveOptions& drive : options.drives) {
        backends::Disk* const disk = drives_.find(drive.id);
        if (drive.interface == backends::DriveOptions::Interface::pflash) chipset_.flash[*drive.index] = disk;
        if (drive.interface == backends::DriveOptions::Interface::ide)
            chipset_.ide[*drive.index] = {disk, drive.cdrom, fmt::format("CQ{:05}", *drive.index + 1)};
        if (drive.interface == backends::DriveOptions::Interface::floppy) chipset_.floppies[*drive.index] = disk;
    }
    chipset_.disks = drives_.open_disks();
    return {};
}

Result<void> Connections::open_objects(const Options& options) {
    for (const auto& object : options.objects) {
        if (object.driver == "rng-builtin") {
            entropy_[object.id] = std::make_unique<backends::HostEntropy>();
        } else {
            auto file = backends::FileEntropy::open(object.get("filename"));
            if (!file) return error("-object {},id={}: {}", object.driver, object.id, file.error().message);
            entropy_[object.id] = std::move(*file);
        }
    }
    for (const auto& net : options.networks) {
        auto port = backends::open_net(log_, net);
        if (!port) return error("network {}: {}", net.id, port.error().message);
        networks_[net.id] = std::move(*port);
    }
    return {};
}

Result<void> Connections::open_for_devices(const Options& options) {
    for (const auto& device : options.machine.devices) {
        const std::string id = device.get("chardev");
        if (id.empty()) continue;
        auto backend = connect("chardev:" + id, "-device " + device.driver, false);
        if (!backend) return backend.error();
        chipset_.chars[id] = *backend;
    }
    for (const auto& folder : options.folders) {
        auto server = backends::plan9::open_folder(log_, folder);
        if (!server) return error("folder {}: {}", folder.id, server.error().message);
        chipset_.folders[folder.id] = server->get();
        folders_.push_back(std::move(*server));
    }
    return {};
}

machine::ChipsetBackends Connections::chipset_backends() {
    for (const auto& [id, source] : entropy_)
        chipset_.entropy[id] = source.get();
    for (const auto& [id, port] : networks_)
        chipset_.nets[id] = port.get();
    chipset_.default_entropy = &host_entropy_;
    chipset_.worker = &device_worker_;
    chipset_.host = this;
    chipset_.hold_input = [this]() -> std::shared_ptr<void> {
        auto held = std::make_shared<std::vector<std::unique_lock<std::mutex>>>();
        held->push_back(loop_.hold());
        held->push_back(device_loop_.hold());
        held->emplace_back(window_input_);
        for (const auto& [id, port] : networks_)
            held->push_back(port->hold());
        return held;
    };
    return chipset_;
}

void Connections::attach(Listener listener) {
    std::lock_guard lock(listener_mutex_);
    listener_ = std::move(listener);
    if (quit_asked_ && listener_.quit) listener_.quit();
}

void Connections::detach() {
    std::lock_guard lock(listener_mutex_);
    listener_ = {};
}

} // namespace calque::cli
