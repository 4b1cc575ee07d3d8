// The machine's state as records of a stream (frontend/backends/state), out and in.
#include "frontend/backends/state/descriptor.h"
#include "frontend/machine/machine.h"

#include <algorithm>

namespace calque::machine {

namespace {
constexpr u32 identity_version = 2; // 2: which device is in which slot.

// FNV-1a: tells firmware images apart, not forgeries.
u64 fingerprint(std::span<const u8> bytes) {
    u64 hash = 0xcbf29ce484222325;
    for (const u8 byte : bytes)
        hash = (hash ^ byte) * 0x100000001b3;
    return hash;
}
} // namespace

namespace {
std::vector<std::string> words_of(const std::string& text) {
    std::vector<std::string> words;
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t end = std::min(text.find(' ', at), text.size());
        if (end != at) words.push_back(text.substr(at, end - at));
        at = end + 1;
    }
    return words;
}

// What is in the one and not in the other.
std::string missing(const std::vector<std::string>& all, const std::vector<std::string>& from) {
    std::string text;
    for (const std::string& word : all)
        if (std::find(from.begin(), from.end(), word) == from.end()) text += (text.empty() ? "" : ", ") + word;
    return text.empty() ? "nothing" : text;
}

Result<void> compare(std::string_view what, const std::string& saved, const std::string& ours) {
    std::vector<std::string> theirs = words_of(saved), here = words_of(ours);
    std::sort(theirs.begin(), theirs.end());
    std::sort(here.begin(), here.end());
    if (theirs == here) return {};
    return error("the saved machine has other devices{}; start with the same -device, -serial and -machine, or plug in "
                 "what is missing (there alone: {}; here alone: {})",
                 what, missing(theirs, here), missing(here, theirs));
}
} // namespace

// Devices that were plugged in come in another order than those of a command line.
Result<void> Machine::serialize_devices_identity(Archive& archive, u32 version) {
    std::string devices, places;
    for (const devices::Device* device : chipset_->devices())
        devices += fmt::format("{}{}", devices.empty() ? "" : " ", device->name());
    for (const auto& entry : chipset_->inventory())
        if (!entry->place.empty()) places += fmt::format("{}@{} ", entry->name, entry->place);
    std::string saved_devices = devices, saved_places = places;
    archive.field("devices", saved_devices);
    if (version >= 2) archive.field("places", saved_places);
    if (!archive.ok() || !archive.loading()) return {};
    if (auto same = compare("", saved_devices, devices); !same) return same;
    if (auto same = compare(" in its slots", saved_places, places); !same) return same;
    saved_order_ = words_of(saved_devices);
    return {};
}

// A state fits only the machine that it was saved from. What differs is named before anything is touched.
void Machine::serialize_identity(Archive& archive, u32 version) {
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
    if (auto same = serialize_devices_identity(archive, version); !same) return archive.fail(same.error().message);
    u64 rom = fingerprint(memory_->rom());
    u64 saved_rom = rom;
    archive.field("firmware", saved_rom);
    if (saved_rom != rom) archive.fail("the saved machine has other firmware; start with the same -bios");
}

// What user networks remember, by id: a network that is not there any more, or is of another kind now, goes without.
void Machine::serialize_networks(Archive& archive) {
    u64 count = backends_.nets.size();
    archive.field("count", count);
    auto next = backends_.nets.begin();
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
        const auto found = backends_.nets.find(id);
        if (found == backends_.nets.end()) continue;
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
    archive.section("machine", identity_version, [&](u32 version) { serialize_identity(archive, version); });
    return archive.take();
}

Result<std::vector<u8>> Machine::state_of_devices() {
    for (const backends::Disk* disk : backends_.disks)
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
            archive.section("machine", identity_version, [&](u32 version) { serialize_identity(archive, version); });
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
    chipset_->order_as(saved_order_);
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
