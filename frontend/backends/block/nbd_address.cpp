#include "frontend/backends/block/nbd_address.h"

#include <algorithm>
#include <charconv>

namespace calque::backends {

namespace {

Error wrong(std::string_view name) {
    return error("'{}' does not say where an NBD server is; the forms are nbd:host:port[:exportname=E], "
                 "nbd:unix:PATH[:exportname=E], nbd://host[:port][/E] and nbd+unix:///[E]?socket=PATH",
                 name);
}

// %xx stands for a byte. False where the digits are missing.
bool unescape(std::string_view text, std::string& out) {
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '%') {
            out += text[i];
            continue;
        }
        unsigned byte = 0;
        const std::string_view digits = text.substr(i + 1, 2);
        const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), byte, 16);
        if (digits.size() != 2 || read.ptr != digits.data() + 2 || byte == 0) return false;
        out += static_cast<char>(byte);
        i += 2;
    }
    return true;
}

// host:port, the port after the last colon that is not in brackets.
bool split_host(std::string_view text, NbdAddress& address, bool port_needed) {
    std::string_view rest;
    if (text.starts_with('[')) {
        const auto end = text.find(']');
        if (end == std::string_view::npos) return false;
        address.host = text.substr(1, end - 1);
        rest = text.substr(end + 1);
    } else {
        const auto colon = text.find(':');
        address.host = text.substr(0, colon);
        rest = colon == std::string_view::npos ? std::string_view{} : text.substr(colon);
    }
    if (rest.empty()) return !port_needed && !address.host.empty();
    if (rest[0] != ':' || rest.size() == 1) return false;
    address.port = rest.substr(1);
    return !address.host.empty();
}

Result<NbdAddress> parse_uri(std::string_view name) {
    NbdAddress address;
    const bool is_unix = name.starts_with("nbd+unix://");
    std::string_view rest = name.substr(is_unix ? 11 : 6);
    const auto question = rest.find('?');
    const std::string_view query = question == std::string_view::npos ? "" : rest.substr(question + 1);
    rest = rest.substr(0, question);
    const auto slash = rest.find('/');
    if (slash != std::string_view::npos && !unescape(rest.substr(slash + 1), address.export_name)) return wrong(name);
    const std::string_view host = rest.substr(0, slash);
    if (is_unix) {
        if (!host.empty() || !query.starts_with("socket=") || !unescape(query.substr(7), address.unix_path)
            || address.unix_path.empty())
            return wrong(name);
        return address;
    }
    if (!query.empty() || !split_host(host, address, false)) return wrong(name);
    return address;
}

} // namespace

std::string NbdAddress::text() const {
    if (!unix_path.empty()) return fmt::format("nbd+unix:///{}?socket={}", export_name, unix_path);
    const bool v6 = host.find(':') != std::string::npos;
    return fmt::format("nbd://{}{}{}:{}/{}", v6 ? "[" : "", host, v6 ? "]" : "", port, export_name);
}

Result<NbdAddress> parse_nbd_name(std::string_view name) {
    if (name.starts_with("nbd://") || name.starts_with("nbd+unix://")) return parse_uri(name);
    if (!name.starts_with("nbd:")) return wrong(name);
    std::string_view rest = name.substr(4);
    NbdAddress address;
    constexpr std::string_view mark = ":exportname=";
    if (const auto at = rest.find(mark); at != std::string_view::npos) {
        address.export_name = rest.substr(at + mark.size());
        rest = rest.substr(0, at);
    }
    if (rest.starts_with("unix:")) {
        address.unix_path = rest.substr(5);
        if (address.unix_path.empty()) return wrong(name);
        return address;
    }
    if (!split_host(rest, address, true)) return wrong(name);
    return address;
}

} // namespace calque::backends
