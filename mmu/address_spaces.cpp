#include "mmu/address_spaces.h"

#include "base/bits.h"

#include <algorithm>
#include <utility>

namespace calque::mmu {

AddressSpaces::Root AddressSpaces::root_of(const PagingContext& context) {
    if (!(context.cr0 & cr0_pg)) return {};
    Root root;
    root.mode = (context.cr0 & cr0_pg) | (context.cr4 & (cr4_pse | cr4_pae | cr4_pge))
                | ((context.efer & (efer_lma | efer_nxe)) << 32);
    const bool pae = (context.cr4 & cr4_pae) && !(context.efer & efer_lma);
    if (pae)
        std::copy(std::begin(context.pdpte), std::end(context.pdpte), root.pdpte.begin());
    else
        root.table = context.cr3 & ~page_offset_mask & low_mask(63);
    return root;
}

u64 AddressSpaces::id_of(const PagingContext& context) {
    if (context.smm) return smm_id;
    if (!(context.cr0 & cr0_pg)) return no_paging_id;
    const bool pae = (context.cr4 & cr4_pae) && !(context.efer & efer_lma);
    return context.cr3 & low_mask(63) & ~(pae ? u64{0x1F} : page_offset_mask);
}

AddressSpaces::Policy AddressSpaces::policy_of(const PagingContext& context) {
    const u64 smm = context.smm; // Bit 0 is none of the others.
    if (!(context.cr0 & cr0_pg)) return {smm, 0};
    const bool keys = (context.cr4 & cr4_pke) && (context.efer & efer_lma);
    return {smm | (context.cr0 & cr0_wp) | (context.cr4 & (cr4_smep | cr4_smap | cr4_pke)), keys ? context.pkru : 0};
}

u64 AddressSpaces::key_of(Space& space, const Policy& policy) {
    std::size_t at = 0;
    while (at < space.keys.size() - 1 && space.keys[at].key != no_key && !(space.keys[at].policy == policy))
        ++at;
    Keyed found = space.keys[at];
    if (found.key == no_key || !(found.policy == policy)) {
        found = {policy, next_key_};
        next_key_ += rights_modes;
    }
    std::move_backward(space.keys.begin(), space.keys.begin() + static_cast<std::ptrdiff_t>(at),
                       space.keys.begin() + static_cast<std::ptrdiff_t>(at) + 1);
    space.keys[0] = found;
    return found.key;
}

bool AddressSpaces::select(const PagingContext& context, Selected& out) {
    const Root root = root_of(context);
    const u64 id = id_of(context);
    auto at = spaces_.find(id);
    out.replaced = LeafCache::no_space;
    const bool fresh = at == spaces_.end() || !(at->second.root == root);
    if (fresh) {
        if (next_space_ > last_space) return false;
        if (at != spaces_.end())
            out.replaced = at->second.number;
        else if (spaces_.size() >= most_spaces)
            out.replaced = forget_least_used();
        Space space;
        space.root = root;
        space.number = next_space_++;
        if (shadowed(context)) space.shadow = std::make_unique<ShadowTables>();
        at = spaces_.insert_or_assign(id, std::move(space)).first;
    }
    Space& space = at->second;
    space.used = ++now_;
    out.space = space.number;
    out.shadow = space.shadow.get();
    const bool had = context.smm || std::exchange(of_pcid_[pcid_of(context)], id) == id;
    out.trusted = fresh || (had && !space.distrusted);
    space.distrusted = false;
    const Policy policy = policy_of(context);
    out.key = key_of(space, policy);
    out.rights = policy.bits | u64{policy.pkru} << 32;
    return true;
}

u64 AddressSpaces::forget_least_used() {
    const auto least = std::min_element(spaces_.begin(), spaces_.end(),
                                        [](const auto& a, const auto& b) { return a.second.used < b.second.used; });
    const u64 number = least->second.number;
    spaces_.erase(least);
    return number;
}

void AddressSpaces::restart() {
    spaces_.clear();
    global_space_ = 0;
    next_space_ = 1;
}

bool AddressSpaces::forget_globals() {
    if (next_space_ > last_space) return false;
    global_space_ = next_space_++;
    return true;
}

} // namespace calque::mmu
