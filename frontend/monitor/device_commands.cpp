#include "frontend/monitor/device_commands.h"

#include "devices/net_backend.h"
#include "devices/virtio/virtio_balloon.h"
#include "devices/virtio/virtio_pci.h"

#include <charconv>

namespace calque::monitor {

namespace {

// A device of a kind: itself, or what a virtio function carries.
template <class Kind> Kind* as(devices::Device& device) {
    if (auto* const kind = dynamic_cast<Kind*>(&device)) return kind;
    auto* const pci = dynamic_cast<devices::VirtioPci*>(&device);
    return pci ? dynamic_cast<Kind*>(&pci->kind()) : nullptr;
}

devices::VirtioBalloon* balloon_of(machine::Machine& machine) {
    for (const auto& device : machine.chipset().plugged())
        if (auto* const pci = dynamic_cast<devices::VirtioPci*>(device.get()))
            if (auto* const balloon = dynamic_cast<devices::VirtioBalloon*>(&pci->kind())) return balloon;
    return nullptr;
}

constexpr const char* no_balloon = "there is no balloon; start with -device virtio-balloon-pci\n";

} // namespace

std::string set_link(machine::Machine& machine, const std::string& argument) {
    const std::size_t space = argument.find(' ');
    const std::string name = argument.substr(0, space);
    const std::string word = space == argument.npos ? "" : argument.substr(argument.find_first_not_of(' ', space));
    if (word != "on" && word != "off") return "set_link takes a network or a card, and on or off\n";
    const auto held = machine.hold_backends();
    const auto network = machine.networks().find(name);
    if (network != machine.networks().end()) {
        network->second->set_link(word == "on");
        return {};
    }
    for (const auto& device : machine.chipset().plugged()) {
        if (device->name() != name) continue;
        if (auto* const card = as<devices::NetClient>(*device)) return card->set_link(word == "on"), "";
    }
    return fmt::format("there is no network or card '{}' (see info network)\n", name);
}

std::string set_balloon(machine::Machine& machine, const std::string& argument) {
    u64 megabytes = 0;
    const auto [end, problem] = std::from_chars(argument.data(), argument.data() + argument.size(), megabytes);
    if (problem != std::errc() || end != argument.data() + argument.size() || megabytes == 0 || megabytes > 1 << 24)
        return "balloon takes a number of megabytes\n";
    devices::VirtioBalloon* const balloon = balloon_of(machine);
    if (!balloon) return no_balloon;
    balloon->set_target(megabytes << 20);
    return {};
}

std::optional<u64> balloon_actual(machine::Machine& machine) {
    const devices::VirtioBalloon* const balloon = balloon_of(machine);
    return balloon ? std::optional(balloon->actual()) : std::nullopt;
}

std::string describe_balloon(machine::Machine& machine) {
    const auto actual = balloon_actual(machine);
    return actual ? fmt::format("balloon: actual={}\n", *actual >> 20) : no_balloon;
}

} // namespace calque::monitor
