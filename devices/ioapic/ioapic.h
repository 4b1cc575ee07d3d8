// The 82093AA I/O APIC, with the EOI register of version 20h (Intel 82093AA datasheet, order 290566; ICH datasheets).
#pragma once

#include "base/clock.h"
#include "base/log.h"
#include "devices/device.h"
#include "devices/irq_line.h"

#include <array>
#include <mutex>
#include <optional>

namespace calque::devices {

// 24 inputs, each sent as a message by its redirection entry. Any thread.
//
// A line's level means "asserted": the polarity bit is kept and read back, but the board's lines come with the polarity
// that the firmware's tables tell, so it changes nothing.
class IoApic final : public Device, public IrqSink {
  public:
    static constexpr unsigned pins = 24;
    static constexpr u64 default_base = 0xfec0'0000;
    static constexpr u64 mmio_size = 4096;

    // A request that stands after so many EOIs, its line never having been low, is sent again only this long after the
    // next. On the board a message takes its time from here to the processor, in which an interrupted program gets on;
    // a driver that does not silence its device in the handler counts on it.
    static constexpr u32 storm = 1000;
    static constexpr Nanoseconds storm_pause = 1'000'000;

    // Messages go to `apics` as the writes to FEExxxxxh that they are.
    IoApic(Log& log, Clock& clock, MsiSink& apics);

    std::string_view name() const override { return "ioapic"; }
    void reset() override;
    void serialize(Archive& archive) override;

    void set_irq(unsigned pin, bool level) override;
    // The vector that an edge at this pin asks for; nothing when it is masked, level-triggered or no plain interrupt.
    std::optional<u8> edge_vector(unsigned pin) const;
    void eoi(u8 vector); // An EOI broadcast by a local APIC, which holds no lock.

    IoRegion& mmio() { return mmio_; } // 4 kB at FEC00000h.

    struct State {
        u32 id = 0; // Bits 27-24.
        u8 select = 0;
        u32 lines = 0; // Inputs as they are now.
        std::array<u64, pins> table = masked_table();

        static constexpr std::array<u64, pins> masked_table() {
            std::array<u64, pins> table{};
            table.fill(u64{1} << 16);
            return table;
        }
    };
    State snapshot() const; // For the monitor's `info ioapic`.

  private:
    class Mmio final : public IoRegion {
      public:
        explicit Mmio(IoApic& apic) : apic_(apic) {}
        u64 read(u64 offset, unsigned size) override;
        void write(u64 offset, u64 value, unsigned size) override;

      private:
        IoApic& apic_;
    };

    u32 read_register(u8 index) const;
    void write_register(u8 index, u32 value);
    void write_entry(unsigned pin, bool high, u32 value);
    bool stands(unsigned pin) const; // A level-triggered request that was not sent.
    void service(unsigned pin);      // Sends it.
    void send(unsigned pin);
    void end_of_interrupt(u8 vector);
    bool storms(unsigned pin);
    void pause(u32 lines);

    Log& log_;
    Clock& clock_;
    MsiSink& apics_;
    mutable std::mutex mutex_;
    State state_;
    // Of lines since they were low last: how often a request was sent again at once. Not saved: a storm shows again.
    std::array<u32, pins> repeated_{};
    u32 paused_ = 0; // Lines whose requests wait for `pause_`.
    std::unique_ptr<Timer> pause_;
    Mmio mmio_{*this};
};

} // namespace calque::devices
