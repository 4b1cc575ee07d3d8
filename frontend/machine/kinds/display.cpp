// Display adapters.
#include "devices/vga/vga.h"
#include "devices/virtio/virtio_gpu.h"
#include "frontend/machine/chipset.h"
#include "frontend/machine/kinds/virtio.h"
#include "frontend/machine/kinds/virtio_vga.h"

#include <bit>

namespace calque::machine {

namespace {

using Type = PropertyKind::Type;

constexpr std::array vga_properties{
    PropertyKind{"vgamem_mb", Type::number, "video memory in MiB, a power of two from 1 to 256 (16)"},
    PropertyKind{"edid", Type::boolean, "the monitor says what it can do (on)"},
    PropertyKind{"xres", Type::number, "the width that the monitor prefers, 64 to 4095 (1280)"},
    PropertyKind{"yres", Type::number, "the height (800)"},
};

// What a monitor prefers, as given or as it stands in `width` and `height`.
Result<void> read_size(const DeviceRequest& request, u32& width, u32& height) {
    const u64 wide = request.get_number("xres", width), high = request.get_number("yres", height);
    if (wide < 64 || wide > 4095 || high < 64 || high > 4095)
        return error("-device {}: a monitor of {} by {} pixels is not possible; each is 64 to 4095", request.driver,
                     wide, high);
    width = static_cast<u32>(wide);
    height = static_cast<u32>(high);
    return {};
}

Result<devices::Vga::Options> vga_options(const DeviceRequest& request, u64 usual_megabytes) {
    const u64 megabytes = request.get_number("vgamem_mb", usual_megabytes);
    if (megabytes < 1 || megabytes > 256 || !std::has_single_bit(megabytes))
        return error("-device {}: vgamem_mb={} is not a power of two from 1 to 256", request.driver, megabytes);
    devices::Vga::Options options;
    options.memory = megabytes << 20;
    options.edid = request.get_bool("edid", true);
    if (auto good = read_size(request, options.width, options.height); !good) return good.error();
    return options;
}

Result<PluggedDevice> make_vga(const DeviceContext& context, const DeviceRequest& request) {
    const auto options = vga_options(request, 16);
    if (!options) return options.error();
    auto device = std::make_unique<devices::Vga>(
        context.log, context.clock, *options, [&bus = context.memory_bus] { bus.tell_changed(); }, context.name);
    device->map_legacy(context.ports, context.memory_bus);
    devices::Vga& vga = *device;
    return PluggedDevice{std::move(device), &vga.function(), {}, &vga};
}

constexpr PropertyKind max_outputs{"max_outputs", Type::number, "screens: 1 (1)"};

Result<void> check_outputs(const DeviceRequest& request) {
    if (request.get_number("max_outputs", 1) == 1) return {};
    return error("-device {}: max_outputs={}: there is one screen here", request.driver,
                 request.get_number("max_outputs", 1));
}

constexpr std::array gpu_properties{
    PropertyKind{"edid", Type::boolean, "the monitor says what it can do (on)"},
    PropertyKind{"xres", Type::number, "the width that the monitor prefers, 64 to 4095 (1280)"},
    PropertyKind{"yres", Type::number, "the height (800)"},
    max_outputs,
    virtio_vectors,
};

Result<PluggedDevice> make_gpu(const DeviceContext& context, const DeviceRequest& request) {
    using devices::VirtioGpu;
    if (!context.backends.worker) return error("-device {} has nothing to run on here", request.driver);
    if (auto good = check_outputs(request); !good) return good.error();
    VirtioGpu::Options settings;
    settings.edid = request.get_bool("edid", true);
    if (auto good = read_size(request, settings.width, settings.height); !good) return good.error();
    constexpr u32 class_display_other = 0x038000;
    devices::VirtioPciOptions options = virtio_options(context, request, class_display_other);
    options.legacy = false; // Virtio had none before 1.0.
    VirtioGpu* gpu = nullptr;
    auto plugged = plug_virtio(context, options, devices::virtio::Id::gpu, VirtioGpu::config_size, VirtioGpu::queues,
                               [&](devices::DmaPort& memory) {
                                   auto made = std::make_unique<VirtioGpu>(
                                       context.log, memory, *context.backends.worker, settings, context.name);
                                   gpu = made.get();
                                   return made;
                               });
    if (plugged) plugged->display = gpu;
    return plugged;
}

constexpr std::array virtio_vga_properties{
    PropertyKind{"vgamem_mb", Type::number, "the VGA's memory in MiB, a power of two from 1 to 256 (8)"},
    PropertyKind{"edid", Type::boolean, "the monitor says what it can do (on)"},
    PropertyKind{"xres", Type::number, "the width that the monitor prefers, 64 to 4095 (1280)"},
    PropertyKind{"yres", Type::number, "the height (800)"},
    max_outputs,
    virtio_vectors,
};

Result<PluggedDevice> make_virtio_vga(const DeviceContext& context, const DeviceRequest& request) {
    if (!context.backends.worker) return error("-device {} has nothing to run on here", request.driver);
    if (auto good = check_outputs(request); !good) return good.error();
    const auto vga = vga_options(request, 8);
    if (!vga) return vga.error();
    devices::VirtioPciOptions options = virtio_options(context, request, 0);
    options.legacy = false;
    auto device = std::make_unique<VirtioVga>(context.log, context.clock, context.memory, *context.backends.worker,
                                              options, devices::VirtioGpu::Options{vga->edid, vga->width, vga->height},
                                              *vga, [&bus = context.memory_bus] { bus.tell_changed(); });
    device->map_legacy(context.ports, context.memory_bus);
    VirtioVga& made = *device;
    return PluggedDevice{std::move(device), &made.function(), {}, &made};
}

constexpr std::array kinds{
    DeviceKind{"VGA", "PCI", "standard VGA with Bochs' VBE", vga_properties, make_vga, "vgabios-stdvga.bin"},
    DeviceKind{"virtio-gpu-pci", "PCI", "a display for the guest's driver, without VGA: give -vga none with it",
               gpu_properties, make_gpu},
    DeviceKind{"virtio-vga", "PCI", "a display for the guest's driver, a standard VGA until then (-vga virtio)",
               virtio_vga_properties, make_virtio_vga, "vgabios-virtio.bin"},
};

} // namespace

std::span<const DeviceKind> display_kinds() { return kinds; }

} // namespace calque::machine
