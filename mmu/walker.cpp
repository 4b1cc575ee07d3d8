#include "mmu/walker.h"

#include "base/bits.h"
#include "mmu/code_marks.h"
#include "mmu/flat_map.h"
#include "mmu/guest_copy.h"
#include "mmu/paging_levels.h"

#include <algorithm>
#include <iterator>
#include <span>

namespace calque::mmu {

using namespace paging;

namespace {

bool user_mode(const PagingContext& context, Privilege privilege) {
    return privilege == Privilege::current && context.cpl == 3;
}

// One walk under way.
class Walk {
  public:
    enum class Outcome : u8 { found, fault, raced };

    Walk(PhysicalMap& map, const FlatMap& flat, const PagingContext& context, u64 address, Access access,
         Privilege privilege, WalkEffect effect, WalkTrace* trace)
        : map_(map), flat_(flat), context_(context), address_(address), access_(access), privilege_(privilege),
          effect_(effect), trace_(trace) {}

    Outcome run(Mode mode);
    const Leaf& leaf() const { return leaf_; }
    u32 error_code() const { return error_code_; }
    // After too many races: A and D bits are then set in whatever the entry has become.
    void insist() { insist_ = true; }

  private:
    Outcome run_32();
    Outcome run_pae();
    Outcome run_4_level();
    template <class Entry> Outcome descend(u64 table, std::span<const Level> levels);
    template <class Entry> Outcome finish(u64 at, Entry entry, unsigned shift);
    template <class Entry> Entry read_entry(u64 at) const;
    template <class Entry> bool set_bits(u64 at, Entry entry, u64 bits, unsigned shift);
    template <class Entry> bool set_bits(u64 at, Entry entry, u64 bits);
    template <class Entry> void note(u64 at, Entry entry, unsigned shift) const;
    template <class Entry> bool update_memory(u8* host, Entry entry, u64 bits);
    Outcome fail(u32 code);
    bool denied_by_key() const;

