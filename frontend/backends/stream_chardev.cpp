#include "frontend/backends/stream_chardev.h"

#include <algorithm>
#include <cerrno>
#include <sys/socket.h>

namespace calque::backends {

namespace {
constexpr std::size_t read_chunk = 4096;
// A pipe that poll() calls writable takes this much without blocking, even when it is in blocking mode (POSIX
// PIPE_BUF).
constexpr std::size_t write_chunk = 4096;
constexpr int drain_milliseconds = 2000;

ssize_t write_some(int fd, const u8* data, std::size_t size) {
    const ssize_t sent = ::send(fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    return sent < 0 && errno == ENOTSOCK ? ::write(fd, data, size) : sent;
}

bool try_again() { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR; }
} // namespace

StreamChardev::StreamChardev(IoLoop& loop, Log& log, std::string label, std::size_t queue_limit)
    : loop_(loop), log_(log), label_(std::move(label)), queue_limit_(queue_limit) {}

StreamChardev::~StreamChardev() { shut_down(); }

void StreamChardev::connect(UniqueFd in, UniqueFd out) {
    std::lock_guard lock(queue_mutex_);
    in_ = std::move(in);
    out_ = std::move(out);
    open_ = static_cast<bool>(out_);
    announced_ = false;
}

void StreamChardev::start() {
    started_ = true;
    loop_.add(*this);
}

void StreamChardev::shut_down() {
    if (!started_) return;
    started_ = false;
    loop_.remove(*this);
    set_receiver({});
    drain();
    if (const u64 lost = dropped_bytes())
        log_.trace(Channel::serial, "{}: {} bytes of output were dropped, the host did not take them", label_, lost);
}

void StreamChardev::drain() {
    std::unique_lock lock(queue_mutex_);
    while (open_ && !queue_.empty()) {
        pollfd wait{out_.get(), POLLOUT, 0};
        if (::poll(&wait, 1, drain_milliseconds) <= 0) return;
        lock.unlock();
        const bool good = write_output();
        lock.lock();
        if (!good) return;
    }
}

void StreamChardev::transmit(std::span<const u8> bytes) {
    bool first = false;
    {
        std::lock_guard lock(queue_mutex_);
        if (!open_) return;
        first = queue_.empty();
        const std::size_t taken = std::min(bytes.size(), queue_limit_ - std::min(queue_limit_, queue_.size()));
        queue_.insert(queue_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(taken));
        if (taken < bytes.size()) dropped_ += bytes.size() - taken;
    }
    if (first) loop_.wake();
}

// Without an output nothing waits: transmit() forgets it.
std::size_t StreamChardev::transmit_room() {
    std::lock_guard lock(queue_mutex_);
    if (!open_) return ~std::size_t{0};
    const std::size_t room = queue_limit_ - std::min(queue_limit_, queue_.size());
    full_ |= room == 0;
    return room;
}

void StreamChardev::announce_drained() {
    {
        std::lock_guard lock(queue_mutex_);
        if (!full_ || (open_ && queue_.size() > queue_limit_ / 2)) return;
        full_ = false;
    }
    std::lock_guard lock(receiver_mutex_);
    if (receiver_.drained) receiver_.drained();
}

void StreamChardev::set_receiver(Receiver receiver) {
    {
        std::lock_guard lock(receiver_mutex_);
        receiver_ = std::move(receiver);
    }
    loop_.wake();
}

void StreamChardev::resume() {
    if (starved_.exchange(false)) loop_.wake();
}

void StreamChardev::announce() {
    if (announced_) return;
    std::lock_guard lock(receiver_mutex_);
    if (!receiver_.deliver) return; // It is announced to whoever listens first.
    announced_ = true;
    if (receiver_.opened) receiver_.opened();
}

std::size_t StreamChardev::receiver_room() {
    std::lock_guard lock(receiver_mutex_);
    if (!receiver_.room || !receiver_.deliver) return 0;
    starved_ = true; // Before asking, so that room made meanwhile is not missed.
    const std::size_t room = receiver_.room();
    if (room) starved_ = false;
    return room;
}

void StreamChardev::poll_set(std::vector<pollfd>& set) {
    announce();
    if (in_ && receiver_room() > 0) set.push_back({in_.get(), POLLIN, 0});
    std::lock_guard lock(queue_mutex_);
    if (open_ && !queue_.empty()) set.push_back({out_.get(), POLLOUT, 0});
}

void StreamChardev::poll_ready(std::span<const pollfd> ready) {
    for (const pollfd& p : ready) {
        if (!p.revents) continue;
        if ((p.events & POLLIN) && in_ && p.fd == in_.get()) read_input();
        if ((p.events & POLLOUT) && out_ && p.fd == out_.get() && !write_output()) disconnected(true);
    }
    announce_drained();
}

ssize_t StreamChardev::read_some(int fd, std::span<u8> bytes) { return ::read(fd, bytes.data(), bytes.size()); }

void StreamChardev::read_input() {
    const std::size_t room = receiver_room();
    if (room == 0) return;
    u8 buffer[read_chunk];
    const ssize_t got = read_some(in_.get(), std::span(buffer).first(std::min(room, sizeof buffer)));
    if (got < 0 && try_again()) return;
    if (got <= 0) return disconnected(false);
    std::lock_guard lock(receiver_mutex_);
    if (receiver_.deliver) receiver_.deliver(std::span<const u8>(buffer, static_cast<std::size_t>(got)));
}

bool StreamChardev::write_output() {
    std::lock_guard lock(queue_mutex_);
    if (!open_) return true;
    const ssize_t sent =
        write_some(out_.get(), queue_.data() + written_, std::min(queue_.size() - written_, write_chunk));
    if (sent < 0) return try_again();
    written_ += static_cast<std::size_t>(sent);
    if (written_ * 2 >= queue_.size()) {
        queue_.erase(queue_.begin(), queue_.begin() + static_cast<std::ptrdiff_t>(written_));
        written_ = 0;
    }
    return true;
}

void StreamChardev::disconnected(bool output) {
    if (output)
        close_output();
    else
        in_.reset();
}

void StreamChardev::close_both() {
    in_.reset();
    close_output();
    std::lock_guard lock(receiver_mutex_);
    if (receiver_.closed) receiver_.closed();
}

void StreamChardev::close_output() {
    std::lock_guard lock(queue_mutex_);
    open_ = false;
    queue_.clear();
    written_ = 0;
    out_.reset();
}

} // namespace calque::backends
