#include "frontend/machine/vcpu.h"

#include <limits>
#include <unistd.h>

namespace calque::machine {

namespace {
thread_local Vcpu* current_vcpu = nullptr;

devices::LapicConfig lapic_config(unsigned index, const cpu::CpuModel& model) {
    devices::LapicConfig config;
    config.apic_id = index;
    config.bootstrap = index == 0;
    config.timer_hz = cpu::core_crystal_hz;
    config.x2apic = model.features.has(cpu::Feature::x2apic);
    config.tsc_deadline = model.features.has(cpu::Feature::tsc_deadline);
    return config;
}
} // namespace

Vcpu* Vcpu::current() { return current_vcpu; }

Vcpu::Vcpu(unsigned index, const cpu::CpuModel& model, VcpuServices services)
    : index_(index), services_(std::move(services)), model_(model),
      cpu_(index, model_, services_.memory, *this, services_.log),
      lapic_(services_.log, services_.clock, lapic_config(index, model), services_.apics, *this, this, &services_.pic),
      random_(services_.driven ? 1 : std::random_device{}()) {
    choose_engine();
    cpu_.mmu.set_kick([this] { wake(cpu::event_mmu); });
}

void Vcpu::choose_engine() {
    if (services_.engine == MachineConfig::Engine::interpreter || !jit::Engine::supported()) {
        engine_ = std::make_unique<cpu::Interpreter>(services_.memory, services_.log);
        return;
    }
    jit::EngineOptions options;
    const MachineConfig::Translator& wanted = services_.translator;
    if (wanted.hot_after) options.hot_after = static_cast<i32>(wanted.hot_after);
    if (wanted.longest_unit) options.longest_unit = wanted.longest_unit;
    options.switches.check_elimination = wanted.check_elimination;
    options.switches.flag_liveness = wanted.flag_liveness;
    options.switches.loop_unrolling = wanted.loop_unrolling;
    options.switches.loop_heads = wanted.loop_heads;
    options.switches.regions = wanted.regions;
    options.switches.patch_fields = wanted.patch_fields;
    options.switches.mirror = wanted.mirror;
    options.switches.return_stack = wanted.return_stack;
    options.switches.x87 = wanted.x87;
    options.switches.verify = wanted.verify;
    options.sample_passes = wanted.sample_passes;
    options.perf_map = wanted.perf_map;
    options.counting = wanted.counting.value_or(jit::Counting::none);
    options.spoil = wanted.spoil;
    options.dump = wanted.dump;
    auto translator = std::make_unique<jit::Engine>(services_.memory, services_.log, options);
    translator_ = translator.get();
    engine_ = std::move(translator);
}

Vcpu::~Vcpu() {
    if (!thread_.joinable()) return;
    {
        std::lock_guard lock(mutex_);
        quit_ = true;
        park_requested_ = true;
    }
    changed_.notify_all();
    wake(cpu::event_stop);
    thread_.join();
}

void Vcpu::start() {
    thread_ = std::thread([this] { thread_main(); });
}

// While one engine runs, the other's count stands.
std::optional<u64> Vcpu::instructions() const {
    const u64 interpreted = __atomic_load_n(&cpu_.instructions, __ATOMIC_RELAXED);
    if (!translator_) return interpreted;
    if (!translator_->counting()) return std::nullopt;
    return std::max(interpreted, translator_->instructions());
}

u64 Vcpu::cpu_time() const {
    const clockid_t clock = thread_clock_;
    std::timespec used{};
    if (clock == -1 || ::clock_gettime(clock, &used) != 0) return 0;
    return static_cast<u64>(used.tv_sec) * 1'000'000'000 + static_cast<u64>(used.tv_nsec);
}

void Vcpu::resume() {
    {
        std::lock_guard lock(mutex_);
        if (held_) return;
        park_requested_ = false;
        cpu_.withdraw(cpu::event_stop);
    }
    changed_.notify_all();
}

void Vcpu::request_park() {
    // The event goes with the request: one that came after resume() would stop the vCPU again and again.
    std::lock_guard lock(mutex_);
    park_requested_ = true;
    wake(cpu::event_stop);
}

void Vcpu::park_wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return parked_; });
}

void Vcpu::reset() {
    cpu_.reset();
    lapic_.reset();
    engine_->flush();
}

void Vcpu::set_debug_stops(cpu::DebugStops stops, std::vector<mmu::Watchpoint> watchpoints) {
    const bool code_changes =
        stops.offsets != cpu_.debug.offsets || stops.single_instructions != cpu_.debug.single_instructions;
    stops.stop = cpu_.debug.stop;
    cpu_.debug = std::move(stops);
    cpu_.update_slow_flag();
    if (code_changes) engine_->flush();
    if (watchpoints == cpu_.mmu.watchpoints()) return;
    cpu_.mmu.set_watchpoints(std::move(watchpoints), [this](u64 address, bool write) {
        cpu_.debug_stop({cpu::DebugStop::Reason::watchpoint, address, write});
    });
}

