// The part of the chipset that takes devices by name.
#include "frontend/machine/chipset.h"
#include "frontend/machine/firmware_files.h"
#include "frontend/machine/flash.h"
#include "frontend/machine/host_file.h"

#include <algorithm>

namespace calque::machine {

namespace {
constexpr unsigned first_free_slot = 2; // 0 is the host bridge, 1 the ISA bridge and its companions.
constexpr unsigned slots = 32;
} // namespace

Result<void> Chipset::plug(const DeviceRequest& request, Log& log, Clock& clock, Memory& memory,
                           const ChipsetBackends& backends) {
    if (auto good = check_device(request); !good) return good;
    const DeviceKind* kind = find_device_kind(request.driver);
    if (!kind->make) return {};
    std::string name = request.id.empty() ? fmt::format("{}.{}", request.driver, plugged_.size()) : request.id;
    for (const devices::Device* other : all_)
        if (other->name() == name)
            return error("-device {}: there is another device called '{}'", request.driver, name);
    auto made = kind->make({log, clock, memory, backends, name, cpus_, memory, memory.ram().size(), plugged_, ports_,
                            memory_bus_, controller_names_},
                           request);
    if (!made) return made.error();
    if (made->display && !displays_.empty())
        return error(
            "-device {}: there is a display adapter already; with -vga none there is none but those of -device",
            request.driver);
    if (made->function) {
        if (auto added = add_option_rom(*made->function, request, kind->rom); !added) return added;
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
    if (made->display) displays_.push_back(made->display);
    return {};
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

// The device's own ROM may be missing: then it has none. One that was asked for may not.
Result<void> Chipset::add_option_rom(devices::PciFunction& function, const DeviceRequest& request,
                                     std::string_view own) {
    const bool asked = request.has("romfile");
    const std::string name = asked ? request.get("romfile") : std::string(own);
    if (name.empty()) return {};
    const std::string path = find_firmware(name, firmware_folders_);
    if (path.empty() && !asked) return {};
    if (path.empty())
        return error("-device {}: romfile={} is not in {}", request.driver, name, firmware_places(firmware_folders_));
    auto image = read_host_file(path, "romfile=", devices::OptionRom::largest);
    if (!image) return error("-device {}: {}", request.driver, image.error().message);
    roms_.push_back(std::make_unique<devices::OptionRom>(std::move(*image)));
    function.set_option_rom(*roms_.back(), roms_.back()->size());
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
