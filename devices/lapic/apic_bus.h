// The bus between local APICs, IOAPICs and MSI: who gets a message.
#pragma once

#include "base/log.h"
#include "devices/irq_line.h"
#include "devices/lapic/apic_message.h"

#include <atomic>
#include <functional>
#include <optional>
#include <span>
#include <vector>

namespace calque::devices {

class LocalApic;

// As an MsiSink it takes MSI and the IOAPIC's messages. As an IrqSink its inputs are `lint0` and `lint1` of every
// local APIC. Any thread, without a lock of its own: the list of APICs does not change after the machine is built.
class ApicBus final : public MsiSink, public IrqSink {
  public:
    static constexpr unsigned lint0 = 0; // The 8259's INTR.
    static constexpr unsigned lint1 = 1; // The chipset's NMI.

    explicit ApicBus(Log& log) : log_(log) {}

    // Called by LocalApic's constructor and destructor.
    void attach(LocalApic& apic);
    void detach(LocalApic& apic);

    // `eoi(vector)` is called for every EOI broadcast, by a thread that holds no APIC's lock: it tells the IOAPICs.
    void set_eoi_observer(std::function<void(u8)> eoi) { eoi_ = std::move(eoi); }

    // `taken()` is called whenever a processor takes the interrupt of the vector that watch() named last, on its
    // thread, which holds no APIC's lock.
    void set_taken_observer(std::function<void()> taken) { taken_ = std::move(taken); }
    void watch(std::optional<u8> vector) { watched_.store(vector ? *vector : no_vector, std::memory_order_relaxed); }
    void interrupt_taken(u8 vector) {
        if (watched_.load(std::memory_order_relaxed) == vector && taken_) taken_();
    }

    void send_msi(PhysicalAddress address, u32 data) override;
    void set_irq(unsigned number, bool level) override;

    // Delivers to every local APIC that the destination matches (one of them for lowest priority), except `exclude`.
    // False when none matched.
    bool deliver(const ApicMessage& message, const LocalApic* exclude = nullptr);
    void broadcast_eoi(u8 vector) {
        if (eoi_) eoi_(vector);
    }

    std::span<LocalApic* const> apics() const { return apics_; }

  private:
    bool deliver_lowest_priority(const ApicMessage& message, const LocalApic* exclude);

    Log& log_;
    std::vector<LocalApic*> apics_; // Not owned.
    std::atomic<u32> next_{0};      // Where the search among equals starts for lowest priority.
    std::function<void(u8)> eoi_;
    static constexpr u16 no_vector = 0x100;
    std::atomic<u16> watched_{no_vector};
    std::function<void()> taken_;
};

} // namespace calque::devices
