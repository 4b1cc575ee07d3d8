// The raw terminal and stdio, in a child process whose terminal the test holds.
#include "frontend/backends/chardev.h"
#include "frontend/backends/multiplexer.h"
#include "tests/backends/helpers.h"

#include <condition_variable>
#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>

namespace calque::backends {
namespace {

// What the child runs: an echo of the terminal through the multiplexer, until Ctrl-A x.
[[noreturn]] void run_echo() {
    {
        Log log;
        IoLoop loop;
        auto stdio = open_chardev(loop, log, *parse_short_chardev("mon:stdio"));
        std::mutex mutex;
        std::condition_variable ended;
        bool quit = false;
        Multiplexer::Commands commands;
        commands.quit = [&] {
            std::lock_guard lock(mutex);
            quit = true;
            ended.notify_one();
        };
        Multiplexer mux(loop, std::move(*stdio), commands);
        devices::CharBackend& channel = mux.add_channel(false);
        channel.set_receiver(
            {[] { return std::size_t{64}; }, [&](std::span<const u8> data) { channel.transmit(data); }, nullptr});
        channel.transmit(test::bytes("ready\n"));
        std::unique_lock lock(mutex);
        ended.wait(lock, [&] { return quit; });
        channel.set_receiver({});
    }
    ::exit(0);
}

class TerminalTest : public testing::Test {
  protected:
    TerminalTest() {
        controller = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
        EXPECT_EQ(::grantpt(controller), 0);
        EXPECT_EQ(::unlockpt(controller), 0);
        terminal = ::open(::ptsname(controller), O_RDWR | O_NOCTTY | O_CLOEXEC);
        EXPECT_GE(terminal, 0);
    }
    ~TerminalTest() override {
        if (child > 0) {
            ::kill(child, SIGKILL);
            ::waitpid(child, nullptr, 0);
        }
        ::close(terminal);
        ::close(controller);
    }
    void start() {
        child = ::fork();
        if (child == 0) {
            ::setsid();
            ::ioctl(terminal, TIOCSCTTY, 0);
            ::dup2(terminal, STDIN_FILENO);
            ::dup2(terminal, STDOUT_FILENO);
            run_echo();
        }
        ASSERT_TRUE(test::read_until(controller, "ready"));
    }
    bool echoes() {
        termios mode{};
        ::tcgetattr(terminal, &mode);
        return mode.c_lflag & ECHO;
    }
    // A child that does not end within the limit is ended, which no test takes for success.
    int wait_status() {
        int status = 0;
        const auto until = std::chrono::steady_clock::now() + test::limit;
        while (::waitpid(child, &status, WNOHANG) == 0) {
            if (std::chrono::steady_clock::now() > until) ::kill(child, SIGKILL);
            ::usleep(1000);
        }
        child = -1;
        return status;
    }
    int controller = -1, terminal = -1;
    pid_t child = -1;
};

TEST_F(TerminalTest, IsRawWhileRunningAndGivenBackOnCtrlAX) {
    EXPECT_TRUE(echoes());
    start();
    EXPECT_FALSE(echoes());
    ASSERT_EQ(::write(controller, "\x03k", 2), 2);
    EXPECT_TRUE(test::read_until(controller, "\x03k")) << "Ctrl-C reaches the guest";
    ASSERT_EQ(::write(controller, "\x01x", 2), 2);
    const int status = wait_status();
    EXPECT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), 0);
    EXPECT_TRUE(echoes());
}

TEST_F(TerminalTest, IsGivenBackWhenASignalEndsTheProcess) {
    start();
    ::kill(child, SIGTERM);
    const int status = wait_status();
    EXPECT_TRUE(WIFSIGNALED(status));
    EXPECT_EQ(WTERMSIG(status), SIGTERM);
    EXPECT_TRUE(echoes());
}

// As under a shell: the emulator is a job in the foreground of a session that someone else leads, and really stops.
TEST_F(TerminalTest, IsGivenBackWhileSuspended) {
    int reports[2];
    ASSERT_EQ(::pipe2(reports, O_CLOEXEC), 0);
    child = ::fork();
    if (child == 0) {
        ::setsid();
        ::ioctl(terminal, TIOCSCTTY, 0);
        ::signal(SIGTTOU, SIG_IGN);
        const pid_t job = ::fork();
        if (job == 0) {
            ::setpgid(0, 0);
            ::tcsetpgrp(terminal, ::getpid());
            ::signal(SIGTTOU, SIG_DFL);
            ::dup2(terminal, STDIN_FILENO);
            ::dup2(terminal, STDOUT_FILENO);
            run_echo();
        }
        [[maybe_unused]] ssize_t written = ::write(reports[1], &job, sizeof job);
        int status = 0;
        while (::waitpid(job, &status, WUNTRACED) == job && WIFSTOPPED(status))
            written = ::write(reports[1], "s", 1);
        ::_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 99);
    }
    ::close(reports[1]);
    pid_t job = 0;
    ASSERT_EQ(::read(reports[0], &job, sizeof job), static_cast<ssize_t>(sizeof job));
    EXPECT_TRUE(test::read_until(controller, "ready"));
    EXPECT_FALSE(echoes());
    ::kill(job, SIGTSTP);
    EXPECT_EQ(test::read_bytes(reports[0], 1), "s");
    EXPECT_TRUE(echoes());
    ::kill(job, SIGCONT);
    const auto until = std::chrono::steady_clock::now() + test::limit;
    while (echoes() && std::chrono::steady_clock::now() < until)
        ::usleep(1000);
    EXPECT_FALSE(echoes());
    EXPECT_EQ(::write(controller, "\x01x", 2), 2);
    const int status = wait_status();
    EXPECT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), 0);
    EXPECT_TRUE(echoes());
    ::close(reports[0]);
}

// stdin closed, stdout a pipe: output comes, nothing spins or fails.
TEST(StdioTest, WorksWithoutStandardInput) {
    int output[2];
    ASSERT_EQ(::pipe2(output, O_CLOEXEC), 0);
    const pid_t child = ::fork();
    if (child == 0) {
        ::close(STDIN_FILENO);
        ::dup2(output[1], STDOUT_FILENO);
        ensure_standard_files();
        {
            Log log;
            IoLoop loop;
            auto stdio = open_chardev(loop, log, *parse_short_chardev("stdio"));
            (*stdio)->set_receiver({[] { return std::size_t{1}; }, [](std::span<const u8>) {}, nullptr});
            (*stdio)->transmit(test::bytes("output"));
            (*stdio)->set_receiver({});
        }
        ::_exit(0);
    }
    ::close(output[1]);
    EXPECT_EQ(test::read_bytes(output[0], 100), "output");
    ::close(output[0]);
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_TRUE(WIFEXITED(status));
}

} // namespace
} // namespace calque::backends
