// What --stats says of the translator.
#include "cpu/table.h"
#include "jit/engine.h"

#include <algorithm>

namespace calque::jit {

namespace {
double percent(u64 part, u64 whole) {
    return whole == 0 ? 0 : 100.0 * static_cast<double>(part) / static_cast<double>(whole);
}
} // namespace

// Only where units count.
std::string Engine::describe_counts() const {
    if (options_.counting != Counting::all || !cpu_) return {};
    const UnitCounts& n = context_.counts;
    const u64 all = cpu_->instructions, by_units = counters_.counted - counters_.interpreted;
    const u64 indexed = n.looked_up - counters_.targets_found;
    const u64 chained = n.units - counters_.entered - n.computed - indexed;
    const u64 accesses = n.range_hits + n.tlb_hits + counters_.refills + counters_.page_crossings
                         + counters_.code_stores + counters_.slow_accesses;
    std::string text;
    const auto line = [&](std::string_view name, u64 value, u64 of) {
        text += fmt::format("  {:<17} {} ({:.3f}%)\n", name, value, percent(value, of));
    };
    text += fmt::format("  instructions      {}\n", all);
    line("  by units", by_units, all);
    line("  by their handlers", counters_.interpreted, all);
    line("  by interpreter", all - counters_.counted, all);
    text += fmt::format("  units entered     {}\n", n.units);
    line("  by links", chained, n.units);
    line("  target cache", n.computed, n.units);
    line("  target index", indexed, n.units);
    line("  by C++", counters_.entered, n.units);
    text += fmt::format("  memory accesses   {}\n", accesses);
    line("  shared checks", n.range_hits, accesses);
    line("  TLB table", n.tlb_hits, accesses);
    line("  refills", counters_.refills, accesses);
    line("  handlers", counters_.slow_accesses, accesses);
    return text;
}

std::string Engine::describe() const {
    const auto& c = cache_.counters();
    std::string text = fmt::format(
        "  units translated  {}\n  guest bytes       {}\n  host bytes        {}\n  seldom run        {}\n  links       "
        "      {}\n"
        "  units killed      {}\n  cache flushes     {}\n  entries           {}\n  exits unlinked    {}\n"
        "  by handlers       {}\n  TLB refills       {}\n  slow accesses     {}\n  stores by code    {}\n  "
        "traps             {}\n  x87 put back      {}\n"
        "  refused blocks    {}\n  ranges refused    {}\n  reads across      {}\n",
        c.units.load(), c.guest_bytes, c.host_bytes, c.cold_bytes, c.links, c.killed, c.flushes, counters_.entries,
        counters_.exits, counters_.interpreted, counters_.refills, counters_.slow_accesses, counters_.code_stores,
        counters_.traps, counters_.x87_stores, counters_.refused, counters_.ranges_refused, counters_.page_crossings);
    text +=
        fmt::format("  exits resolved    {}\n  targets sought    {}\n  timestamps        {}\n  exits apart       {}\n"
                    "  samples           {}\n  regions           {}\n",
                    counters_.resolved, counters_.targets_found, counters_.timestamps, counters_.apart,
                    counters_.samples, counters_.regions);
    const cpu::InterpreterCounters i = interpreter_.counters();
    text += fmt::format("  cold blocks       {}\n  cold lookups      {}\n  cold, not cached  {}\n", i.cache.blocks,
                        i.lookups, i.uncached);
    std::vector<u16> rows;
    for (u16 n = 0; n < interpreted_rows_.size(); ++n)
        if (interpreted_rows_[n] != 0) rows.push_back(n);
    std::sort(rows.begin(), rows.end(), [&](u16 a, u16 b) { return interpreted_rows_[a] > interpreted_rows_[b]; });
    if (rows.size() > 25) rows.resize(25);
    for (const u16 n : rows)
        text += fmt::format("    {:<14} {}\n", cpu::instruction_table()[n].name, interpreted_rows_[n]);
    return text + describe_counts();
}

} // namespace calque::jit
