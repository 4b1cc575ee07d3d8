#include "firmware/e820/e820.h"

#include "firmware/layout.h"

#include <algorithm>

namespace calque::firmware {

void E820Map::add(u64 base, u64 size, E820Type type) {
    if (size == 0) return;
    const u64 end = base + size;
    std::vector<E820Entry> next;
    for (const E820Entry& entry : entries_) {
        if (entry.end() <= base || entry.base >= end) {
            next.push_back(entry);
            continue;
        }
        if (entry.base < base) next.push_back({entry.base, base - entry.base, entry.type});
        if (entry.end() > end) next.push_back({end, entry.end() - end, entry.type});
    }
    next.push_back({base, size, type});
    std::sort(next.begin(), next.end(), [](const E820Entry& a, const E820Entry& b) { return a.base < b.base; });

    entries_.clear();
    for (const E820Entry& entry : next) {
        if (!entries_.empty() && entries_.back().end() == entry.base && entries_.back().type == entry.type)
            entries_.back().size += entry.size;
        else
            entries_.push_back(entry);
    }
}

bool E820Map::is_ram(u64 base, u64 size) const {
    return std::any_of(entries_.begin(), entries_.end(), [&](const E820Entry& entry) {
        return entry.type == E820Type::ram && base >= entry.base && size <= entry.size
               && base - entry.base <= entry.size - size;
    });
}

u64 E820Map::highest_fit(u64 size, u64 alignment, u64 floor, u64 limit) const {
    for (auto entry = entries_.rbegin(); entry != entries_.rend(); ++entry) {
        if (entry->type != E820Type::ram) continue;
        const u64 low = std::max(entry->base, floor);
        const u64 high = std::min(entry->end(), limit);
        if (high <= low || high - low < size) continue;
        const u64 at = align_down(high - size, alignment);
        if (at >= low && at != 0) return at;
    }
    return 0;
}

FirmwareAreas firmware_areas(const Platform& platform, u64 acpi_bytes) {
    FirmwareAreas areas;
    areas.ebda = {layout::ebda, layout::low_memory_end - layout::ebda};
    areas.f_segment = layout::f_segment;
    const u64 size = align_up(std::max(acpi_bytes, 2 * page_size), page_size);
    const u64 base = align_down(platform.ram.low - size, page_size);
    areas.acpi_nvs = {base, page_size};
    areas.acpi_tables = {base + page_size, size - page_size};
    return areas;
}

E820Map e820_map(const Platform& platform, const FirmwareAreas& areas) {
    E820Map map;
    map.add(0, layout::low_memory_end, E820Type::ram);
    map.add(MiB, platform.ram.low - MiB, E820Type::ram);
    map.add(4 * GiB, platform.ram.high, E820Type::ram);
    map.add(areas.ebda.base, areas.ebda.size, E820Type::reserved);
    map.add(areas.f_segment.base, areas.f_segment.size, E820Type::reserved);
    map.add(areas.acpi_nvs.base, areas.acpi_nvs.size, E820Type::nvs);
    map.add(areas.acpi_tables.base, areas.acpi_tables.size, E820Type::acpi);
    map.add(platform.ioapic_base, page_size, E820Type::reserved);
    map.add(platform.local_apic_base, page_size, E820Type::reserved);
    return map;
}

} // namespace calque::firmware
