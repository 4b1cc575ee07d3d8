#include "frontend/backends/chardev.h"
#include "frontend/backends/net/net_options.h"

#include <charconv>
#include <optional>
#include <tuple>
#include <vector>

namespace calque::backends {

namespace {

using Kind = ChardevOptions::Kind;

// Splits at commas; two commas in a row are one that belongs to the value.
std::vector<std::string> split(std::string_view text) {
    std::vector<std::string> parts(1);
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != ',') {
            parts.back() += text[i];
        } else if (i + 1 < text.size() && text[i + 1] == ',') {
            parts.back() += ',';
            ++i;
        } else {
            parts.emplace_back();
        }
    }
    return parts;
}

std::optional<bool> switch_value(std::string_view value) {
    if (value == "on" || value == "yes" || value == "true" || value == "y") return true;
    if (value == "off" || value == "no" || value == "false" || value == "n") return false;
    return std::nullopt;
}

Result<void> apply_switch(bool& target, std::string_view key, std::string_view value) {
    const auto parsed = switch_value(value);
    if (!parsed) return error("{}={} is neither on nor off", key, value);
    target = *parsed;
    return {};
}

template <class T> Result<void> apply_number(T& target, std::string_view key, std::string_view value) {
    const auto [end, problem] = std::from_chars(value.data(), value.data() + value.size(), target);
    if (problem != std::errc() || end != value.data() + value.size())
        return error("{}={} is not a number that it can be", key, value);
    return {};
}

// The options that -chardev, unix: and tcp: share. A key without a value is a switch; "nokey" turns it off.
Result<void> set_option(ChardevOptions& options, std::string_view part) {
    const std::size_t equals = part.find('=');
    std::string_view key = part.substr(0, equals);
    std::string_view value = equals == part.npos ? "on" : part.substr(equals + 1);
    if (equals == part.npos && (key == "nowait" || key == "nodelay" || key == "noserver")) {
        key.remove_prefix(2);
        value = "off";
    }
    const bool socket = options.kind == Kind::socket;
    if (key == "id") {
        options.id = value;
    } else if (key == "path" && (socket || options.kind == Kind::file)) {
        options.path = value;
    } else if (key == "mux") {
        return apply_switch(options.mux, key, value);
    } else if (key == "append" && options.kind == Kind::file) {
        return apply_switch(options.append, key, value);
    } else if (key == "signal" && options.kind == Kind::stdio) {
        return apply_switch(options.signals, key, value);
    } else if (key == "server" && socket) {
        return apply_switch(options.server, key, value);
    } else if (key == "wait" && socket) {
        return apply_switch(options.wait, key, value);
    } else if (key == "host" && socket) {
        options.host = value == "localhost" ? "127.0.0.1" : value;
    } else if (key == "port" && socket) {
        return apply_number(options.port, key, value);
    } else if (key == "fd" && socket) {
        return apply_number(options.descriptor, key, value);
    } else if ((key == "nodelay" || key == "ipv4") && socket) {
        return {}; // Always.
    } else {
        return error("this character backend has no option '{}'", key);
    }
    return {};
}

Result<ChardevOptions> check(ChardevOptions options) {
    if (options.kind == Kind::file && options.path.empty()) return error("a file backend needs a path");
    const int places = !options.path.empty() + (options.port != 0) + (options.descriptor >= 0);
    if (options.kind == Kind::socket && places != 1)
        return error("a socket backend needs one of path=PATH, port=N (with host=ADDRESS) and fd=N");
    if (!options.host.empty() && options.port == 0) return error("host={} needs a port=", options.host);
    return options;
}

constexpr std::string_view short_forms =
    "stdio, mon:stdio, file:PATH, unix:PATH[,server=on,wait=off], tcp:HOST:PORT[,server=on,wait=off], pty, vc, null";

} // namespace

Result<ChardevOptions> parse_short_chardev(std::string_view text) {
    ChardevOptions options;
    std::string_view rest = text;
    if (rest.starts_with("mon:")) {
        rest.remove_prefix(4);
        options.mux = true;
        options.signals = false; // Ctrl-C goes to the guest; Ctrl-A x ends the process.
    }
    if (rest == "null") {
        options.kind = Kind::null;
    } else if (rest == "stdio") {
        options.kind = Kind::stdio;
    } else if (rest == "vc" || rest.starts_with("vc:")) { // Of any size: QEMU's "vc:80Cx24C".
        options.kind = Kind::vc;
    } else if (rest == "pty") {
        options.kind = Kind::pty;
    } else if (rest.starts_with("file:")) {
        options.kind = Kind::file;
        options.path = rest.substr(5);
    } else if (rest.starts_with("unix:")) {
        options.kind = Kind::socket;
        const auto parts = split(rest.substr(5));
        options.path = parts[0];
        if (options.path.empty()) return error("unix: needs a path");
        for (std::size_t i = 1; i < parts.size(); ++i)
            if (auto set = set_option(options, parts[i]); !set) return set.error();
    } else if (rest.starts_with("tcp:")) {
        options.kind = Kind::socket;
        const auto parts = split(rest.substr(4));
        const auto end = parse_endpoint(parts[0]);
        if (!end) return end.error();
        std::tie(options.host, options.port) = *end;
        for (std::size_t i = 1; i < parts.size(); ++i)
            if (auto set = set_option(options, parts[i]); !set) return set.error();
    } else {
        return error("there is no character backend '{}'; there are {}", text, short_forms);
    }
    return check(std::move(options));
}

Result<ChardevOptions> parse_chardev(std::string_view text) {
    const auto parts = split(text);
    ChardevOptions options;
    std::string_view kind = parts[0];
    if (kind.starts_with("backend=")) kind.remove_prefix(8);
    if (kind == "null") {
        options.kind = Kind::null;
    } else if (kind == "stdio") {
        options.kind = Kind::stdio;
    } else if (kind == "pty") {
        options.kind = Kind::pty;
    } else if (kind == "vc") {
        options.kind = Kind::vc;
    } else if (kind == "file") {
        options.kind = Kind::file;
    } else if (kind == "socket") {
        options.kind = Kind::socket;
    } else {
        return error("there is no -chardev backend '{}'; there are stdio, file, socket, pty, vc and null", kind);
    }
    for (std::size_t i = 1; i < parts.size(); ++i)
        if (auto set = set_option(options, parts[i]); !set) return set.error();
    if (options.id.empty()) return error("-chardev {} has no id; add id=NAME", text);
    return check(std::move(options));
}

} // namespace calque::backends
