#include "frontend/cli/connections.h"

namespace calque::cli {

Result<void> Connections::open(const Options& options) {
    for (const auto& chardev : options.chardevs)
        named_[chardev.id] = chardev;

    std::vector<std::string> serials = options.serials;
    std::vector<std::string> monitors = options.monitors;
    // Without a word on either, the terminal is the first serial port, with the monitor behind Ctrl-A c.
    if (serials.empty() && !options.no_defaults && !options.display_none) {
        const bool monitor_elsewhere = !monitors.empty();
        serials.push_back(monitor_elsewhere && monitors[0] == "stdio" ? "null" : "mon:stdio");
    }
    for (const std::string& serial : serials) {
        chipset_.serial_present.push_back(serial != "none");
        auto backend = connect(serial, "-serial", false);
        if (!backend) return backend.error();
        chipset_.serials.push_back(*backend);
        if (serial.starts_with("mon:")) monitors.push_back(serial);
    }
    if (!options.debugcon.empty()) {
        auto backend = connect(options.debugcon, "-debugcon", false);
        if (!backend) return backend.error();
        chipset_.debugcon = *backend;
    }
    for (const std::string& monitor : monitors) {
        auto backend = connect(monitor, "-monitor", true);
        if (!backend) return backend.error();
        if (*backend) monitors_.push_back(*backend);
    }
    return {};
}

Result<devices::CharBackend*> Connections::connect(const std::string& text, const std::string& option, bool monitor) {
    if (text == "none") return nullptr;
    if (text.starts_with("chardev:")) {
        const std::string id = text.substr(8);
        const auto named = named_.find(id);
        if (named == named_.end()) return error("{} {}: there is no -chardev with id={}", option, text, id);
        return use(named->second, "chardev:" + id, monitor);
    }
    auto parsed = backends::parse_short_chardev(text);
    if (!parsed) return parsed.error();
    return use(*parsed, text, monitor);
}

Result<devices::CharBackend*> Connections::use(const backends::ChardevOptions& options, const std::string& key,
                                               bool monitor) {
    if (const auto shared = multiplexers_.find(key); shared != multiplexers_.end())
        return &shared->second->add_channel(monitor);
    if (options.kind == backends::ChardevOptions::Kind::stdio) {
        if (stdio_taken_)
            return error("{}: the terminal is taken already; use mon:stdio, or mux=on with a -chardev, to share it",
                         key);
        stdio_taken_ = true;
    }
    if (chardevs_.contains(key) && options.kind != backends::ChardevOptions::Kind::null)
        return error("{} is used twice; add mux=on to its -chardev to share it", key);
    auto chardev = backends::open_chardev(loop_, log_, options);
    if (!chardev) return chardev.error();
    if (const std::string address = (*chardev)->address();
        !address.empty() && options.kind == backends::ChardevOptions::Kind::pty)
        fmt::print(stderr, "calque: {} is at {}\n", key, address);
    if (!options.mux) return (chardevs_[key] = std::move(*chardev)).get();
    backends::Multiplexer::Commands commands;
    commands.quit = [this] {
        if (quit) quit();
    };
    commands.milliseconds = [this] { return milliseconds ? milliseconds() : 0; };
    auto& multiplexer = multiplexers_[key];
    multiplexer = std::make_unique<backends::Multiplexer>(loop_, std::move(*chardev), std::move(commands));
    return &multiplexer->add_channel(monitor);
}

} // namespace calque::cli
