#include "frontend/cli/daemon.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/wait.h>

namespace calque::cli {

Result<void> Daemon::start() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) < 0) return error("-daemonize: no pipe ({})", std::strerror(errno));
    backends::UniqueFd from_child(ends[0]);
    parent_ = backends::UniqueFd(ends[1]);
    const pid_t child = ::fork();
    if (child < 0) return error("-daemonize: no process ({})", std::strerror(errno));
    if (child == 0) {
        ::setsid();
        return {};
    }
    parent_.reset();
    char word;
    ssize_t got;
    do
        got = ::read(from_child.get(), &word, 1);
    while (got < 0 && errno == EINTR);
    ::_exit(got == 1 ? 0 : 1);
}

void Daemon::ready() {
    if (!parent_) return;
    const backends::UniqueFd nowhere(::open("/dev/null", O_RDWR | O_CLOEXEC));
    for (int fd = STDIN_FILENO; nowhere && fd <= STDERR_FILENO; ++fd)
        ::dup2(nowhere.get(), fd);
    const char word = 0;
    // A parent that is gone waits for nothing.
    [[maybe_unused]] const ssize_t told = ::write(parent_.get(), &word, 1);
    parent_.reset();
}

} // namespace calque::cli
