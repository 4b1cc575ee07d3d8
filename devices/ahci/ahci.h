// The AHCI controller of Intel's ICH9: 8086:2922 with six ports (ICH9 datasheet, 316972, chapter 14; AHCI 1.3.1).
#pragma once

#include "devices/ahci/ahci_port.h"
#include "devices/device.h"
#include "devices/pci/function.h"
#include "devices/pci/pci_dma.h"
#include "devices/worker.h"

#include <array>

namespace calque::devices {

// Commands run on the worker's thread and on those of the backends.
class Ahci final : public Device, private AhciHost {
  public:
    static constexpr unsigned ports = 6;

    Ahci(Log& log, DmaPort& memory, Worker& worker, std::string name);

    PciFunction& function() { return pci_; }
    // A drive at a port, before the machine runs. The backend is not owned, and has no request under way when the
    // device is destroyed.
    void attach(unsigned port, BlockBackend& backend, bool cd, std::string serial) {
        ports_[port]->attach(backend, cd, std::move(serial));
    }
    bool attached(unsigned port) const { return ports_[port]->attached(); }

    std::string_view name() const override { return name_; }
    void reset() override;
    void serialize(Archive& archive) override;

  private:
    class Registers final : public IoRegion {
      public:
        explicit Registers(Ahci& device) : device_(device) {}
        u64 read(u64 offset, unsigned size) override;
        void write(u64 offset, u64 value, unsigned size) override;

      private:
        Ahci& device_;
    };
    static PciDescriptor describe(const std::string& name, IoRegion& registers);

    std::mutex& mutex() override { return mutex_; }
    DmaPort& memory() override { return dma_; }
    void interrupts_changed() override;

    u32 read_register(u32 offset);
    void write_register(u32 offset, u32 value);
    void reset_adapter();

    const std::string name_;
    Registers registers_{*this};
    PciFunction pci_;
    PciDma dma_;
    std::mutex mutex_;
    struct State {
        u32 control = ahci::GHC_AE; // GHC.
        u32 status = 0;             // IS.
    } state_;
    std::array<std::unique_ptr<AhciPort>, ports> ports_;
    std::unique_ptr<Task> task_; // Last.
};

} // namespace calque::devices
