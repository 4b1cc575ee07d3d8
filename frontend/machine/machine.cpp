#include "frontend/machine/machine.h"

#include "frontend/machine/host_file.h"
#include "frontend/machine/registers.h"

namespace calque::machine {

Machine::Machine(MachineConfig config, Log& log, Clock* time)
    : config_(std::move(config)), log_(log), time_(time ? *time : clock_) {}

Machine::~Machine() {
    background_.end();
    if (!vcpus_.empty()) pause();
    drain_disks();
    for (backends::Disk* disk : backends_.disks) {
        disk->set_stop_request({});
        disk->set_watcher({});
    }
    vcpus_.clear(); // Their threads end before what they use goes.
}

Result<std::unique_ptr<Machine>> Machine::create(MachineConfig config, Log& log, const ChipsetBackends& backends,
                                                 Clock* time) {
    std::unique_ptr<Machine> machine(new Machine(std::move(config), log, time));
    if (auto built = machine->build(backends); !built) return built.error();
    return machine;
}

Result<void> Machine::build(const ChipsetBackends& backends) {
    // What is typed now is for the machine as it will be, not for serial ports that are about to be loaded over.
    const auto held = backends.hold_input ? backends.hold_input() : nullptr;
    if (auto read = read_images(); !read) return read.error();
    backends_ = backends;
    auto memory = Memory::create(config_.ram_bytes, log_);
    if (!memory) return memory.error();
    memory_ = std::move(*memory);
    if (backends.flash[0] && !config_.bios.empty())
        return error("-bios and -drive if=pflash are both the firmware; leave one of them out");
    if (!backends.flash[0])
        if (auto found = find_firmware(); !found) return found.error();
    if (!config_.bios.empty()) {
        auto image = read_host_file(config_.bios, "-bios", u64{16} << 20);
        if (!image) return image.error();
        if (auto set = memory_->set_rom(std::move(*image), config_.bios); !set) return set.error();
    }
    serial_present_ = backends.serial_present;
    for (backends::Disk* disk : backends_.disks)
        watch_disk(*disk);
    chipset_ = std::make_unique<Chipset>(config_, log_, time_, *memory_, backends, chipset_events());
    for (const DeviceRequest& device : config_.devices)
        if (auto plugged = chipset_->plug(device, log_, time_, *memory_, backends); !plugged) return plugged.error();
    memory_->set_io_target(io_space_);
    if (auto added = chipset_->add_flash(backends, log_); !added) return added;
    if (!chipset_->flash_firmware().empty()) memory_->set_flash_firmware(chipset_->flash_firmware());
    for (const auto& [place, index] : config_.ide_boot_indexes) {
        auto path = fmt::format("/pci@i0cf8/ide@1,1/drive@{:x}/disk@{:x}", place / 2, place % 2);
        if (auto ordered = chipset_->add_boot_entry(index, std::move(path)); !ordered) return ordered;
    }
    chipset_->memory_bus().set_change_observer([this] { place_device_memory(); });
    place_device_memory();
    add_vcpus();
    watch_devices();
    if (auto described = describe_to_firmware(); !described) return described.error();
    if (auto added = add_fw_cfg_files(); !added) return added.error();
    if (!config_.incoming.empty()) {
        state_ = RunState::in_migrate;
        chipset_->reset();
        for (auto& vcpu : vcpus_)
            vcpu->reset();
        if (config_.incoming == "defer") return {};
        if (auto waits = migration_.start_incoming(config_.incoming); !waits)
            return error("-incoming {}: {}", config_.incoming, waits.error().message);
        return {};
    }
    if (!config_.load_state.empty()) return load(config_.load_state);
    if (!config_.load_snapshot.empty()) {
        if (auto loaded = snapshots_.load(config_.load_snapshot, {}); !loaded)
            return error("-loadvm {}: {}", config_.load_snapshot, loaded.error().message);
        return {};
    }
    return power_on();
}

ChipsetEvents Machine::chipset_events() {
    ChipsetEvents events;
    events.reset = [this] {
        stop_vcpus_soon();
        if (config_.no_reboot)
            post([this] { shut_down(Cause::guest_reset, 0); });
        else
            request_reset(Cause::guest_reset);
    };
    events.power_off = [this] {
        stop_vcpus_soon();
        post([this] { shut_down(Cause::guest_shutdown, 0); });
    };
    events.debug_exit = [this](u32 value) {
        stop_vcpus_soon();
        post([this, value] {
            notify(event::Shutdown{Cause::guest_exit});
            end(static_cast<int>(value & 0xFF));
        });
    };
    events.smi = [this] { (Vcpu::current() ? *Vcpu::current() : *vcpus_[0]).smi(); };
    // INIT starts the processors at the reset vector; where no firmware waits there, it can only mean a reset.
    events.init = [this, reset = events.reset] {
        if (!memory_->has_firmware()) return reset();
        for (auto& vcpu : vcpus_)
            vcpu->init();
    };
    // Nothing is done after it with what is no longer there.
    events.slots_let_go = [this](u32 slots) {
        stop_vcpus_soon();
        request_stopped([this, slots] { hotplug_.let_go(slots); });
    };
    events.set_a20 = [this](bool on) { memory_->map().set_a20(on); };
    return events;
}

void Machine::add_vcpus() {
    for (unsigned i = 0; i < config_.cpus; ++i) {
        VcpuServices services{log_,
                              time_,
                              memory_->map(),
                              chipset_->ports(),
                              chipset_->apics(),
                              chipset_->pic(),
                              [this](bool level) { chipset_->set_ferr(level); },
                              [this] { move_apics(); },
                              [this](unsigned vcpu) { triple_fault(vcpu); },
                              [this] { debug_stop(); },
                              config_.engine,
                              config_.translator,
                              &time_ != &clock_};
        vcpus_.push_back(std::make_unique<Vcpu>(i, config_.cpu, std::move(services)));
    }
}

// --- Control

void Machine::post(std::function<void()> request) {
    {
        std::lock_guard lock(mutex_);
        requests_.push_back(std::move(request));
    }
    posted_.notify_one();
}

void Machine::request_quit(int status, Cause cause) {
    post([this, status, cause] {
        notify(event::Shutdown{cause});
        end(status);
    });
}
void Machine::request_reset(Cause cause) {
    post([this, cause] { stopped([this, cause] { reset(cause); }); });
}
void Machine::request_power_button() {
    post([this] {
        notify(event::PowerButton{});
        chipset_->pm().press_power_button();
    });
}
void Machine::request_pause() {
    post([this] { stop(RunState::paused); });
}
void Machine::request_resume() {
    post([this] { go_on(); });
}
void Machine::request_stopped(std::function<void()> task) {
    post([this, task = std::move(task)] { stopped(task); });
}

// From a vCPU's own thread: no instruction of the guest runs after the one that ended it.
void Machine::stop_vcpus_soon() {
    for (auto& vcpu : vcpus_)
        vcpu->request_park();
}

// With every vCPU parked, the clock stopped and input held back. A machine that was stopped stays so.
void Machine::stopped(const std::function<void()>& task) {
    pause();
    {
        const auto held = backends_.hold_input ? backends_.hold_input() : nullptr;
        drain_disks(); // What tasks began before they were held back.
        task();
    }
    if (state_ == RunState::running && !ended_) resume();
}

void Machine::pause() {
    for (auto& vcpu : vcpus_)
        vcpu->request_park();
    for (auto& vcpu : vcpus_)
        vcpu->park_wait();
    clock_.stop();
    drain_disks();
}

// Nothing that a guest began is under way any more, but what waits for the machine to go on.
void Machine::drain_disks() {
    for (backends::Disk* disk : backends_.disks)
        disk->drain();
}

void Machine::flush_disks() {
    for (backends::Disk* disk : backends_.disks)
        if (const int problem = disk->flush_now())
            fmt::print(stderr, "calque: the last flush of {} failed: {}\n", disk->options().id, std::strerror(problem));
}

void Machine::resume() {
    clock_.start();
    for (backends::Disk* disk : backends_.disks)
        disk->resume();
    for (auto& vcpu : vcpus_)
        vcpu->resume();
}

void Machine::notify(const Event& event) const {
    if (observer_) observer_(event);
}

// What stopped it first counts: a machine that is stopped stays as it is.
void Machine::stop(RunState why) {
    pause();
    if (state_ != RunState::running) return;
    state_ = why;
    notify(event::Stopped{});
    if (debug_listener_) why == RunState::debug ? debug_listener_->vcpu_stopped() : debug_listener_->paused();
}

void Machine::go_on() {
    if (state_ == RunState::in_migrate) config_.start_stopped = false; // When it has come.
    if (state_ == RunState::running || state_ == RunState::shutdown || state_ == RunState::in_migrate
        || state_ == RunState::finish_migrate)
        return;
    if (state_ == RunState::post_migrate)
        if (auto taken = activate_disks(); !taken) {
            fmt::print(stderr, "calque: the machine cannot go on here: {}\n", taken.error().message);
            return;
        }
    state_ = RunState::running;
    notify(event::Resumed{});
    resume();
}

// Only while stopped.
void Machine::reset(Cause cause) {
    if (state_ == RunState::in_migrate || state_ == RunState::finish_migrate) return; // It is not here.
    if (state_ == RunState::shutdown) state_ = RunState::prelaunch;
    if (cause != Cause::host_error) hotplug_.finish_before_reset();
    if (auto on = power_on(); !on) return end(1, on.error().message);
    notify(event::Reset{cause});
}

void Machine::shut_down(Cause cause, int status, std::string report) {
    notify(event::Shutdown{cause});
    if (!config_.no_shutdown) return end(status, std::move(report));
    if (!report.empty()) fmt::print(stderr, "calque: {}\n", report);
    stop(RunState::shutdown);
}

void Machine::end(int status, std::string report) {
    if (ended_) return;
    pause();
    background_.end();
    flush_disks();
    ended_ = true;
    ending_ = {status, std::move(report)};
    if (debug_listener_) debug_listener_->ended(status);
}

void Machine::triple_fault(unsigned index) {
    stop_vcpus_soon();
    request_stopped([this, index] {
        if (vcpus_[index]->cpu().state.activity != cpu::Activity::shutdown) return; // Reset meanwhile.
        const std::string report =
            fmt::format("the guest's vCPU {} met a triple fault (a fault while delivering a double fault)\n{}", index,
                        registers(index));
        if (config_.no_reboot) return shut_down(Cause::guest_reset, 0, report);
        log_.trace(Channel::exception, "{}", report);
        reset(Cause::guest_reset);
    });
}

void Machine::debug_stop() {
    stop_vcpus_soon();
    post([this] { stop(RunState::debug); });
}

Ending Machine::run() {
    for (auto& vcpu : vcpus_)
        vcpu->start();
    if (!config_.start_stopped) go_on();
    while (!ended_) {
        std::function<void()> request;
        {
            std::unique_lock lock(mutex_);
            posted_.wait(lock, [&] { return !requests_.empty(); });
            request = std::move(requests_.front());
            requests_.pop_front();
        }
        request();
    }
    return ending_;
}

std::optional<Ending> Machine::serve_requests() {
    for (;;) {
        if (ended_) return ending_;
        std::function<void()> request;
        {
            std::unique_lock lock(mutex_);
            if (requests_.empty()) return std::nullopt;
            request = std::move(requests_.front());
            requests_.pop_front();
        }
        request();
    }
}

// --- Reports

std::string Machine::registers(unsigned vcpu) { return describe_registers(vcpus_.at(vcpu)->cpu()); }

std::string Machine::dumped_units() {
    std::string text;
    for (auto& vcpu : vcpus_)
        text += vcpu->describe_dumped();
    return text;
}

std::string Machine::stats() {
    std::string text;
    for (auto& vcpu : vcpus_)
        text += describe_stats(*vcpu);
    const auto counts = log_.unimplemented_counts();
    text += fmt::format("unimplemented: {}\n", counts.empty() ? "nothing was asked for" : "");
    for (const auto& count : counts)
        text += fmt::format("  {:<32} {}\n", count.name, count.times);
    return text;
}

} // namespace calque::machine