void Vcpu::serialize(Archive& archive) {
    archive.section(fmt::format("vcpu{}", index_), 1, [&](u32) { cpu_.serialize(archive); });
    lapic_.serialize(archive);
    if (archive.loading()) {
        smm_ = cpu_.state.in_smm;
        engine_->flush();
    }
}

bool Vcpu::apic_msr_read(u32 index, u64& value) {
    const auto read = lapic_.read_msr(index);
    if (read) value = *read;
    return read.has_value();
}

void Vcpu::wake(u32 event) {
    constexpr u32 at_once = cpu::event_stop | cpu::event_mmu;
    if (services_.driven && !(event & at_once)) {
        held_events_ |= event;
        return;
    }
    cpu_.request(event);
    cpu_.events.notify_all();
}

void Vcpu::interrupt_line(bool level) {
    if (level) return wake(cpu::event_interrupt);
    held_events_ &= ~u32{cpu::event_interrupt};
    cpu_.withdraw_interrupt();
}

void Vcpu::startup(u8 vector) {
    cpu_.sipi_vector = vector;
    wake(cpu::event_sipi);
}

void Vcpu::init_taken() { lapic_.init_reset(); }

void Vcpu::apic_base_changed(PhysicalAddress, bool) { services_.apic_moved(); }

Nanoseconds Vcpu::time_of_tsc(u64 tsc) const {
    // The clock is the counter less the guest's offset; a deadline that has passed is due now.
    const u64 now = services_.clock.now();
    const u64 ahead = tsc - (now + cpu_.state.tsc_offset);
    if (static_cast<i64>(ahead) <= 0) return now;
    return ahead > never - 1 - now ? never : now + ahead;
}

// Sleeps until an event comes that handle_events() takes. A pending event that cannot be taken (an interrupt with IF
// clear) does not keep the host busy: the wait is for the set of events to change.
void Vcpu::wait_for_event() {
    cpu_.mmu.park();
    for (;;) {
        const u32 seen = cpu_.events.load(std::memory_order_acquire);
        if (seen & cpu::event_stop) break;
        cpu_.mmu.unpark();
        const bool awake = cpu_.handle_events() || cpu_.state.activity == cpu::Activity::running;
        cpu_.mmu.park();
        if (awake) break;
        // handle_events() may itself have taken bits away: only what others change from here on matters.
        const u32 left = cpu_.events.load(std::memory_order_acquire);
        if (left & ~seen) continue;
        // An interrupt that went away and came back between the two looks can be taken now.
        if ((left & cpu::event_interrupt) && cpu_.interrupts_enabled() && cpu_.state.activity == cpu::Activity::halted)
            continue;
        cpu_.events.wait(left, std::memory_order_acquire);
    }
    cpu_.mmu.unpark();
}

cpu::ExitReason Vcpu::drive(u64 instructions) {
    Vcpu* const before = std::exchange(current_vcpu, this);
    const cpu::ExitReason reason = engine_->run(cpu_, instructions);
    current_vcpu = before;
    return reason;
}

void Vcpu::thread_main() {
    current_vcpu = this;
    thread_id_ = ::gettid();
    if (clockid_t clock; ::pthread_getcpuclockid(::pthread_self(), &clock) == 0) thread_clock_ = clock;
    for (;;) {
        {
            std::unique_lock lock(mutex_);
            if (park_requested_) {
                parked_ = true;
                changed_.notify_all();
                cpu_.mmu.park();
                changed_.wait(lock, [&] { return quit_ || !park_requested_; });
                cpu_.mmu.unpark();
                if (quit_) return;
            }
            // Here, not in resume(): a park request that follows at once finds the thread parked. On the first round
            // too, when resume() came before the thread.
            parked_ = false;
        }
        if (cpu_.debug.stop.reason != cpu::DebugStop::Reason::none) { // Until the debugger has taken it.
            services_.debug_stop();
            continue;
        }
        switch (engine_->run(cpu_, std::numeric_limits<u64>::max())) {
        case cpu::ExitReason::budget:
        case cpu::ExitReason::stopped: break;
        case cpu::ExitReason::halted: wait_for_event(); break;
        case cpu::ExitReason::triple_fault:
            services_.triple_fault(index_);
            // The machine parks this vCPU and resets or ends; until then it does nothing, like the processor.
            while (!(cpu_.events.load(std::memory_order_acquire) & cpu::event_stop))
                cpu_.events.wait(cpu_.events.load(std::memory_order_acquire));
            break;
        }
    }
}

} // namespace calque::machine
