#include "jit/cache/code_cache.h"

#include <algorithm>

namespace calque::jit {

namespace {
constexpr u32 most_relinks = 16;
}

CodeCache::CodeCache(std::size_t bytes, const ThunkTargets& targets, CodeArena::Mapping mapping)
    : arena_(bytes, mapping) {
    units_.reserve(most_units);
    thunk_base_ = arena_.append(emit_thunks(arena_.next(), targets, index_, thunks_));
    first_unit_ = arena_.next();
}

std::optional<u32> CodeCache::find(const UnitKey& key) const {
    return by_key_.find(key.hash(), [&](u32 unit) { return units_[unit].key == key; });
}

void CodeCache::enter_indexed(u32 number, u64 linear, u32 page_id) {
    const TranslatedUnit& unit = units_[number];
    if (page_id == 0 || unit.dead) return;
    index_.entry(linear) = {linear, unit.key.mode, unit.at(unit.entry_computed), page_id, number};
}

u32 CodeCache::insert(const UnitKey& key, u32 bytes, u32 instructions, const EmittedUnit& emitted,
                      const SecondPage& second) {
    const u32 number = next_unit();
    TranslatedUnit& unit = units_.emplace_back();
    unit.key = key;
    unit.bytes = bytes;
    unit.second = second;
    unit.instructions = instructions;
    unit.code_bytes = static_cast<u32>(emitted.code.size());
    unit.code = arena_.append(emitted.code);
    arena_.append_cold(emitted.cold);
    unit.entry_host = emitted.entry_host;
    unit.entry_packed = emitted.entry_packed;
    unit.entry_computed = emitted.entry_computed;
    unit.first_site = next_site();
    unit.sites = static_cast<u32>(emitted.sites.size());
    unit.first_exit = next_exit();
    unit.exits = static_cast<u32>(emitted.exits.size());
    sites_.insert(sites_.end(), emitted.sites.begin(), emitted.sites.end());
    exits_.insert(exits_.end(), emitted.exits.begin(), emitted.exits.end());
    by_key_.insert(key.hash(), number);
    by_page_[key.physical >> page_shift].push_back(number);
    if (second.bytes != 0) by_page_[second.address.page_number()].push_back(number);
    counters_.units.fetch_add(1, std::memory_order_relaxed);
    counters_.guest_bytes += bytes;
    counters_.host_bytes += unit.code_bytes;
    counters_.cold_bytes += emitted.cold.size();
    return number;
}

u32 CodeCache::insert_region(const UnitKey& key, std::vector<ir::CodePiece> pieces, u32 instructions,
                             const EmittedUnit& emitted) {
    std::vector<std::pair<u32, u32>> incoming; // Exits, and the numbers of the page that they are linked for.
    last_killed_.clear();
    if (const auto before = find(key)) {
        for (const u32 exit : units_[*before].incoming)
            if (exits_[exit].unit != *before) incoming.emplace_back(exit, exits_[exit].page_id);
        forget(*before);
    }
    const u32 number = insert(key, pieces.front().bytes, instructions, emitted);
    pieces.erase(pieces.begin());
    for (const ir::CodePiece& piece : pieces) {
        counters_.guest_bytes += piece.bytes;
        std::vector<u32>& on_page = by_page_[piece.address.page_number()];
        if (on_page.empty() || on_page.back() != number) on_page.push_back(number);
    }
    units_[number].region = true;
    more_pieces_.emplace(number, std::move(pieces));
    for (const auto& [exit, page_id] : incoming)
        link(exit, number, page_id);
    return number;
}

const TranslatedUnit* CodeCache::unit_at(const void* code) const {
    const auto* const at = static_cast<const std::byte*>(code);
    const auto after =
        std::partition_point(units_.begin(), units_.end(), [&](const TranslatedUnit& u) { return u.code <= at; });
    if (after == units_.begin()) return nullptr;
    const TranslatedUnit& unit = *std::prev(after);
    return at < unit.code + unit.code_bytes ? &unit : nullptr;
}

void CodeCache::patch_jump(const std::byte* at, const std::byte* target) {
    arena_.patch(at, static_cast<u32>(static_cast<i32>(target - (at + 4))));
}

void CodeCache::link(u32 number, u32 target_number, u32 page_id) {
    Exit& exit = exits_[number];
    TranslatedUnit& from = units_[exit.unit];
    TranslatedUnit& target = units_[target_number];
    if (from.dead || target.dead || (!exit.in_page && page_id == 0)) return;
    if (exit.linked_to == target_number + 1 && (exit.in_page || exit.page_id == page_id)) return;
    // One that leads to several places in turn stays as it is: to write to code costs more than to look it up.
    if (exit.linked_to != 0 && ++exit.relinks > most_relinks) return;
    exit.page_id = page_id;
    unlink(number);
    const std::byte* const entry = target.at(exit.flags == FlagsIn::host ? target.entry_host : target.entry_packed);
    if (!exit.in_page) arena_.patch(from.at(exit.guard_id), page_id);
    patch_jump(from.at(exit.jump), entry);
    exit.linked_to = target_number + 1;
    target.incoming.push_back(number);
    ++counters_.links;
}

void CodeCache::unlink(u32 number) {
    Exit& exit = exits_[number];
    if (exit.linked_to == 0) return;
    const TranslatedUnit& from = units_[exit.unit];
    patch_jump(from.at(exit.jump), from.at(exit.stub));
    std::erase(units_[exit.linked_to - 1].incoming, number);
    exit.linked_to = 0;
}

void CodeCache::kill(u32 number) {
    if (units_[number].dead) return;
    ++counters_.killed;
    history_.killed(units_[number].key.physical, counters_.units);
    forget(number);
}

// Nothing leads to it any more, nor does it lead anywhere but to the engine.
void CodeCache::forget(u32 number) {
    TranslatedUnit& unit = units_[number];
    unit.dead = true;
    last_killed_.push_back(unit.key);
    for (const u32 exit : std::vector<u32>(unit.incoming))
        unlink(exit);
    for (u32 n = 0; n < unit.exits; ++n)
        unlink(unit.first_exit + n);
    by_key_.remove(unit.key.hash(), number);
    if (unit.key.movable) // Who knows where it was entered from.
        arena_.patch_jump(unit.at(unit.entry_computed), thunk(thunks_.gone));
    else
        index_.forget(unit.key.linear, number);
}

bool CodeCache::made_of(u32 number, PhysicalAddress address, u64 length) const {
    const TranslatedUnit& unit = units_[number];
    const auto hit = [&](const ir::CodePiece& piece) {
        return piece.address.value < address.value + length && (piece.address + piece.bytes).value > address.value;
    };
    if (hit({PhysicalAddress(unit.key.physical), unit.bytes}) || hit({unit.second.address, unit.second.bytes}))
        return true;
    if (!unit.region) return false;
    const std::vector<ir::CodePiece>& more = more_pieces_.at(number);
    return std::any_of(more.begin(), more.end(), hit);
}

bool CodeCache::kill(PhysicalAddress address, u64 length) {
    last_killed_.clear();
    for (u64 page = address.page_number(); page <= (address + (length - 1)).page_number(); ++page) {
        const auto at = by_page_.find(page);
        if (at == by_page_.end()) continue;
        std::erase_if(at->second, [&](u32 number) {
            if (units_[number].dead) return true;
            if (!made_of(number, address, length)) return false;
            kill(number);
            return true;
        });
    }
    return !last_killed_.empty();
}

void CodeCache::flush() {
    arena_.cut(first_unit_);
    index_.clear();
    units_.clear();
    sites_.clear();
    exits_.clear();
    by_key_.clear();
    by_page_.clear();
    more_pieces_.clear();
    ++counters_.flushes;
}

} // namespace calque::jit
