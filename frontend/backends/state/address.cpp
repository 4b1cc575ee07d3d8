#include "frontend/backends/state/address.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

extern char** environ;

namespace calque::backends {

namespace {

constexpr int check_every = 100; // Milliseconds between looks at `cancelled`.

using Kind = StateAddress::Kind;

// The addresses of a host and port, or of a path.
struct Places {
    std::vector<std::pair<sockaddr_storage, socklen_t>> all;
};

Result<Places> find_places(const StateAddress& address, bool listens) {
    Places places;
    if (address.kind == Kind::unix_socket) {
        sockaddr_un at{};
        at.sun_family = AF_UNIX;
        if (address.text.empty() || address.text.size() >= sizeof at.sun_path)
            return error("the socket path '{}' has {} bytes; a Unix socket takes 1 to {}", address.text,
                         address.text.size(), sizeof at.sun_path - 1);
        std::copy(address.text.begin(), address.text.end(), at.sun_path);
        places.all.emplace_back();
        std::memcpy(&places.all[0].first, &at, sizeof at);
        places.all[0].second = sizeof at;
        return places;
    }
    addrinfo wanted{};
    wanted.ai_socktype = SOCK_STREAM;
    wanted.ai_flags = listens ? AI_PASSIVE : 0;
    addrinfo* found = nullptr;
    const char* host = address.text.empty() ? (listens ? "127.0.0.1" : "localhost") : address.text.c_str();
    if (const int problem = ::getaddrinfo(host, address.port.c_str(), &wanted, &found))
        return error("'{}' is no address ({})", address.name, ::gai_strerror(problem));
    for (const addrinfo* at = found; at; at = at->ai_next) {
        places.all.emplace_back();
        std::memcpy(&places.all.back().first, at->ai_addr, at->ai_addrlen);
        places.all.back().second = at->ai_addrlen;
    }
    ::freeaddrinfo(found);
    return places;
}

const sockaddr* generic(const std::pair<sockaddr_storage, socklen_t>& place) {
    return reinterpret_cast<const sockaddr*>(&place.first);
}

Result<UniqueFd> connect_to(const StateAddress& address, const std::atomic<bool>& cancelled) {
    const auto places = find_places(address, false);
    if (!places) return places.error();
    int problem = ECONNREFUSED;
    for (const auto& place : places->all) {
        UniqueFd fd(::socket(place.first.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
        problem = 0;
        if (!fd || ::connect(fd.get(), generic(place), place.second) != 0) problem = errno;
        while (problem == EINPROGRESS || problem == EAGAIN) {
            if (cancelled) return error("connecting to '{}' was cancelled", address.name);
            pollfd set{fd.get(), POLLOUT, 0};
            if (::poll(&set, 1, check_every) <= 0) continue;
            socklen_t size = sizeof problem;
            ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &problem, &size);
        }
        if (problem == 0) return fd;
    }
    return error("cannot connect to '{}' ({}); is there a machine started with -incoming?", address.name,
                 std::strerror(problem));
}

Result<UniqueFd> listen_at(const StateAddress& address) {
    const auto places = find_places(address, true);
    if (!places) return places.error();
    int problem = EADDRNOTAVAIL;
    struct stat info {};
    if (address.kind == Kind::unix_socket && ::lstat(address.text.c_str(), &info) == 0) {
        if (!S_ISSOCK(info.st_mode))
            return error("'{}' exists and is not a socket; remove it or give unix: another path", address.text);
        ::unlink(address.text.c_str()); // What is left of one that did not end in order.
    }
    for (const auto& place : places->all) {
        UniqueFd fd(::socket(place.first.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
        const int on = 1;
        if (fd) ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        if (fd && ::bind(fd.get(), generic(place), place.second) == 0 && ::listen(fd.get(), 1) == 0) return fd;
        problem = errno;
    }
    return error("cannot listen at '{}' ({})", address.name, std::strerror(problem));
}

// A shell with one end of a pipe; the other end is ours.
Result<UniqueFd> start_command(const StateAddress& address, bool feeds, int& process) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return error("no pipe for '{}' ({})", address.name, std::strerror(errno));
    UniqueFd reads(ends[0]), writes(ends[1]);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, feeds ? reads.get() : writes.get(), feeds ? 0 : 1);
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    sigset_t none, usual; // This process blocks and ignores signals that a shell expects.
    sigemptyset(&none);
    sigemptyset(&usual);
    sigaddset(&usual, SIGPIPE);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &usual);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    std::string shell = "/bin/sh", option = "-c", command = address.text;
    char* const words[] = {shell.data(), option.data(), command.data(), nullptr};
    pid_t child = -1;
    const int problem = ::posix_spawn(&child, "/bin/sh", &actions, &attributes, words, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    if (problem != 0) return error("'{}' cannot be started ({})", address.name, std::strerror(problem));
    process = child;
    return feeds ? std::move(writes) : std::move(reads);
}

// One that somebody opened for us is ours from now on: its other end is to see when we are done.
Result<UniqueFd> adopt(const StateAddress& address) {
    if (::fcntl(address.descriptor, F_SETFD, FD_CLOEXEC) < 0)
        return error("'{}' is no open descriptor ({})", address.name, std::strerror(errno));
    return UniqueFd(address.descriptor);
}

} // namespace

Result<StateAddress> parse_state_address(const std::string& uri, const std::function<int(const std::string&)>& named) {
    StateAddress address;
    address.name = uri;
    const std::size_t colon = uri.find(':');
    const std::string kind = uri.substr(0, colon);
    const std::string rest = colon == uri.npos ? "" : uri.substr(colon + 1);
    if (rest.empty() || (kind != "tcp" && kind != "unix" && kind != "exec" && kind != "file" && kind != "fd"))
        return error("'{}' is no place for a machine; there are tcp:HOST:PORT, unix:PATH, exec:COMMAND, file:PATH and "
                     "fd:NUMBER",
                     uri);
    address.text = rest;
    if (kind == "tcp") {
        const std::size_t split = rest.rfind(':');
        const std::string options = rest.substr(std::min(rest.find(','), rest.size()));
        if (split == rest.npos || split + 1 == rest.size() || !options.empty())
            return error("'{}' is no address; it is tcp:HOST:PORT", uri);
        address.kind = Kind::tcp;
        address.text = rest.substr(0, split);
        if (address.text.size() > 2 && address.text.front() == '[' && address.text.back() == ']')
            address.text = address.text.substr(1, address.text.size() - 2);
        address.port = rest.substr(split + 1);
    } else if (kind == "fd") {
        address.kind = Kind::descriptor;
        const auto [end, problem] = std::from_chars(rest.data(), rest.data() + rest.size(), address.descriptor);
        if (problem != std::errc() || end != rest.data() + rest.size() || address.descriptor < 3)
            address.descriptor = named ? named(rest) : -1;
        if (address.descriptor < 0) return error("'{}': there is no descriptor of that name; getfd takes one", uri);
    } else {
        address.kind = kind == "unix" ? Kind::unix_socket : kind == "exec" ? Kind::exec : Kind::file;
    }
    return address;
}

Result<std::unique_ptr<StateOutput>> StateOutput::open(const StateAddress& address,
                                                       const std::atomic<bool>& cancelled) {
    std::unique_ptr<StateOutput> output(new StateOutput());
    output->name_ = address.name;
    output->cancelled_ = &cancelled;
    if (address.kind == Kind::file) {
        auto file = StateFile::create(address.text);
        if (!file) return file.error();
        output->file_ = std::move(*file);
        return output;
    }
    auto fd = address.kind == Kind::exec         ? start_command(address, true, output->process_)
              : address.kind == Kind::descriptor ? adopt(address)
                                                 : connect_to(address, cancelled);
    if (!fd) return fd.error();
    output->sink_ = std::make_unique<DescriptorSink>(std::move(*fd), address.name, &cancelled);
    return output;
}

StateOutput::~StateOutput() {
    sink_.reset();
    if (process_ < 0) return;
    ::kill(process_, SIGTERM); // What it has is not whole.
    ::waitpid(process_, nullptr, 0);
}

Result<void> StateOutput::write(std::span<const u8> bytes) { return file_ ? file_->write(bytes) : sink_->write(bytes); }

Result<void> StateOutput::finish() {
    if (file_) return file_->commit();
    sink_.reset();
    while (process_ >= 0) {
        int status = 0;
        const pid_t ended = ::waitpid(process_, &status, WNOHANG);
        if (ended == 0) {
            if (*cancelled_) return error("'{}' was cancelled", name_);
            ::poll(nullptr, 0, 10);
            continue;
        }
        process_ = -1;
        if (ended < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
            return error("the command of '{}' failed (status {})", name_, WIFEXITED(status) ? WEXITSTATUS(status) : -1);
    }
    return {};
}

Result<std::unique_ptr<StateInput>> StateInput::open(const StateAddress& address) {
    std::unique_ptr<StateInput> input(new StateInput());
    input->name_ = address.name;
    Result<UniqueFd> fd = UniqueFd();
    switch (address.kind) {
    case Kind::tcp:
    case Kind::unix_socket:
        fd = listen_at(address);
        if (fd) input->listener_ = std::move(*fd);
        if (fd && address.kind == Kind::unix_socket) input->unix_path_ = address.text;
        break;
    case Kind::exec: fd = start_command(address, false, input->process_); break;
    case Kind::descriptor: fd = adopt(address); break;
    case Kind::file: {
        auto file = open_state_file(address.text, "-incoming");
        if (!file) return file.error();
        input->source_ = std::move(*file);
        return input;
    }
    }
    if (!fd) return fd.error();
    if (!input->listener_) input->opened_ = std::move(*fd);
    return input;
}

StateInput::~StateInput() {
    if (!unix_path_.empty()) ::unlink(unix_path_.c_str());
    source_.reset();
    opened_.reset();
    if (process_ < 0) return;
    ::kill(process_, SIGTERM);
    ::waitpid(process_, nullptr, 0);
}

Result<void> StateInput::accept(const std::atomic<bool>& cancelled) {
    while (listener_ && !opened_) {
        if (cancelled) return error("waiting at '{}' was cancelled", name_);
        pollfd set{listener_.get(), POLLIN, 0};
        if (::poll(&set, 1, check_every) <= 0) continue;
        opened_ = UniqueFd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    }
    listener_.reset();
    if (!source_) source_ = std::make_unique<DescriptorSource>(std::move(opened_), name_, &cancelled);
    return {};
}

} // namespace calque::backends
