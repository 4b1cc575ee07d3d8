// A whole PC: built from a MachineConfig, run until it ends, saved and loaded.
#pragma once

#include "base/log.h"
#include "base/result.h"
#include "firmware/boot_state.h"
#include "frontend/backends/state/stream.h"
#include "frontend/machine/background.h"
#include "frontend/machine/chipset.h"
#include "frontend/machine/config.h"
#include "frontend/machine/debug_listener.h"
#include "frontend/machine/host_clock.h"
#include "frontend/machine/hotplug.h"
#include "frontend/machine/jobs.h"
#include "frontend/machine/memory.h"
#include "frontend/machine/migration.h"
#include "frontend/machine/remote_screen.h"
#include "frontend/machine/run_state.h"
#include "frontend/machine/snapshots.h"
#include "frontend/machine/vcpu.h"

#include <array>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace calque::machine {

// How a run ended.
struct Ending {
    int status = 0;     // The process's exit status.
    std::string report; // What a person should read, or empty.
};

class Machine {
  public:
    // Everything is checked before anything is built. The backends must outlive the machine. With `time`, which must
    // outlive it too, the machine is driven (below) and has the time that this clock says, even while it is stopped.
    static Result<std::unique_ptr<Machine>> create(MachineConfig config, Log& log, const ChipsetBackends& backends,
                                                   Clock* time = nullptr);
    ~Machine();

    // Runs the machine on its threads, and its requests on the caller's, until it ends.
    Ending run();

    // --- Instead of run(), for a machine of one vCPU: the caller's thread is the vCPU's, and nothing else happens.
    // What timers and devices ask of the processor waits for release_events(), so that it comes at exact instructions.
    Vcpu& driven() { return *vcpus_[0]; }
    // Carries out requests. How the machine ended, once it has.
    std::optional<Ending> serve_requests();

    // Requests: any thread, return at once, carried out in order by run().
    void request_quit(int status = 0, Cause cause = Cause::host_signal);
    void request_reset(Cause cause = Cause::host_monitor);
    void request_power_button();
    void request_pause();
    void request_resume(); // Not after the guest powered off: reset it first.
    // Runs `task` on the thread that serves requests, while the guest goes on.
    void post(std::function<void()> task);
    // Runs `task` with every vCPU parked, the clock stopped and input held back, then goes on if it ran before.
    void request_stopped(std::function<void()> task);

    // Also while it stands still for a moment, to be looked at.
    bool running() const { return state_ == RunState::running; }
    RunState state() const { return state_; }
    // Before run().
    void set_observer(EventObserver observer) { observer_ = std::move(observer); }
    // What others than the machine have to tell its observer. While there is one.
    void tell(const Event& event) const { notify(event); }
    // Who shows the screen elsewhere; null: nobody. Not owned; it stays until nobody asks for it any more.
    void set_remote_screen(RemoteScreen* screen) { remote_screen_ = screen; }
    RemoteScreen* remote_screen() const { return remote_screen_; }
    // Who is told of stops; null: nobody. Not owned. Before run() or after it.
    void set_debug_listener(DebugListener* listener) { debug_listener_ = listener; }
    // Saves the whole machine to a file, written beside it and renamed at the end. Only from request_stopped().
    Result<void> save(const std::string& path);
    Result<void> load(const std::string& path);

    // --- The parts of a saved state, for those who send it elsewhere (machine_state.cpp). Only from request_stopped(),
    // where nothing else is said.
    std::vector<u8> state_identity(); // Any thread.
    // Everything but RAM. Fails while requests to a disk wait for the host.
    Result<std::vector<u8>> state_of_devices();
    // RAM's pages as records, `zeros` too or not. Any thread; the guest may run.
    Result<void> send_pages(backends::StateWriter& writer, const PageSet& pages, bool zeros);
    // Opens a saved state from its start; called twice.
    using OpenState = std::function<Result<std::unique_ptr<backends::StateSource>>()>;
    // Makes the machine what it was. All of the state is read and checked before anything changes; a state that does
    // not fit leaves the machine as it is. `change_disks` (may be empty) is called when nothing else can fail but
    // reading; when it fails, the machine is as before too.
    Result<void> restore(const OpenState& open, const std::function<Result<void>()>& change_disks);
    // Half of one state and half of another is none: resets the machine, stops it, and says so behind the problem.
    Error reset_after(const std::string& problem);
    // --- A migration's steps (machine_handover.cpp), on the machine's thread.
    Result<void> can_hand_over() const; // Its disks can be another process'.
    Result<void> hand_over();           // Stopped from now on, the disks let go of.
    void handed_over();                 // It has arrived.
    void take_back(RunState before);    // It has not: goes on as it was.
    // RAM and the rest of an incoming machine's state; the first on any thread.
    Result<std::vector<u8>> receive_ram(backends::StateSource& source);
    Result<void> become(std::vector<u8> devices);
    void fail_incoming(const std::string& problem);

    Snapshots& snapshots() { return snapshots_; }
    Migration& migration() { return migration_; }
    Jobs& jobs() { return jobs_; }
    Hotplug& hotplug() { return hotplug_; }

