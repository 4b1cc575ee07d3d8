#include "frontend/backends/unix_chardev.h"

#include "frontend/backends/stream_chardev.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

namespace calque::backends {

namespace {

constexpr std::size_t queue_limit = 16 << 20;

class UnixChardev final : public StreamChardev {
  public:
    UnixChardev(IoLoop& loop, Log& log, std::string path, UniqueFd listener, UniqueFd peer)
        : StreamChardev(loop, log, "unix " + path, queue_limit), path_(std::move(path)),
          listener_(std::move(listener)) {
        if (peer) adopt(std::move(peer));
        start();
    }
    ~UnixChardev() override {
        shut_down();
        if (listener_) ::unlink(path_.c_str());
    }
    std::string address() const override { return path_; }

  private:
    void adopt(UniqueFd peer) {
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
    void disconnected(bool) override { close_both(); }

    const std::string path_;
    UniqueFd listener_;
};

Result<sockaddr_un> address_of(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.empty() || path.size() >= sizeof address.sun_path)
        return error("the socket path '{}' has {} bytes; a Unix socket takes 1 to {}", path, path.size(),
                     sizeof address.sun_path - 1);
    std::copy(path.begin(), path.end(), address.sun_path);
    return address;
}

Result<UniqueFd> listen_at(const std::string& path, const sockaddr_un& address) {
    struct stat info {};
    if (::lstat(path.c_str(), &info) == 0) {
        if (!S_ISSOCK(info.st_mode))
            return error("'{}' exists and is not a socket; remove it or give unix: another path", path);
        ::unlink(path.c_str());
    }
    UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!fd || ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0
        || ::listen(fd.get(), 1) < 0)
        return error("cannot listen on the socket '{}' ({})", path, std::strerror(errno));
    return fd;
}

} // namespace

Result<std::unique_ptr<Chardev>> open_unix_chardev(IoLoop& loop, Log& log, const ChardevOptions& options) {
    auto address = address_of(options.path);
    if (!address) return address.error();
    UniqueFd listener;
    UniqueFd peer;
    if (options.server) {
        auto listening = listen_at(options.path, *address);
        if (!listening) return listening.error();
        listener = std::move(*listening);
        if (options.wait) {
            fmt::print(stderr, "calque: waiting for a client on {}\n", options.path);
            peer = UniqueFd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
            if (!peer) return error("waiting on the socket '{}' failed ({})", options.path, std::strerror(errno));
        }
        ::fcntl(listener.get(), F_SETFL, O_NONBLOCK);
    } else {
        peer = UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        if (!peer || ::connect(peer.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address) < 0)
            return error("cannot connect to the socket '{}' ({}); start its server first, or add server=on,wait=off",
                         options.path, std::strerror(errno));
        ::fcntl(peer.get(), F_SETFL, O_NONBLOCK);
    }
    return std::unique_ptr<Chardev>(
        std::make_unique<UnixChardev>(loop, log, options.path, std::move(listener), std::move(peer)));
}

} // namespace calque::backends
