// USB: the controller, and what is plugged into it.
#include "frontend/machine/kinds/usb.h"

#include "devices/usb/usb_hid.h"
#include "devices/usb/xhci.h"
#include "frontend/machine/chipset.h"

#include <algorithm>

namespace calque::machine {

namespace {

using Type = PropertyKind::Type;
using devices::UsbHid;
using devices::Xhci;

constexpr std::array controller_properties{
    PropertyKind{"p2", Type::number, "USB 2 ports, 1 to 15: all devices here go into these (4)"},
    PropertyKind{"p3", Type::number, "USB 3 ports, 1 to 15 (4)"}};

Result<PluggedDevice> make_controller(const DeviceContext& context, const DeviceRequest& request,
                                      Xhci::Options options) {
    const u64 usb2 = request.get_number("p2", options.usb2), usb3 = request.get_number("p3", options.usb3);
    constexpr u64 most = devices::xhci::most_ports;
    if (usb2 < 1 || usb2 > most || usb3 < 1 || usb3 > most)
        return error("-device {}: p2 and p3 are 1 to {}", request.driver, most);
    if (!context.backends.worker) return error("-device {} has nothing to run on here", request.driver);
    options.usb2 = static_cast<unsigned>(usb2);
    options.usb3 = static_cast<unsigned>(usb3);
    auto device = std::make_unique<Xhci>(context.log, context.memory, context.clock, *context.backends.worker, options,
                                         context.name);
    devices::PciFunction& function = device->function();
    return PluggedDevice{std::move(device), &function};
}

Result<PluggedDevice> make_qemu(const DeviceContext& context, const DeviceRequest& request) {
    return make_controller(context, request, {0x1B36, 0x000D, 1});
}

Result<PluggedDevice> make_nec(const DeviceContext& context, const DeviceRequest& request) {
    return make_controller(context, request, {0x1033, 0x0194, 3});
}

constexpr std::array device_properties{
    PropertyKind{"bus", Type::text, "the id of a qemu-xhci or nec-usb-xhci, followed by .0 (the last one)"},
    PropertyKind{"port", Type::number, "its USB 2 port, from 1 (the first free one)"},
    PropertyKind{"serial", Type::text, "what the guest finds as serial number (none)"}};

Xhci* find_controller(const DeviceContext& context, const DeviceRequest& request) {
    std::string id = request.get("bus");
    if (id.ends_with(".0")) id.resize(id.size() - 2);
    Xhci* found = nullptr;
    for (const auto& device : context.plugged)
        if (auto* const controller = dynamic_cast<Xhci*>(device.get()))
            if (id.empty() || controller->name() == id) found = controller;
    return found;
}

template <UsbHid::Kind kind>
Result<PluggedDevice> make_hid(const DeviceContext& context, const DeviceRequest& request) {
    Xhci* const controller = find_controller(context, request);
    if (!controller)
        return error("-device {} needs a USB controller before it, -device qemu-xhci{}", request.driver,
                     request.has("bus") ? ", with the id that bus= names" : "");
    auto device = std::make_unique<UsbHid>(context.log, kind, request.get("serial"), context.name);
    std::optional<unsigned> port;
    if (request.has("port")) port = static_cast<unsigned>(std::min<u64>(request.get_number("port", 0), ~0u));
    if (!controller->plug(*device, port))
        return error("-device {}: {} has no such USB 2 port that is free; p2= gives it more", request.driver,
                     controller->name());
    UsbHid& hid = *device;
    PluggedDevice plugged{std::move(device)};
    plugged.input = &hid;
    plugged.parent = controller->name();
    return plugged;
}

constexpr std::array kinds{
    DeviceKind{"qemu-xhci", "PCI", "a USB controller", controller_properties, make_qemu},
    DeviceKind{"nec-usb-xhci", "PCI", "the same, as an NEC chip", controller_properties, make_nec},
    DeviceKind{"usb-tablet", "USB", "a pointer that knows its place: no window has to hold the mouse",
               device_properties, make_hid<UsbHid::Kind::tablet>},
    DeviceKind{"usb-mouse", "USB", "a mouse with a wheel", device_properties, make_hid<UsbHid::Kind::mouse>},
    DeviceKind{"usb-kbd", "USB", "a keyboard", device_properties, make_hid<UsbHid::Kind::keyboard>},
};

} // namespace

std::span<const DeviceKind> usb_kinds() { return kinds; }

} // namespace calque::machine
