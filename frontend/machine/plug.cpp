// The part of the chipset that takes devices by name.
#include "frontend/machine/chipset.h"

#include <algorithm>

namespace calque::machine {

namespace {
constexpr unsigned first_free_slot = 2; // 0 is the host bridge, 1 the ISA bridge and its companions.
constexpr unsigned slots = 32;
} // namespace

Result<void> Chipset::plug(const DeviceRequest& request, Log& log, Clock& clock, devices::DmaPort& memory,
                           const ChipsetBackends& backends) {
    if (auto good = check_device(request); !good) return good;
    const DeviceKind* kind = find_device_kind(request.driver);
    if (!kind->make) return {};
    std::string name = request.id.empty() ? fmt::format("{}.{}", request.driver, plugged_.size()) : request.id;
    for (const devices::Device* other : all_)
        if (other->name() == name)
            return error("-device {}: there is another device called '{}'", request.driver, name);
    auto made = kind->make({log, clock, memory, backends, name, cpus_, controller_names_}, request);
    if (!made) return made.error();
    if (made->function) {
        if (auto attached = attach(*made->function, request); !attached) return attached;
    }
    if (made->drives) {
        controller_names_.emplace_back(name, made->drives.get());
        controllers_.push_back(std::move(made->drives));
    }
    if (!made->device) return {};
    // Before who samples its lines.
    const auto samplers = std::find(all_.begin(), all_.end(), static_cast<devices::Device*>(&router_));
    all_.insert(samplers, made->device.get());
    plugged_.push_back(std::move(made->device));
    return {};
}

Result<void> Chipset::attach(devices::PciFunction& function, const DeviceRequest& request) {
    if (request.has("addr")) {
        const auto slot = parse_slot(request.get("addr"));
        if (!slot) return error("-device {}: {}", request.driver, slot.error().message);
        auto attached = pci_.attach(function, slot->first, slot->second);
        return attached ? attached : error("-device {}: {}", request.driver, attached.error().message);
    }
    const auto taken = pci_.slots();
    for (unsigned device = first_free_slot; device < slots; ++device)
        if (std::none_of(taken.begin(), taken.end(), [&](const auto& slot) { return slot.device == device; }))
            return pci_.attach(function, device, 0);
    return error("-device {}: the PCI bus is full; its {} slots are taken", request.driver, slots);
}

} // namespace calque::machine
