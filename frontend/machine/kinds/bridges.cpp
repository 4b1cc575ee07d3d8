// Bridges to further PCI buses.
#include "devices/pci/pci_bridge.h"
#include "frontend/machine/chipset.h"
#include "frontend/machine/kinds/kinds.h"

namespace calque::machine {

namespace {

using Type = PropertyKind::Type;

constexpr std::array bridge_properties{
    PropertyKind{"chassis_nr", Type::number, "the chassis' number, 1 to 255; needed"},
    PropertyKind{"shpc", Type::boolean, "off: there is no hot-plug controller (off)"},
};

Result<PluggedDevice> make_bridge(const DeviceContext& context, const DeviceRequest& request) {
    const u64 chassis = request.get_number("chassis_nr", 0);
    if (chassis < 1 || chassis > 255)
        return error("-device {} needs chassis_nr=, a number from 1 to 255", request.driver);
    if (request.get_bool("shpc", false))
        return error("-device {}: shpc=on does not exist here; leave it out", request.driver);
    auto device = std::make_unique<devices::PciBridge>(context.log, context.ports, context.memory_bus,
                                                       static_cast<u8>(chassis), context.name);
    devices::PciBridge& bridge = *device;
    PluggedDevice plugged{std::move(device), &bridge.function()};
    plugged.bridge = &bridge;
    return plugged;
}

constexpr std::array kinds{
    DeviceKind{"pci-bridge", "PCI", "a bridge to a PCI bus, which -device bus= names by its id", bridge_properties,
               make_bridge},
};

} // namespace

std::span<const DeviceKind> bridge_kinds() { return kinds; }

} // namespace calque::machine
