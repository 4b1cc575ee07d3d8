// What a person sees of an Mmu.
#include "mmu/mmu_impl.h"

namespace calque::mmu {

std::string Mmu::describe_tlb(std::size_t most) const {
    static constexpr const char* mode_names[rights_modes] = {"user", "supervisor", "supervisor, AC"};
    std::string text;
    std::size_t lines = 0, live = 0;
    for (const TlbEntry& entry : impl_->tlb.table()) {
        const u64 tag = entry.read_tag != no_tag ? entry.read_tag : entry.execute_tag;
        const u64 mode = (tag & page_offset_mask) - impl_->selected.key;
        if (tag == no_tag || mode >= rights_modes) continue;
        ++live;
        if (++lines > most) continue;
        const u64 linear = tag & ~page_offset_mask;
        text += fmt::format("{:016x} -> {:010x} {}{}{} {}\n", linear, impl_->tlb.physical_page(linear).value,
                            entry.read_tag == tag ? 'r' : '-', entry.write_tag == tag ? 'w' : '-',
                            entry.execute_tag == tag ? 'x' : '-', mode_names[mode]);
    }
    return text + fmt::format("{} of {} entries belong to the current address space\n", live, impl_->tlb.mask() + 1);
}

std::string Mmu::describe_counters() const {
    const struct {
        const char* name;
        u64 value;
    } lines[] = {
        {"TLB fills", counters_.fills},
        {"second-level hits", counters_.second_hits},
        {"page walks", counters_.walks},
        {"page faults", counters_.page_faults},
        {"device accesses", counters_.io_accesses},
        {"page-crossing accesses", counters_.crossings},
        {"flushes of address spaces", counters_.flushes},
        {"flushes of pages", counters_.page_flushes},
        {"CR3 loads", counters_.context_switches},
        {"evictions", counters_.evictions},
        {"TLB entries", impl_->tlb.mask() + 1},
        {"key restarts", counters_.restarts},
        {"stores to pages with code", counters_.code_writes},
        {"pages write-protected for code", counters_.write_protects},
        {"physical map changes", counters_.map_changes},
    };
    std::string text;
    for (const auto& line : lines)
        text += fmt::format("  {:<32}{:>16}\n", line.name, line.value);
    return text;
}

} // namespace calque::mmu
