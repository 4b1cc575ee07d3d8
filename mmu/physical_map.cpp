#include "mmu/physical_map.h"

#include "base/bits.h"
#include "mmu/code_marks.h"
#include "mmu/execute_ids.h"
#include "mmu/flat_map.h"
#include "mmu/guest_copy.h"
#include "mmu/mmu.h"
#include "mmu/patch_fields.h"
#include "mmu/rendezvous.h"

#include <algorithm>
#include <shared_mutex>

namespace calque::mmu {

struct PhysicalMap::Impl {
    explicit Impl(Log& log) : log(log) {}

    Log& log;
    // `change` orders the changes of the map; `published` guards only the pointer, for a moment.
    std::mutex change;
    mutable std::mutex published;
    std::vector<Region> regions;
    SmmMemory smm;
    IoTarget* default_target = nullptr;
    std::shared_ptr<const FlatMap> flat;
    CodeMarks marks;
    PatchFields patch_fields;
    ExecuteIds execute_ids;
    Rendezvous rendezvous;
    std::shared_mutex observers;
    std::vector<CodeWriteObserver*> code_observers;
    std::vector<MapObserver*> map_observers;
};

PhysicalMap::PhysicalMap(Log& log) : impl_(std::make_unique<Impl>(log)) {
    impl_->flat = std::make_shared<const FlatMap>(impl_->regions, nullptr);
}

PhysicalMap::~PhysicalMap() = default;

CodeMarks& PhysicalMap::code_marks() { return impl_->marks; }
ExecuteIds& PhysicalMap::execute_ids() { return impl_->execute_ids; }
Rendezvous& PhysicalMap::rendezvous() { return impl_->rendezvous; }

std::shared_ptr<const FlatMap> PhysicalMap::snapshot() const {
    std::lock_guard lock(impl_->published);
    return impl_->flat;
}

// With `change` held: makes what regions and default_target say the map in force.
void PhysicalMap::publish() {
    auto flat = std::make_shared<const FlatMap>(impl_->regions, impl_->default_target, impl_->smm);
    std::lock_guard lock(impl_->published);
    impl_->flat = std::move(flat);
    generation_.fetch_add(1, std::memory_order_release);
}

void PhysicalMap::set_regions(std::vector<Region> regions, const SmmMemory& smm) {
    {
        std::lock_guard lock(impl_->change);
        impl_->regions = std::move(regions);
        impl_->smm = smm;
        publish();
    }
    tell_map_changed();
}

std::vector<Region> PhysicalMap::regions() const {
    std::lock_guard lock(impl_->change);
    return impl_->regions;
}

void PhysicalMap::set_default_target(IoTarget* target) {
    {
        std::lock_guard lock(impl_->change);
        impl_->default_target = target;
        publish();
    }
    tell_map_changed();
}

void PhysicalMap::set_a20(bool enabled) {
    if (a20_.exchange(enabled) == enabled) return;
    tell_map_changed();
}

void PhysicalMap::tell_map_changed() {
    std::shared_lock lock(impl_->observers);
    for (MapObserver* observer : impl_->map_observers)
        observer->map_changed();
}

PhysicalMap::Page PhysicalMap::page(PhysicalAddress address) const {
    return snapshot()->page(on_bus(address).page().value);
}

bool PhysicalMap::is_memory(PhysicalAddress address, u64 length, bool for_write) const {
    const auto map = snapshot();
    u64 at = on_bus(address).value;
    while (length != 0) {
        const FlatRange& range = map->find(at);
        if (!(for_write ? range.write_host : range.read_host)) return false;
        const u64 step = range.clip(at, length);
        at += step;
        length -= step;
    }
    return true;
}

namespace {

// The size of the next piece of a device access: naturally aligned, up to 8 bytes, within `room` bytes.
unsigned piece(u64 address, u64 room) {
    unsigned size = 8;
    while (size > room || (address & (size - 1)) != 0)
        size /= 2;
    return size;
}

} // namespace

void PhysicalMap::read_from(const FlatMap& map, PhysicalAddress start, std::span<u8> out) {
    u64 address = start.value;
    while (!out.empty()) {
        const FlatRange& range = map.find(address);
        u64 size = range.clip(address, out.size());
        if (range.read_host) {
            copy_from_guest(out.data(), range.readable(address), size);
        } else {
            size = piece(address, size);
            const u64 value = range.read_target
                                  ? range.read_target->read(PhysicalAddress(address), static_cast<unsigned>(size))
                                  : ~u64{0};
            for (unsigned i = 0; i < size; ++i)
                out[i] = static_cast<u8>(value >> (8 * i));
        }
        address += size;
        out = out.subspan(size);
    }
}

void PhysicalMap::write_to(const FlatMap& map, PhysicalAddress start, std::span<const u8> in) {
    u64 address = start.value;
    while (!in.empty()) {
        const FlatRange& range = map.find(address);
        u64 size = range.clip(address, in.size());
        if (range.write_host) {
            write_host(range.writable(address), in.first(size));
        } else if (range.write_target) {
            size = piece(address, size);
            u64 value = 0;
            for (unsigned i = 0; i < size; ++i)
                value |= static_cast<u64>(in[i]) << (8 * i);
            range.write_target->write(PhysicalAddress(address), value, static_cast<unsigned>(size));
        }
        address += size;
        in = in.subspan(size);
    }
}

void PhysicalMap::read(PhysicalAddress address, std::span<u8> out) { read_from(*snapshot(), on_bus(address), out); }
void PhysicalMap::write(PhysicalAddress address, std::span<const u8> in) { write_to(*snapshot(), on_bus(address), in); }
void PhysicalMap::dma_read(PhysicalAddress address, std::span<u8> out) { read_from(*snapshot(), address, out); }
void PhysicalMap::dma_write(PhysicalAddress address, std::span<const u8> in) { write_to(*snapshot(), address, in); }

u64 PhysicalMap::read_value(PhysicalAddress address, unsigned size) {
    u8 bytes[8] = {};
    read(address, std::span(bytes).first(std::min(size, 8u)));
    u64 value = 0;
    for (unsigned i = 0; i < 8; ++i)
        value |= static_cast<u64>(bytes[i]) << (8 * i);
    return value;
}

void PhysicalMap::write_value(PhysicalAddress address, u64 value, unsigned size) {
    u8 bytes[8];
    for (unsigned i = 0; i < 8; ++i)
        bytes[i] = static_cast<u8>(value >> (8 * i));
    write(address, std::span<const u8>(bytes).first(std::min(size, 8u)));
}

// ---- Code ----

namespace {

// Calls body(range, address, length) for each part of the bytes that lies in one page and one range.
template <class Body> void for_each_part(const FlatMap& map, u64 address, u64 length, Body body) {
    while (length != 0) {
        const FlatRange& range = map.find(address);
        const u64 step = std::min(range.clip(address, length), page_size - (address & page_offset_mask));
        body(range, address, step);
        address += step;
        length -= step;
    }
}

// The addresses at which [host, host + length) is read, as body(start, length).
template <class Body> void for_each_alias(const FlatMap& map, const u8* host, u64 length, Body body) {
    const u64 first = reinterpret_cast<std::uintptr_t>(host);
    for (const FlatRange& range : map.ranges()) {
        if (!range.read_host) continue;
        const u64 base = reinterpret_cast<std::uintptr_t>(range.read_host);
        const u64 range_last = base + (range.last - range.start);
        const u64 from = std::max(base, first);
        const u64 to = std::min(range_last, first + length - 1);
        if (from <= to) body(range.start + (from - base), to - from + 1);
    }
}

} // namespace

bool PhysicalMap::mark_code(PhysicalAddress address, u64 length) {
    bool writers = false;
    for_each_part(*snapshot(), on_bus(address).value, length, [&](const FlatRange& range, u64 at, u64 size) {
        if (range.read_host) writers |= impl_->marks.mark(range.readable(at), size);
    });
    return writers;
}

bool PhysicalMap::code_marked(PhysicalAddress address, u64 length) const {
    bool marked = true;
    for_each_part(*snapshot(), on_bus(address).value, length, [&](const FlatRange& range, u64 at, u64 size) {
        if (range.read_host) marked &= impl_->marks.all_marked(range.readable(at), size);
    });
    return marked;
}

bool PhysicalMap::mark_code(const u8* host, u64 length) { return impl_->marks.mark(host, length); }
bool PhysicalMap::code_marked(const u8* host, u64 length) const { return impl_->marks.all_marked(host, length); }

bool PhysicalMap::page_has_code(PhysicalAddress address) const {
    bool marked = false;
    for_each_part(*snapshot(), on_bus(address).page().value, page_size, [&](const FlatRange& range, u64 at, u64) {
        if (range.read_host) marked |= impl_->marks.page_marked(range.readable(at));
    });
    return marked;
}

void PhysicalMap::protect_code_page(PhysicalAddress page, Mmu* self) {
    const auto map = snapshot();
    for_each_part(*map, on_bus(page).page().value, page_size, [&](const FlatRange& range, u64 at, u64 size) {
        if (!range.read_host) return;
        const u8* const host = range.readable(at);
        const u32 version = impl_->marks.version(host);
        std::vector<PhysicalAddress> pages;
        for_each_alias(*map, host, size, [&](u64 start, u64) { pages.push_back(PhysicalAddress(start).page()); });
        impl_->rendezvous.drop_everywhere(pages, self ? &self->rendezvous_member() : nullptr);
        if (version != CodeMarks::no_version) impl_->marks.writers_gone(host, version);
    });
}

void PhysicalMap::before_code_write(PhysicalAddress address, u64 length) {
    for_each_part(*snapshot(), on_bus(address).value, length, [&](const FlatRange& range, u64 at, u64 size) {
        if (range.write_host) before_host_write(range.writable(at), size);
    });
}

void PhysicalMap::before_host_write(const u8* host, u64 length) {
    CodeMarks& marks = impl_->marks;
    if (length == 0 || !marks.any_marked(host, length)) return;
    const bool patched = marks.patched(host);
    if (patched && impl_->patch_fields.covers(host, length)) return;
    if (!marks.clear(host, length)) return;
    if (impl_->patch_fields.note_write(host, length)) marks.note_patched(host);
    const u64 before = reinterpret_cast<std::uintptr_t>(host) % CodeMarks::granule;
    const u64 widened = align_up(before + length, CodeMarks::granule);
    // Code of another shape may be written there.
    if (patched) impl_->patch_fields.forget(host - before, widened);
    tell_code_written(host - before, widened);
}

std::optional<PhysicalMap::PatchedBytes> PhysicalMap::patched_bytes(const u8* host, u64 length) const {
    if (const auto field = impl_->patch_fields.find(host, length)) return PatchedBytes{field->host, field->size, true};
    if (const auto often = impl_->patch_fields.often_written(host, length))
        return PatchedBytes{often->host, often->size, false};
    return std::nullopt;
}

u64 PhysicalMap::patch_fields_made() const { return impl_->patch_fields.added(); }

bool PhysicalMap::in_patch_field(const u8* host, u64 length) const {
    return impl_->marks.patched(host) && impl_->patch_fields.covers(host, length);
}

bool PhysicalMap::touches_patch_field(const u8* host, u64 length) const {
    return impl_->marks.patched(host) && impl_->patch_fields.find(host, length);
}

bool PhysicalMap::page_patched(const u8* host) const { return impl_->marks.patched(host); }

// First the field, then the marks go: whoever decodes meanwhile sees the field, or finds its marks gone.
bool PhysicalMap::make_patch_field(const PatchedBytes& bytes) {
    impl_->marks.note_patched(bytes.host);
    if (!impl_->patch_fields.add({bytes.host, bytes.size})) return false;
    if (!impl_->marks.clear(bytes.host, bytes.size)) return true;
    const u64 before = reinterpret_cast<std::uintptr_t>(bytes.host) % CodeMarks::granule;
    tell_code_written(bytes.host - before, align_up(before + bytes.size, CodeMarks::granule));
    return true;
}

void PhysicalMap::tell_code_written(const u8* host, u64 length) {
    for_each_alias(*snapshot(), host, length, [&](u64 start, u64 size) {
        std::shared_lock lock(impl_->observers);
        for (CodeWriteObserver* observer : impl_->code_observers)
            observer->code_written(PhysicalAddress(start), size);
    });
}

// The marks are looked at before and after: who marks granules in between and then reads the old bytes has marked them
// before this looks again, and is told then. (The fence orders the write of the bytes before the second look; mark() is
// the other side's fence.)
void PhysicalMap::write_host(u8* host, std::span<const u8> in) {
    while (!in.empty()) {
        const u64 room = page_size - (reinterpret_cast<std::uintptr_t>(host) & page_offset_mask);
        const u64 size = std::min<u64>(in.size(), room);
        before_host_write(host, size);
        copy_to_guest(host, in.data(), size);
        full_fence();
        before_host_write(host, size);
        impl_->marks.note_dirty(host);
        host += size;
        in = in.subspan(size);
    }
}

// ---- Pages that were written ----

void PhysicalMap::take_dirty_pages(const u8* host, u64 count, const std::function<void(u64)>& dirty) {
    for (u64 page = 0; page < count; ++page)
        if (impl_->marks.take_dirty(host + page * page_size)) dirty(page);
}

void PhysicalMap::end_of_writers() { impl_->rendezvous.drop_all_everywhere(); }

void PhysicalMap::note_dirty(const u8* host, u64 length) {
    if (length == 0) return;
    const u64 before = reinterpret_cast<std::uintptr_t>(host) & page_offset_mask;
    for (u64 at = 0; at < before + length; at += page_size)
        impl_->marks.note_dirty(host - before + at);
}

// ---- Observers ----

void PhysicalMap::add_observer(CodeWriteObserver& observer) {
    std::lock_guard lock(impl_->observers);
    impl_->code_observers.push_back(&observer);
}
void PhysicalMap::remove_observer(CodeWriteObserver& observer) {
    std::lock_guard lock(impl_->observers);
    std::erase(impl_->code_observers, &observer);
}
void PhysicalMap::add_observer(MapObserver& observer) {
    std::lock_guard lock(impl_->observers);
    impl_->map_observers.push_back(&observer);
}
void PhysicalMap::remove_observer(MapObserver& observer) {
    std::lock_guard lock(impl_->observers);
    std::erase(impl_->map_observers, &observer);
}

// ---- For people ----

namespace {

const char* kind_name(RegionKind kind) {
    switch (kind) {
    case RegionKind::ram: return "RAM";
    case RegionKind::rom: return "ROM";
    case RegionKind::io: return "I/O";
    case RegionKind::unassigned: break;
    }
    return "unassigned";
}

} // namespace

std::string PhysicalMap::describe() const {
    std::vector<Region> sorted = regions();
    std::stable_sort(sorted.begin(), sorted.end(), [](const Region& a, const Region& b) { return a.base < b.base; });
    std::string text = fmt::format("A20 {}\n", a20() ? "enabled" : "masked");
    for (const Region& region : sorted) {
        if (region.length == 0) continue;
        text += fmt::format("{:010x}-{:010x} prio {:>3}  {:<10}", region.base.value,
                            region.base.value + region.length - 1, region.priority, kind_name(region.kind));
        if (region.write_kind != RegionKind::unassigned && region.write_kind != region.kind)
            text += fmt::format(" (writes: {})", kind_name(region.write_kind));
        text += fmt::format(" {}\n", region.name);
    }
    return text;
}

} // namespace calque::mmu
