// Keyboards and pointers on virtio.
#include "devices/virtio/virtio_input.h"

#include "frontend/machine/chipset.h"
#include "frontend/machine/kinds/virtio.h"

namespace calque::machine {

namespace {

using Type = PropertyKind::Type;
using devices::VirtioInput;

constexpr std::array input_properties{
    PropertyKind{"serial", Type::text, "what the guest finds as serial number (none)"}, virtio_vectors};

template <VirtioInput::Kind kind>
Result<PluggedDevice> make_input(const DeviceContext& context, const DeviceRequest& request) {
    if (!context.backends.worker) return error("-device {} has nothing to run on here", request.driver);
    constexpr u32 class_keyboard = 0x090000, class_mouse = 0x090200;
    devices::VirtioPciOptions options =
        virtio_options(context, request, kind == VirtioInput::Kind::keyboard ? class_keyboard : class_mouse);
    options.legacy = false; // Virtio had none of these before 1.0.
    VirtioInput* input = nullptr;
    auto plugged = plug_virtio(context, options, devices::virtio::Id::input, VirtioInput::config_size,
                               VirtioInput::queues, [&](devices::DmaPort& memory) {
                                   auto made =
                                       std::make_unique<VirtioInput>(context.log, memory, *context.backends.worker,
                                                                     kind, request.get("serial"), context.name);
                                   input = made.get();
                                   return made;
                               });
    if (plugged) plugged->input = input;
    return plugged;
}

constexpr std::array kinds{
    DeviceKind{"virtio-tablet-pci", "PCI", "a pointer that knows its place: no window has to hold the mouse",
               input_properties, make_input<VirtioInput::Kind::tablet>},
    DeviceKind{"virtio-keyboard-pci", "PCI", "a keyboard", input_properties, make_input<VirtioInput::Kind::keyboard>},
    DeviceKind{"virtio-mouse-pci", "PCI", "a mouse with a wheel", input_properties,
               make_input<VirtioInput::Kind::mouse>},
};

} // namespace

std::span<const DeviceKind> virtio_input_kinds() { return kinds; }

} // namespace calque::machine
