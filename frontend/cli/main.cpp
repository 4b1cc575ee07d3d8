// calque: options, connections, machine; and the signals that end it.
#include "frontend/cli/connections.h"
#include "frontend/cli/daemon.h"
#include "frontend/cli/options.h"
#include "frontend/console/vnc_server.h"
#include "frontend/console/window.h"
#include "frontend/gdb/server.h"
#include "frontend/machine/machine.h"
#include "frontend/monitor/human_monitor.h"
#include "frontend/qmp/server.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <map>
#include <sys/stat.h>
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
    ~Signals() { stop(); }
    // After it returns the machine is not asked any more.
    void stop() {
        if (!thread_.joinable()) return;
        done_ = true;
        pthread_kill(thread_.native_handle(), SIGUSR2);
        thread_.join();
    }
    void watch(machine::Machine& machine) {
        thread_ = std::thread([this, &machine] {
            int signal = 0;
            while (sigwait(&set_, &signal) == 0 && !done_)
                if (signal != SIGUSR2) machine.request_quit(0);
        });
    }

  private:
    sigset_t set_;
    std::atomic<bool> done_{false};
    std::thread thread_;
};

// Removed again at the end, also when writing it failed half-way.
class PidFile {
  public:
    ~PidFile() {
        if (!path_.empty()) ::unlink(path_.c_str());
    }
    Result<void> write(const std::string& path) {
        std::FILE* file = std::fopen(path.c_str(), "we");
        bool written = file != nullptr;
        if (file) {
            struct stat info {};
            if (::fstat(::fileno(file), &info) == 0 && S_ISREG(info.st_mode)) path_ = path; // Never a device.
            const std::string text = fmt::format("{}\n", ::getpid());
            written = std::fwrite(text.data(), 1, text.size(), file) == text.size();
            written = std::fclose(file) == 0 && written;
        }
        if (!written)
            return error("-pidfile '{}' cannot be written ({}); check the folder and its permissions", path,
                         std::strerror(errno));
        return {};
    }

  private:
    std::string path_;
};

// Where a window was not asked for by name, a display that cannot be reached is no error.
Result<std::unique_ptr<console::HostDisplay>> find_display(Options& options) {
    std::unique_ptr<console::HostDisplay> none;
    const bool wanted = options.window.asked || console::display_is_named();
    if (options.no_graphic || options.display_none || !wanted) return none;
    auto display = console::connect_display();
    if (!display && options.window.asked) return error("-display sdl: {}", display.error().message);
    if (!display) {
        fmt::print(stderr, "calque: no window: {}\n", display.error().message);
        return none;
    }
    options.has_window = true;
    return display;
}

Result<std::unique_ptr<console::Window>> open_window(console::HostDisplay& display, machine::Machine& machine,
                                                     Connections& connections, const Options& options) {
    std::vector<console::ConsolePlace> places;
    for (const auto& place : connections.window_consoles())
        places.push_back({place.name, place.backend});
    console::WindowOptions wanted;
    wanted.full_screen = options.window.full_screen;
    wanted.window_close = options.window.close;
    wanted.show_cursor = options.window.show_cursor;
    wanted.keyboard = options.window.keyboard;
    return display.open(machine, std::move(places), wanted, [&] { return connections.try_window_input(); });
}

// The window has the main thread; the machine's requests are carried out on another.
machine::Ending run_machine(machine::Machine& machine, console::Window* window) {
    if (!window) return machine.run();
    machine::Ending ending;
    std::thread runner([&] {
        ending = machine.run();
        window->end();
    });
    window->run();
    runner.join();
    return ending;
}

int run(Options options) {
    Daemon daemon;
    if (options.daemonize)
        if (auto started = daemon.start(); !started) return fail(started.error().message);
    Log log;
    if (!options.log_file.empty())
        if (auto opened = log.open(options.log_file); !opened) return fail(opened.error().message);
    if (auto enabled = log.enable(options.channels); !enabled) return fail(enabled.error().message);

    Signals signals;
    PidFile pid_file;
    auto display = find_display(options);
    if (!display) return fail(display.error().message);
    // The status line shows how fast the guest is.
    if (*display && !options.machine.translator.counting) options.machine.translator.counting = jit::Counting::speed;
    Connections connections(log);
    if (auto opened = connections.open(options); !opened) return fail(opened.error().message);
    auto machine = machine::Machine::create(options.machine, log, connections.chipset_backends());
    if (!machine) return fail(machine.error().message);
    if (!options.pid_file.empty())
        if (auto written = pid_file.write(options.pid_file); !written) return fail(written.error().message);

    qmp::Server control(**machine, connections.surroundings(options));
    for (devices::CharBackend* place : connections.controls())
        control.add(*place);
    std::unique_ptr<console::VncServer> remote;
    if (options.vnc.asked) {
        auto opened = console::VncServer::open(**machine,
                                               {options.vnc.address, options.vnc.port, options.vnc.wants_password,
                                                options.vnc.password, options.window.keyboard},
                                               [&] { return connections.try_window_input(); });
        if (!opened) return fail(opened.error().message);
        remote = std::move(*opened);
        (*machine)->set_remote_screen(remote.get());
    }
    std::vector<std::unique_ptr<monitor::HumanMonitor>> monitors;
    std::multimap<std::string, monitor::HumanMonitor*> sharing;
    for (const auto& place : connections.monitors()) {
        monitors.push_back(std::make_unique<monitor::HumanMonitor>(**machine, *place.backend));
        // One that shares its place greets when Ctrl-A c calls it.
        if (!place.key.empty()) sharing.emplace(place.key, monitors.back().get());
    }
    connections.attach({[&] { (*machine)->request_quit(0); }, [&] { return (*machine)->clock().now() / 1'000'000; },
                        [&](const std::string& key) {
                            const auto [first, last] = sharing.equal_range(key);
                            std::for_each(first, last, [](const auto& entry) { entry.second->greet(); });
                        }});
    std::optional<gdb::Server> debugger;
    if (connections.debugger()) debugger.emplace(**machine, *connections.debugger());
    std::unique_ptr<console::Window> window;
    if (*display) {
        auto opened = open_window(**display, **machine, connections, options);
        if (!opened) return fail(opened.error().message);
        window = std::move(*opened);
    }
    daemon.ready();
    signals.watch(**machine);
    const machine::Ending ending = run_machine(**machine, window.get());
    signals.stop();
    const std::string window_stats = window ? window->stats() : "";
    window.reset();
    connections.detach();
    monitors.clear();
    debugger.reset();
    remote.reset(); // Monitors may have asked for it until now.
    if (!ending.report.empty()) fmt::print(stderr, "calque: {}\n", ending.report);
    fmt::print(stderr, "{}", (*machine)->dumped_units());
    if (options.stats) fmt::print(stderr, "{}{}", (*machine)->stats(), window_stats);
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
    if (options->machine.kernel.empty() && options->machine.bios.empty() && options->machine.load_state.empty()
        && options->machine.incoming.empty() && options->drives.empty() && !options->machine.boots_network()
        && !options->machine_none)
        return calque::cli::fail(
            "there is nothing to start; give a disk image, a -cdrom or a -kernel (with -initrd and -append), or use "
            "./run for the default guest");
    return calque::cli::run(*options);
}
