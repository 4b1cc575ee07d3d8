#include "frontend/machine/kinds/virtio_vga.h"

namespace calque::machine {

using namespace devices;

VirtioVga::VirtioVga(Log& log, Clock& clock, DmaPort& memory, Worker& worker, const VirtioPciOptions& pci,
                     const VirtioGpu::Options& gpu, const Vga::Options& vga, std::function<void()> memory_changed)
    : vga_(log, clock, vga, std::move(memory_changed), pci.name + ".vga") {
    VirtioPciOptions options = pci;
    options.class_code = 0x030000;
    options.more_bars = {{0, vga_.framebuffer_bar()}, {2, vga_.registers_bar()}};
    virtio_ = std::make_unique<VirtioPci>(log, memory, options, virtio::Id::gpu, VirtioGpu::config_size,
                                          VirtioGpu::queues, [&](DmaPort& dma) {
                                              auto made = std::make_unique<VirtioGpu>(log, dma, worker, gpu, pci.name);
                                              gpu_ = made.get();
                                              return made;
                                          });
}

void VirtioVga::take_picture(Surface& surface) { shown().take_picture(surface); }

Display::Damage VirtioVga::update(Surface& surface) {
    Display& display = shown();
    if (updated_ && updated_ != &display) {
        updated_->stop_updates();
        surface = {}; // It was the other's.
    }
    updated_ = &display;
    return display.update(surface);
}

void VirtioVga::stop_updates() {
    if (auto* const display = std::exchange(updated_, nullptr)) display->stop_updates();
}

std::optional<std::vector<std::string>> VirtioVga::text() { return shown().text(); }

void VirtioVga::reset() {
    virtio_->reset();
    vga_.reset();
}

void VirtioVga::serialize(Archive& archive) {
    virtio_->serialize(archive);
    vga_.serialize(archive);
    archive.section(fmt::format("{}.display", name()), 1, [&](u32) { gpu_->serialize_driven(archive); });
}

} // namespace calque::machine
