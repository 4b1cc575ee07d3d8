#include "mmu/mappings.h"

#include "base/byte_order.h"
#include "mmu/paging_levels.h"

#include <algorithm>
#include <array>
#include <span>

namespace calque::mmu {

using namespace paging;

namespace {

class Visit {
  public:
    Visit(PhysicalMap& map, u64 most, const std::function<bool(const Mapping&)>& visit)
        : map_(map), most_(most), visit_(visit) {}

    // False: no more is to be visited.
    template <class Entry> bool table(u64 at, std::span<const Level> levels, const Mapping& above);
    bool complete() const { return complete_; }

  private:
    PhysicalMap& map_;
    const u64 most_;
    const std::function<bool(const Mapping&)>& visit_;
    u64 seen_ = 0;
    bool complete_ = true;
};

template <class Entry> bool Visit::table(u64 at, std::span<const Level> levels, const Mapping& above) {
    const Level& level = levels.front();
    std::array<u8, page_size> bytes{};
    map_.read(map_.on_bus(PhysicalAddress(at)), bytes);
    for (u64 index = 0; index < page_size / sizeof(Entry); ++index) {
        const Entry entry =
            static_cast<Entry>(sizeof(Entry) == 8 ? little64(bytes, index * 8) : little32(bytes, index * 4));
        if (!(entry & entry_present)) continue;
        if (++seen_ > most_) {
            complete_ = false;
            return false;
        }
        const bool large = level.large_pages && (entry & entry_large);
        if (entry & (level.reserved | (large ? level.large_reserved : 0))) continue;
        Mapping found = above;
        found.linear = above.linear | index << level.shift;
        if (levels.size() == 4) found.linear = sign_extend(found.linear, 48);
        found.writable &= (entry & entry_writable) != 0;
        found.user &= (entry & entry_user) != 0;
        if constexpr (sizeof(Entry) == 8) found.executable &= !(entry & entry_no_execute);
        if (!large && level.shift != page_shift) {
            if (!table<Entry>(entry & address_mask, levels.subspan(1), found)) return false;
            continue;
        }
        found.size = u64{1} << level.shift;
        found.physical = map_.on_bus(PhysicalAddress(page_of_entry(entry, found.size))).value;
        found.global = entry & entry_global;
        found.dirty = entry & entry_dirty;
        found.accessed = entry & entry_accessed;
        if (!visit_(found)) return false;
    }
    return true;
}

} // namespace

bool visit_mappings(PhysicalMap& map, const PagingContext& context, u64 most,
                    const std::function<bool(const Mapping&)>& visit) {
    Visit walk(map, most, visit);
    switch (mode_of(context)) {
    case Mode::off: break;
    case Mode::bits32: walk.table<u32>(context.cr3 & field(12, 31), levels_32(context), {}); break;
    case Mode::level4: walk.table<u64>(context.cr3 & address_mask, levels_4(context), {}); break;
    case Mode::pae:
        for (u64 n = 0; n < std::size(context.pdpte); ++n) {
            Mapping above;
            above.linear = n << 30;
            if ((context.pdpte[n] & entry_present)
                && !walk.table<u64>(context.pdpte[n] & address_mask, levels_pae(context), above))
                break;
        }
        break;
    }
    return walk.complete();
}

} // namespace calque::mmu
