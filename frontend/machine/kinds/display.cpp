// Display adapters.
#include "devices/vga/vga.h"
#include "frontend/machine/chipset.h"

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

Result<PluggedDevice> make_vga(const DeviceContext& context, const DeviceRequest& request) {
    const u64 megabytes = request.get_number("vgamem_mb", 16);
    if (megabytes < 1 || megabytes > 256 || !std::has_single_bit(megabytes))
        return error("-device {}: vgamem_mb={} is not a power of two from 1 to 256", request.driver, megabytes);
    devices::Vga::Options options;
    options.memory = megabytes << 20;
    options.edid = request.get_bool("edid", true);
    const u64 width = request.get_number("xres", options.width), height = request.get_number("yres", options.height);
    if (width < 64 || width > 4095 || height < 64 || height > 4095)
        return error("-device {}: a monitor of {} by {} pixels is not possible; each is 64 to 4095", request.driver,
                     width, height);
    options.width = static_cast<u32>(width);
    options.height = static_cast<u32>(height);
    auto device = std::make_unique<devices::Vga>(
        context.log, context.clock, options, [&bus = context.memory_bus] { bus.tell_changed(); }, context.name);
    device->map_legacy(context.ports, context.memory_bus);
    devices::Vga& vga = *device;
    return PluggedDevice{std::move(device), &vga.function(), {}, &vga};
}

constexpr std::array kinds{
    DeviceKind{"VGA", "PCI", "standard VGA with Bochs' VBE", vga_properties, make_vga, "vgabios-stdvga.bin"},
};

} // namespace

std::span<const DeviceKind> display_kinds() { return kinds; }

} // namespace calque::machine
