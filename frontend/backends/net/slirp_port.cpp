#include "frontend/backends/net/slirp_port.h"

#include "devices/net/offload.h"

#include <algorithm>
#include <arpa/inet.h>
#include <charconv>
#include <cstdlib>
#include <ctime>
#include <slirp/libslirp.h>

namespace calque::backends {

namespace {

i64 clock_ns() {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * i64{1'000'000'000} + now.tv_nsec;
}
i64 clock_ms() { return clock_ns() / 1'000'000; }

in_addr ipv4(u32 host_order) { return in_addr{htonl(host_order)}; }

struct Network {
    u32 base, mask;
};

// "10.0.2.0/24" or "10.0.2.0/255.255.255.0".
Result<Network> parse_network(const std::string& text) {
    const std::size_t slash = text.find('/');
    in_addr base{}, mask{};
    unsigned bits = 24;
    const std::string address = text.substr(0, slash);
    if (::inet_pton(AF_INET, address.c_str(), &base) != 1)
        return error("net={} is not a network such as 10.0.2.0/24", text);
    if (slash != text.npos) {
        const std::string suffix = text.substr(slash + 1);
        if (::inet_pton(AF_INET, suffix.c_str(), &mask) == 1) {
            bits = static_cast<unsigned>(__builtin_popcount(ntohl(mask.s_addr)));
        } else {
            const auto [end, problem] = std::from_chars(suffix.data(), suffix.data() + suffix.size(), bits);
            if (problem != std::errc() || end != suffix.data() + suffix.size())
                return error("net={} is not a network such as 10.0.2.0/24", text);
        }
    }
    if (bits < 8 || bits > 27) return error("net={}: a network of the guest's own has a mask of 8 to 27 bits", text);
    const u32 netmask = ~u32{0} << (32 - bits);
    return Network{ntohl(base.s_addr) & netmask, netmask};
}

// An address of the network: as given, or at its usual place.
Result<in_addr> place(const std::string& given, const Network& network, u32 usual, std::string_view what) {
    if (given.empty()) return ipv4(network.base + usual);
    in_addr address{};
    ::inet_pton(AF_INET, given.c_str(), &address);
    if ((ntohl(address.s_addr) & network.mask) != network.base)
        return error("{}={} does not lie in the network", what, given);
    return address;
}

in_addr address_or_any(const std::string& text) {
    in_addr address{};
    if (!text.empty()) ::inet_pton(AF_INET, text.c_str(), &address);
    return address;
}

const char* or_null(const std::string& text) { return text.empty() ? nullptr : text.c_str(); }

Error not_forwarded(const HostForward& forward) {
    return error("the host's {} port {} cannot be forwarded; is it in use already?", forward.udp ? "UDP" : "TCP",
                 forward.host_port);
}

} // namespace

// What libslirp calls; all on the port's thread, or from create().
struct SlirpPort::Callbacks {
    static SlirpPort& port(void* opaque) { return *static_cast<SlirpPort*>(opaque); }

    static ssize_t send_packet(const void* data, size_t size, void* opaque) {
        port(opaque).connections_.to_guest({static_cast<const u8*>(data), size});
        port(opaque).merger_.add({static_cast<const u8*>(data), size}, port(opaque).client_takes_large());
        return static_cast<ssize_t>(size);
    }
    static void guest_error(const char* message, void* opaque) {
        port(opaque).log_.trace(Channel::net, "{}: {}", port(opaque).id(), message);
    }
    static int64_t clock_get_ns(void*) { return clock_ns(); }
    static void* timer_new(SlirpTimerId id, void* timer_opaque, void* opaque) {
        auto& timers = port(opaque).timers_;
        timers.push_back(std::make_unique<Timer>(Timer{static_cast<unsigned>(id), timer_opaque}));
        return timers.back().get();
    }
    static void timer_free(void* timer, void* opaque) {
        std::erase_if(port(opaque).timers_, [&](const auto& t) { return t.get() == timer; });
    }
    static void timer_mod(void* timer, int64_t deadline, void*) { static_cast<Timer*>(timer)->deadline = deadline; }
    static void notify(void* opaque) { port(opaque).loop().wake(); }
    static void no_poll_fd(int, void*) {} // The descriptors are asked for before each wait.