    const MachineConfig& config() const { return config_; }
    Chipset& chipset() { return *chipset_; }
    Memory& memory() { return *memory_; }
    Clock& clock() { return time_; }
    std::vector<std::unique_ptr<Vcpu>>& vcpus() { return vcpus_; }
    std::string registers(unsigned vcpu); // As `info registers` shows them. Only while stopped.
    // The networks that devices may use, by id. Not owned.
    const std::map<std::string, backends::NetPort*>& networks() const { return backends_.nets; }
    std::string stats(); // As --stats prints them.
    const std::vector<backends::Disk*>& disks() const { return backends_.disks; }
    // For other threads than that of requests: disks and networks stay while it is held.
    std::unique_lock<std::mutex> hold_backends() { return std::unique_lock(backends_mutex_); }
    // A flash chip's: its contents are part of the devices' state.
    bool is_flash(const backends::Disk& disk) const {
        return &disk == backends_.flash[0] || &disk == backends_.flash[1];
    }
    // --- For hot-plugging.
    ChipsetBackends& backends() { return backends_; }
    void watch_device(devices::Device& device); // For what observers are told of it.
    void watch_disk(backends::Disk& disk);
    std::string dumped_units(); // As --dump prints them at the end.
    Log& log() { return log_; }

  private:
    // Accesses that RAM and ROM do not answer: the local APIC of the vCPU that asks, or the device bus.
    class IoSpace final : public mmu::IoTarget {
      public:
        explicit IoSpace(Machine& machine) : machine_(machine) {}
        u64 read(PhysicalAddress address, unsigned size) override;
        void write(PhysicalAddress address, u64 value, unsigned size) override;

      private:
        devices::LocalApic* apic_at(PhysicalAddress address);
        bool smram_at(PhysicalAddress address);
        Machine& machine_;
    };

    Machine(MachineConfig config, Log& log, Clock* time);
    Result<void> build(const ChipsetBackends& backends);
    Result<void> read_images();
    Result<void> find_firmware();
    void drain_disks();
    void flush_disks();
    ChipsetEvents chipset_events();
    void add_vcpus();
    Result<void> add_fw_cfg_files();
    Result<void> describe_to_firmware(); // What SeaBIOS asks fw_cfg for.
    Result<void> offer_kernel();
    // The kernel is started without firmware.
    bool boots_directly() const { return !kernel_.empty() && !memory_->has_firmware(); }
    firmware::Platform platform() const;
    void refresh_acpi(std::vector<u8>& tables); // As the chipset is set up now.
    void apply(const firmware::BootState& boot);
    Result<void> power_on(); // Reset, then firmware or a direct boot.
    void stopped(const std::function<void()>& task);
    void pause();
    void resume();
    void stop(RunState why);
    void go_on();
    void reset(Cause cause);
    void shut_down(Cause cause, int status, std::string report = {}); // Unless -no-shutdown keeps it.
    void end(int status, std::string report = {});
    void triple_fault(unsigned vcpu);
    void debug_stop();
    void notify(const Event& event) const;
    void watch_devices(); // For what notify() tells of them.
    void stop_vcpus_soon();
    void serialize(Archive& archive);
    void serialize_identity(Archive& archive, u32 version);
    Result<void> serialize_devices_identity(Archive& archive, u32 version);
    void serialize_networks(Archive& archive);
    Result<void> activate_disks();
    Result<std::vector<u8>> read_records(backends::StateSource& source,
                                         const std::function<Result<void>(std::span<const u8>)>& ram);
    Result<void> load_devices(std::vector<u8> state);
    void move_apics();
    void place_device_memory(); // The memory bus or a device's memory on it has changed.

    MachineConfig config_;
    Log& log_;
    HostClock clock_;
    Clock& time_; // clock_, unless the machine is driven.
    std::unique_ptr<Memory> memory_;
    IoSpace io_space_{*this};
    std::unique_ptr<Chipset> chipset_;
    std::vector<std::unique_ptr<Vcpu>> vcpus_;
    std::vector<u8> kernel_, initrd_;
    std::vector<bool> serial_present_;
    ChipsetBackends backends_;
    std::mutex backends_mutex_; // Held while disks and networks come or go.
    bool booted_once_ = false;
    DebugListener* debug_listener_ = nullptr;
    std::atomic<RemoteScreen*> remote_screen_{nullptr};

    std::mutex device_memory_mutex_; // Held from reading the bus to changing the map.
    std::mutex mutex_;
    std::condition_variable posted_;
    std::deque<std::function<void()>> requests_;
    bool ended_ = false;
    Ending ending_;
    std::atomic<RunState> state_{RunState::prelaunch};
    EventObserver observer_;
    Jobs jobs_{[this](const Jobs::Job& job) { notify(event::JobChanged{job.id, name_of(job.status)}); }};
    Background background_{[this](auto task) { post(std::move(task)); },
                           [this](auto task) { request_stopped(std::move(task)); }};
    Snapshots snapshots_{*this, background_};
    Migration migration_{*this, background_,
                         [this](Migration::Status status) { notify(event::MigrationChanged{name_of(status)}); }};
    Hotplug hotplug_{*this, background_, [this](const Event& event) { notify(event); }};
    std::vector<std::string> saved_order_; // Of the devices in the state that was read last.
    bool ran_ = true;                      // Whether the machine whose state this is was running.
};

} // namespace calque::machine
