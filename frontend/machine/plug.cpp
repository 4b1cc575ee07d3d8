// The part of the chipset that takes devices by name.
#include "base/byte_order.h"
#include "frontend/machine/chipset.h"
#include "frontend/machine/firmware_files.h"
#include "frontend/machine/flash.h"
#include "frontend/machine/host_file.h"

#include <algorithm>
#include <tuple>

namespace calque::machine {

namespace {
constexpr unsigned slots = 32;
} // namespace

// The id, or what tells it from others of its kind.
Result<std::string> Chipset::name_for(const DeviceRequest& request) const {
    const auto taken = [&](const std::string& name) {
        return std::any_of(all_.begin(), all_.end(), [&](const auto* other) { return other->name() == name; })
               || std::any_of(inventory_.begin(), inventory_.end(),
                              [&](const auto& other) { return other->name == name; });
    };
    if (!request.id.empty()) {
        if (taken(request.id))
            return error("-device {}: there is another device called '{}'", request.driver, request.id);
        return request.id;
    }
    for (std::size_t number = plugged_.size();; ++number)
        if (auto name = fmt::format("{}.{}", request.driver, number); !taken(name)) return name;
}

Result<void> Chipset::plug(const DeviceRequest& request, Log& log, Clock& clock, Memory& memory,
                           const ChipsetBackends& backends) {
    auto name = name_for(request);
    if (!name) return name.error();
    auto plugged = plug_as(request, std::move(*name), log, clock, memory, backends);
    if (!plugged) return plugged.error();
    return {};
}

// Gives its name.
Result<std::string> Chipset::plug_as(const DeviceRequest& request, std::string name, Log& log, Clock& clock,
                                     Memory& memory, const ChipsetBackends& backends) {
    if (auto good = check_device(request); !good) return good.error();
    const DeviceKind* kind = find_device_kind(request.driver);
    if (!kind->make) return name;
    NamedBus* bus = buses_[0].get();
    if (kind->bus == "PCI") {
        const auto wanted = bus_for(request);
        if (!wanted) return wanted.error();
        bus = *wanted;
    }
    auto entry = std::make_unique<Plugged>(Plugged{request, name, {}});
    auto made = kind->make({log, clock, memory, backends, name, cpus_, memory, memory.ram().size(), plugged_,
                            bus->bus->ports(), bus->bus->memory(), controller_names_},
                           request);
    if (!made) return made.error();
    if (made->display && !displays_.empty())
        return error(
            "-device {}: there is a display adapter already; with -vga none there is none but those of -device",
            request.driver);
    if (made->function) {
        auto rom = option_rom(*made->function, request,
                              !kind->rom_boots_network || network_boot_ ? kind->rom : std::string_view());
        if (!rom) return rom.error();
        entry->rom = std::move(*rom);
        auto attached = attach(*made->function, request, *bus, made->bridge ? "pci-bridge" : kind->boot_node, *entry);
        if (!attached) return attached.error();
        bus->devices.push_back(made->device.get());
        if (made->drives) made->drives->boot_path = *attached;
        if (made->bridge) add_bridge(*made->bridge, *attached);
        made->boot_path = *attached + std::string(kind->boot_unit);
    }
    if (request.has("bootindex"))
        if (auto added = add_boot_entry(request.get_number("bootindex", 0), made->boot_path); !added)
            return error("-device {}: {}", request.driver, added.error().message);
    if (made->drives) {
        controller_names_.emplace_back(name, made->drives.get());
        controllers_.push_back(std::move(made->drives));
    }
    entry->parent = std::move(made->parent);
    entry->device = made->device.get();
    entry->function = made->function;
    entry->input = made->input;
    if (made->function && bus != buses_[0].get() && entry->parent.empty()) entry->parent = bus->name;
    inventory_.push_back(std::move(entry));
    if (made->device) {
        // Before who samples its lines.
        const auto samplers = std::find(all_.begin(), all_.end(), static_cast<devices::Device*>(&router_));
        all_.insert(samplers, made->device.get());
        plugged_.push_back(std::move(made->device));
    }
    if (made->display) displays_.push_back(made->display);
    if (made->input) inputs_.add(*made->input);
    if (inventory_.back()->root_slot) watch_slot(*inventory_.back()->root_slot, false);
    return name;
}

Result<void> Chipset::add_flash(const ChipsetBackends& backends, Log& log) {
    if (backends.flash[1] && !backends.flash[0])
        return error("-drive if=pflash,unit=1 needs one with unit=0: the chip that the processor starts in");
    u64 end = u64{1} << 32;
    for (backends::Disk* disk : backends.flash) {
        if (!disk) continue;
        auto contents = read_flash(*disk);
        if (!contents) return contents.error();
        const u64 size = contents->size();
        if ((u64{1} << 32) - end + size > flash_limit)
            return error("the flash chips have more than {} MiB together", flash_limit >> 20);
        flash_.push_back(std::make_unique<devices::Pflash>(
            log, std::move(*contents), disk, [this] { memory_bus_.tell_changed(); },
            fmt::format("pflash{}", flash_.size())));
        end -= size;
        memory_bus_.map(end, size, *flash_.back(), std::string(flash_.back()->name()));
        all_.insert(all_.begin(), flash_.back().get());
    }
    return {};
}

namespace {
// Firmware runs a ROM only on the device that its data structure names (PCI 3.0, 6.3.1.2). A device's own ROM may be
// one for several: it is made to name this one, its sum kept by a byte of the header that has no meaning.
void name_device(std::vector<u8>& rom, const devices::PciDescriptor& device) {
    constexpr std::size_t spare = 6, pointer = 0x18, vendor = 4;
    if (rom.size() < 0x1A) return;
    const std::size_t at = little16(rom, pointer);
    if (at + 0x18 > rom.size() || little32(rom, at) != 0x5249'4350) return; // "PCIR"
    const auto sum = [&] { return static_cast<u8>(rom[at + 4] + rom[at + 5] + rom[at + 6] + rom[at + 7]); };
    const u8 before = sum();
    store_little(rom, at + vendor, device.vendor_id | u32{device.device_id} << 16, 4);
    rom[spare] = static_cast<u8>(rom[spare] + before - sum());
}
} // namespace

// The device's own ROM may be missing: then it has none (null). One that was asked for may not.
Result<std::unique_ptr<devices::OptionRom>> Chipset::option_rom(devices::PciFunction& function,
                                                                const DeviceRequest& request, std::string_view own) {
    std::unique_ptr<devices::OptionRom> rom;
    const bool asked = request.has("romfile");
    const std::string name = asked ? request.get("romfile") : std::string(own);
    if (name.empty()) return rom;
    const std::string path = find_firmware(name, firmware_folders_);
    if (path.empty() && !asked) return rom;
    if (path.empty())
        return error("-device {}: romfile={} is not in {}", request.driver, name, firmware_places(firmware_folders_));
    auto image = read_host_file(path, "romfile=", devices::OptionRom::largest);
    if (!image) return error("-device {}: {}", request.driver, image.error().message);
    if (!asked) name_device(*image, function.descriptor());
    rom = std::make_unique<devices::OptionRom>(std::move(*image));
    function.set_option_rom(*rom, rom->size());
    return rom;
}

Result<Chipset::NamedBus*> Chipset::bus_for(const DeviceRequest& request) {
    const std::string name = request.get("bus", "pci.0");
    std::string all;
    for (const auto& bus : buses_) {
        if (bus->name == name || (name == "pci" && bus->name == "pci.0")) return bus.get();
        all += (all.empty() ? "" : ", ") + bus->name;
    }
    return error("-device {}: there is no PCI bus '{}' before it on the command line; there is: {}", request.driver,
                 name, all);
}

// Gives what firmware calls the device.
Result<std::string> Chipset::attach(devices::PciFunction& function, const DeviceRequest& request, const NamedBus& bus,
                                    std::string_view boot_node, Plugged& entry) {
    unsigned device = bus.first_slot, number = 0;
    if (request.has("addr")) {
        const auto slot = parse_slot(request.get("addr"));
        if (!slot) return error("-device {}: {}", request.driver, slot.error().message);
        std::tie(device, number) = *slot;
    } else {
        const auto taken = bus.bus->slots();
        while (device < slots
               && std::any_of(taken.begin(), taken.end(), [&](const auto& slot) { return slot.device == device; }))
            ++device;
        if (device == slots)
            return error("-device {}: the PCI bus {} is full; its {} slots are taken", request.driver, bus.name, slots);
    }
    if (auto attached = bus.bus->attach(function, device, number); !attached)
        return error("-device {}: {}", request.driver, attached.error().message);
    entry.place = fmt::format("{}:{:02x}.{}", bus.name, device, number);
    if (&bus == buses_[0].get()) entry.root_slot = device;
    return fmt::format("{}/{}@{:x}{}", bus.boot_path, boot_node, device,
                       number == 0 ? std::string() : fmt::format(",{:x}", number));
}

void Chipset::add_bridge(devices::PciBridge& bridge, std::string boot_path) {
    constexpr unsigned first_slot = 1; // 0 is for a bridge's hot-plug controller.
    buses_.push_back(std::make_unique<NamedBus>(
        NamedBus{std::string(bridge.name()), &bridge.secondary(), std::move(boot_path), first_slot}));
    bridge.set_secondary_reset([this, &bridge] { reset_behind(bridge.secondary()); });
}

// As RST# of a bus does: bridges on it reset what is behind them.
void Chipset::reset_behind(const devices::PciBus& bus) {
    for (const auto& named : buses_) {
        if (named->bus != &bus) continue;
        for (devices::Device* device : named->devices)
            device->reset();
    }
    for (const auto& slot : bus.slots())
        if (const devices::PciBus* behind = devices::PciBus::behind(*slot.pci)) reset_behind(*behind);
}

Result<void> Chipset::add_boot_entry(u64 index, std::string path) {
    if (!boot_order_.emplace(index, std::move(path)).second)
        return error("bootindex={} is taken by another device; each has its own", index);
    return {};
}

std::string Chipset::boot_order() const {
    std::string text;
    for (const auto& [index, path] : boot_order_)
        text += (text.empty() ? "" : "\n") + path;
    return text;
}

} // namespace calque::machine
