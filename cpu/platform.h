// What a vCPU asks of the machine around it. Implemented in frontend/machine (and by tests).
#pragma once

#include "base/clock.h"

#include <optional>

namespace calque::cpu {

// The core crystal that CPUID leaf 15h names: the TSC runs at a multiple of it, the local APIC's timer at its
// frequency.
inline constexpr u32 core_crystal_hz = 25'000'000;

class Platform {
  public:
    virtual ~Platform() = default;

    // Port I/O; size is 1, 2 or 4 bytes. Called by the vCPU's thread, without any lock.
    virtual u32 port_read(u16 port, unsigned size) = 0;
    virtual void port_write(u16 port, u32 value, unsigned size) = 0;

    // The highest-priority maskable interrupt, taken: the local APIC's INTA, or the 8259's through it. Nothing when it
    // went away.
    virtual std::optional<u8> acknowledge_interrupt() = 0;

    // CR8: the task priority class, 0 to 15.
    virtual u8 task_priority() = 0;
    virtual void set_task_priority(u8 value) = 0;
    // IA32_APIC_BASE (1Bh), IA32_TSC_DEADLINE (6E0h) and the x2APIC range 800h to 8FFh. False: #GP.
    virtual bool apic_msr_read(u32 index, u64& value) = 0;
    virtual bool apic_msr_write(u32 index, u64 value) = 0;
    // The local APIC's ID for CPUID: initial APIC ID and x2APIC ID.
    virtual u32 apic_id() = 0;
    // False when the guest has turned the local APIC off: CPUID.1:EDX.APIC follows it.
    virtual bool apic_enabled() = 0;

    // Time-stamp counter, before the guest's own offset; its frequency in Hz.
    virtual u64 timestamp() = 0;
    virtual u64 timestamp_frequency() = 0;
    // How timestamp() follows from the host's counter, for engines that read that themselves; null: it does not.
    virtual const CurrentScale* timestamp_scale() { return nullptr; }

    // FERR#: x87 errors by IRQ 13 where CR0.NE is clear.
    virtual void set_ferr(bool level) = 0;
    // Entropy for RDRAND and RDSEED.
    virtual u64 random() = 0;
    // The SMM state as the memory controller sees it: SMRAM opens and closes.
    virtual void set_smm(bool active) = 0;
    // After INIT and reset an application processor waits for SIPI; the bootstrap processor starts.
    virtual bool is_bootstrap() = 0;
    // The processor has taken INIT#: its local APIC resets with it. Called by Cpu::handle_events().
    virtual void init_taken() {}
    // The guest set the time-stamp counter or IA32_TSC_ADJUST: a TSC-deadline timer is due at another time now.
    virtual void timestamp_changed() {}
};

} // namespace calque::cpu
