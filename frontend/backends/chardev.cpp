#include "frontend/backends/chardev.h"

#include "frontend/backends/raw_terminal.h"
#include "frontend/backends/socket_chardev.h"
#include "frontend/backends/stream_chardev.h"
#include "frontend/backends/vc_chardev.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <termios.h>

namespace calque::backends {

namespace {

constexpr std::size_t queue_limit = 16 << 20;
constexpr std::size_t pty_queue_limit = 64 << 10;

class NullChardev final : public Chardev {
  public:
    void transmit(std::span<const u8>) override {}
    void set_receiver(Receiver) override {}
    void resume() override {}
};

// A descriptor of our own for one that the process was given. A terminal or pipe is opened anew, so that making it
// non-blocking does not change it for the programs that share it; where that cannot be done it stays blocking, and
// poll() guards it.
UniqueFd twin(int fd) {
    struct stat info {};
    const int mode = ::fcntl(fd, F_GETFL);
    if (mode < 0 || ::fstat(fd, &info) < 0) return {};
    if (S_ISFIFO(info.st_mode) || ::isatty(fd)) {
        const std::string path = fmt::format("/proc/self/fd/{}", fd);
        const int opened = ::open(path.c_str(), (mode & O_ACCMODE) | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        if (opened >= 0) return UniqueFd(opened);
    }
    return UniqueFd(::fcntl(fd, F_DUPFD_CLOEXEC, 3));
}

class StdioChardev final : public StreamChardev {
  public:
    StdioChardev(IoLoop& loop, Log& log, bool signals)
        : StreamChardev(loop, log, "stdio", queue_limit), interactive_(::isatty(STDIN_FILENO)),
          terminal_(STDIN_FILENO, signals) {
        connect(twin(STDIN_FILENO), twin(STDOUT_FILENO));
        start();
    }
    ~StdioChardev() override { shut_down(); }
    bool interactive() const override { return interactive_; }

  private:
    bool interactive_;
    RawTerminal terminal_;
};

// The pty's other end stays open here too, or poll() would report a hang-up without end until someone opens it.
class PtyChardev final : public StreamChardev {
  public:
    PtyChardev(IoLoop& loop, Log& log, UniqueFd controller, UniqueFd terminal, std::string path)
        : StreamChardev(loop, log, "pty", pty_queue_limit), terminal_(std::move(terminal)), path_(std::move(path)) {
        UniqueFd out(::fcntl(controller.get(), F_DUPFD_CLOEXEC, 3));
        connect(std::move(controller), std::move(out));
        start();
    }
    ~PtyChardev() override { shut_down(); }
    std::string address() const override { return path_; }

  private:
    UniqueFd terminal_;
    std::string path_;
};

Result<std::unique_ptr<Chardev>> open_file(IoLoop& loop, Log& log, const ChardevOptions& options) {
    UniqueFd fd(::open(options.path.c_str(),
                       O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY | (options.append ? O_APPEND : O_TRUNC), 0666));
    if (!fd)
        return error("cannot write '{}' ({}); give file: a path that can be written", options.path,
                     std::strerror(errno));
    auto file = std::make_unique<StreamChardev>(loop, log, "file " + options.path, queue_limit);
    file->connect({}, std::move(fd));
    file->start();
    return std::unique_ptr<Chardev>(std::move(file));
}

Result<std::unique_ptr<Chardev>> open_pty(IoLoop& loop, Log& log) {
    UniqueFd controller(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK));
    char path[128];
    if (!controller || ::grantpt(controller.get()) < 0 || ::unlockpt(controller.get()) < 0
        || ::ptsname_r(controller.get(), path, sizeof path) != 0)
        return error("the host gives no pty ({}); use stdio, unix: or file: instead", std::strerror(errno));
    UniqueFd terminal(::open(path, O_RDWR | O_NOCTTY | O_CLOEXEC));
    if (!terminal) return error("cannot open the pty {} ({})", path, std::strerror(errno));
    termios mode{};
    ::tcgetattr(terminal.get(), &mode);
    ::cfmakeraw(&mode); // No echo: it would come back as input for the guest.
    ::tcsetattr(terminal.get(), TCSANOW, &mode);
    return std::unique_ptr<Chardev>(
        std::make_unique<PtyChardev>(loop, log, std::move(controller), std::move(terminal), path));
}

} // namespace

Result<std::unique_ptr<Chardev>> open_chardev(IoLoop& loop, Log& log, const ChardevOptions& options) {
    switch (options.kind) {
    case ChardevOptions::Kind::null: return std::unique_ptr<Chardev>(std::make_unique<NullChardev>());
    case ChardevOptions::Kind::stdio:
        return std::unique_ptr<Chardev>(std::make_unique<StdioChardev>(loop, log, options.signals));
    case ChardevOptions::Kind::file: return open_file(loop, log, options);
    case ChardevOptions::Kind::pty: return open_pty(loop, log);
    case ChardevOptions::Kind::vc: return std::unique_ptr<Chardev>(std::make_unique<VcChardev>(loop));
    case ChardevOptions::Kind::socket: return open_socket_chardev(loop, log, options);
    }
    return error("unknown kind of character backend");
}

void ensure_standard_files() {
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd)
        if (::fcntl(fd, F_GETFD) < 0 && errno == EBADF) {
            // open() takes the lowest free number, which is this one.
            [[maybe_unused]] const int opened = ::open("/dev/null", fd == STDIN_FILENO ? O_RDONLY : O_WRONLY);
        }
}

} // namespace calque::backends
