// The pair of 8259A interrupt controllers of a PC (Intel 8259A datasheet, order 231468; PIIX3 datasheet for the ELCR).
#pragma once

#include "base/log.h"
#include "devices/bus/byte_region.h"
#include "devices/device.h"
#include "devices/interrupt_acknowledge.h"
#include "devices/irq_line.h"

#include <array>
#include <functional>
#include <mutex>

namespace calque::devices {

// One 8259A: pure logic without lock or ports. I8259Pair owns two of them.
class I8259Chip {
  public:
    struct State {
        u8 irr = 0;             // Requests: latched edges, and the level inputs that are high.
        u8 isr = 0;             // Requests in service.
        u8 imr = 0;             // Mask (OCW1).
        u8 lines = 0;           // The IR inputs as they are now.
        u8 vector_base = 0;     // ICW2, bits 7-3.
        u8 icw4 = 0;            // AEOI and SFNM as written.
        u8 elcr = 0;            // Inputs that are level-triggered.
        u8 next_icw = 0;        // 2, 3 or 4 while an initialisation runs, else 0.
        u8 lowest_priority = 7; // The IR that has the lowest priority.
        bool single = false;    // ICW1 SNGL.
        bool wants_icw4 = false;
        bool read_isr = false; // OCW3 RIS.
        bool poll = false;     // OCW3 P: the next read is a poll.
        bool special_mask = false;
        bool rotate_on_auto_eoi = false;
    };

    I8259Chip(bool master, Log& log) : master_(master), log_(log) {}

    void reset(); // The inputs stay as they are.
    void set_input(unsigned ir, bool level);
    bool output() const { return best_request() >= 0; } // The INT pin.
    // What INTA does: the IR that is served, moved from IRR to ISR, or -1 when no request stands.
    int acknowledge();
    u8 vector(unsigned ir) const { return static_cast<u8>(state_.vector_base | ir); }
    u8 read(u64 offset);
    void write(u64 offset, u8 value);
    void write_elcr(u8 value);
    void serialize(Archive& archive, std::string_view section);
    const State& state() const { return state_; }

  private:
    int best_request() const;       // The IR that INT is raised for, or -1.
    int highest_in_service() const; // What a non-specific EOI ends, or -1.
    u8 inhibiting() const;          // The bits of the ISR that count.
    void initialise(u8 icw1);
    void write_ocw2(u8 value);
    void write_ocw3(u8 value);
    void write_icw(u8 value);

    bool master_;
    Log& log_;
    State state_;
};

// Both controllers, the slave cascaded into IR2 of the master. Any thread.
//
// Inputs 0-15 are the PC's IRQs (input 2 is the cascade and ignored). As in the chip, an edge-triggered request is
// withdrawn when its line falls before the acknowledge: a device that signals an edge lowers the line and raises it
// again, and leaves it high.
class I8259Pair final : public Device, public IrqSink, public InterruptAcknowledge {
  public:
    // `intr` is the master's INT pin: the processor's INTR, the local APICs' LINT0.
    I8259Pair(Log& log, IrqLine intr);

    std::string_view name() const override { return "i8259"; }
    void reset() override;
    void serialize(Archive& archive) override;

    void set_irq(unsigned number, bool level) override;
    u8 acknowledge() override;
    // `taken(irq)` is called after each acknowledge of a request, on the acknowledging thread, without a lock.
    void set_taken_observer(std::function<void(unsigned)> taken) { taken_ = std::move(taken); }
    bool masked(unsigned irq) const; // By its own bit of OCW1.
    bool intr() const;               // The INT pin.

    IoRegion& master_ports() { return master_ports_; } // Ports 20h-21h.
    IoRegion& slave_ports() { return slave_ports_; }   // Ports A0h-A1h.
    IoRegion& elcr_ports() { return elcr_ports_; }     // Ports 4D0h-4D1h.

    // For the monitor's `info pic`: copies of both states.
    std::array<I8259Chip::State, 2> snapshot() const;

  private:
    class ChipPorts final : public ByteRegion {
      public:
        ChipPorts(I8259Pair& pair, I8259Chip& chip) : pair_(pair), chip_(chip) {}
        u8 read_byte(u64 offset) override;
        void write_byte(u64 offset, u8 value) override;

      private:
        I8259Pair& pair_;
        I8259Chip& chip_;
    };
    class ElcrPorts final : public ByteRegion {
      public:
        explicit ElcrPorts(I8259Pair& pair) : pair_(pair) {}
        u8 read_byte(u64 offset) override;
        void write_byte(u64 offset, u8 value) override;

      private:
        I8259Pair& pair_;
    };

    void update(); // Carries the slave's INT to the master and the master's to intr_. Called with the lock.

    Log& log_;
    IrqLine intr_; // Called with the lock.
    std::function<void(unsigned)> taken_;
    mutable std::mutex mutex_;
    I8259Chip master_{true, log_};
    I8259Chip slave_{false, log_};
    bool driven_ = false; // What intr_ was last set to.
    ChipPorts master_ports_{*this, master_};
    ChipPorts slave_ports_{*this, slave_};
    ElcrPorts elcr_ports_{*this};
};

} // namespace calque::devices
