#include "mmu/mmu.h"

#include "mmu/mmu_impl.h"

namespace calque::mmu {

Mmu::Mmu(PhysicalMap& map, Log& log) : map_(map), log_(log), impl_(std::make_unique<Impl>(*this)) {
    impl_->leaves.resize(Tlb::smallest / 2);
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
    return ((a.cr0 ^ b.cr0) & cr0_pg) || ((a.cr4 ^ b.cr4) & (cr4_pse | cr4_pae | cr4_pge | cr4_pcide))
           || ((a.efer ^ b.efer) & (efer_lma | efer_nxe));
}

} // namespace

void Mmu::set_context(const PagingContext& context) {
    if (context == context_) return;
    PagingContext before = context_;
    context_ = context;
    before.cpl = context.cpl;
    before.ac = context.ac;
    before.alignment_check = context.alignment_check;
    if (before == context) return update_views();
    if (rereads_tables(before, context)) return flush_all(true);
    select();
}

void Mmu::load_cr3(const PagingContext& context, bool keep) {
    ++counters_.context_switches;
    const bool reread = rereads_tables(context_, context);
    context_ = context;
    if (reread) return flush_all(true);
    if (!keep) {
        ++counters_.flushes;
        impl_->spaces.forget(AddressSpaces::pcid_of(context));
    }
    log_.trace(Channel::tlb, "CR3 {:x}{}", context.cr3, keep ? ", translations kept" : "");
    select();
}

void Mmu::select() {
    if (!impl_->spaces.select(context_, impl_->selected)) {
        restart();
        impl_->spaces.select(context_, impl_->selected);
    }
    update_views();
}

void Mmu::update_views() {
    const u64 base = impl_->selected.key;
    TlbView& current = views_[static_cast<unsigned>(Privilege::current)];
    TlbView& system = views_[static_cast<unsigned>(Privilege::system)];
    current.entries = system.entries = impl_->tlb.entries();
    current.mask = system.mask = impl_->tlb.mask();
    current.key =
        context_.alignment_check ? never_key : base + static_cast<u64>(rights_mode(context_, Privilege::current));
    system.key = base + static_cast<u64>(rights_mode(context_, Privilege::system));
}

// The keys have run out: once in a thousand or more address-space flushes.
void Mmu::restart() {
    ++counters_.restarts;
    log_.trace(Channel::tlb, "keys used up: emptied");
    impl_->tlb.clear();
    impl_->leaves.clear();
    impl_->large_pages.clear();
    impl_->spaces.restart();
}

// ---- Flushes ----

void Mmu::flush_all(bool global) {
    ++counters_.flushes;
    log_.trace(Channel::tlb, "flush of everything{}", global ? "" : " but global pages");
    impl_->spaces.forget_all();
    if (global) {
        impl_->large_pages.clear();
        if (!impl_->spaces.forget_globals()) restart();
    }
    select();
}

void Mmu::flush_pcid(u16 pcid) {
    ++counters_.flushes;
    log_.trace(Channel::tlb, "flush of PCID {:x}", pcid);
    impl_->spaces.forget(pcid);
    select();
}

void Mmu::flush_page(LinearAddress address) {
    log_.trace(Channel::tlb, "flush of page {:x}", address.value);
    drop_page(address, impl_->selected.space);
}

void Mmu::flush_pcid_page(u16 pcid, LinearAddress address) {
    log_.trace(Channel::tlb, "flush of page {:x} of PCID {:x}", address.value, pcid);
    drop_page(address, impl_->spaces.space_of(pcid));
}

// One page, of whatever size, of one space and of the global pages. The first level's slots are shared by all keys.
void Mmu::drop_page(LinearAddress address, u64 space) {
    ++counters_.page_flushes;
    Impl& impl = *impl_;
    const u64 linear = long_addresses(context_) ? address.value : address.value & 0xFFFF'FFFF;
    impl.tlb.drop_page(linear);
    impl.leaves.drop_page(linear, space);
    impl.leaves.drop_page(linear, impl.spaces.global_space());
    if (impl.large_pages.maybe_large(linear))
        impl.tlb.drop_region(linear & ~(LargePages::large - 1), LargePages::large);
    if (impl.large_pages.maybe_huge(linear)) {
        impl.tlb.drop_region(linear & ~(LargePages::huge - 1), LargePages::huge);
        impl.leaves.drop_region(linear & ~(LargePages::huge - 1), LargePages::huge);
    }
}

// ---- Requests of other threads ----

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
