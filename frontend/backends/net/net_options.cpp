#include "frontend/backends/net/net_options.h"

#include <arpa/inet.h>
#include <charconv>
#include <map>

namespace calque::backends {

namespace {

using Kind = NetOptions::Kind;

Result<u16> parse_port(std::string_view text, bool zero_allowed) {
    unsigned port = 0;
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), port);
    if (text.empty() || problem != std::errc() || end != text.data() + text.size() || port > 0xFFFF
        || (port == 0 && !zero_allowed))
        return error("'{}' is not a port number", text);
    return static_cast<u16>(port);
}

Result<void> check_ipv4(std::string_view text) {
    in_addr address{};
    const std::string copy(text);
    if (!copy.empty() && ::inet_pton(AF_INET, copy.c_str(), &address) != 1)
        return error("'{}' is not an IPv4 address such as 10.0.2.15", text);
    return {};
}

Result<void> set_switch(bool& target, std::string_view key, std::string_view value) {
    for (const char* yes : {"on", "yes", "true", "y"})
        if (value == yes) return target = true, Result<void>();
    for (const char* no : {"off", "no", "false", "n"})
        if (value == no) return target = false, Result<void>();
    return error("{}={} is neither on nor off", key, value);
}

Result<void> set_text(std::string& target, std::string_view value) { return target = value, Result<void>(); }

Result<void> set_address(std::string& target, std::string_view key, std::string_view value) {
    if (auto good = check_ipv4(value); !good) return error("{}: {}", key, good.error().message);
    target = value;
    return {};
}

Result<void> set_user(NetOptions& o, std::string_view key, std::string_view value) {
    if (key == "restrict") return set_switch(o.restrict_to_guest, key, value);
    if (key == "ipv4") return set_switch(o.ipv4, key, value);
    if (key == "ipv6") return set_switch(o.ipv6, key, value);
    if (key == "net") return set_text(o.network, value);
    if (key == "host") return set_address(o.host, key, value);
    if (key == "dns") return set_address(o.dns, key, value);
    if (key == "dhcpstart") return set_address(o.dhcp_start, key, value);
    if (key == "hostname") return set_text(o.host_name, value);
    if (key == "domainname") return set_text(o.domain, value);
    if (key == "tftp") return set_text(o.tftp, value);
    if (key == "tftp-server-name") return set_text(o.tftp_server_name, value);
    if (key == "bootfile") return set_text(o.boot_file, value);
    if (key == "dnssearch") return o.dns_search.emplace_back(value), Result<void>();
    if (key == "hostfwd") {
        auto forward = parse_host_forward(value);
        if (!forward) return error("hostfwd={}: {}", value, forward.error().message);
        o.forwards.push_back(std::move(*forward));
        return {};
    }
    if (key == "guestfwd" || key == "smb" || key == "smbserver")
        return error("{}= does not exist here yet; a service on the host's loopback is at 10.0.2.2 for the guest", key);
    return error(
        "a user network has no '{}'; it takes net, host, dns, dhcpstart, hostname, domainname, dnssearch, tftp, "
        "tftp-server-name, bootfile, restrict, hostfwd, ipv4, ipv6",
        key);
}

Result<void> set_socket(NetOptions& o, std::string_view key, std::string_view value) {
    if (key == "listen") return set_text(o.listen, value);
    if (key == "connect") return set_text(o.connect, value);
    if (key == "udp") return set_text(o.udp, value);
    if (key == "localaddr") return set_text(o.local, value);
    if (key == "mcast" || key == "fd") return error("{}= does not exist here; there are listen, connect and udp", key);
    return error("a socket network has no '{}'; it takes listen, connect, udp, localaddr", key);
}

Result<void> set_tap(NetOptions& o, std::string_view key, std::string_view value) {
    if (key == "ifname") return set_text(o.interface_name, value);
    if (key == "vnet_hdr") return set_switch(o.vnet_header, key, value);
    if (key == "script" || key == "downscript") {
        if (value == "no" || value.empty()) return {};
        return error("{}={}: no scripts are run here; set the interface up before, and give {}=no", key, value, key);
    }
    return error("a tap network has no '{}'; it takes ifname, vnet_hdr, script=no, downscript=no", key);
}

Result<void> check(const NetOptions& o) {
    if (o.kind != Kind::socket) return {};
    const int ways = !o.listen.empty() + !o.connect.empty() + !o.udp.empty();
    if (ways != 1) return error("a socket network takes one of listen=, connect= and udp=");
    if (!o.udp.empty() && o.local.empty()) return error("udp= needs localaddr=ADDRESS:PORT, where this end is");
    for (const std::string* end : {&o.listen, &o.connect, &o.udp, &o.local})
        if (!end->empty())
            if (auto good = parse_endpoint(*end); !good) return good.error();
    return {};
}

} // namespace

Result<std::pair<std::string, u16>> parse_endpoint(std::string_view text) {
    const std::size_t colon = text.rfind(':');
    if (colon == text.npos) return error("'{}' is not an address and a port, such as 127.0.0.1:1234", text);
    const auto port = parse_port(text.substr(colon + 1), false);
    if (!port) return port.error();
    std::string address(text.substr(0, colon));
    if (address == "localhost") address = "127.0.0.1";
    if (auto good = check_ipv4(address); !good) return good.error();
    return std::pair{address, *port};
}

Result<HostForward> parse_host_forward(std::string_view text, bool with_guest) {
    HostForward forward;
    if (text.starts_with("udp:"))
        forward.udp = true;
    else if (!text.starts_with("tcp:") && !text.starts_with(":"))
        return error("it begins with tcp: or udp:, as in tcp::2222-:22");
    std::string_view rest = text.substr(text.find(':') + 1);
    const std::size_t dash = rest.find('-');
    if (with_guest != (dash != rest.npos))
        return error("it {}", with_guest ? "has a host's end and a guest's, as in tcp::2222-:22"
                                         : "is a host's end only, as in tcp::2222");
    const auto end = [](std::string_view part, std::string& address, u16& port) -> Result<void> {
        const std::size_t colon = part.rfind(':');
        if (colon == part.npos) return error("'{}' is not an address and a port, such as 127.0.0.1:2222 or :22", part);
        const auto number = parse_port(part.substr(colon + 1), false);
        if (!number) return number.error();
        port = *number;
        address = part.substr(0, colon);
        if (address == "localhost") address = "127.0.0.1";
        return check_ipv4(address);
    };
    if (auto host = end(rest.substr(0, dash), forward.host_address, forward.host_port); !host) return host.error();
    if (with_guest)
        if (auto guest = end(rest.substr(dash + 1), forward.guest_address, forward.guest_port); !guest)
            return guest.error();
    return forward;
}

Result<NetOptions> parse_net(std::string_view kind, const std::vector<std::pair<std::string, std::string>>& keys) {
    NetOptions o;
    if (kind == "user")
        o.kind = Kind::user;
    else if (kind == "socket")
        o.kind = Kind::socket;
    else if (kind == "tap")
        o.kind = Kind::tap;
    else
        return error("there is no network '{}'; there are: user, socket, tap", kind);
    for (const auto& [key, value] : keys) {
        Result<void> set;
        if (key == "id")
            set = set_text(o.id, value);
        else if (key == "dump")
            set = set_text(o.capture, value);
        else
            set = o.kind == Kind::user     ? set_user(o, key, value)
                  : o.kind == Kind::socket ? set_socket(o, key, value)
                                           : set_tap(o, key, value);
        if (!set) return set.error();
    }
    if (auto good = check(o); !good) return good.error();
    return o;
}

} // namespace calque::backends
