#include "frontend/cli/device_options.h"

#include "frontend/cli/host_options.h"
#include "frontend/cli/keyval.h"
#include "frontend/cli/network_options.h"
#include "frontend/machine/kinds/kinds.h"

namespace calque::cli {

Result<void> device_option(Options& o, const std::string& text) {
    auto kv = KeyValues::parse("-device", text, "driver");
    if (!kv) return kv.error();
    const std::string driver = kv->take("driver");
    if (driver == "help" || driver == "?") {
        o.print = machine::device_help();
        return {};
    }
    if (kv->has("help") || kv->has("?")) {
        auto help = machine::device_help(driver);
        if (!help) return help.error();
        o.print = *help;
        return {};
    }
    machine::DeviceRequest request{driver, kv->take("id"), {}};
    if (const auto* kind = machine::find_device_kind(driver); !kind || kind->make) {
        for (auto& [key, value] : kv->take_all())
            request.properties.push_back({std::move(key), std::move(value)});
        for (const auto& other : o.machine.devices)
            if (!request.id.empty() && other.id == request.id)
                return error("-device id={} is given twice; names are unique", request.id);
        if (auto good = machine::check_device(request); !good) return good;
        o.machine.devices.push_back(std::move(request));
        return {};
    }
    if (driver == "isa-debug-exit") {
        machine::MachineConfig::DebugExit exit;
        auto base = kv->take_number("iobase", exit.base);
        auto size = kv->take_number("iosize", exit.size);
        if (!base) return base.error();
        if (!size) return size.error();
        if (*size < 1 || *size > 8 || *base > 0x10000 - *size)
            return error("-device isa-debug-exit: iobase {:#x} and iosize {} do not lie in the port space", *base,
                         *size);
        o.machine.debug_exit = {static_cast<u16>(*base), static_cast<u16>(*size)};
        return kv->rest("iobase, iosize");
    }
    if (driver == "isa-debugcon") {
        auto base = kv->take_number("iobase", 0xE9);
        if (!base) return base.error();
        if (*base > 0xFFFF) return error("-device isa-debugcon: iobase {:#x} does not lie in the port space", *base);
        if (!kv->has("chardev")) return error("-device isa-debugcon needs chardev=ID, the id of a -chardev");
        o.machine.debugcon_port = static_cast<u16>(*base);
        o.debugcon = "chardev:" + kv->take("chardev");
        return kv->rest("iobase, chardev");
    }
    if (driver == "isa-serial") {
        if (!kv->has("chardev")) return error("-device isa-serial needs chardev=ID, the id of a -chardev");
        const auto index = kv->take_number("index", o.serials.size());
        if (!index) return index.error();
        if (*index != o.serials.size())
            return error("-device isa-serial,index={}: serial ports go in their order; this one is number {}", *index,
                         o.serials.size());
        o.serials.push_back("chardev:" + kv->take("chardev"));
        return kv->rest("chardev, index");
    }
    return error("-device {} cannot be set up here", driver);
}

namespace {
constexpr std::string_view object_help =
    "rng-random,id=ID[,filename=FILE]   random numbers from a file (/dev/urandom), for -device virtio-rng-pci\n"
    "rng-builtin,id=ID                  random numbers from the host's own generator\n"
    "filter-dump,id=ID,netdev=ID,file=FILE[,maxlen=N]   every frame of a network to a capture file\n";
} // namespace

Result<void> object_option(Options& o, const std::string& text) {
    auto kv = KeyValues::parse("-object", text, "qom-type");
    if (!kv) return kv.error();
    const std::string kind = kv->take("qom-type");
    if (kind == "help") {
        o.print = object_help;
        return {};
    }
    machine::DeviceRequest object{kind, kv->take("id"), {}};
    if (kind == "filter-dump") {
        for (const char* key : {"netdev", "file", "maxlen"})
            if (kv->has(key)) object.properties.push_back({key, kv->take(key)});
        if (auto good = kv->rest("id, netdev, file, maxlen"); !good) return good;
        return dump_option(o, std::move(object));
    }
    if (kind == "secret") {
        for (auto& [key, value] : kv->take_all())
            object.properties.push_back({std::move(key), std::move(value)});
        if (auto good = check_secret(object); !good) return good;
        o.secrets.push_back(std::move(object));
        return {};
    }
    if (kind != "rng-random" && kind != "rng-builtin")
        return error("-object '{}' does not exist here; there are: rng-random, rng-builtin, filter-dump", kind);
    if (object.id.empty()) return error("-object {} has no id; add id=NAME", kind);
    for (const auto& other : o.objects)
        if (other.id == object.id) return error("-object id={} is given twice; names are unique", object.id);
    if (kind == "rng-random") object.properties.push_back({"filename", kv->take("filename", "/dev/urandom")});
    o.objects.push_back(std::move(object));
    return kv->rest(kind == "rng-random" ? "id, filename" : "id");
}

} // namespace calque::cli
