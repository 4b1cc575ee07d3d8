// Consoles and serial ports behind a virtio device.
#include "devices/virtio/virtio_serial.h"

#include "frontend/machine/chipset.h"
#include "frontend/machine/kinds/virtio.h"

namespace calque::machine {

namespace {

using Type = PropertyKind::Type;
using devices::VirtioSerial;

constexpr std::array serial_properties{
    PropertyKind{"max_ports", Type::number, "how many ports it can have, 1 to 31 (31)"}, virtio_vectors,
    virtio_disable_legacy, virtio_disable_modern};

Result<PluggedDevice> make_serial(const DeviceContext& context, const DeviceRequest& request) {
    const u64 ports = request.get_number("max_ports", VirtioSerial::most_ports);
    if (ports < 1 || ports > VirtioSerial::most_ports)
        return error("-device {}: max_ports is 1 to {}", request.driver, VirtioSerial::most_ports);
    if (!context.backends.worker) return error("-device {} has nothing to run on here", request.driver);
    constexpr u32 class_communication = 0x078000;
    const unsigned count = static_cast<unsigned>(ports);
    return plug_virtio(context, virtio_options(context, request, class_communication), devices::virtio::Id::console,
                       VirtioSerial::config_size, VirtioSerial::queue_count_of(count), [&](devices::DmaPort& memory) {
                           return std::make_unique<VirtioSerial>(context.log, memory, *context.backends.worker, count,
                                                                 context.name);
                       });
}

constexpr std::array port_properties{
    PropertyKind{"chardev", Type::text, "the id of a -chardev"},
    PropertyKind{"name", Type::text, "what the guest finds it by, such as org.example.0 (no name)"},
    PropertyKind{"nr", Type::number, "its number, 0 for a console alone (the next free one)"},
    PropertyKind{"bus", Type::text, "the id of a virtio-serial-pci, followed by .0 (the last one)"}};

// The device that a port goes to: by the id that bus= has, or the one that was made last.
VirtioSerial* find_serial(const DeviceContext& context, const DeviceRequest& request) {
    std::string id = request.get("bus");
    if (id.ends_with(".0")) id.resize(id.size() - 2);
    VirtioSerial* found = nullptr;
    for (const auto& device : context.plugged)
        if (auto* const pci = dynamic_cast<devices::VirtioPci*>(device.get()))
            if (auto* const serial = dynamic_cast<VirtioSerial*>(&pci->kind()))
                if (id.empty() || pci->name() == id) found = serial;
    return found;
}

Result<PluggedDevice> make_port(const DeviceContext& context, const DeviceRequest& request) {
    VirtioSerial* const serial = find_serial(context, request);
    if (!serial)
        return error("-device {} needs a -device virtio-serial-pci before it{}", request.driver,
                     request.has("bus") ? " with the id that bus= names" : "");
    VirtioSerial::Port port;
    port.console = request.driver == "virtconsole";
    port.name = request.get("name");
    if (const std::string id = request.get("chardev"); !id.empty()) {
        const auto found = context.backends.chars.find(id);
        if (found == context.backends.chars.end())
            return error("-device {}: there is no -chardev with id={}", request.driver, id);
        port.backend = found->second;
    }
    const u64 number = request.get_number("nr", serial->free_number(port.console));
    if (number == 0 && !port.console)
        return error("-device {}: number 0 is a console's; take another nr=", request.driver);
    if (!serial->add_port(static_cast<unsigned>(std::min<u64>(number, ~0u)), std::move(port)))
        return error("-device {}: there is no port {} that is free", request.driver, number);
    PluggedDevice plugged;
    plugged.parent = serial->name();
    return plugged;
}

constexpr std::array kinds{
    DeviceKind{"virtio-serial-pci", "PCI", "consoles and serial ports for the two below", serial_properties,
               make_serial},
    DeviceKind{"virtio-serial", "PCI", "the same", serial_properties, make_serial},
    DeviceKind{"virtconsole", "virtio-serial", "a console (hvc0)", port_properties, make_port},
    DeviceKind{"virtserialport", "virtio-serial", "a channel of bytes, by name", port_properties, make_port},
};

} // namespace

std::span<const DeviceKind> virtio_serial_kinds() { return kinds; }

} // namespace calque::machine
