// A VGA and a virtio display in one PCI function: firmware and the guest's first console use the one, its driver then
// the other, which is a monitor of its own no more but the same screen.
#pragma once

#include "devices/vga/vga.h"
#include "devices/virtio/virtio_gpu.h"
#include "devices/virtio/virtio_pci.h"

namespace calque::machine {

// BAR 0: the VGA's framebuffer. BAR 1: MSI-X. BAR 2: the VGA's registers. BAR 4: virtio's structures.
class VirtioVga final : public devices::Device, public devices::Display {
  public:
    // As Vga and VirtioGpu take them. The worker and `memory` are not owned. `pci` without the legacy interface.
    VirtioVga(Log& log, Clock& clock, devices::DmaPort& memory, devices::Worker& worker,
              const devices::VirtioPciOptions& pci, const devices::VirtioGpu::Options& gpu,
              const devices::Vga::Options& vga, std::function<void()> memory_changed);

    devices::PciFunction& function() { return virtio_->function(); }
    devices::VirtioPci& virtio() { return *virtio_; }
    void map_legacy(devices::Bus& ports, devices::Bus& memory) { vga_.map_legacy(ports, memory); }

    // The virtio display's from when its driver first shows something to the reset of either.
    void take_picture(devices::Surface& surface) override;
    Damage update(devices::Surface& surface) override;
    void stop_updates() override;
    std::optional<std::vector<std::string>> text() override;

    std::string_view name() const override { return virtio_->name(); }
    void reset() override;
    void serialize(Archive& archive) override;

  private:
    devices::Display& shown() { return gpu_->driven() ? static_cast<devices::Display&>(*gpu_) : vga_; }

    devices::Vga vga_; // Its own PCI function is on no bus.
    devices::VirtioGpu* gpu_ = nullptr;
    std::unique_ptr<devices::VirtioPci> virtio_;
    devices::Display* updated_ = nullptr; // By the last update(); null: there was none, or an end to them.
};

} // namespace calque::machine
