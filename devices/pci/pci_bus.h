// A PCI bus. Bus 0 has configuration mechanism 1 (PCI 3.0, 3.2.2.3.2): CONFADD at port CF8, CONFDATA at CFC.
#pragma once

#include "base/log.h"
#include "base/result.h"
#include "devices/bus/bus.h"
#include "devices/device.h"
#include "devices/irq_line.h"
#include "devices/pci/function.h"

#include <array>
#include <map>
#include <mutex>
#include <vector>

namespace calque::devices {

// Routes configuration accesses to functions, places their BARs on the port and memory buses, and collects their
// interrupt pins on the four PIRQ lines: pin p (INTA# = 0) of device d drives PIRQ (p + d - 1) mod 4, the wiring that
// the PC's firmware tables describe. Absent functions and buses read as all ones. The bus behind a bridge
// (pci_bridge.h) is one of these too; its configuration cycles and interrupts go through bus 0.
class PciBus final : public Device {
  public:
    PciBus(Log& log, Bus& ports, Bus& memory);
    ~PciBus() override;

    // Makes this the secondary bus of a bridge (not owned), before anything is attached.
    void set_bridge(PciFunction& bridge);
    // Maps CF8-CFB and CFC-CFF on the port bus.
    void map_config_ports();
    // Puts a function (not owned; it leaves the bus when it is destroyed) into a slot. An error when it is taken. While
    // the machine runs both happen with its processors parked, and a function lets its pin fall before it goes.
    Result<void> attach(PciFunction& function, unsigned device, unsigned number);
    // Who gets PIRQA#-PIRQD# as inputs 0-3 (the ISA bridge). Set before the machine runs.
    void set_interrupt_sink(IrqSink* pirq) { pirq_ = pirq; }
    // Who gets the messages of MSI and MSI-X. Set before the machine runs.
    void set_msi_sink(MsiSink* messages) { messages_ = messages; }

    // Configuration accesses from the host's side (monitor, later ECAM). devfn is device * 8 + function.
    u32 config_read(u8 bus, u8 devfn, unsigned offset, unsigned size);
    void config_write(u8 bus, u8 devfn, unsigned offset, u32 value, unsigned size);

    struct Slot {
        unsigned device;
        unsigned function;
        PciFunction* pci;
    };
    std::vector<Slot> slots() const; // For `info pci`.
    // The bus that a function of slots() leads to; null when it is no bridge.
    static const PciBus* behind(const PciFunction& function) { return function.secondary_; }
    Bus& ports() { return ports_; }
    Bus& memory() { return memory_; }

    IoRegion& config_address() { return address_port_; }
    IoRegion& config_data() { return data_port_; }

    std::string_view name() const override { return "pci"; }
    void reset() override;
    void serialize(Archive& archive) override;

  private:
    friend class PciFunction;
    class AddressPort final : public IoRegion {
      public:
        explicit AddressPort(PciBus& bus) : bus_(bus) {}
        u64 read(u64 offset, unsigned size) override;
        void write(u64 offset, u64 value, unsigned size) override;

      private:
        PciBus& bus_;
    };
    class DataPort final : public IoRegion {
      public:
        explicit DataPort(PciBus& bus) : bus_(bus) {}
        u64 read(u64 offset, unsigned size) override;
        void write(u64 offset, u64 value, unsigned size) override;

      private:
        PciBus& bus_;
    };

    void drive_pirq(unsigned devfn, unsigned pin, bool level); // From a function whose line changed.
    void detach(PciFunction& function);
    PciFunction* find(u8 bus, u8 devfn) const;
    PciFunction* find_behind_bridges(u8 bus, u8 devfn) const;
    PciFunction* at(u8 devfn) const;
    MsiSink* messages() const;

    Log& log_;
    Bus& ports_;
    Bus& memory_;
    IrqSink* pirq_ = nullptr;
    MsiSink* messages_ = nullptr;
    PciFunction* bridge_ = nullptr; // Null: bus 0.
    AddressPort address_port_{*this};
    DataPort data_port_{*this};
    std::map<unsigned, PciFunction*> functions_; // By devfn; changes only while nothing else looks (see attach()).

    std::mutex config_mutex_; // Orders configuration accesses, BAR moves and hooks.
    struct State {
        u32 confadd = 0;
    } state_;
    std::mutex intx_mutex_;
    std::array<unsigned, 4> pirq_count_{}; // Functions that hold each line; follows from the functions' own states.
};

} // namespace calque::devices
