// One virtual CPU: a processor, its local APIC, the engine that runs it, and the host thread they live on.
#pragma once

#include "cpu/cpu.h"
#include "cpu/interpreter.h"
#include "devices/bus/bus.h"
#include "devices/lapic/lapic.h"
#include "devices/lapic/vcpu_port.h"
#include "frontend/machine/config.h"
#include "jit/engine.h"

#include <atomic>
#include <condition_variable>
#include <ctime>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <thread>
#include <utility>

namespace calque::machine {

// What a vCPU needs of the machine that holds it.
struct VcpuServices {
    Log& log;
    Clock& clock;
    mmu::PhysicalMap& memory;
    devices::Bus& ports;
    devices::ApicBus& apics;
    devices::InterruptAcknowledge& pic;
    std::function<void(bool)> set_ferr;
    std::function<void()> apic_moved;           // IA32_APIC_BASE changed.
    std::function<void(unsigned)> triple_fault; // On the vCPU's thread.
    std::function<void()> debug_stop;           // Likewise: the processor has come to one of Cpu::debug's stops.
    MachineConfig::Engine engine = MachineConfig::Engine::interpreter;
    MachineConfig::Translator translator = {};
    bool driven = false; // Has no thread: drive() runs it.
};

class Vcpu final : public cpu::Platform, public devices::VcpuPort, public devices::TscSource {
  public:
    static constexpr u64 tsc_hz = 1'000'000'000; // One tick a nanosecond of the machine's clock.

    Vcpu(unsigned index, const cpu::CpuModel& model, VcpuServices services);
    ~Vcpu() override;

    cpu::Cpu& cpu() { return cpu_; }
    devices::LocalApic& lapic() { return lapic_; }

    void start();                                // Starts the thread, parked.
    i64 thread_id() const { return thread_id_; } // The host's number of it; 0 before it has started.
    // CPU time that the thread has used, in nanoseconds. Any thread, while the vCPU lives.
    u64 cpu_time() const;
    // Guest instructions so far, when both engines count them (jit::Counting). Any thread; the guest goes on meanwhile.
    std::optional<u64> instructions() const;
    void resume(); // Lets it run.
    // Asks the thread to park; park_wait() returns when it has. Not to be called by the vCPU's own thread.
    void request_park();
    void park_wait();
    void reset();
    // While held the vCPU stays parked when the machine runs. Parked only.
    void set_held(bool held) { held_ = held; }
    // What has happened (DebugStops::stop) stays. Parked only.
    void set_debug_stops(cpu::DebugStops stops, std::vector<mmu::Watchpoint> watchpoints);
    // Runs the processor on the caller's thread (Machine::driven()).
    cpu::ExitReason drive(u64 instructions);
    // What has been asked of the processor since the last time: interrupts and the like.
    void release_events() { cpu_.request(std::exchange(held_events_, 0)); }
    bool events_held() const { return held_events_ != 0; }
    // Whether its accesses reach SMRAM: from before the state is saved until after it has been restored.
    bool in_smm() const { return smm_; }
    // Null when the interpreter runs everything.
    jit::Engine* translator() { return translator_; }
    void serialize(Archive& archive); // Parked only.

    // The vCPU whose thread this is, or null.
    static Vcpu* current();

    // cpu::Platform
    u32 port_read(u16 port, unsigned size) override { return static_cast<u32>(services_.ports.read(port, size)); }
    void port_write(u16 port, u32 value, unsigned size) override { services_.ports.write(port, value, size); }
    std::optional<u8> acknowledge_interrupt() override { return lapic_.acknowledge(); }
    u8 task_priority() override { return lapic_.cr8(); }
    void set_task_priority(u8 value) override { lapic_.set_cr8(value); }
    bool apic_msr_read(u32 index, u64& value) override;
    bool apic_msr_write(u32 index, u64 value) override { return lapic_.write_msr(index, value); }
    u32 apic_id() override { return index_; }
    bool apic_enabled() override { return lapic_.enabled(); }
    u64 timestamp() override { return services_.clock.now(); }
    const CurrentScale* timestamp_scale() override { return services_.clock.scale(); }
    u64 timestamp_frequency() override { return tsc_hz; }
    void set_ferr(bool level) override { services_.set_ferr(level); }
    u64 random() override { return random_(); }
    void set_smm(bool active) override { smm_ = active; }
    bool is_bootstrap() override { return index_ == 0; }
    void init_taken() override;
    void timestamp_changed() override { lapic_.tsc_changed(); }

    // devices::VcpuPort
    void interrupt_line(bool level) override;
    void nmi() override { wake(cpu::event_nmi); }
    void smi() override { wake(cpu::event_smi); }
    void init() override { wake(cpu::event_init); }
    void startup(u8 vector) override;
    void apic_base_changed(PhysicalAddress base, bool mmio) override;

    // devices::TscSource
    u64 tsc() const override { return services_.clock.now() + cpu_.state.tsc_offset; }
    Nanoseconds time_of_tsc(u64 tsc) const override;

    // What the engine counted (--stats).
    std::string describe_engine() const { return translator_ ? translator_->describe() : std::string(); }
    // What became of the units that --dump asked for.
    std::string describe_dumped() const { return translator_ ? translator_->describe_dumped() : std::string(); }

  private:
    void choose_engine();
    void wake(u32 event);
    void thread_main();
    void wait_for_event();

    unsigned index_;
    VcpuServices services_;
    std::atomic<bool> smm_{false};
    cpu::CpuModel model_;
    cpu::Cpu cpu_;
    devices::LocalApic lapic_;
    std::unique_ptr<cpu::ExecutionEngine> engine_;
    jit::Engine* translator_ = nullptr; // engine_, when that is what it is.
    std::mt19937_64 random_;
    u32 held_events_ = 0; // Of a driven vCPU.

    std::mutex mutex_;
    std::condition_variable changed_;
    bool park_requested_ = true, parked_ = true, quit_ = false, held_ = false;
    std::atomic<i64> thread_id_{0};
    std::atomic<clockid_t> thread_clock_{-1};
    std::thread thread_;
};

} // namespace calque::machine
