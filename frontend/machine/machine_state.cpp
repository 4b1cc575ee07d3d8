// The machine's state in a file.
#include "frontend/machine/host_file.h"
#include "frontend/machine/machine.h"

namespace calque::machine {

namespace {
// FNV-1a: tells firmware images apart, not forgeries.
u64 fingerprint(std::span<const u8> bytes) {
    u64 hash = 0xcbf29ce484222325;
    for (const u8 byte : bytes)
        hash = (hash ^ byte) * 0x100000001b3;
    return hash;
}
} // namespace

// A state fits only the machine that it was saved from. What differs is named before anything is touched.
void Machine::serialize_identity(Archive& archive) {
    u32 cpus = config_.cpus;
    archive.field("cpus", cpus);
    if (cpus != config_.cpus)
        return archive.fail(
            fmt::format("the saved machine has {} vCPUs, this one {}; start with the same -smp", cpus, config_.cpus));
    u64 ram = config_.ram_bytes;
    archive.field("ram", ram);
    if (ram != config_.ram_bytes)
        return archive.fail(fmt::format("the saved machine has {} MiB of memory, this one {}; start with the same -m",
                                        ram >> 20, config_.ram_bytes >> 20));
    const cpu::CpuModel& model = config_.cpu;
    std::string processor = fmt::format("{} {:x} ", model.name, model.signature());
    for (unsigned i = 0; i < static_cast<unsigned>(cpu::Feature::count); ++i)
        processor += model.features.has(static_cast<cpu::Feature>(i)) ? '+' : '-';
    std::string saved_processor = processor;
    archive.field("processor", saved_processor);
    if (saved_processor != processor)
        return archive.fail("the saved machine has another CPU; start with the same -cpu");
    std::string devices;
    for (const devices::Device* device : chipset_->devices())
        devices += fmt::format("{}{}", devices.empty() ? "" : " ", device->name());
    std::string saved_devices = devices;
    archive.field("devices", saved_devices);
    if (saved_devices != devices)
        return archive.fail("the saved machine has other devices; start with the same -device, -serial and -machine");
    u64 rom = fingerprint(memory_->rom());
    u64 saved_rom = rom;
    archive.field("firmware", saved_rom);
    if (saved_rom != rom) archive.fail("the saved machine has other firmware; start with the same -bios");
}

void Machine::serialize(Archive& archive) {
    archive.section("machine", 1, [&](u32) { serialize_identity(archive); });
    clock_.serialize(archive);
    if (archive.ok()) memory_->serialize(archive);
    if (archive.ok()) chipset_->serialize(archive);
    for (auto& vcpu : vcpus_)
        if (archive.ok()) vcpu->serialize(archive);
    // Firmware of ours opens A20 beside the gates, so the gates' states do not say it all.
    archive.section("a20", 1, [&](u32) {
        bool a20 = memory_->map().a20();
        archive.field("open", a20);
        if (archive.loading() && archive.ok()) memory_->map().set_a20(a20);
    });
    if (!archive.loading() || !archive.ok()) return;
    move_apics();
}

Result<void> Machine::save(const std::string& path) {
    for (const backends::Disk* disk : disks_)
        if (disk->holds_requests())
            return error("requests to {} wait for the host; let the machine go on ('cont') before it is saved",
                         disk->options().id);
    Archive archive = Archive::saver();
    serialize(archive);
    if (!archive.ok()) return archive.result();
    return write_host_file(path, archive.take());
}

Result<void> Machine::load(const std::string& path) {
    // All of RAM and the devices, whose states are small.
    auto data = read_host_file(path, "--load", config_.ram_bytes + config_.ram_bytes / 16 + (u64{64} << 20));
    if (!data) return data.error();
    Archive archive = Archive::loader(std::move(*data));
    serialize(archive);
    if (!archive.ok()) return error("cannot go on from '{}': {}", path, archive.result().error().message);
    return {};
}

} // namespace calque::machine
