// The host's ends of serial ports, debug console and monitor: opened as the options say, shared where they say so.
#pragma once

#include "frontend/backends/block/drive.h"
#include "frontend/backends/chardev.h"
#include "frontend/backends/entropy.h"
#include "frontend/backends/io_loop.h"
#include "frontend/backends/loop_worker.h"
#include "frontend/backends/multiplexer.h"
#include "frontend/backends/net/open.h"
#include "frontend/backends/vc_chardev.h"
#include "frontend/cli/drives.h"
#include "frontend/cli/options.h"
#include "frontend/machine/chipset.h"
#include "frontend/qmp/commands.h"

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace calque::cli {

class Connections final : private machine::HostSide {
  public:
    explicit Connections(Log& log) : log_(log), drives_(log) {}

    // Who answers a multiplexer's keys. Called on the I/O thread.
    struct Listener {
        std::function<void()> quit;                                  // Ctrl-A x.
        std::function<u64()> milliseconds;                           // For timestamps: since power-on.
        std::function<void(const std::string& key)> monitor_focused; // Ctrl-A c gave the input to that place's monitor.
    };
    struct MonitorPlace {
        devices::CharBackend* backend; // Not owned.
        std::string key;               // Of the multiplexer that it shares; empty: it has a place of its own.
    };

    Result<void> open(const Options& options);
    machine::ChipsetBackends chipset_backends();
    const std::vector<MonitorPlace>& monitors() const { return monitors_; }
    // Where debuggers connect; null: nowhere. Not owned.
    devices::CharBackend* debugger() const { return debugger_; }
    // Where the machine protocol is spoken. Not owned.
    const std::vector<devices::CharBackend*>& controls() const { return controls_; }
    // What the machine protocol tells of the program. The options are not kept.
    qmp::Surroundings surroundings(const Options& options) const;
    // The consoles for the window, the monitor's first.
    struct WindowConsole {
        std::string name;
        backends::VcChardev* backend; // Not owned.
        bool monitor;
    };
    const std::vector<WindowConsole>& window_consoles() const { return window_consoles_; }
    // While the lock is held the window may give the machine input. Not held: the machine takes none now.
    std::unique_lock<std::mutex> try_window_input() { return std::unique_lock(window_input_, std::try_to_lock); }
    // A Ctrl-A x from before is passed on at once. After detach() returns nobody is called.
    void attach(Listener listener);
    void detach();

  private:
    Result<devices::CharBackend*> connect(const std::string& text, const std::string& option, bool monitor);
    Result<devices::CharBackend*> use(const backends::ChardevOptions& chardev, const std::string& key, bool monitor);
    Result<void> show_in_window(const std::string& key, backends::Chardev& chardev, bool monitor);
    backends::Multiplexer::Commands commands(const std::string& key);

    Log& log_;
    std::mutex listener_mutex_; // Held while the listener is called.
    Listener listener_;
    bool quit_asked_ = false;
    Result<void> open_controls(const Options& options);
    Result<void> open_drives(const Options& options);
    Result<void> open_objects(const Options& options);
    Result<void> open_for_devices(const Options& options);

    // --- For the machine while it runs (host_side.cpp).
    std::vector<backends::Disk*> disks() override { return drives_.open_disks(); }
    Result<backends::Disk*> add_node(const Json& node, const InUse& in_use) override {
        return drives_.add_node(node, in_use);
    }
    Result<void> remove_node(const std::string& name) override { return drives_.remove_node(name); }
    Result<backends::Disk*> add_drive(const std::string& text) override { return drives_.add_drive(text); }
    Result<void> remove_drive(const std::string& id) override { return drives_.remove_drive(id); }
    Result<Opened> drive_for(machine::DeviceRequest& request) override { return drives_.drive_for(request); }
    bool goes_with_device(const std::string& drive) override { return drives_.goes_with_device(drive); }
    Result<backends::NetPort*> add_network(const backends::NetOptions& options) override;
    void remove_network(const std::string& id) override;
    Result<machine::DeviceRequest> read_device(const std::string& text) override;
    Result<backends::NetOptions> read_network(const std::string& text) override;

    Drives drives_;
    backends::IoLoop loop_;
    backends::IoLoop device_loop_; // Of devices' own work, so that none waits for a terminal.
    backends::LoopWorker device_worker_{device_loop_};
    std::map<std::string, std::unique_ptr<backends::NetPort>> networks_;
    backends::HostEntropy host_entropy_;
    std::map<std::string, std::unique_ptr<devices::EntropySource>> entropy_; // By the id of their -object.
    std::vector<std::unique_ptr<backends::plan9::Server>> folders_;
    std::map<std::string, backends::ChardevOptions> named_;
    std::map<std::string, std::unique_ptr<backends::Multiplexer>> multiplexers_;
    std::map<std::string, std::unique_ptr<backends::Chardev>> chardevs_;
    bool stdio_taken_ = false, has_window_ = false;
    std::vector<WindowConsole> window_consoles_;
    std::mutex window_input_;
    machine::ChipsetBackends chipset_;
    std::vector<MonitorPlace> monitors_;
    std::vector<devices::CharBackend*> controls_;
    devices::CharBackend* debugger_ = nullptr;
};

} // namespace calque::cli
