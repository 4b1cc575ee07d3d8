// What -netdev and -nic ask for.
#pragma once

#include "base/result.h"
#include "base/types.h"

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace calque::backends {

// A host port that leads to a port in the guest: "tcp:127.0.0.1:2222-10.0.2.15:22", everything but the ports optional.
struct HostForward {
    bool udp = false;
    std::string host_address; // Empty: all of the host's.
    u16 host_port = 0;
    std::string guest_address; // Empty: the first that DHCP gives out.
    u16 guest_port = 0;
};
Result<HostForward> parse_host_forward(std::string_view text, bool with_guest = true);

struct NetOptions {
    enum class Kind : u8 { user, socket, tap };
    Kind kind = Kind::user;
    std::string id;
    std::string capture; // A file; empty: none.
    std::size_t capture_length = 65536;

    // user
    bool restrict_to_guest = false, ipv4 = true, ipv6 = true;
    std::string network = "10.0.2.0/24", host, dns, dhcp_start, host_name, domain, tftp, tftp_server_name, boot_file;
    std::vector<std::string> dns_search;
    std::vector<HostForward> forwards;
    // socket: one of listen and connect (TCP), or udp with local.
    std::string listen, connect, udp, local;
    // tap
    std::string interface_name;
    bool vnet_header = true;
};

// Each key and value in order. `known` gets the names of the keys that this kind takes, for messages.
Result<NetOptions> parse_net(std::string_view kind, const std::vector<std::pair<std::string, std::string>>& keys);

// "ADDRESS:PORT" as two; an empty address is any.
Result<std::pair<std::string, u16>> parse_endpoint(std::string_view text);

} // namespace calque::backends
