// Translation, and the slow paths of loads, stores and fetches.
#include "mmu/code_marks.h"
#include "mmu/execute_ids.h"
#include "mmu/guest_copy.h"
#include "mmu/mmu_impl.h"

#include <bit>

namespace calque::mmu {

namespace {

// Nobody waits for a vCPU that is inside a device.
class ParkedForIo {
  public:
    ParkedForIo(Rendezvous& rendezvous, RendezvousMember& member)
        : rendezvous_(rendezvous), member_(member), was_parked_(rendezvous.parked(member)) {
        if (!was_parked_) rendezvous_.park(member_);
    }
    ~ParkedForIo() {
        if (!was_parked_) rendezvous_.unpark(member_);
    }
    ParkedForIo(const ParkedForIo&) = delete;
    ParkedForIo& operator=(const ParkedForIo&) = delete;

  private:
    Rendezvous& rendezvous_;
    RendezvousMember& member_;
    bool was_parked_;
};

constexpr u64 low_4_gib = 0xFFFF'FFFF;

// What alignment checks ask for (SDM volume 3, table 6-7): the size of a plain operand; 8 bytes of an 80-bit number, 16
// of 32 bytes; 4 or 2 bytes, as its fields are, of an x87 image.
constexpr u64 alignment_of(u64 size) {
    if (size <= 16 && size != 14) return std::bit_floor(size);
    return size == 32 ? 16 : size % 4 != 0 ? 2 : 4;
}
bool aligned(u64 address, u64 size) { return (address & (alignment_of(size) - 1)) == 0; }

} // namespace

// Wraps or checks the address of an access of `size` bytes, at least one.
bool Mmu::check_address(LinearAddress& address, u64 size, Privilege privilege, bool data) {
    if (!long_addresses(context_)) {
        address.value &= low_4_gib;
    } else if (!canonical(address.value)) {
        fault_ = {Fault::Kind::not_canonical, 0, address};
        return false;
    } else if (!canonical(address.value + (size - 1))) {
        fault_ = {Fault::Kind::not_canonical, 0, (address + (size - 1)).page()};
        return false;
    }
    if (data && context_.alignment_check && privilege == Privilege::current && !aligned(address.value, size)) {
        fault_ = {Fault::Kind::alignment, 0, address};
        return false;
    }
    return true;
}

// ---- Translation ----

// Finds the page of a checked address for one access: in the second level or by a walk. Fills the first level.
bool Mmu::translate(u64 linear, Access access, Privilege privilege, Page& out) {
    Impl& impl = *impl_;
    const FlatMap& flat = impl.current_map();
    const u64 global_space = impl.spaces.global_space();
    const bool paging = context_.cr0 & cr0_pg;
    Leaf leaf;
    Rights rights;
    bool found = false, denied = false;
    if (!paging) {
        leaf.address = linear;
        found = true;
    } else if (impl.leaves.find(linear, impl.selected.space, global_space, leaf)) {
        rights = rights_of(leaf, context_, privilege);
        found = rights.allow(access) && (access != Access::write || leaf.dirty);
        denied = !found;
        counters_.second_hits += found;
    }
    if (!found) {
        ++counters_.walks;
        ShadowTables* const shadow = impl.selected.shadow;
        WalkTrace trace;
        if (!walk_to_leaf(map_, flat, context_, LinearAddress(linear), access, privilege, WalkEffect::set_bits, leaf,
                          fault_, shadow ? &trace : nullptr)) {
            ++counters_.page_faults;
            log_.trace(Channel::mmu, "page fault at {:x}, error code {:x}, CPL {}", linear, fault_.error_code,
                       context_.cpl);
            drop_small_page(linear, impl.selected.space);
            return false;
        }
        rights = rights_of(leaf, context_, privilege);
        const bool renewed = shadow && !leaf.global && !shadow->note(linear, trace);
        // The tables allow more than what was cached, or say something else.
        if (denied || renewed) drop_small_page(linear, impl.selected.space);
        impl.leaves.insert(linear, leaf.global ? global_space : impl.selected.space, leaf);
        impl.cached.note(linear, leaf, leaf.global ? global_space : impl.selected.space);
        log_.trace(Channel::mmu, "walk: {:x} -> {:x}, page of {:x}", linear, leaf.address, leaf.size);
    }
    const PhysicalAddress address = map_.on_bus(PhysicalAddress(leaf.address)).page();
    u8* const smm = context_.smm ? flat.smm_page(address.value) : nullptr;
    const PhysicalMap::Page memory = smm ? PhysicalMap::Page{smm, smm} : flat.page(address.value);
    out = {.address = address, .read_host = memory.read_host, .write_host = memory.write_host, .smm = smm != nullptr};
    if (memory.write_host && rights.write && leaf.dirty) {
        CodeMarks& marks = map_.code_marks();
        out.writer_admitted =
            access == Access::write ? marks.admit_writer(memory.write_host) : marks.writer_admitted(memory.write_host);
        out.has_code = !out.writer_admitted && marks.page_marked(memory.write_host);
    }
    out.global = leaf.global && !context_.smm;
    out.large = !paging || leaf.size > page_size;
    if (memory.read_host) fill(linear, rights, privilege, out);
    return true;
}

// What a page fault drops (SDM volume 3, 4.10.4.1): the page, in every rights mode. Of a large page only this piece.
void Mmu::drop_small_page(u64 linear, u64 space) {
    Impl& impl = *impl_;
    impl.pool.for_each_of(space, [&](TlbTable& table) { table.drop_page(linear); });
    impl.leaves.drop_page(linear, space);
    impl.leaves.drop_page(linear, impl.spaces.global_space());
}

void Mmu::fill(u64 linear, const Rights& rights, Privilege privilege, const Page& page) {
    TlbTable& table = *view(privilege).table;
    if (impl_->pool.is_never(table)) return;
    ++counters_.fills;
    const bool one_host = page.write_host == page.read_host && !watches(LinearAddress(linear), Access::write);
    switch (table.fill(linear, {.read = rights.read && !watches(LinearAddress(linear), Access::read),
                                .write = page.writer_admitted && one_host,
                                .execute = rights.execute && !page.smm,
                                .host = page.read_host,
                                .frame = page.address,
                                .code = page.has_code && one_host,
                                .global = page.global,
                                .large = page.large})) {
    case TlbTable::Filled::free: break;
    case TlbTable::Filled::evicted: ++counters_.evictions; break;
    case TlbTable::Filled::crowded:
        ++counters_.evictions;
        grow(table);
        break;
    }
}

void Mmu::grow(TlbTable& table) {
    if (!table.grow()) return;
    ++counters_.grows;
    Impl& impl = *impl_;
    if (impl.leaves.capacity() < table.size() * 2) impl.leaves.resize(table.size() / 2);
    update_views();
    log_.trace(Channel::tlb, "grown to {} entries", table.size());
}

// ---- Loads and stores ----

void Mmu::read_part(const Page& page, u64 offset, void* out, u64 size) {
    if (page.read_host) return copy_from_guest(out, page.read_host + offset, size);
    ++counters_.io_accesses;
    const ParkedForIo parked(map_.rendezvous(), *impl_->member);
    map_.read_from(impl_->current_map(), page.address + offset, std::span(static_cast<u8*>(out), size));
}

void Mmu::write_part(const Page& page, u64 offset, const void* value, u64 size) {
    if (page.write_host && page.writer_admitted) return copy_to_guest(page.write_host + offset, value, size);
    const std::span bytes(static_cast<const u8*>(value), size);
    if (page.write_host) {
        ++counters_.code_writes;
        return map_.write_host(page.write_host + offset, bytes);
    }
    ++counters_.io_accesses;
    const ParkedForIo parked(map_.rendezvous(), *impl_->member);
    map_.write_to(impl_->current_map(), page.address + offset, bytes);
}

bool Mmu::load_slow(LinearAddress address, void* out, unsigned size, Privilege privilege) {
    if (!check_address(address, size, privilege, true)) return false;
    const u64 room = page_size - address.page_offset();
    Page first, second;
    if (!translate(address.value, Access::read, privilege, first)) return false;
    if (size <= room) {
        read_part(first, address.page_offset(), out, size);
    } else {
        ++counters_.crossings;
        if (!translate(next_page(address), Access::read, privilege, second)) return false;
        read_part(first, address.page_offset(), out, room);
        read_part(second, 0, static_cast<u8*>(out) + room, size - room);
    }
    note_watched(address, size, false);
    return true;
}

bool Mmu::store_slow(LinearAddress address, const void* value, unsigned size, Privilege privilege) {
    if (u8* const host = store_beside_code(address.value, size, privilege, true)) {
        copy_to_guest(host, value, size);
        return true;
    }
    if (!check_address(address, size, privilege, true)) return false;
    const u64 room = page_size - address.page_offset();
    Page first, second;
    if (!translate(address.value, Access::write, privilege, first)) return false;
    if (size <= room) {
        write_part(first, address.page_offset(), value, size);
    } else {
        ++counters_.crossings;
        if (!translate(next_page(address), Access::write, privilege, second)) return false;
        write_part(first, address.page_offset(), value, room);
        if (!first.write_host) second.writer_admitted = false; // Inside a device, nobody waited for this vCPU.
        write_part(second, 0, static_cast<const u8*>(value) + room, size - room);
    }
    note_watched(address, size, true);
    return true;
}

u64 Mmu::next_page(LinearAddress address) const {
    const u64 next = address.page().value + page_size;
    return long_addresses(context_) ? next : next & low_4_gib;
}

// The host pointer to what may be accessed and is plain memory, whoever has to be told of it.
u8* Mmu::host_slow(LinearAddress address, u64 size, Access access, Privilege privilege, Page& page) {
    fault_.kind = Fault::Kind::none;
    if (size == 0 || address.page_offset() + size > page_size || size > page_size) return nullptr;
    if (context_.alignment_check && privilege == Privilege::current
        && (size > 8 || !std::has_single_bit(size) || !aligned(address.value, size)))
        return nullptr; // load() and store() tell.
    if (!check_address(address, size, privilege, false)) return nullptr;
    if (!translate(address.value, access, privilege, page)) return nullptr;
    if (access == Access::read) return page.read_host ? page.read_host + address.page_offset() : nullptr;
    if (!page.write_host || page.write_host != page.read_host) return nullptr;
    return page.write_host + address.page_offset();
}

// A store to a page with code that the table has (tlb_code_tag): a host pointer when no code is made of the bytes, or
// when it is a patch field; with `tell` also when the code observers had to be told. Null: the long way.
u8* Mmu::store_beside_code(u64 linear, u64 size, Privilege privilege, bool tell) {
    const TlbEntry& entry = view(privilege).entry(linear);
    const u64 offset = linear & page_offset_mask;
    if (entry.write_tag != tlb_code_tag(linear - offset) || size == 0 || size > page_size - offset) return nullptr;
    u8* const host = reinterpret_cast<u8*>(entry.host + offset);
    // Another vCPU that decodes these bytes from now on waits until this one has written them.
    const CodeMarks::Store marks = map_.code_marks().note_store(host, size, map_.rendezvous().only_one());
    if (!marks.on_page) return nullptr; // Writable again.
    if (marks.on_bytes) {
        if (!tell && !map_.in_patch_field(host, size)) return nullptr;
        map_.before_host_write(host, size);
    }
    ++counters_.code_writes;
    return host;
}

u8* Mmu::host_for_write_slow(LinearAddress address, u64 size, Privilege privilege) {
    if (u8* const host = store_beside_code(address.value, size, privilege, true)) return host;
    Page page;
    u8* const host = host_slow(address, size, Access::write, privilege, page);
    if (host && !page.writer_admitted) {
        ++counters_.code_writes;
        map_.rendezvous().only_one() ? map_.code_marks().note_dirty(host) : map_.code_marks().note_writer(host);
        map_.before_host_write(host, size);
    }
    if (host) note_watched(address, size, true);
    return host;
}

const u8* Mmu::host_for_read_slow(LinearAddress address, u64 size, Privilege privilege) {
    Page page;
    const u8* const host = host_slow(address, size, Access::read, privilege, page);
    if (host) note_watched(address, size, false);
    return host;
}

u8* Mmu::refill(LinearAddress address, u64 size, Access access) noexcept {
    const TlbEntry& entry = view().entry(address.value);
    const u64 tag = access == Access::write ? entry.write_tag : entry.read_tag;
    if (size - 1 < page_size && tlb_hit(tag, address.value, size))
        return reinterpret_cast<u8*>(entry.host + (address.value ^ tag));
    ++counters_.refills;
    if (access == Access::write)
        if (u8* const host = store_beside_code(address.value, size, Privilege::current, false)) return host;
    if (watches(address, access)) {
        fault_.kind = Fault::Kind::none;
        return nullptr;
    }
    Page page;
    u8* const host = host_slow(address, size, access, Privilege::current, page);
    return access == Access::write && !page.writer_admitted ? nullptr : host;
}

bool Mmu::mirror(LinearAddress address, bool pointers_end) noexcept {
    if (!impl_->pool.mirrors()) return true;
    u64 pages = 0;
    for (TlbTable* const table : impl_->tables)
        if (table->holds(address.value)) pages += impl_->pool.mirror(*table, address.value, !pointers_end);
    counters_.mirrored += pages;
    return pointers_end || pages != 0;
}

// ---- Probes and fetches ----

bool Mmu::probe(LinearAddress address, u64 size, Access access, Privilege privilege) {
    if (size == 0) return true;
    if (!check_address(address, size, privilege, true)) return false;
    for (;;) {
        Page page;
        if (!translate(address.value, access, privilege, page)) return false;
        const u64 room = page_size - address.page_offset();
        if (size <= room) return true;
        size -= room;
        address = LinearAddress(next_page(address));
        if (!check_address(address, size, privilege, false)) return false;
    }
}

bool Mmu::probe_read(LinearAddress address, u64 size, Privilege privilege) {
    return probe(address, size, Access::read, privilege);
}

bool Mmu::probe_write(LinearAddress address, u64 size, Privilege privilege) {
    return probe(address, size, Access::write, privilege);
}

bool Mmu::fetch(LinearAddress address, CodePage& out) {
    if (!check_address(address, 1, Privilege::current, false)) return false;
    const TlbView& view = views_[static_cast<unsigned>(Privilege::current)];
    const TlbEntry& entry = view.entry(address.value);
    if (tlb_hit(entry.execute_tag, address.value, 1)) [[likely]] {
        out.address = view.table->frame(address.value) + address.page_offset();
        out.host = reinterpret_cast<const u8*>(entry.host + address.page_offset());
        note_execute(address, out.host - address.page_offset());
        return true;
    }
    Page page;
    if (!translate(address.value, Access::execute, Privilege::current, page)) return false;
    out.address = page.address + address.page_offset();
    // Whoever caches code does so by physical address.
    out.host = page.read_host && !page.smm ? page.read_host + address.page_offset() : nullptr;
    if (out.host) note_execute(address, page.read_host);
    return true;
}

// ---- For translated code ----

namespace {

// The shift of the nearest executable page within a megabyte: most likely one of the same file.
std::optional<u64> shift_nearby(TlbTable& table, u64 page) {
    if (!ExecuteIds::movable(page)) return std::nullopt;
    for (u64 distance = page_size; distance <= u64{1} << 20; distance += page_size)
        for (const u64 beside : {page - distance, page + distance})
            if (const ExecuteId id = table.execute_id(beside); id != 0 && ExecuteIds::movable(beside))
                return execute_shift(id);
    return std::nullopt;
}

} // namespace

// The id of a page that was just fetched from; enters it in the table.
ExecuteId Mmu::note_execute(LinearAddress address, const u8* host_page) {
    TlbTable& table = *view().table;
    const ExecuteId known = table.execute_id(address.value, host_page);
    if (known != 0) [[likely]]
        return known;
    Impl::KnownId& entry = impl_->known_ids[address.page_number() % Impl::known_id_count];
    if (entry.id == 0 || entry.linear != address.page().value || entry.host != host_page)
        entry = {address.page().value, host_page,
                 map_.execute_ids().id_of(address.page(), host_page, shift_nearby(table, address.page().value))};
    const ExecuteId id = entry.id;
    if (!impl_->pool.is_never(table)) table.set_execute_id(address.value, host_page, id);
    return id;
}

ExecuteId Mmu::execute_id(LinearAddress address) {
    if (!long_addresses(context_)) address.value &= low_4_gib;
    const ExecuteId known = view().table->execute_id(address.value);
    if (known != 0) [[likely]]
        return known;
    fault_.kind = Fault::Kind::none;
    CodePage code;
    if (!fetch(address, code) || !code.host) return 0;
    return note_execute(address, code.host - address.page_offset());
}

TlbTable& Mmu::table(unsigned rights_mode) { return *impl_->tables[rights_mode]; }
void Mmu::set_no_return(const void* code) { impl_->pool.set_no_return(code); }
bool Mmu::mirrors() const { return impl_->pool.mirrors(); }

void Mmu::remember_target(LinearAddress address, const void* code) {
    TlbTable& table = *view().table;
    if (!impl_->pool.is_never(table)) table.remember_target(address.value, code);
}

void Mmu::forget_target(LinearAddress address) {
    impl_->pool.for_each([&](TlbTable& table) { table.forget_target(address.value); });
}

void Mmu::forget_targets() {
    impl_->pool.for_each([](TlbTable& table) { table.forget_targets(); });
}

} // namespace calque::mmu
