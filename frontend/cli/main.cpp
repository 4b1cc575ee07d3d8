// calque: options, connections, machine; and the signals that end it.
#include "frontend/cli/connections.h"
#include "frontend/cli/options.h"
#include "frontend/machine/machine.h"
#include "frontend/monitor/human_monitor.h"

#include <csignal>
#include <cstdio>
#include <fcntl.h>
#include <thread>
#include <unistd.h>

namespace calque::cli {
namespace {

int fail(const std::string& message) {
    fmt::print(stderr, "calque: {}\n", message);
    return 1;
}

// SIGINT, SIGTERM and SIGHUP end the machine in order. They are blocked everywhere and taken by one thread, which is
// free to use locks.
class Signals {
  public:
    Signals() {
        sigemptyset(&set_);
        for (int signal : {SIGINT, SIGTERM, SIGHUP, SIGUSR2})
            sigaddset(&set_, signal);
        pthread_sigmask(SIG_BLOCK, &set_, nullptr);
        std::signal(SIGPIPE, SIG_IGN);
    }
    ~Signals() {
        if (!thread_.joinable()) return;
        pthread_kill(thread_.native_handle(), SIGUSR2);
        thread_.join();
    }
    void watch(machine::Machine& machine) {
        thread_ = std::thread([this, &machine] {
            int signal = 0;
            while (sigwait(&set_, &signal) == 0 && signal != SIGUSR2)
                machine.request_quit(0);
        });
    }

  private:
    sigset_t set_;
    std::thread thread_;
};

// Removed again at the end.
class PidFile {
  public:
    ~PidFile() {
        if (!path_.empty()) ::unlink(path_.c_str());
    }
    Result<void> write(const std::string& path) {
        std::FILE* file = std::fopen(path.c_str(), "w");
        if (!file) return error("-pidfile '{}' cannot be written; check the folder and its permissions", path);
        fmt::print(file, "{}\n", ::getpid());
        std::fclose(file);
        path_ = path;
        return {};
    }

  private:
    std::string path_;
};

int run(const Options& options) {
    Log log;
    if (!options.log_file.empty())
        if (auto opened = log.open(options.log_file); !opened) return fail(opened.error().message);
    if (auto enabled = log.enable(options.channels); !enabled) return fail(enabled.error().message);

    Signals signals;
    PidFile pid_file;
    Connections connections(log);
    if (auto opened = connections.open(options); !opened) return fail(opened.error().message);
    auto machine = machine::Machine::create(options.machine, log, connections.chipset_backends());
    if (!machine) return fail(machine.error().message);
    if (!options.pid_file.empty())
        if (auto written = pid_file.write(options.pid_file); !written) return fail(written.error().message);

    connections.quit = [&] { (*machine)->request_quit(0); };
    connections.milliseconds = [&] { return (*machine)->clock().now() / 1'000'000; };
    std::vector<std::unique_ptr<monitor::HumanMonitor>> monitors;
    for (devices::CharBackend* backend : connections.monitors()) {
        monitors.push_back(std::make_unique<monitor::HumanMonitor>(**machine, *backend));
        monitors.back()->greet();
    }
    signals.watch(**machine);
    const machine::Ending ending = (*machine)->run();
    monitors.clear();
    if (!ending.report.empty()) fmt::print(stderr, "calque: {}\n", ending.report);
    if (options.stats) fmt::print(stderr, "{}", (*machine)->stats());
    return ending.status;
}

} // namespace
} // namespace calque::cli

int main(int argc, char** argv) {
    calque::backends::ensure_standard_files();
    const std::vector<std::string> arguments(argv + 1, argv + argc);
    auto options = calque::cli::parse_options(arguments);
    if (!options) return calque::cli::fail(options.error().message);
    if (!options->print.empty()) {
        fmt::print("{}", options->print);
        return 0;
    }
    if (options->machine.kernel.empty() && options->machine.bios.empty() && options->machine.load_state.empty())
        return calque::cli::fail(
            "there is nothing to start; give a -kernel (with -initrd and -append), or use ./run for the default guest");
    return calque::cli::run(*options);
}
