// The machine's state as records of a stream (frontend/backends/state), out and in.
#include "frontend/backends/state/descriptor.h"
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

// What user networks remember, by id: a network that is not there any more, or is of another kind now, goes without.
void Machine::serialize_networks(Archive& archive) {
    u64 count = networks_.size();
    archive.field("count", count);
    auto next = networks_.begin();
    for (u64 i = 0; i < count && archive.ok(); ++i) {
        std::string id;
        std::vector<u8> state;
        if (!archive.loading()) {
            id = next->first;
            state = (next++)->second->save_state();
        }
        archive.field("id", id);
        archive.field("state", state);
        if (!archive.loading() || !archive.ok() || state.empty()) continue;
        const auto found = networks_.find(id);
        if (found == networks_.end()) continue;
        if (auto loaded = found->second->load_state(state); !loaded) archive.fail(loaded.error().message);
    }
}

// Everything but RAM.
void Machine::serialize(Archive& archive) {
    clock_.serialize(archive);
    if (archive.ok()) chipset_->serialize(archive);
    for (auto& vcpu : vcpus_)
        if (archive.ok()) vcpu->serialize(archive);
    // Firmware of ours opens A20 beside the gates, so the gates' states do not say it all.
    archive.section("a20", 1, [&](u32) {
        bool a20 = memory_->map().a20();
        archive.field("open", a20);
        if (archive.loading() && archive.ok()) memory_->map().set_a20(a20);
    });
    archive.section("run", 1, [&](u32) {
        bool ran = state_ == RunState::running;
        archive.field("running", ran);
        if (archive.loading() && archive.ok()) ran_ = ran;
    });
    archive.section("networks", 1, [&](u32) { serialize_networks(archive); });
    if (!archive.loading() || !archive.ok()) return;
    move_apics();
}

// --- Out

std::vector<u8> Machine::state_identity() {
    Archive archive = Archive::saver();
    archive.section("machine", 1, [&](u32) { serialize_identity(archive); });
    return archive.take();
}

Result<std::vector<u8>> Machine::state_of_devices() {
    for (const backends::Disk* disk : disks_)
        if (disk->holds_requests())
            return error("requests to {} wait for the host; let the machine go on ('cont') before it is saved",
                         disk->options().id);
    Archive archive = Archive::saver();
    serialize(archive);
    if (!archive.ok()) return archive.result().error();
    return archive.take();
}

Result<void> Machine::send_pages(backends::StateWriter& writer, const PageSet& pages, bool zeros) {
    std::vector<u8> record;
    for (u64 page = 0; page < pages.size();) {
        page = memory_->pack(pages, page, zeros, record);
        if (record.empty()) continue;
        if (auto sent = writer.record(backends::RecordKind::ram, record); !sent) return sent;
    }
    return {};
}

Result<void> Machine::save(const std::string& path) {
    const auto devices = state_of_devices();
    if (!devices) return devices.error();
    auto file = backends::StateFile::create(path);
    if (!file) return file.error();
    backends::StateWriter writer(**file);
    if (auto begun = writer.begin(); !begun) return begun;
    if (auto sent = writer.record(backends::RecordKind::machine, state_identity()); !sent) return sent;
    if (auto sent = send_pages(writer, memory_->touched_pages(), false); !sent) return sent;
    if (auto sent = writer.record(backends::RecordKind::devices, backends::compress_state(*devices)); !sent)
        return sent;
    if (auto ended = writer.end(); !ended) return ended;
    return (*file)->commit();
}

// --- In

namespace {

constexpr u64 largest_devices = u64{2} << 30; // Bytes of an archive; screens' memory is the most of it.

Error out_of_order(std::string_view what) { return error("the saved state is damaged ({})", what); }

} // namespace

// Reads records up to the end; RAM is what `ram` makes of it. Returns the devices' archive.
Result<std::vector<u8>> Machine::read_records(backends::StateSource& source,
                                              const std::function<Result<void>(std::span<const u8>)>& ram) {
    backends::StateReader reader(source);
    if (auto begun = reader.begin(); !begun) return begun.error();
    bool identified = false;
    std::vector<u8> devices;
    for (;;) {
        auto record = reader.next();
        if (!record) return record.error();
        if (identified == (record->kind == backends::RecordKind::machine))
            return out_of_order("what machine it is of does not come first");
        switch (record->kind) {
        case backends::RecordKind::machine: {
            Archive archive = Archive::loader({record->payload.begin(), record->payload.end()});
            archive.section("machine", 1, [&](u32) { serialize_identity(archive); });
            if (!archive.ok()) return archive.result().error();
            identified = true;
            break;
        }
        case backends::RecordKind::ram:
            if (auto taken = ram(record->payload); !taken) return taken.error();
            break;
        case backends::RecordKind::devices: {
            if (!devices.empty()) return out_of_order("its devices come twice");
            auto unpacked = backends::decompress_state(record->payload, largest_devices);
            if (!unpacked) return unpacked.error();
            devices = std::move(*unpacked);
            break;
        }
        case backends::RecordKind::end:
            if (devices.empty()) return out_of_order("its devices are missing");
            return devices;
        }
    }
}

Result<void> Machine::load_devices(std::vector<u8> state) {
    chipset_->reset();
    memory_->map().set_a20(true);
    for (auto& vcpu : vcpus_)
        vcpu->reset();
    Archive archive = Archive::loader(std::move(state));
    serialize(archive);
    return archive.result();
}

Result<void> Machine::restore(const OpenState& open, const std::function<Result<void>()>& change_disks) {
    // First all of it is read and checked,
    auto source = open();
    if (!source) return source.error();
    auto devices = read_records(**source, [this](std::span<const u8> record) { return memory_->check_packed(record); });
    if (!devices) return devices.error();
    // then what can still turn out not to fit is done, with a way back,
    Archive way_back = Archive::saver();
    serialize(way_back);
    std::vector<u8> before = way_back.take();
    const auto undo = [&](const Error& problem) -> Result<void> {
        if (auto undone = load_devices(std::move(before)); !undone) return reset_after(problem.message);
        return problem;
    };
    if (auto loaded = load_devices(std::move(*devices)); !loaded) return undo(loaded.error());
    if (change_disks)
        if (auto changed = change_disks(); !changed) return undo(changed.error());
    // and then RAM, which only the host can fail at.
    source = open();
    if (!source) return reset_after(source.error().message);
    PageSet loaded(memory_->page_count());
    auto done = read_records(**source, [&](std::span<const u8> record) { return memory_->unpack(record, loaded); });
    if (!done) return reset_after(done.error().message);
    memory_->clear_all_but(loaded);
    if (state_ == RunState::shutdown) state_ = RunState::paused; // What was saved had not powered off.
    return {};
}

Error Machine::reset_after(const std::string& problem) {
    if (state_ == RunState::running) {
        state_ = RunState::paused;
        notify(event::Stopped{});
    }
    reset(Cause::host_error);
    return error("{}; the machine was reset and is stopped", problem);
}

Result<void> Machine::load(const std::string& path) {
    const auto open = [&]() -> Result<std::unique_ptr<backends::StateSource>> {
        auto file = backends::open_state_file(path, "--load");
        if (!file) return file.error();
        return std::unique_ptr<backends::StateSource>(std::move(*file));
    };
    if (auto file = open(); !file) return file.error(); // Its words have the path already.
    if (auto loaded = restore(open, {}); !loaded)
        return error("cannot go on from '{}': {}", path, loaded.error().message);
    return {};
}

} // namespace calque::machine
