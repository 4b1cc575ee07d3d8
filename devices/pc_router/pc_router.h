// How interrupt lines run on the board: to the 8259 pair, to the IOAPIC, or to both.
#pragma once

#include "base/log.h"
#include "devices/device.h"
#include "devices/irq_line.h"

#include <array>
#include <functional>
#include <initializer_list>
#include <mutex>
#include <optional>
#include <vector>

namespace calque::devices {

// One line to several sinks (the 8259's INTR to the LINT0 pins and to pin 0 of the IOAPIC).
class IrqFanout final : public IrqSink {
  public:
    IrqFanout(std::initializer_list<IrqLine> lines) : lines_(lines) {}
    void set_irq(unsigned, bool level) override {
        for (const IrqLine& line : lines_)
            line.set(level);
    }

  private:
    std::vector<IrqLine> lines_;
};

// The board's interrupt wiring. Its inputs:
//
//   isa + 0..15        an ISA IRQ: to the 8259 and to the IOAPIC's pin of the same number, IRQ 0 to pin 2
//   gsi + 16..23       a line to the IOAPIC only
//   pirq + 0..3        PIRQA#-PIRQD#: to IOAPIC pins 16-19, and to the ISA IRQ that set_pirq_route() chose
//   hpet + 0..31       an HPET timer that is routed to IOAPIC pin n
//   hpet_legacy_irq0, hpet_legacy_irq8
//                      HPET timers 0 and 1 in legacy replacement mode
//   hpet_legacy_mode   high: these two replace the 8254's IRQ 0 and the RTC's IRQ 8
//   ferr               the processor's FERR#: asserts IRQ 13 until port F0h is written
//
// A tick of IRQ 0 that comes while the one before still waits to be taken would be lost in the latch of the controller:
// when the host lets the processor stand for a while, the guest's time would lag. Those are counted and given one by
// one as the guest takes them.
//
// Inputs that share a pin are ORed. Any thread; the lock is held while the sinks are called, so that they see changes
// in order.
class PcRouter final : public Device, public IrqSink {
  public:
    static constexpr unsigned isa = 0;
    static constexpr unsigned gsi = 0; // gsi + 16 is GSI 16.
    static constexpr unsigned pirq = 24;
    static constexpr unsigned hpet = 32;
    static constexpr unsigned hpet_legacy_irq0 = 64;
    static constexpr unsigned hpet_legacy_irq8 = 65;
    static constexpr unsigned hpet_legacy_mode = 66;
    static constexpr unsigned ferr = 67;
    static constexpr unsigned input_count = 68;
    static constexpr unsigned timer_pin =
        2;                                 // Where IRQ 0 arrives at the IOAPIC (the MADT's interrupt source override).
    static constexpr u32 most_ticks = 250; // One second of Linux's.

    // `pic` has inputs 0-15, `ioapic` inputs 0-23 (pin 0 is left to the 8259's INTR). `ignne` is the processor's
    // IGNNE#.
    PcRouter(Log& log, IrqSink& pic, IrqSink& ioapic, IrqLine ignne);

    std::string_view name() const override { return "pc_router"; }
    void reset() override;
    void serialize(Archive& archive) override;

    void set_irq(unsigned number, bool level) override;

    // `listens` tells whether a controller would pass an edge of IRQ 0 on: only then are ticks counted. Called with the
    // lock. timer_taken() tells that a processor has taken the interrupt; its thread holds no lock of a device.
    void set_timer_listens(std::function<bool()> listens) { timer_listens_ = std::move(listens); }
    void timer_taken();

    // PIRQRC[A-D] of the ISA bridge: the ISA IRQ that PIRQ `number` (0-3) is steered to, or nothing.
    void set_pirq_route(unsigned number, std::optional<u8> isa_irq);

    IoRegion& coprocessor_ports() { return coprocessor_ports_; } // Ports F0h-F1h.

    struct State {
        std::array<bool, input_count> inputs{};
        std::array<u8, 4> pirq_route = {0x80, 0x80, 0x80, 0x80}; // An ISA IRQ, or 80h for none.
        bool coprocessor_error = false;                          // IRQ 13 as FERR# latched it.
        bool ignne = false;
        bool tick_waits = false; // IRQ 0 has risen and is not taken.
        bool tick_given = false; // A counted tick holds IRQ 0 high.
        u32 ticks_due = 0;       // At most `most_ticks`.
    };

  private:
    class CoprocessorPorts final : public IoRegion {
      public:
        explicit CoprocessorPorts(PcRouter& router) : router_(router) {}
        u64 read(u64, unsigned size) override;
        void write(u64 offset, u64 value, unsigned size) override;

      private:
        PcRouter& router_;
    };

    bool timer_line() const; // IRQ 0 as the 8254 or the HPET drives it.
    void count_tick();
    bool isa_level(unsigned irq) const;
    bool pin_level(unsigned pin) const;
    u32 levels(unsigned count, bool (PcRouter::*level)(unsigned) const) const;
    void update();

    Log& log_;
    IrqSink& pic_;
    IrqSink& ioapic_;
    IrqLine ignne_;
    std::function<bool()> timer_listens_;
    std::mutex mutex_;
    State state_;
    u32 pic_driven_ = 0; // What the sinks were last told, by input.
    u32 ioapic_driven_ = 0;
    CoprocessorPorts coprocessor_ports_{*this};
};

} // namespace calque::devices
