#include "frontend/backends/socket_chardev.h"

#include "frontend/backends/stream_chardev.h"

#include <algorithm>
#include <arpa/inet.h>
#include <cerrno>
#include <cstring>
#include <deque>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

namespace calque::backends {

namespace {

constexpr std::size_t queue_limit = 16 << 20;

class SocketChardev final : public StreamChardev {
  public:
    // `path` is a Unix socket's that goes with the listener; empty: none.
    SocketChardev(IoLoop& loop, Log& log, const std::string& name, std::string path, UniqueFd listener, UniqueFd peer)
        : StreamChardev(loop, log, name, queue_limit), path_(std::move(path)), listener_(std::move(listener)) {
        if (peer) adopt(std::move(peer));
        start();
    }
    ~SocketChardev() override {
        shut_down();
        if (listener_ && !path_.empty()) ::unlink(path_.c_str());
    }
    std::string address() const override { return label_; }
    int take_descriptor() override {
        std::lock_guard lock(passed_mutex_);
        if (passed_.empty()) return -1;
        UniqueFd oldest = std::move(passed_.front());
        passed_.pop_front();
        return oldest.release();
    }

  private:
    void adopt(UniqueFd peer) {
        const int on = 1;
        ::setsockopt(peer.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); // Not for a Unix socket: it says so.
        ::setsockopt(peer.get(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on); // A client whose host has gone leaves too.
        UniqueFd out(::fcntl(peer.get(), F_DUPFD_CLOEXEC, 3));
        connect(std::move(peer), std::move(out));
    }

    // One client at a time: the next one waits in the listener's queue until this one leaves.
    void poll_set(std::vector<pollfd>& set) override {
        StreamChardev::poll_set(set);
        if (listener_ && !has_peer()) set.push_back({listener_.get(), POLLIN, 0});
    }
    void poll_ready(std::span<const pollfd> ready) override {
        StreamChardev::poll_ready(ready);
        for (const pollfd& p : ready) {
            if (!p.revents || !listener_ || p.fd != listener_.get()) continue;
            UniqueFd peer(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
            if (peer) adopt(std::move(peer));
        }
    }
    void disconnected(bool) override {
        close_both();
        std::lock_guard lock(passed_mutex_);
        passed_.clear();
    }
    ssize_t read_some(int fd, std::span<u8> bytes) override {
        iovec part{bytes.data(), bytes.size()};
        alignas(cmsghdr) char control[CMSG_SPACE(most_passed * sizeof(int))];
        msghdr message{};
        message.msg_iov = &part;
        message.msg_iovlen = 1;
        message.msg_control = control;
        message.msg_controllen = sizeof control;
        const ssize_t got = ::recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
        if (got < 0) return got;
        for (cmsghdr* item = CMSG_FIRSTHDR(&message); item; item = CMSG_NXTHDR(&message, item)) {
            if (item->cmsg_level != SOL_SOCKET || item->cmsg_type != SCM_RIGHTS) continue;
            const std::size_t count = (item->cmsg_len - CMSG_LEN(0)) / sizeof(int);
            std::lock_guard lock(passed_mutex_);
            for (std::size_t i = 0; i < count; ++i) {
                int passed;
                std::memcpy(&passed, CMSG_DATA(item) + i * sizeof(int), sizeof passed);
                UniqueFd owned(passed);
                if (passed_.size() < most_passed) passed_.push_back(std::move(owned));
            }
        }
        return got;
    }

    static constexpr std::size_t most_passed = 16; // That nobody has taken; further ones are closed.
    const std::string path_;
    UniqueFd listener_;
    std::mutex passed_mutex_;
    std::deque<UniqueFd> passed_;
};

// Where a socket is, as the system has it and as people do.
struct Address {
    sockaddr_storage storage{};
    socklen_t size = 0;
    std::string name;

    const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

Result<Address> unix_address(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path)
        return error("the socket path '{}' has {} bytes; a Unix socket takes 1 to {}", path, path.size(),
                     sizeof address.sun_path - 1);
    std::copy(path.begin(), path.end(), address.sun_path);
    Address out;
    std::memcpy(&out.storage, &address, sizeof address);
    out.size = sizeof address;
    out.name = "unix:" + path;
    return out;
}

Result<Address> tcp_address(const std::string& host, u16 port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    const std::string numbers = host.empty() ? "127.0.0.1" : host;
    if (::inet_pton(AF_INET, numbers.c_str(), &address.sin_addr) != 1)
        return error("'{}' is not an IPv4 address such as 127.0.0.1", host);
    Address out;
    std::memcpy(&out.storage, &address, sizeof address);
    out.size = sizeof address;
    out.name = fmt::format("tcp:{}:{}", numbers, port);
    return out;
}

// What is left of a server that did not end in order goes; no other file does.
Result<void> make_room(const std::string& path) {
    struct stat info {};
    if (path.empty() || ::lstat(path.c_str(), &info) != 0) return {};
    if (!S_ISSOCK(info.st_mode))
        return error("'{}' exists and is not a socket; remove it or give unix: another path", path);
    ::unlink(path.c_str());
    return {};
}

Result<UniqueFd> listen_at(const Address& address) {
    UniqueFd fd(::socket(address.get()->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int on = 1;
    if (fd) ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (!fd || ::bind(fd.get(), address.get(), address.size) < 0 || ::listen(fd.get(), 1) < 0)
        return error("cannot listen on the socket '{}' ({})", address.name, std::strerror(errno));
    return fd;
}

Result<UniqueFd> connect_to(const Address& address) {
    UniqueFd fd(::socket(address.get()->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!fd || ::connect(fd.get(), address.get(), address.size) < 0)
        return error("cannot connect to the socket '{}' ({}); start its server first, or add server=on,wait=off",
                     address.name, std::strerror(errno));
    return fd;
}

// A descriptor that whoever started the process opened.
Result<UniqueFd> inherited(const ChardevOptions& options) {
    int listens = 0;
    socklen_t size = sizeof listens;
    if (::getsockopt(options.descriptor, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) < 0)
        return error("fd={} is no socket that this process was started with", options.descriptor);
    if ((listens != 0) != options.server)
        return error("fd={} {}", options.descriptor,
                     listens ? "listens: add server=on" : "does not listen: leave server=on out");
    ::fcntl(options.descriptor, F_SETFD, FD_CLOEXEC);
    return UniqueFd(options.descriptor);
}

} // namespace

Result<std::unique_ptr<Chardev>> open_socket_chardev(IoLoop& loop, Log& log, const ChardevOptions& options) {
    Address address;
    address.name = fmt::format("fd:{}", options.descriptor);
    Result<UniqueFd> opened = UniqueFd();
    if (options.descriptor >= 0) {
        opened = inherited(options);
    } else {
        auto named = options.port ? tcp_address(options.host, options.port) : unix_address(options.path);
        if (!named) return named.error();
        address = std::move(*named);
        if (options.server)
            if (auto made = make_room(options.path); !made) return made.error();
        opened = options.server ? listen_at(address) : connect_to(address);
    }
    if (!opened) return opened.error();
    UniqueFd listener, peer = std::move(*opened);
    if (options.server) {
        listener = std::move(peer);
        if (options.wait) {
            fmt::print(stderr, "calque: waiting for a client on {}\n", address.name);
            peer = UniqueFd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
            if (!peer) return error("waiting on the socket '{}' failed ({})", address.name, std::strerror(errno));
        }
        ::fcntl(listener.get(), F_SETFL, O_NONBLOCK);
    }
    if (peer) ::fcntl(peer.get(), F_SETFL, O_NONBLOCK);
    return std::unique_ptr<Chardev>(
        std::make_unique<SocketChardev>(loop, log, address.name, options.path, std::move(listener), std::move(peer)));
}

} // namespace calque::backends
