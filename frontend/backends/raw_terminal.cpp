#include "frontend/backends/raw_terminal.h"

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <termios.h>
#include <unistd.h>

namespace calque::backends {

namespace {

// The one piece of state that a signal handler can reach. Written before the handlers are installed and after they are
// gone.
struct Saved {
    int fd = -1;
    pid_t owner = 0; // A child of fork() leaves the terminal alone.
    termios before{};
    termios raw{};
};
Saved saved;
std::atomic<bool> in_use{false};
static_assert(std::atomic<bool>::is_always_lock_free);

constexpr int ending_signals[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGABRT};

// Setting a terminal from the background would stop the process with SIGTTOU, which is no use to anyone here.
void set_mode(const termios& mode) {
    sigset_t output, before;
    sigemptyset(&output);
    sigaddset(&output, SIGTTOU);
    pthread_sigmask(SIG_BLOCK, &output, &before);
    ::tcsetattr(saved.fd, TCSANOW, &mode);
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

// A terminal that is not the process's own (a pty that somebody else handed in) has no job control to respect.
bool in_foreground() {
    const pid_t group = ::tcgetpgrp(saved.fd);
    return group < 0 || group == ::getpgrp();
}

void restore() {
    if (in_use.load() && saved.owner == ::getpid()) set_mode(saved.before);
}

void raise_default(int number) {
    struct sigaction action {};
    action.sa_handler = SIG_DFL;
    ::sigaction(number, &action, nullptr);
    sigset_t unblocked;
    sigemptyset(&unblocked);
    sigaddset(&unblocked, number);
    ::raise(number);
    pthread_sigmask(SIG_UNBLOCK, &unblocked, nullptr); // It is delivered here.
}

void on_end(int number) {
    restore();
    raise_default(number);
}

void install(int number, void (*handler)(int));

void resume_raw() {
    if (in_use.load() && saved.owner == ::getpid() && in_foreground()) set_mode(saved.raw);
}

// The terminal is made raw again here too: raising the stop signal takes back a SIGCONT that was on its way, and the
// kernel ignores the stop where nobody could continue the process.
void on_suspend(int number) {
    restore();
    raise_default(number); // Stops here; goes on after SIGCONT.
    install(number, on_suspend);
    resume_raw();
}

void on_continue(int) { resume_raw(); }

void install(int number, void (*handler)(int)) {
    struct sigaction action {};
    action.sa_handler = handler;
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    ::sigaction(number, &action, nullptr);
}

// Only where nobody else handles the signal: a handler of the program's ends it in order, through the destructor.
void install_if_default(int number, void (*handler)(int)) {
    struct sigaction now {};
    if (::sigaction(number, nullptr, &now) == 0 && now.sa_handler == SIG_DFL) install(number, handler);
}

void uninstall(int number, void (*handler)(int)) {
    struct sigaction now {};
    if (::sigaction(number, nullptr, &now) == 0 && now.sa_handler == handler) install(number, SIG_DFL);
}

} // namespace

RawTerminal::RawTerminal(int fd, bool signals) {
    if (!::isatty(fd) || in_use.load()) return;
    saved.fd = fd;
    saved.owner = ::getpid();
    if (::tcgetattr(fd, &saved.before) < 0) return;
    saved.raw = saved.before;
    // Output processing stays: the program's own messages end in a bare newline.
    saved.raw.c_iflag &= ~static_cast<tcflag_t>(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
    saved.raw.c_lflag &= ~static_cast<tcflag_t>(ECHO | ECHONL | ICANON | IEXTEN | (signals ? 0 : ISIG));
    saved.raw.c_cflag &= ~static_cast<tcflag_t>(CSIZE | PARENB);
    saved.raw.c_cflag |= CS8;
    saved.raw.c_cc[VMIN] = 1;
    saved.raw.c_cc[VTIME] = 0;
    active_ = true;
    in_use = true;
    static const int at_exit = std::atexit(restore);
    static_cast<void>(at_exit);
    for (const int number : ending_signals)
        install_if_default(number, on_end);
    install_if_default(SIGTSTP, on_suspend);
    install_if_default(SIGCONT, on_continue);
    if (in_foreground()) set_mode(saved.raw);
}

RawTerminal::~RawTerminal() {
    if (!active_) return;
    restore();
    in_use = false;
    for (const int number : ending_signals)
        uninstall(number, on_end);
    uninstall(SIGTSTP, on_suspend);
    uninstall(SIGCONT, on_continue);
}

} // namespace calque::backends
