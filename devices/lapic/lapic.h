// The local APIC in xAPIC and x2APIC mode (SDM volume 3, chapter 11).
#pragma once

#include "base/clock.h"
#include "base/log.h"
#include "devices/device.h"
#include "devices/interrupt_acknowledge.h"
#include "devices/lapic/apic_bus.h"
#include "devices/lapic/apic_message.h"
#include "devices/lapic/lapic_registers.h"
#include "devices/lapic/vcpu_port.h"

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

namespace calque::devices {

struct LapicConfig {
    u32 apic_id = 0; // The initial APIC ID (CPUID leaf 1 and 0Bh).
    bool bootstrap = false;
    u64 timer_hz = 1'000'000'000;        // The timer's input before the divider (CPUID leaf 15h ECX).
    unsigned physical_address_bits = 40; // MAXPHYADDR: the reserved bits of IA32_APIC_BASE.
    bool x2apic = true;                  // CPUID.1:ECX.21
    bool tsc_deadline = true;            // CPUID.1:ECX.24
};

// One processor's local APIC.
//
// Threads: registers (MMIO and MSRs), acknowledge(), CR8 and init_reset() are for the processor's own thread. Messages,
// LINT pins, the timer and pending() come from any thread. Requests, service and priority are atomics, so accepting,
// asking and acknowledging an interrupt takes no lock; a mutex guards the rest.
class LocalApic final : public Device {
  public:
    static constexpr u64 default_base = 0xfee0'0000;
    static constexpr u64 mmio_size = 4096;

    // `tsc` may be null: then there is no TSC-deadline mode. `pic` (may be null) answers for ExtINT.
    LocalApic(Log& log, Clock& clock, const LapicConfig& config, ApicBus& bus, VcpuPort& vcpu, const TscSource* tsc,
              InterruptAcknowledge* pic);
    ~LocalApic() override;

    std::string_view name() const override { return name_; } // "lapic0" for APIC ID 0.
    void reset() override;
    // What INIT does: as reset(), but the ID and IA32_APIC_BASE stay.
    void init_reset();
    // What firmware leaves on the bootstrap processor for a loader that starts a kernel without firmware: enabled,
    // LINT0 takes the 8259 (ExtINT), LINT1 is NMI (MultiProcessor Specification 1.4, 3.6.2.2, virtual wire mode).
    void set_virtual_wire();
    void serialize(Archive& archive) override;

    // --- the processor's side
    // Whether acknowledge() would give a vector now. Any thread.
    bool pending() const;
    // The vector to deliver: ExtINT from the 8259, else the highest request above the processor's priority, moved from
    // IRR to ISR. Nothing when the request has gone away meanwhile.
    std::optional<u8> acknowledge();
    u8 cr8() const;         // TPR bits 7-4.
    void set_cr8(u8 value); // 0-15.
    // RDMSR, WRMSR of IA32_APIC_BASE, IA32_TSC_DEADLINE and 800h-8FFh. Nothing, false: #GP(0).
    std::optional<u64> read_msr(u32 index);
    bool write_msr(u32 index, u64 value);
    static constexpr bool owns_msr(u32 index) {
        return index == msr::apic_base || index == msr::tsc_deadline
               || (index >= msr::x2apic && index < msr::x2apic + 0x100);
    }
    IoRegion& mmio() { return mmio_; } // 4 kB at base(), seen by this processor only, where mmio_enabled().
    PhysicalAddress base() const;      // Where the registers are.
    bool enabled() const;              // IA32_APIC_BASE.EN: CPUID.1:EDX.9.
    bool mmio_enabled() const;         // Enabled and in xAPIC mode.
    bool x2apic_enabled() const;       // In x2APIC mode.
    // The guest wrote the TSC or IA32_TSC_ADJUST: a TSC-deadline timer must be armed again.
    void tsc_changed();

    // --- from the bus and from the chipset, any thread
    bool matches(const ApicMessage& message) const;
    void deliver(DeliveryMode mode, u8 vector, bool level); // A message that matches.
    void set_lint(unsigned pin, bool level);                // LINT0, LINT1.
    void raise_local(LvtEntry entry);                       // An event of the processor's: thermal, performance, CMCI.
    bool takes_fixed() const;                               // Software-enabled: fixed interrupts are not lost here.
    u8 processor_priority() const { return ppr_.load(); }
    u32 initial_id() const { return config_.apic_id; }

