// An interrupt line as a device sees it: a small value, a sink and a number.
#pragma once

#include "base/types.h"

namespace calque::devices {

// Whatever has interrupt inputs: an 8259, an IOAPIC, the PC's GSI router, a PCI link.
class IrqSink {
  public:
    virtual ~IrqSink() = default;
    virtual void set_irq(unsigned number,
                         bool level) = 0; // Any thread. Level semantics: called with the line's new state.
};

class IrqLine {
  public:
    IrqLine() = default; // Connected to nothing.
    IrqLine(IrqSink& sink, unsigned number) : sink_(&sink), number_(number) {}

    void set(bool level) const {
        if (sink_) sink_->set_irq(number_, level);
    }
    void raise() const { set(true); }
    void lower() const { set(false); }
    void pulse() const {
        raise();
        lower();
    }

  private:
    IrqSink* sink_ = nullptr; // Not owned; the machine outlives its devices.
    unsigned number_ = 0;
};

// A message-signalled interrupt: a 32-bit write that the APICs understand (SDM volume 3, 11.11).
class MsiSink {
  public:
    virtual ~MsiSink() = default;
    virtual void send_msi(PhysicalAddress address, u32 data) = 0;
};

} // namespace calque::devices