    static const SlirpCb& table() {
        static const SlirpCb callbacks = [] {
            SlirpCb c{};
            c.send_packet = send_packet;
            c.guest_error = guest_error;
            c.clock_get_ns = clock_get_ns;
            c.timer_new_opaque = timer_new;
            c.timer_free = timer_free;
            c.timer_mod = timer_mod;
            c.register_poll_fd = no_poll_fd;
            c.unregister_poll_fd = no_poll_fd;
            c.notify = notify;
            return c;
        }();
        return callbacks;
    }
};

Result<std::unique_ptr<SlirpPort>> SlirpPort::create(Log& log, const NetOptions& options) {
    std::unique_ptr<SlirpPort> port(new SlirpPort(log, options));
    if (auto started = port->start(); !started) return started.error();
    port->loop().add(*port);
    return port;
}

Result<void> SlirpPort::start() {
    const NetOptions& options = options_;
    const auto network = parse_network(options.network);
    if (!network) return network.error();
    const auto host = place(options.host, *network, 2, "host");
    const auto dns = place(options.dns, *network, 3, "dns");
    const auto dhcp = place(options.dhcp_start, *network, 15, "dhcpstart");
    for (const auto* address : {&host, &dns, &dhcp})
        if (!*address) return address->error();
    SlirpConfig config{};
    config.version = SLIRP_CONFIG_VERSION_MAX;
    config.restricted = options.restrict_to_guest;
    config.in_enabled = options.ipv4;
    config.vnetwork = ipv4(network->base);
    config.vnetmask = ipv4(network->mask);
    config.vhost = *host;
    config.vnameserver = *dns;
    config.vdhcp_start = *dhcp;
    config.in6_enabled = options.ipv6;
    ::inet_pton(AF_INET6, "fec0::", &config.vprefix_addr6);
    config.vprefix_len = 64;
    ::inet_pton(AF_INET6, "fec0::2", &config.vhost6);
    ::inet_pton(AF_INET6, "fec0::3", &config.vnameserver6);
    config.vhostname = or_null(options.host_name);
    config.vdomainname = or_null(options.domain);
    config.tftp_path = or_null(options.tftp);
    config.tftp_server_name = or_null(options.tftp_server_name);
    config.bootfile = or_null(options.boot_file);
    std::vector<const char*> search;
    for (const std::string& domain : options.dns_search)
        search.push_back(domain.c_str());
    search.push_back(nullptr);
    if (!options.dns_search.empty()) config.vdnssearch = search.data();
    slirp_ = slirp_new(&config, &Callbacks::table(), this);
    if (!slirp_) return error("user networking could not be set up");
    for (const HostForward& wanted : options.forwards)
        if (!forward(wanted)) return not_forwarded(wanted);
    return {};
}

SlirpPort::~SlirpPort() {
    loop().remove(*this);
    if (slirp_) slirp_cleanup(slirp_);
}

bool SlirpPort::forward(const HostForward& forward) {
    return slirp_add_hostfwd(slirp_, forward.udp, address_or_any(forward.host_address), forward.host_port,
                             address_or_any(forward.guest_address), forward.guest_port)
           >= 0;
}

Result<void> SlirpPort::add_forward(const HostForward& wanted) {
    const auto held = hold();
    if (!forward(wanted)) return not_forwarded(wanted);
    options_.forwards.push_back(wanted);
    loop().wake();
    return {};
}

Result<void> SlirpPort::remove_forward(const HostForward& forward) {
    const auto held = hold();
    if (slirp_remove_hostfwd(slirp_, forward.udp, address_or_any(forward.host_address), forward.host_port) < 0)
        return error("the host's {} port {} is not forwarded", forward.udp ? "UDP" : "TCP", forward.host_port);
    std::erase_if(options_.forwards, [&](const HostForward& other) {
        return other.udp == forward.udp && other.host_port == forward.host_port
               && other.host_address == forward.host_address;
    });
    return {};
}

std::string SlirpPort::describe() {
    const auto held = hold();
    char* const connections = slirp_connection_info(slirp_);
    std::string text = fmt::format("user\n{}", connections ? connections : "");
    std::free(connections); // Its allocator is the C library's.
    return text;
}

// libslirp's version of what follows, in four bytes; what it wrote; the connections.
std::vector<u8> SlirpPort::save_state() {
    const u32 version = static_cast<u32>(slirp_state_version());
    std::vector<u8> state;
    for (unsigned i = 0; i < 4; ++i)
        state.push_back(static_cast<u8>(version >> (8 * i)));
    slirp_state_save(
        slirp_,
        [](const void* data, size_t size, void* opaque) {
            const auto* bytes = static_cast<const u8*>(data);
            static_cast<std::vector<u8>*>(opaque)->insert(static_cast<std::vector<u8>*>(opaque)->end(), bytes,
                                                          bytes + size);
            return static_cast<ssize_t>(size);
        },
        &state);
    const std::vector<u8> connections = connections_.save();
    state.insert(state.end(), connections.begin(), connections.end());
    return state;
}

// A network of its own again: connections of a guest that is another one now would only confuse it. Those that the
// guest has go: nobody is at their other ends.
Result<void> SlirpPort::load_state(std::span<const u8> state) {
    slirp_cleanup(slirp_);
    timers_.clear();
    polled_ = false;
    if (auto started = start(); !started) return started;
    loop().wake();
    u32 version = 0;
    for (unsigned i = 0; i < 4 && i < state.size(); ++i)
        version |= u32{state[i]} << (8 * i);
    auto rest = state.subspan(std::min<std::size_t>(4, state.size()));
    if (static_cast<i64>(version) > slirp_state_version())
        return error("the saved state of the user network {} is of a newer libslirp", id());
    const int problem = slirp_state_load(
        slirp_, static_cast<int>(version),
        [](void* data, size_t size, void* opaque) {
            auto& rest = *static_cast<std::span<const u8>*>(opaque);
            const std::size_t part = std::min(size, rest.size());
            std::copy_n(rest.begin(), part, static_cast<u8*>(data));
            std::fill_n(static_cast<u8*>(data) + part, size - part, u8{0});
            rest = rest.subspan(part);
            return static_cast<ssize_t>(part);
        },
        &rest);
    if (problem < 0) return error("the saved state of the user network {} does not fit this libslirp", id());
    connections_.forget();
    resets_ = TcpConnections::resets_of(rest);
    send_resets_->schedule();
    return {};
}

void SlirpPort::transmit(std::span<const u8> frame) {
    connections_.from_guest(frame);
    slirp_input(slirp_, frame.data(), static_cast<int>(frame.size()));
    merger_.flush();
}

// The host's own stack takes segments of any length: only checksums and lengths have to be right.
bool SlirpPort::transmit_offloaded(std::span<const u8> frame, const devices::FrameOffload& offload) {
    if (offload.segments == devices::FrameOffload::Segments::none) return false;
    const auto where = devices::find_tcp(frame);
    constexpr std::size_t longest_packet = 65535;
    if (!where || frame.size() - where->network > longest_packet) return false;
    scratch_.assign(frame.begin(), frame.end());
    devices::finish_tcp(scratch_, *where);
    transmit(scratch_);
    return true;
}

namespace {
struct PollList {
    std::vector<pollfd>* set;
    std::size_t first;
};
constexpr std::pair<int, short> events[] = {{SLIRP_POLL_IN, POLLIN},
                                            {SLIRP_POLL_OUT, POLLOUT},
                                            {SLIRP_POLL_PRI, POLLPRI},
                                            {SLIRP_POLL_ERR, POLLERR},
                                            {SLIRP_POLL_HUP, POLLHUP}};
} // namespace

// What the guest does not take stays in the host's sockets.
void SlirpPort::poll_set(std::vector<pollfd>& set) {
    polled_ = !backed_up();
    if (!polled_) return;
    timeout_ = ~u32{0};
    PollList list{&set, set.size()};
    slirp_pollfds_fill(
        slirp_, &timeout_,
        [](int fd, int wanted, void* opaque) {
            auto& list = *static_cast<PollList*>(opaque);
            short mask = 0;
            for (const auto& [slirp, host] : events)
                if (wanted & slirp) mask = static_cast<short>(mask | host);
            list.set->push_back({fd, mask, 0});
            return static_cast<int>(list.set->size() - list.first - 1);
        },
        &list);
}

int SlirpPort::poll_timeout() {
    constexpr u32 backed_up_check = 100;
    i64 timeout = polled_ ? timeout_ : backed_up_check;
    if (timeout == ~u32{0}) timeout = -1;
    for (const auto& timer : timers_) {
        if (timer->deadline < 0) continue;
        const i64 left = std::max<i64>(timer->deadline - clock_ms(), 0);
        timeout = timeout < 0 ? left : std::min(timeout, left);
    }
    return static_cast<int>(std::min<i64>(timeout, 1'000'000));
}

void SlirpPort::poll_ready(std::span<const pollfd> ready) {
    if (polled_) {
        slirp_pollfds_poll(
            slirp_, 0,
            [](int index, void* opaque) {
                const auto& ready = *static_cast<std::span<const pollfd>*>(opaque);
                int found = 0;
                if (index < 0 || static_cast<std::size_t>(index) >= ready.size()) return found;
                for (const auto& [slirp, host] : events)
                    if (ready[static_cast<std::size_t>(index)].revents & host) found |= slirp;
                return found;
            },
            &ready);
    }
    run_timers();
    merger_.flush();
}

void SlirpPort::run_timers() {
    const i64 now = clock_ms();
    for (std::size_t i = 0; i < timers_.size(); ++i) {
        Timer& timer = *timers_[i];
        if (timer.deadline < 0 || timer.deadline > now) continue;
        timer.deadline = -1;
        slirp_handle_timer(slirp_, static_cast<SlirpTimerId>(timer.id), timer.opaque);
    }
}

} // namespace calque::backends
