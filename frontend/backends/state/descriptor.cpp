#include "frontend/backends/state/descriptor.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>

namespace calque::backends {

namespace {

constexpr int check_every = 100; // Milliseconds between looks at `cancelled`.
constexpr std::size_t read_ahead = std::size_t{1} << 16;

// The flag belongs to the open file, and files ignore it: only pipes and sockets need it.
void never_block(int fd) {
    struct stat info {};
    if (::fstat(fd, &info) == 0 && S_ISREG(info.st_mode)) return;
    const int flags = ::fcntl(fd, F_GETFL);
    if (flags >= 0) ::fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

// Waits until the descriptor can be used. False: it was cancelled.
bool wait_for(int fd, short events, const std::atomic<bool>* cancelled) {
    for (;;) {
        if (cancelled && *cancelled) return false;
        pollfd set{fd, events, 0};
        if (::poll(&set, 1, check_every) > 0) return true;
    }
}

bool again(int problem) { return problem == EAGAIN || problem == EWOULDBLOCK || problem == EINTR; }

} // namespace

DescriptorSink::DescriptorSink(UniqueFd fd, std::string name, const std::atomic<bool>* cancelled)
    : fd_(std::move(fd)), name_(std::move(name)), cancelled_(cancelled) {
    never_block(fd_.get());
}

Result<void> DescriptorSink::write(std::span<const u8> bytes) {
    while (!bytes.empty()) {
        if (cancelled_ && *cancelled_) return error("writing to '{}' was cancelled", name_);
        const ssize_t put = ::write(fd_.get(), bytes.data(), bytes.size());
        if (put > 0) {
            bytes = bytes.subspan(static_cast<std::size_t>(put));
            continue;
        }
        if (put < 0 && !again(errno)) return error("'{}' cannot be written ({})", name_, std::strerror(errno));
        wait_for(fd_.get(), POLLOUT, cancelled_);
    }
    return {};
}

DescriptorSource::DescriptorSource(UniqueFd fd, std::string name, const std::atomic<bool>* cancelled)
    : fd_(std::move(fd)), name_(std::move(name)), cancelled_(cancelled) {
    never_block(fd_.get());
}

Result<void> DescriptorSource::read(std::span<u8> bytes) {
    while (!bytes.empty()) {
        if (at_ < buffer_.size()) {
            const std::size_t part = std::min(bytes.size(), buffer_.size() - at_);
            std::memcpy(bytes.data(), buffer_.data() + at_, part);
            at_ += part;
            bytes = bytes.subspan(part);
            continue;
        }
        if (cancelled_ && *cancelled_) return error("reading from '{}' was cancelled", name_);
        // What is long goes where it belongs at once.
        const bool ahead = bytes.size() < read_ahead;
        if (ahead) buffer_.resize(read_ahead);
        u8* const to = ahead ? buffer_.data() : bytes.data();
        const ssize_t got = ::read(fd_.get(), to, ahead ? read_ahead : bytes.size());
        buffer_.resize(ahead && got > 0 ? static_cast<std::size_t>(got) : 0);
        at_ = 0;
        if (got == 0) return error("the saved state ends too early");
        if (got > 0 && !ahead) bytes = bytes.subspan(static_cast<std::size_t>(got));
        if (got > 0) continue;
        if (!again(errno)) return error("the saved state cannot be read ({})", std::strerror(errno));
        wait_for(fd_.get(), POLLIN, cancelled_);
    }
    return {};
}

Result<void> DescriptorSource::rewind() {
    buffer_.clear();
    at_ = 0;
    if (::lseek(fd_.get(), 0, SEEK_SET) != 0)
        return error("'{}' cannot be read again ({})", name_, std::strerror(errno));
    return {};
}

Result<std::unique_ptr<StateFile>> StateFile::create(const std::string& path) {
    struct stat info {};
    if (::stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode))
        return error("'{}' is not a plain file and cannot be replaced by one; give another name", path);
    UniqueFd fd(::open((path + ".part").c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (!fd) return error("'{}' cannot be written ({}); nothing was changed", path, std::strerror(errno));
    return std::unique_ptr<StateFile>(new StateFile(std::move(fd), path));
}

StateFile::~StateFile() {
    if (!committed_) ::unlink(temporary().c_str());
}

Error StateFile::failed(const std::string& why) const { return error("{}; nothing was changed", why); }

Result<void> StateFile::write(std::span<const u8> bytes) {
    if (auto done = sink_.write(bytes); !done) return failed(done.error().message);
    return {};
}

Result<void> StateFile::commit() {
    sink_.close();
    if (::rename(temporary().c_str(), path_.c_str()) != 0)
        return failed(fmt::format("'{}' cannot be written ({})", path_, std::strerror(errno)));
    committed_ = true;
    return {};
}

Result<std::unique_ptr<DescriptorSource>> open_state_file(const std::string& path, const std::string& option) {
    // Non-blocking: a pipe without a writer is refused below, not waited for.
    UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (!fd)
        return error("{} '{}' cannot be read ({}); check the name and its permissions", option, path,
                     std::strerror(errno));
    struct stat info {};
    if (::fstat(fd.get(), &info) != 0 || !S_ISREG(info.st_mode))
        return error("{} '{}' is not a plain file; give the path of the saved state itself", option, path);
    if (info.st_size == 0) return error("{} '{}' is empty; give a saved state", option, path);
    return std::make_unique<DescriptorSource>(std::move(fd), path);
}

} // namespace calque::backends
