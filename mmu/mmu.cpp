#include "mmu/mmu.h"

#include "mmu/mmu_impl.h"

namespace calque::mmu {

Mmu::Mmu(PhysicalMap& map, Log& log) : map_(map), log_(log), impl_(std::make_unique<Impl>(*this, map.ram_file())) {
    impl_->leaves.resize(tlb_smallest / 2);
    select();
    map_.rendezvous().add(impl_->member);
    map_.add_observer(*impl_);
}

Mmu::~Mmu() {
    map_.remove_observer(*impl_);
    map_.rendezvous().remove(*impl_->member);
}

// ---- Contexts ----

namespace {

// Changes after which not even global pages may stay: they were read by other rules. (All of them empty the TLB by the
// architecture too, but for EFER.NXE: SDM volume 3, 4.10.4.1.)
bool rereads_tables(const PagingContext& a, const PagingContext& b) {
    if (!((a.cr0 | b.cr0) & cr0_pg)) return false;
    return ((a.cr0 ^ b.cr0) & cr0_pg) || ((a.cr4 ^ b.cr4) & (cr4_pse | cr4_pae | cr4_pge | cr4_pcide))
           || ((a.efer ^ b.efer) & (efer_lma | efer_nxe));
}

} // namespace

void Mmu::set_context(const PagingContext& context) {
    if (context_.same_tables(context)) {
        if (context.cpl != context_.cpl || context.ac != context_.ac
            || context.alignment_check != context_.alignment_check)
            set_privilege(context.cpl, context.ac, context.alignment_check);
        return;
    }
    const PagingContext before = context_;
    context_ = context;
    if (rereads_tables(before, context)) return flush_all(true);
    select();
}

void Mmu::set_privilege(u8 cpl, bool ac, bool alignment_check) {
    context_.cpl = cpl;
    context_.ac = ac;
    context_.alignment_check = alignment_check;
    update_views();
}

void Mmu::load_cr3(const PagingContext& context, bool keep) {
    ++counters_.context_switches;
    const bool reread = rereads_tables(context_, context);
    context_ = context;
    if (reread) return flush_all(true);
    log_.trace(Channel::tlb, "CR3 {:x}{}", context.cr3, keep ? ", translations kept" : "");
    select(keep);
}

// Without `keep`, what is left of the context's translations is what the guest's tables say now.
void Mmu::select(bool keep) {
    Impl& impl = *impl_;
    select_space();
    if (!(keep && impl.selected.trusted) && !verify_space()) {
        ++counters_.flushes;
        forget(AddressSpaces::id_of(context_));
        select_space();
    }
    impl.tables = impl.pool.select(impl.selected.key, impl.selected.space, impl.selected.rights);
    update_views();
}

void Mmu::select_space() {
    Impl& impl = *impl_;
    if (!impl.spaces.select(context_, impl.selected)) {
        restart();
        impl.spaces.select(context_, impl.selected);
    }
    if (impl.selected.replaced != LeafCache::no_space) impl.pool.release(impl.selected.replaced);
}

// Drops what the guest's tables do not say any more. False when nothing of it is good.
bool Mmu::verify_space() {
    ShadowTables* const shadow = impl_->selected.shadow;
    if (!shadow) return false;
    if (shadow->empty()) return true;
    const auto changed = shadow->verify();
    if (!changed) return false;
    ++counters_.spaces_verified;
    counters_.entries_changed += changed->size();
    for (const u64 linear : *changed)
        drop_small_page(linear, impl_->selected.space);
    return true;
}

// Also when only CPL or AC changed, as at each system call.
void Mmu::update_views() {
    Impl& impl = *impl_;
    const auto table_of = [&](Privilege privilege) -> TlbTable& {
        return *impl.tables[static_cast<unsigned>(rights_mode(context_, privilege))];
    };
    views_[static_cast<unsigned>(Privilege::system)] = TlbView(table_of(Privilege::system));
    views_[static_cast<unsigned>(Privilege::current)] =
        TlbView(context_.alignment_check ? impl.pool.never() : table_of(Privilege::current));
}

// One space's translations but global ones.
void Mmu::forget(u64 id) {
    impl_->pool.release(impl_->spaces.space_of(id));
    impl_->spaces.forget(id);
}

// The numbers of spaces have run out: once in some thousand flushes of address spaces.
void Mmu::restart() {
    ++counters_.restarts;
    log_.trace(Channel::tlb, "spaces used up: emptied");
    impl_->pool.release_all();
    impl_->leaves.clear();
    impl_->cached.clear();
    impl_->spaces.restart();
}

// ---- Flushes ----

void Mmu::flush_all(bool global) {
    ++counters_.flushes;
    log_.trace(Channel::tlb, "flush of everything{}", global ? "" : " but global pages");
    impl_->spaces.forget_all();
    impl_->pool.release_all();
    if (global) {
        impl_->cached.clear();
        if (!impl_->spaces.forget_globals()) restart();
    }
    select();
}

void Mmu::flush_pcid(u16 pcid) {
    log_.trace(Channel::tlb, "flush of PCID {:x}", pcid);
    impl_->spaces.distrust(impl_->spaces.id_of(pcid));
    select();
}

void Mmu::flush_page(LinearAddress address) {
    log_.trace(Channel::tlb, "flush of page {:x}", address.value);
    drop_page(address, impl_->selected.space);
}

void Mmu::flush_pcid_page(u16 pcid, LinearAddress address) {
    log_.trace(Channel::tlb, "flush of page {:x} of PCID {:x}", address.value, pcid);
    drop_page(address, impl_->spaces.space_of(impl_->spaces.id_of(pcid)));
}

// One page, of whatever size, of one space and of the global pages, which any space's tables may have.
void Mmu::drop_page(LinearAddress address, u64 space) {
    ++counters_.page_flushes;
    Impl& impl = *impl_;
    const u64 linear = long_addresses(context_) ? address.value : address.value & 0xFFFF'FFFF;
    const u64 global_space = impl.spaces.global_space();
    const bool global = impl.cached.maybe_global(linear), huge = impl.cached.maybe_huge(linear);
    std::array<u64, 3> regions{}; // Sizes of larger pages there.
    std::size_t count = 0;
    for (const u64 size : CachedPages::large) {
        const bool shared = global && impl.cached.maybe_large(linear, size, global_space);
        if (!shared && !impl.cached.maybe_large(linear, size, space)) continue;
        regions[count++] = size;
        impl.cached.dropped_large(linear, size, space);
        if (shared) impl.cached.dropped_large(linear, size, global_space);
    }
    if (huge) regions[count++] = CachedPages::huge;
    const auto drop = [&](TlbTable& table) {
        table.drop_page(linear);
        for (std::size_t n = 0; n < count; ++n)
            table.drop_region(linear & ~(regions[n] - 1), regions[n]);
    };
    if (global)
        impl.pool.for_each(drop);
    else
        impl.pool.for_each_of(space, drop);
    impl.leaves.drop_page(linear, space);
    impl.leaves.drop_page(linear, global_space);
    if (huge) impl.leaves.drop_region(linear & ~(CachedPages::huge - 1), CachedPages::huge);
}

// ---- Requests of other threads ----

void Mmu::set_watchpoints(std::vector<Watchpoint> watchpoints, Watchpoints::Hit hit) {
    watching_ = !watchpoints.empty();
    watchpoints_.set(std::move(watchpoints), std::move(hit));
    request_flush_all();
}

void Mmu::request_flush_all() {
    impl_->flush_requested.store(true);
    impl_->member->kick();
}

void Mmu::request_write_protect(PhysicalAddress page) { map_.rendezvous().post(std::span(&page, 1), *impl_->member); }

void Mmu::serve_requests() {
    requests_.store(false);
    if (impl_->flush_requested.exchange(false)) {
        ++counters_.map_changes;
        flush_all(true);
    }
    map_.rendezvous().serve(*impl_->member);
}

void Mmu::set_kick(std::function<void()> kick) { impl_->kick = std::move(kick); }
void Mmu::park() { map_.rendezvous().park(*impl_->member); }
void Mmu::unpark() { map_.rendezvous().unpark(*impl_->member); }
bool Mmu::parked() const { return map_.rendezvous().parked(*impl_->member); }
RendezvousMember& Mmu::rendezvous_member() { return *impl_->member; }

} // namespace calque::mmu
