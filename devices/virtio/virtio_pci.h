// A virtio device as a PCI function: the modern interface (virtio 1.1, 4.1.4) and the legacy one (4.1.4.8) beside it.
#pragma once

#include "devices/device.h"
#include "devices/pci/function.h"
#include "devices/pci/pci_dma.h"
#include "devices/virtio/virtio_device.h"

#include <functional>
#include <memory>

namespace calque::devices {

// With both interfaces it is what the specification calls transitional.
struct VirtioPciOptions {
    std::string name; // In saved states and messages: unique in the machine.
    bool legacy = true;
    bool modern = true;        // At least one of the two.
    unsigned vectors = ~0u;    // MSI-X vectors; 0: none; the default: one for each queue and one more.
    u32 class_code = 0xFF0000; // Base class, subclass, interface.
    std::vector<std::pair<unsigned, PciBar>> more_bars{}; // Of a kind that has some besides virtio's, by number.
};

// BAR 0: legacy registers (ports). BAR 1: MSI-X. BAR 4: the modern structures.
class VirtioPci final : public Device {
  public:
    using MakeKind = std::function<std::unique_ptr<VirtioDevice>(DmaPort& memory)>;
    // `memory` is not owned. `make` gets the memory that the function may reach as a bus master.
    VirtioPci(Log& log, DmaPort& memory, const VirtioPciOptions& options, virtio::Id id, std::size_t config_size,
              unsigned queues, const MakeKind& make);
    ~VirtioPci() override;

    PciFunction& function() { return pci_; }
    VirtioDevice& kind() { return *kind_; }

    std::string_view name() const override { return name_; }
    void reset() override;
    void serialize(Archive& archive) override;

    static constexpr u64 common_offset = 0, isr_offset = 0x1000, device_offset = 0x2000, notify_offset = 0x3000,
                         structure_size = 0x1000;
    static constexpr u32 notify_multiplier = 4;

  private:
    // The four structures in BAR 4.
    class Modern final : public IoRegion {
      public:
        explicit Modern(VirtioPci& device) : device_(device) {}
        u64 read(u64 offset, unsigned size) override;
        void write(u64 offset, u64 value, unsigned size) override;

      private:
        VirtioPci& device_;
    };
    class Legacy final : public IoRegion {
      public:
        explicit Legacy(VirtioPci& device) : device_(device) {}
        u64 read(u64 offset, unsigned size) override;
        void write(u64 offset, u64 value, unsigned size) override;

      private:
        VirtioPci& device_;
    };

    static PciDescriptor describe(const VirtioPciOptions& options, virtio::Id id, std::size_t config_size,
                                  unsigned queues, IoRegion& legacy, IoRegion& modern);
    u64 common_read(u64 offset);
    void common_write(u64 offset, u64 value);
    u64 legacy_read(u64 offset, unsigned size);
    void legacy_write(u64 offset, u64 value, unsigned size);
    u64 legacy_config_offset() const { return pci_.msix_enabled() ? 24 : 20; }
    void legacy_place_queue(u32 page);
    u16 selected() const { return selected_.load(std::memory_order_relaxed); }
    bool selected_exists() const { return selected() < kind_->queue_count(); }
    void change_queue(const std::function<void(Virtqueue::Layout&)>& change);
    u16 accepted_vector(u64 vector) const;
    void interrupt(u8 isr, u16 vector);
    u8 read_isr();
    void config_access(unsigned offset, unsigned size); // The PCI configuration access capability.

    Log& log_;
    std::string name_;
    Modern modern_{*this};
    Legacy legacy_{*this};
    PciFunction pci_;
    PciDma dma_;
    std::unique_ptr<VirtioDevice> kind_;
    unsigned access_at_ = 0; // Where in configuration space that capability lies; 0: nowhere.

    // Registers that select; a driver writes them before it uses the others.
    std::atomic<u32> device_feature_select_{0}, driver_feature_select_{0};
    std::atomic<u16> selected_{0};
    std::mutex isr_mutex_;
    u8 isr_ = 0;
};

} // namespace calque::devices
