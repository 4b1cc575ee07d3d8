#include "frontend/backends/io_loop.h"

#include <algorithm>
#include <csignal>
#include <sys/eventfd.h>
#include <unistd.h>

namespace calque::backends {

IoLoop::IoLoop() : wake_fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    // The thread inherits the mask: asynchronous signals belong to the main thread.
    sigset_t blocked, before;
    sigfillset(&blocked);
    for (const int fault : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT})
        sigdelset(&blocked, fault);
    pthread_sigmask(SIG_SETMASK, &blocked, &before);
    thread_ = std::thread([this] { run(); });
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

IoLoop::~IoLoop() {
    stop_ = true;
    wake();
    thread_.join();
    if (wake_fd_ >= 0) ::close(wake_fd_);
}

void IoLoop::add(PollSource& source) {
    if (on_loop_thread()) {
        sources_.push_back(&source);
    } else {
        std::lock_guard lock(mutex_);
        sources_.push_back(&source);
    }
    wake();
}

void IoLoop::remove(PollSource& source) {
    if (on_loop_thread()) {
        std::erase(sources_, &source);
    } else {
        std::lock_guard lock(mutex_);
        std::erase(sources_, &source);
    }
}

// A loop that is busy sees the mark before it sleeps; only one that sleeps needs the descriptor.
void IoLoop::wake() {
    woken_ = true;
    if (!sleeping_) return;
    const u64 one = 1;
    [[maybe_unused]] const ssize_t written = ::write(wake_fd_, &one, sizeof one); // Full means: woken already.
}

void IoLoop::run() {
    std::vector<pollfd> set;
    std::vector<std::pair<PollSource*, std::size_t>> owners; // Each source and where its descriptors begin.
    while (!stop_) {
        // What was asked for since the last round is done in this one, which therefore does not sleep; what is asked
        // for from here on is done in the next at the latest, for this round's sources are about to be settled.
        const bool woken = woken_.exchange(false);
        set.assign(1, {wake_fd_, POLLIN, 0});
        owners.clear();
        int timeout = -1;
        {
            std::lock_guard lock(mutex_);
            const std::vector<PollSource*> sources = sources_; // poll_set() may add and remove.
            for (PollSource* source : sources) {
                if (std::find(sources_.begin(), sources_.end(), source) == sources_.end()) continue;
                owners.emplace_back(source, set.size());
                source->poll_set(set);
                if (const int most = source->poll_timeout(); most >= 0)
                    timeout = timeout < 0 ? most : std::min(timeout, most);
            }
        }
        sleeping_ = true;
        if (woken || woken_) timeout = 0;
        const int ready = ::poll(set.data(), set.size(), timeout);
        sleeping_ = false;
        if (ready < 0) continue;
        u64 count = 0;
        if (set[0].revents != 0) {
            [[maybe_unused]] const ssize_t got = ::read(wake_fd_, &count, sizeof count);
        }
        dispatch(set, owners);
    }
}

void IoLoop::dispatch(const std::vector<pollfd>& set, const std::vector<std::pair<PollSource*, std::size_t>>& owners) {
    std::lock_guard lock(mutex_);
    for (std::size_t i = 0; i < owners.size(); ++i) {
        PollSource* source = owners[i].first;
        if (std::find(sources_.begin(), sources_.end(), source) == sources_.end()) continue;
        const std::size_t end = i + 1 < owners.size() ? owners[i + 1].second : set.size();
        source->poll_ready(std::span(set).subspan(owners[i].second, end - owners[i].second));
    }
}

} // namespace calque::backends