    struct State {
        u64 apic_base = default_base;
        u32 id = 0; // The xAPIC ID register, bits 31-24.
        u32 tpr = 0;
        u32 ldr = 0;
        u32 dfr = 0xffff'ffff;
        u32 svr = 0xff;
        u32 esr = 0;         // As last latched by a write.
        u32 esr_pending = 0; // What the next write shows.
        u64 icr = 0;
        std::array<u32, lvt_count> lvt = lvt_reset;
        u32 timer_divide = 0;
        u32 timer_initial = 0;
        // One-shot and periodic: the current count was `timer_count` at tick `timer_start` of the timer's input;
        // running unless it is 0.
        u32 timer_count = 0;
        u64 timer_start = 0;
        u64 tsc_deadline = 0;
        std::array<u32, 8> irr{};
        std::array<u32, 8> isr{};
        std::array<u32, 8> tmr{};
        std::array<bool, 2> lint{};
        bool ext_int_message = false; // Only in a snapshot and in a saved state.
    };
    State snapshot() const; // For the monitor's `info lapic`, with the processor stopped.

  private:
    class Mmio final : public IoRegion {
      public:
        explicit Mmio(LocalApic& apic) : apic_(apic) {}
        u64 read(u64 offset, unsigned size) override;
        void write(u64 offset, u64 value, unsigned size) override;

      private:
        LocalApic& apic_;
    };

    // lapic.cpp: requests, priorities, messages, pins. "Held": called with the lock.
    void power_up_registers_held();     // All but IA32_APIC_BASE.
    void reset_registers_held();        // And but the ID.
    void accept(u8 vector, bool level); // A fixed interrupt with a legal vector, into the IRR.
    void accept_held(u8 vector, bool level);
    void update_ppr();
    void update_line();
    int highest_request() const;
    void write_tpr(u8 value);
    void end_of_interrupt();
    void end_level_interrupt_held(u8 vector);
    void update_ext_int_held();
    void level_lint_held(unsigned pin);
    void local_event_held(LvtEntry entry);
    void deliver_event_held(DeliveryMode mode, u8 vector, bool level);
    void report_error_held(u32 bit);
    bool software_enabled() const;

    // lapic_registers.cpp: the register file by number (MMIO offset >> 4, MSR index - 800h).
    std::optional<u32> read_register(unsigned number); // Nothing: there is no such register.
    bool write_register(unsigned number, u32 value);   // False: there is no such register.
    bool write_x2apic(unsigned number, u64 value);
    bool write_apic_base(u64 value);
    void write_svr(u32 value);
    void write_lvt(LvtEntry entry, u32 value);
    void write_esr();
    u32 writable_lvt(LvtEntry entry) const;
    u32 arbitration_priority() const;
    void send_ipi(u64 command);

    // lapic_timer.cpp
    u32 timer_mode() const { return state_.lvt[0] & lvt::timer_mode; }
    u64 timer_tick() const;
    u64 divider() const;
    u32 timer_current_held();
    void timer_catch_up_held(); // Delivers an expiry that is due.
    void timer_arm_held();
    void timer_fired();
    void timer_stop_held();
    void write_timer_initial(u32 value);
    void write_timer_divide(u32 value);
    void write_tsc_deadline(u64 value);

    Log& log_;
    Clock& clock_;
    LapicConfig config_;
    ApicBus& bus_;
    VcpuPort& vcpu_;
    const TscSource* tsc_;
    InterruptAcknowledge* pic_;
    std::string name_;
    mutable std::mutex mutex_;
    State state_;                      // irr, isr, tmr, tpr, ldr, dfr, svr, id, apic_base are accessed atomically.
    Nanoseconds timer_not_before_ = 0; // Bounds how often the timer is armed.
    std::atomic<u8> ppr_{0};
    std::atomic<bool> ext_int_line_{false};    // LINT0 is high and goes to the processor as INTR.
    std::atomic<bool> ext_int_message_{false}; // An ExtINT message waits for its acknowledge.
    Mmio mmio_{*this};
    std::unique_ptr<Timer> timer_; // Last: it goes first.
};

} // namespace calque::devices
