#include "frontend/backends/net/socket_port.h"

#include <arpa/inet.h>
#include <cerrno>
#include <cstring>
#include <netinet/tcp.h>
#include <sys/socket.h>

namespace calque::backends {

namespace {

constexpr std::size_t length_bytes = 4, receive_buffer = 256 << 10;

sockaddr_in address_of(const std::string& text) {
    const auto endpoint = parse_endpoint(text); // Checked with the options.
    sockaddr_in address{};
    address.sin_family = AF_INET;
    if (!endpoint) return address;
    address.sin_port = htons(endpoint->second);
    if (!endpoint->first.empty()) ::inet_pton(AF_INET, endpoint->first.c_str(), &address.sin_addr);
    return address;
}

UniqueFd new_socket(int type) { return UniqueFd(::socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)); }

bool bind_to(int fd, const sockaddr_in& address) {
    const int one = 1;
    ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    return ::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
}

void no_delay(int fd) {
    const int one = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

} // namespace

Result<std::unique_ptr<SocketPort>> SocketPort::create(Log& log, const NetOptions& options) {
    std::unique_ptr<SocketPort> port(new SocketPort(log, options.id));
    if (auto opened = port->open(options); !opened) return opened.error();
    port->loop().add(*port);
    return port;
}

Result<void> SocketPort::open(const NetOptions& options) {
    received_.resize(receive_buffer);
    if (!options.udp.empty()) return open_udp(options);
    if (!options.listen.empty()) {
        what_ = fmt::format("socket, listening at {}", options.listen);
        listener_ = new_socket(SOCK_STREAM);
        if (!bind_to(listener_.get(), address_of(options.listen)) || ::listen(listener_.get(), 1) != 0)
            return error("cannot listen at {} ({})", options.listen, std::strerror(errno));
        return {};
    }
    what_ = fmt::format("socket, connected to {}", options.connect);
    const sockaddr_in address = address_of(options.connect);
    socket_ = new_socket(SOCK_STREAM);
    no_delay(socket_.get());
    if (::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        if (errno != EINPROGRESS) return error("cannot connect to {} ({})", options.connect, std::strerror(errno));
        // Nobody there is found out at once on this machine, and for others when it turns out.
        pollfd wait{socket_.get(), POLLOUT, 0};
        constexpr int patience_ms = 5000;
        int problem = ETIMEDOUT;
        socklen_t size = sizeof problem;
        if (::poll(&wait, 1, patience_ms) > 0) ::getsockopt(socket_.get(), SOL_SOCKET, SO_ERROR, &problem, &size);
        if (problem != 0) return error("cannot connect to {} ({})", options.connect, std::strerror(problem));
    }
    return {};
}

Result<void> SocketPort::open_udp(const NetOptions& options) {
    what_ = fmt::format("socket, UDP from {} to {}", options.local, options.udp);
    datagrams_ = true;
    peer_ = address_of(options.udp);
    socket_ = new_socket(SOCK_DGRAM);
    if (!bind_to(socket_.get(), address_of(options.local)))
        return error("cannot use the local address {} ({})", options.local, std::strerror(errno));
    return {};
}

SocketPort::~SocketPort() { loop().remove(*this); }

std::string SocketPort::describe() {
    const auto held = hold();
    return fmt::format("{}{}\n", what_, listener_ ? socket_ ? ", with a peer" : ", without a peer" : "");
}

void SocketPort::transmit(std::span<const u8> frame) {
    if (!socket_) return;
    if (datagrams_) { // A datagram that does not fit or has nobody to go to is lost, as on any network.
        [[maybe_unused]] const ssize_t sent = ::sendto(socket_.get(), frame.data(), frame.size(), MSG_NOSIGNAL,
                                                       reinterpret_cast<const sockaddr*>(&peer_), sizeof peer_);
        return;
    }
    if (pending_.size() - written_ + frame.size() > most_pending) return;
    const u32 length = htonl(static_cast<u32>(frame.size()));
    const auto* const bytes = reinterpret_cast<const u8*>(&length);
    pending_.insert(pending_.end(), bytes, bytes + length_bytes);
    pending_.insert(pending_.end(), frame.begin(), frame.end());
    write_pending();
}

void SocketPort::write_pending() {
    while (written_ < pending_.size()) {
        const ssize_t sent =
            ::send(socket_.get(), pending_.data() + written_, pending_.size() - written_, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
        if (sent <= 0) return disconnect();
        written_ += static_cast<std::size_t>(sent);
    }
    pending_.clear();
    written_ = 0;
}

void SocketPort::disconnect() {
    log_.trace(Channel::net, "{}: the peer is gone", id());
    socket_.reset();
    pending_.clear();
    written_ = received_size_ = 0;
}

void SocketPort::poll_set(std::vector<pollfd>& set) {
    if (socket_) {
        const bool more = pending_.size() != written_;
        const short wanted = static_cast<short>((backed_up() ? 0 : POLLIN) | (more ? POLLOUT : 0));
        if (wanted) set.push_back({socket_.get(), wanted, 0});
    } else if (listener_) {
        set.push_back({listener_.get(), POLLIN, 0});
    }
}

void SocketPort::poll_ready(std::span<const pollfd> ready) {
    if (ready.empty() || ready[0].revents == 0) return;
    if (!socket_) return accept_peer();
    if (ready[0].revents & POLLOUT) write_pending();
    if (!socket_ || !(ready[0].revents & (POLLIN | POLLHUP | POLLERR))) return;
    datagrams_ ? read_datagrams() : read_stream();
}

void SocketPort::accept_peer() {
    socket_ = UniqueFd(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (socket_) no_delay(socket_.get());
}

// A length that no frame has ends the connection: there is no way to find the next frame.
void SocketPort::read_stream() {
    const ssize_t got = ::recv(socket_.get(), received_.data() + received_size_, received_.size() - received_size_, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) return disconnect();
    received_size_ += static_cast<std::size_t>(got);
    std::size_t at = 0;
    while (received_size_ - at >= length_bytes) {
        u32 length = 0;
        std::memcpy(&length, received_.data() + at, sizeof length);
        length = ntohl(length);
        if (length > devices::largest_frame) return disconnect();
        if (received_size_ - at - length_bytes < length) break;
        if (length >= devices::least_frame) deliver(std::span(received_).subspan(at + length_bytes, length), {});
        at += length_bytes + length;
    }
    std::memmove(received_.data(), received_.data() + at, received_size_ - at);
    received_size_ -= at;
}

void SocketPort::read_datagrams() {
    constexpr unsigned most_at_once = 64;
    for (unsigned i = 0; i < most_at_once && !backed_up(); ++i) {
        const ssize_t got = ::recv(socket_.get(), received_.data(), received_.size(), 0);
        if (got < 0) return; // Nothing more, or that nobody listened at the other end.
        const auto size = static_cast<std::size_t>(got);
        if (size >= devices::least_frame && size <= devices::largest_frame)
            deliver(std::span(received_).first(size), {});
    }
}

} // namespace calque::backends
