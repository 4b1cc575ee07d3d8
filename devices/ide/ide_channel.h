// One IDE cable with its ports: 1F0-1F7 and 3F6 or 170-177 and 376, up to two drives, its interrupt and its half of
// the bus master.
#pragma once

#include "devices/ata/ata_drive.h"
#include "devices/device.h"
#include "devices/ide/bus_master.h"
#include "devices/irq_line.h"

#include <array>
#include <memory>
#include <mutex>
#include <string>

namespace calque::devices {

// A drive on the cable, as the machine is put together.
struct IdeSlot {
    BlockBackend* backend = nullptr; // Not owned; null: no drive.
    bool cd = false;
    std::string serial; // Where the backend has none.
};

class IdeChannel final : public AtaCable {
  public:
    IdeChannel(Log& log, DmaPort& dma, IrqLine irq, unsigned number, const std::array<IdeSlot, 2>& drives);
    ~IdeChannel();

    IoRegion& command_block() { return command_; } // 8 ports.
    IoRegion& control() { return control_; }       // 1 port.
    u8 read_bus_master(unsigned offset);
    void write_bus_master(unsigned offset, u8 value);
    void set_mastering(bool allowed); // PCI's bus master enable.

    void reset();
    void serialize(Archive& archive);

    std::mutex& mutex() override { return mutex_; }
    DmaOutcome transfer(std::span<u8> bytes, bool to_memory) override { return master_.transfer(bytes, to_memory); }
    void interrupt_changed() override;
    void dma_wanted() override;

  private:
    class Command final : public IoRegion {
      public:
        explicit Command(IdeChannel& channel) : channel_(channel) {}
        u64 read(u64 offset, unsigned size) override;
        void write(u64 offset, u64 value, unsigned size) override;

      private:
        IdeChannel& channel_;
    };
    class Control final : public IoRegion {
      public:
        explicit Control(IdeChannel& channel) : channel_(channel) {}
        u64 read(u64 offset, unsigned size) override;
        void write(u64 offset, u64 value, unsigned size) override;

      private:
        IdeChannel& channel_;
    };

    AtaDrive* selected() { return drives_[state_.device >> 4 & 1].get(); }
    bool empty() const { return !drives_[0] && !drives_[1]; }
    u8 read_register(unsigned index);
    void write_register(unsigned index, u8 value);
    void write_control(u8 value);
    void run_dma();

    std::mutex mutex_;
    BusMaster master_;
    const IrqLine irq_;
    const std::string name_;
    Command command_{*this};
    Control control_{*this};
    std::array<std::unique_ptr<AtaDrive>, 2> drives_;
    struct State {
        u8 device = 0;  // As written last: bit 4 selects.
        u8 control = 0; // Device control.
        bool mastering = false;
    } state_;
    bool line_ = false;    // INTRQ as the router was told; follows from the state.
    bool running_ = false; // run_dma() is under way.
};

} // namespace calque::devices
