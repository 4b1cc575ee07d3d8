// What a local APIC needs of its processor and of the machine. The machine implements it.
#pragma once

#include "base/clock.h"
#include "base/types.h"

namespace calque::devices {

// The processor's side of a local APIC. Every method may be called from any thread, may be called while a device, the
// 8259 or an APIC holds its lock, and so must not call back into a device: it sets atomics and wakes the processor.
class VcpuPort {
  public:
    virtual ~VcpuPort() = default;
    // True: there may be something to acknowledge (LocalApic::pending()). The line never stays low when something is
    // pending; it may be high for a short time when nothing is, and acknowledge() then gives nothing and lowers it.
    virtual void interrupt_line(bool level) = 0;
    virtual void nmi() = 0;  // An NMI message or edge.
    virtual void smi() = 0;  // An SMI message.
    virtual void init() = 0; // INIT: the processor's thread resets itself and calls LocalApic::init_reset().
    virtual void startup(u8 vector) = 0; // SIPI: start at vector << 12 if waiting for it, else ignore.
    // IA32_APIC_BASE changed what the processor's accesses to physical memory see: the page at `base` is the APIC's
    // registers when `mmio`, else it is ordinary memory. Called on the processor's own thread, or while it is stopped.
    virtual void apic_base_changed(PhysicalAddress base, bool mmio) = 0;
};

// The processor's time-stamp counter against the clock, for TSC-deadline timers.
class TscSource {
  public:
    virtual ~TscSource() = default;
    virtual u64 tsc() const = 0;                        // What RDTSC gives now.
    virtual Nanoseconds time_of_tsc(u64 tsc) const = 0; // When it reaches `tsc`; `never` if beyond the clock.
};

} // namespace calque::devices