    PhysicalMap& map_;
    const FlatMap& flat_;
    const PagingContext& context_;
    const u64 address_;
    const Access access_;
    const Privilege privilege_;
    const WalkEffect effect_;
    WalkTrace* const trace_;
    bool insist_ = false;
    u32 error_code_ = 0;
    Leaf leaf_; // Rights are gathered on the way down.
};

Walk::Outcome Walk::run(Mode mode) {
    leaf_ = {};
    if (trace_) trace_->clear();
    switch (mode) {
    case Mode::bits32: return run_32();
    case Mode::pae: return run_pae();
    case Mode::level4: return run_4_level();
    case Mode::off: break;
    }
    leaf_.address = map_.on_bus(PhysicalAddress(address_ & low_mask(32))).value;
    return Outcome::found;
}

Walk::Outcome Walk::run_32() { return descend<u32>(context_.cr3 & field(12, 31), levels_32(context_)); }

// SDM volume 3, 4.4. The PDPTEs are registers, checked when they were loaded.
Walk::Outcome Walk::run_pae() {
    const u64 pdpte = context_.pdpte[bits(address_, 30, 2)];
    if (!(pdpte & entry_present)) return fail(0);
    return descend<u64>(pdpte & address_mask, levels_pae(context_));
}

Walk::Outcome Walk::run_4_level() { return descend<u64>(context_.cr3 & address_mask, levels_4(context_)); }

template <class Entry> Walk::Outcome Walk::descend(u64 table, std::span<const Level> levels) {
    constexpr u64 index_mask = page_size / sizeof(Entry) - 1;
    for (const Level& level : levels) {
        const u64 at = table + ((address_ >> level.shift) & index_mask) * sizeof(Entry);
        const Entry entry = read_entry<Entry>(at);
        if (!(entry & entry_present)) return fail(0);
        const bool large = level.large_pages && (entry & entry_large);
        if (entry & (level.reserved | (large ? level.large_reserved : 0))) return fail(pf_present | pf_reserved);
        leaf_.writable &= (entry & entry_writable) != 0;
        leaf_.user &= (entry & entry_user) != 0;
        if constexpr (sizeof(Entry) == 8) leaf_.no_execute |= (entry & entry_no_execute) != 0;
        if (large || level.shift == page_shift) return finish<Entry>(at, entry, level.shift);
        if (!set_bits<Entry>(at, entry, entry_accessed, level.shift)) return Outcome::raced;
        table = entry & address_mask;
    }
    return fail(0); // Not reached: the last level's shift is that of a page.
}

template <class Entry> Walk::Outcome Walk::finish(u64 at, Entry entry, unsigned shift) {
    const u64 size = u64{1} << shift;
    leaf_.size = size;
    leaf_.global = (entry & entry_global) && (context_.cr4 & cr4_pge);
    const u64 base = page_of_entry(entry, size);
    if constexpr (sizeof(Entry) == 8) leaf_.protection_key = static_cast<u8>(bits(entry, entry_key_shift, 4));
    leaf_.address = map_.on_bus(PhysicalAddress(base | (address_ & (size - 1)))).value;
    if (!rights_of(leaf_, context_, privilege_).allow(access_))
        return fail(pf_present | (denied_by_key() ? pf_protection_key : 0));
    const u64 wanted = entry_accessed | (access_ == Access::write ? entry_dirty : 0);
    if (!set_bits<Entry>(at, entry, wanted, shift)) return Outcome::raced;
    leaf_.dirty = (entry & entry_dirty) || (access_ == Access::write && effect_ == WalkEffect::set_bits);
    return Outcome::found;
}

// SDM volume 3, 4.7: what the access was goes into the error code of every fault.
Walk::Outcome Walk::fail(u32 code) {
    if (access_ == Access::write) code |= pf_write;
    if (user_mode(context_, privilege_)) code |= pf_user;
    const bool no_execute = (context_.cr4 & cr4_pae) && (context_.efer & efer_nxe);
    if (access_ == Access::execute && (no_execute || (context_.cr4 & cr4_smep))) code |= pf_fetch;
    error_code_ = code;
    return Outcome::fault;
}

// Entries are naturally aligned, so one that begins in host memory ends there unless a region ends inside it.
template <class Entry> Entry Walk::read_entry(u64 at) const {
    const PhysicalAddress address = map_.on_bus(PhysicalAddress(at));
    const FlatRange& range = flat_.find(address.value);
    Entry entry = 0;
    if (range.read_host && range.clip(address.value, sizeof entry) == sizeof entry) [[likely]] {
        copy_from_guest(&entry, range.readable(address.value), sizeof entry);
    } else {
        u8 bytes[sizeof entry];
        map_.read_from(flat_, address, bytes);
        std::memcpy(&entry, bytes, sizeof entry);
    }
    return entry;
}

template <class Entry> void Walk::note(u64 at, Entry entry, unsigned shift) const {
    const u64 address = map_.on_bus(PhysicalAddress(at)).value;
    const FlatRange& range = flat_.find(address);
    const bool plain = range.read_host && range.clip(address, sizeof entry) == sizeof entry;
    trace_->add({plain ? range.readable(address) : nullptr, entry, sizeof entry, static_cast<u8>(shift)});
}

template <class Entry> bool Walk::set_bits(u64 at, Entry entry, u64 wanted, unsigned shift) {
    if (!set_bits(at, entry, wanted)) return false;
    if (trace_) note(at, static_cast<Entry>(entry | wanted), shift);
    return true;
}

// Sets bits in the entry that was read. False when it has changed since: the walk then starts again.
template <class Entry> bool Walk::set_bits(u64 at, Entry entry, u64 wanted) {
    if ((entry & wanted) == wanted || effect_ == WalkEffect::none) return true;
    const PhysicalAddress address = map_.on_bus(PhysicalAddress(at));
    const FlatRange& range = flat_.find(address.value);
    u8* const host = range.writable(address.value);
    if (host && host == range.readable(address.value) && range.clip(address.value, sizeof entry) == sizeof entry
        && one_access(host, sizeof entry)) [[likely]]
        return update_memory(host, entry, wanted);
    // Tables in ROM stay as they are; those in device memory, or where reads and writes go different ways, are written.
    const Entry updated = static_cast<Entry>(entry | wanted);
    u8 bytes[sizeof entry];
    std::memcpy(bytes, &updated, sizeof entry);
    map_.write_to(flat_, address, bytes);
    return true;
}

template <class Entry> bool Walk::update_memory(u8* host, Entry entry, u64 wanted) {
    map_.code_marks().note_dirty(host);
    const bool marked = map_.code_marks().page_marked(host);
    if (marked) map_.before_host_write(host, sizeof entry);
    auto* const word = reinterpret_cast<Entry*>(host);
    const Entry set = static_cast<Entry>(wanted);
    bool done = true;
    if (insist_) {
        __atomic_fetch_or(word, set, __ATOMIC_SEQ_CST);
    } else {
        done = __atomic_compare_exchange_n(word, &entry, static_cast<Entry>(entry | set), false, __ATOMIC_SEQ_CST,
                                           __ATOMIC_SEQ_CST);
    }
    map_.before_host_write(host, sizeof entry); // Whoever marked it meanwhile: see PhysicalMap::write_host().
    return done;
}

bool key_applies(const Leaf& leaf, const PagingContext& context) {
    return leaf.user && (context.cr4 & cr4_pke) && (context.efer & efer_lma);
}
bool key_denies_all(const Leaf& leaf, const PagingContext& context) {
    return (context.pkru >> (2 * leaf.protection_key)) & 1;
}
bool key_denies_write(const Leaf& leaf, const PagingContext& context, bool user) {
    return ((context.pkru >> (2 * leaf.protection_key)) & 2) && (user || (context.cr0 & cr0_wp));
}

bool Walk::denied_by_key() const {
    if (access_ == Access::execute || !key_applies(leaf_, context_)) return false;
    const bool user = user_mode(context_, privilege_);
    return key_denies_all(leaf_, context_) || (access_ == Access::write && key_denies_write(leaf_, context_, user));
}

constexpr unsigned most_races = 64;

} // namespace

Rights rights_of(const Leaf& leaf, const PagingContext& context, Privilege privilege) {
    if (!(context.cr0 & cr0_pg)) return {};
    const bool user = user_mode(context, privilege);
    Rights rights;
    if (user) {
        rights.read = leaf.user;
        rights.write = leaf.user && leaf.writable;
        rights.execute = leaf.user && !leaf.no_execute;
    } else {
        const bool exempt = privilege == Privilege::current && context.ac;
        rights.read = !leaf.user || !(context.cr4 & cr4_smap) || exempt;
        rights.write = rights.read && (leaf.writable || !(context.cr0 & cr0_wp));
        rights.execute = !leaf.no_execute && !(leaf.user && (context.cr4 & cr4_smep));
    }
    if (key_applies(leaf, context)) {
        if (key_denies_all(leaf, context)) rights.read = rights.write = false;
        if (key_denies_write(leaf, context, user)) rights.write = false;
    }
    return rights;
}

bool walk_to_leaf(PhysicalMap& map, const FlatMap& flat, const PagingContext& context, LinearAddress address,
                  Access access, Privilege privilege, WalkEffect effect, Leaf& out, Fault& fault, WalkTrace* trace) {
    const Mode mode = mode_of(context);
    Walk walk(map, flat, context, address.value, access, privilege, effect, trace);
    for (unsigned races = 0;; ++races) {
        if (races == most_races) walk.insist();
        switch (walk.run(mode)) {
        case Walk::Outcome::found: out = walk.leaf(); return true;
        case Walk::Outcome::fault: fault = {Fault::Kind::page_fault, walk.error_code(), address}; return false;
        case Walk::Outcome::raced: break;
        }
    }
}

bool walk(PhysicalMap& map, const PagingContext& context, LinearAddress address, Access access, Privilege privilege,
          WalkEffect effect, Translation& out, Fault& fault) {
    Leaf leaf;
    if (!walk_to_leaf(map, *map.snapshot(), context, address, access, privilege, effect, leaf, fault)) return false;
    const Rights rights = rights_of(leaf, context, privilege);
    out = {.address = PhysicalAddress(leaf.address),
           .size = leaf.size,
           .writable = rights.write && leaf.dirty,
           .readable = rights.read,
           .executable = rights.execute,
           .global = leaf.global};
    return true;
}

// SDM volume 3, 4.4.1: bits 2:1, 8:5 and those from the physical width up are reserved.
bool load_pdptes(PhysicalMap& map, PagingContext& context) {
    constexpr u64 reserved = field(1, 2) | field(5, 8) | field(physical_address_bits, 63);
    const u64 table = context.cr3 & field(5, 31);
    u64 loaded[4];
    for (unsigned i = 0; i < 4; ++i) {
        loaded[i] = map.read_value(PhysicalAddress(table + 8 * i), 8);
        if ((loaded[i] & entry_present) && (loaded[i] & reserved)) return false;
    }
    std::copy(std::begin(loaded), std::end(loaded), std::begin(context.pdpte));
    return true;
}

} // namespace calque::mmu
