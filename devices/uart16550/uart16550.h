// A serial port: National Semiconductor PC16550D (datasheet RRD-B30M75).
#pragma once

#include "base/clock.h"
#include "base/log.h"
#include "devices/bus/byte_region.h"
#include "devices/char_backend.h"
#include "devices/irq_line.h"

#include <array>
#include <memory>
#include <mutex>
#include <string>

namespace calque::devices {

// Eight ports. Wired as in a PC: the interrupt output reaches the line only while MCR.OUT2 is set.
//
// Timing: a character that the guest writes goes to the backend at once, and LSR shows an empty transmitter again; the
// *interrupt* for the empty transmitter comes a moment later (a character time of the programmed divisor and format,
// but at most 2 us: nobody waits for a baud rate), so that an interrupt-driven guest is not held in its handler.
// Received characters arrive as fast as the guest takes them: the backend never overruns the FIFO, only loopback can.
class Uart16550 final : public Device, public ByteRegion {
  public:
    static constexpr u64 size = 8;
    static constexpr unsigned fifo_size = 16;

    // `backend` is not owned and may be null (nothing connected: no modem signals). `name` is unique: "serial0".
    Uart16550(Log& log, Clock& clock, IrqLine irq, CharBackend* backend, std::string name);
    ~Uart16550() override;

    u8 read_byte(u64 offset) override;
    void write_byte(u64 offset, u8 value) override;

    std::string_view name() const override { return name_; }
    void reset() override;
    void serialize(Archive& archive) override;

  private:
    struct Character {
        u8 data = 0;
        u8 errors = 0; // LSR bits PE, FE, BI that came with it.
    };
    struct State {
        u8 ier = 0, fcr = 0, lcr = 0, mcr = 0, scr = 0;
        u8 lsr = 0x60;       // OE, THRE and TEMT; the rest is made from the FIFO.
        u8 msr_delta = 0;    // DCTS, DDSR, TERI, DDCD.
        u8 modem_inputs = 0; // CTS, DSR, RI, DCD as they stand, in MSR's bits 4-7.
        u8 line_errors = 0;  // PE, FE, BI of the character that came to the top, until LSR is read.
        u16 divisor = 12;    // 9600 baud: what the datasheet leaves undefined, as PC firmware sets it.
        u8 rbr = 0;          // The character that was read last.
        bool thre_pending = false;
        bool timeout_pending = false;
        u8 rx_count = 0; // At most fifo_size, 1 without FIFO.
        std::array<u8, fifo_size> rx_data{};
        std::array<u8, fifo_size> rx_errors{};
        Nanoseconds thre_deadline = never;
        Nanoseconds timeout_deadline = never;
    };

    bool fifo_enabled() const { return state_.fcr & 1; }
    unsigned trigger_level() const;
    Nanoseconds character_time() const;
    u8 interrupt_id() const;
    void update_irq();
    void update_modem_inputs();
    void push(Character character);
    void at_top();
    u8 read_rbr();
    u8 read_iir();
    u8 read_lsr();
    u8 read_msr();
    void write_thr(u8 value);
    void write_ier(u8 value);
    void write_fcr(u8 value);
    void write_mcr(u8 value);
    void clear_rx();
    void arm_receive_timeout();
    void thre_due();
    void timeout_due();
    std::size_t room();
    void deliver(std::span<const u8> bytes);
    void deliver_break();

    Log& log_;
    Clock& clock_;
    IrqLine irq_;
    CharBackend* backend_;
    std::string name_;
    std::mutex mutex_;
    State state_;
    bool irq_level_ = false;
    std::unique_ptr<Timer> thre_timer_;
    std::unique_ptr<Timer> timeout_timer_;
};

} // namespace calque::devices
