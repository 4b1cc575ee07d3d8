// What a person sees of an Mmu.
#include "mmu/mmu_impl.h"

namespace calque::mmu {

std::string Mmu::describe_tlb(std::size_t most) const {
    static constexpr const char* mode_names[rights_modes] = {"user", "supervisor", "supervisor, AC"};
    std::string text;
    std::size_t lines = 0, live = 0;
    std::size_t room = 0;
    for (unsigned mode = 0; mode < rights_modes; ++mode) {
        TlbTable* const table = impl_->tables[mode];
        if (!table) continue;
        room += table->size();
        table->for_each_live([&](u64 linear, const TlbEntry& entry) {
            ++live;
            if (++lines > most) return;
            text += fmt::format("{:016x} -> {:010x} {}{}{} {}\n", linear, table->frame(linear).value,
                                entry.read_tag == linear ? 'r' : '-', entry.write_tag == linear ? 'w' : '-',
                                entry.execute_tag == linear ? 'x' : '-', mode_names[mode]);
        });
    }
    return text + fmt::format("{} of the {} entries of the current address space are used\n", live, room);
}

std::string Mmu::describe_counters() const {
    u64 entries = 0;
    impl_->pool.for_each([&](TlbTable& table) { entries += table.size(); });
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
        {"address spaces verified", counters_.spaces_verified},
        {"entries changed in them", counters_.entries_changed},
        {"evictions", counters_.evictions},
        {"TLB entries", entries},
        {"pages mirrored", counters_.mirrored},
        {"TLB tables in use", impl_->pool.in_use()},
        {"restarts", counters_.restarts},
        {"refills for translated code", counters_.refills},
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
