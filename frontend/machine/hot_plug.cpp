// The part of the chipset whose devices come and go while the machine runs.
#include "frontend/machine/chipset.h"

#include <algorithm>

namespace calque::machine {

const Chipset::Plugged* Chipset::find(std::string_view id) const {
    const auto found = std::find_if(inventory_.begin(), inventory_.end(),
                                    [&](const auto& entry) { return !id.empty() && entry->request.id == id; });
    return found == inventory_.end() ? nullptr : found->get();
}

// A slot can be emptied when everything in it can go. `tell`: something new is in it.
void Chipset::watch_slot(unsigned slot, bool tell) {
    bool any = false, all = true;
    for (const auto& entry : inventory_) {
        if (entry->root_slot != slot) continue;
        any = true;
        all &= hot_pluggable(*find_device_kind(entry->request.driver));
    }
    any&& all ? pci_hotplug_.plugged(slot, tell) : pci_hotplug_.unplugged(slot);
}

Result<void> Chipset::hot_plug(const DeviceRequest& request, Log& log, Clock& clock, Memory& memory,
                               const ChipsetBackends& backends) {
    if (auto good = check_device(request); !good) return good;
    const DeviceKind& kind = *find_device_kind(request.driver);
    if (!hot_pluggable(kind))
        return error("-device {}: devices of this kind are there from the start of the machine or not at all",
                     request.driver);
    if (request.has("bootindex"))
        return error("-device {}: firmware has been told its order; leave out bootindex=", request.driver);
    auto name = name_for(request);
    if (!name) return name.error();
    if (kind.bus == "PCI") {
        const auto bus = bus_for(request);
        if (!bus) return bus.error();
        if (*bus != buses_[0].get())
            return error("-device {}: behind the bridge {} nothing can come or go; take bus=pci.0", request.driver,
                         (*bus)->name);
        if (const auto slot = parse_slot(request.get("addr", "2")); slot && slot->second != 0)
            return error("-device {}: addr={}: what is plugged in is the whole slot, function 0", request.driver,
                         request.get("addr"));
        if (const auto slot = parse_slot(request.get("addr", "")); slot) {
            const auto taken = pci_.slots();
            if (std::any_of(taken.begin(), taken.end(), [&](const auto& other) { return other.device == slot->first; }))
                return error("-device {}: PCI slot {:x} is taken; give it another addr=, or none", request.driver,
                             slot->first);
        }
    }
    auto plugged = plug_as(request, std::move(*name), log, clock, memory, backends);
    if (!plugged) return plugged.error();
    const Plugged& entry = *inventory_.back();
    entry.device->reset();
    if (entry.root_slot) watch_slot(*entry.root_slot, true);
    return {};
}

Result<void> Chipset::can_unplug(const Plugged& what) const {
    const DeviceKind& kind = *find_device_kind(what.request.driver);
    if (!hot_pluggable(kind))
        return error("{} ({}) stays for as long as the machine runs", what.name, what.request.driver);
    if (kind.bus != "PCI") return {};
    if (!what.root_slot)
        return error("{} is behind the bridge {}, where nothing can come or go", what.name, what.parent);
    for (const auto& other : inventory_)
        if (other->root_slot == what.root_slot && !hot_pluggable(*find_device_kind(other->request.driver)))
            return error("{} shares its slot with {}, which stays for as long as the machine runs", what.name,
                         other->name);
    return {};
}

std::vector<DeviceRequest> Chipset::unplug(const std::string& name) {
    std::vector<DeviceRequest> gone;
    for (bool more = true; std::exchange(more, false);)
        for (const auto& entry : inventory_)
            if (entry->parent == name) {
                const auto inner = unplug(std::string(entry->name));
                gone.insert(gone.end(), inner.begin(), inner.end());
                more = true;
                break; // The list is another now.
            }
    const auto found =
        std::find_if(inventory_.begin(), inventory_.end(), [&](const auto& entry) { return entry->name == name; });
    if (found == inventory_.end()) return gone;
    const auto entry = std::move(*found); // Its ROM goes last.
    inventory_.erase(found);
    forget(*entry);
    if (entry->root_slot) watch_slot(*entry->root_slot, false);
    gone.push_back(entry->request);
    return gone;
}

// Those of the board keep their places among them.
void Chipset::order_as(const std::vector<std::string>& names) {
    const auto was_plugged = [&](const devices::Device* device) {
        return std::any_of(plugged_.begin(), plugged_.end(), [&](const auto& owned) { return owned.get() == device; });
    };
    std::vector<devices::Device*> ordered;
    for (const std::string& name : names)
        for (devices::Device* device : all_)
            if (device->name() == name && was_plugged(device)) ordered.push_back(device);
    auto next = ordered.begin();
    if (static_cast<std::size_t>(std::count_if(all_.begin(), all_.end(), was_plugged)) != ordered.size()) return;
    for (devices::Device*& device : all_)
        if (was_plugged(device)) device = *next++;
}

void Chipset::forget(const Plugged& what) {
    if (what.input) inputs_.remove(*what.input);
    if (what.request.has("bootindex")) boot_order_.erase(what.request.get_number("bootindex", 0));
    const auto controller = std::find_if(controller_names_.begin(), controller_names_.end(),
                                         [&](const auto& named) { return named.first == what.name; });
    if (controller != controller_names_.end()) {
        std::erase_if(controllers_, [&](const auto& owned) { return owned.get() == controller->second; });
        controller_names_.erase(controller);
    }
    if (!what.device) return;
    if (what.function) what.function->set_intx(false);
    std::erase(all_, what.device);
    for (const auto& bus : buses_)
        std::erase(bus->devices, what.device);
    std::erase_if(plugged_, [&](const auto& owned) { return owned.get() == what.device; });
}

} // namespace calque::machine
