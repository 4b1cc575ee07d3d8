#include "frontend/machine/address_space.h"

#include "mmu/mappings.h"

#include <fmt/format.h>
#include <optional>
#include <string_view>

namespace calque::machine {

namespace {

constexpr u64 most_entries = u64{1} << 22; // Looked at; a system with much memory in use has some 100,000.
constexpr std::string_view no_paging = "paging is off\n";
constexpr std::string_view more = "... and more: the tables are large, or map themselves\n";

std::string rights(const mmu::Mapping& page) {
    return fmt::format("{}r{}{}", page.user ? 'u' : '-', page.writable ? 'w' : '-', page.executable ? 'x' : '-');
}

bool paging(const cpu::Cpu& cpu) { return cpu.mmu.context().cr0 & mmu::cr0_pg; }

std::string size_of(u64 bytes) {
    return bytes >= u64{1} << 30 ? fmt::format("{}G", bytes >> 30)
           : bytes >= 1 << 20    ? fmt::format("{}M", bytes >> 20)
                                 : fmt::format("{}K", bytes >> 10);
}

} // namespace

std::string describe_address_space(const cpu::Cpu& cpu, mmu::PhysicalMap& map) {
    if (!paging(cpu)) return std::string(no_paging);
    std::string text;
    std::optional<mmu::Mapping> run; // `size` is that of all.
    const auto end_run = [&] {
        if (run) text += fmt::format("{:016x}-{:016x} {:>16x} {}\n", run->linear, run->last(), run->size, rights(*run));
    };
    const bool all = mmu::visit_mappings(map, cpu.mmu.context(), most_entries, [&](const mmu::Mapping& page) {
        if (run && run->same_rights(page) && run->last() + 1 == page.linear) {
            run->size += page.size;
        } else {
            end_run();
            run = page;
        }
        return true;
    });
    end_run();
    return all ? text : text.append(more);
}

std::string describe_pages(const cpu::Cpu& cpu, mmu::PhysicalMap& map) {
    if (!paging(cpu)) return std::string(no_paging);
    std::string text;
    const bool all = mmu::visit_mappings(map, cpu.mmu.context(), most_entries, [&](const mmu::Mapping& page) {
        text += fmt::format("{:016x}: {:016x} {:>3} {} {}{}{}\n", page.linear, page.physical, size_of(page.size),
                            rights(page), page.global ? 'g' : '-', page.dirty ? 'd' : '-', page.accessed ? 'a' : '-');
        return true;
    });
    return all ? text : text.append(more);
}

} // namespace calque::machine
