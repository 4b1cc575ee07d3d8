// The second tier: where samples find a vCPU more than once, the interpreter runs on for a little and says which way it
// went, and that path becomes a region.
#include "jit/engine.h"

#include <algorithm>

namespace calque::jit {

using cpu::Cpu;

namespace {
constexpr std::size_t shortest_path = 4; // Nothing is to be won of fewer instructions.
constexpr unsigned most_turns = 4;       // Regions that a path is followed through, to where it leaves them.
} // namespace

bool Engine::take_sample_request(Cpu& cpu) {
    if (options_.sample_passes != 0) return ++passes_ % options_.sample_passes == 0;
    if (!(cpu.events.load(std::memory_order_relaxed) & cpu::event_sample)) return false;
    cpu.withdraw(cpu::event_sample);
    return true;
}

bool Engine::sample(Cpu& cpu, u64 end) {
    if (!options_.switches.regions || options_.longest_unit == 1 || !cpu.mode.mode64 || !translatable(cpu))
        return false;
    if (end != ~u64{0} && options_.counting != Counting::bounded) return false;
    ++counters_.samples;
    const UnitMode mode = unit_mode();
    mode_key_ = mode.key();
    const auto rip = code_address();
    const auto unit = rip ? find(cpu, *rip) : std::nullopt;
    bool found = false, ran = false;
    if (unit) {
        const TranslatedUnit& there = cache_.unit(*unit);
        const unsigned count = there.region ? Regions::enough : regions_.count(there.key);
        found = count < Regions::enough && options_.sample_passes == 0;
        if (!found && count != Regions::hopeless) {
            u64 shift = 0;
            const std::vector<PathStep> path = record_path(cpu, end, shift);
            ran = !path.empty();
            found = learn(path, shift, mode);
        }
    }
    if (sampler_) sampler_->found(found);
    return ran;
}

// What the processor executes next, executed.
std::vector<PathStep> Engine::record_path(Cpu& cpu, u64 end, u64& shift) {
    std::vector<PathStep> path;
    const u64 mode = mode_key_;
    mmu::Mmu::CodePage page;
    LinearAddress page_at(~u64{0});
    u32 page_id = 0;
    for (std::size_t n = 0; n < 2 * longest_path && path.size() < longest_path; ++n) {
        if (!undisturbed(cpu) || cpu.instructions >= end || (n != 0 && mode_key() != mode)) break;
        const LinearAddress linear(cpu.state.rip());
        if (linear.page() != page_at) {
            if (cpu.debug.ends_before(linear.value) || !cpu.mmu.fetch(linear, page) || !page.host) break;
            if (memory_.page_patched(page.host)) break;
            const mmu::ExecuteId id = cpu.mmu.execute_id(linear);
            if (id == 0 || (n != 0 && mmu::execute_shift(id) != shift)) break;
            shift = mmu::execute_shift(id);
            page_id = mmu::execute_number(id);
            page_at = linear.page();
            page.address = page.address.page();
            page.host -= linear.page_offset();
        }
        const u64 offset = linear.page_offset();
        // A repeated instruction is one.
        if (path.empty() || path.back().linear != linear.value - shift)
            path.push_back({linear.value - shift, page.address + offset, page.host + offset, page_id});
        interpreter_.step(cpu);
    }
    return path;
}

// Follows the path through the regions that it is in, to where it leaves them, or there are none yet. False when
// nothing new is there.
bool Engine::learn(std::span<const PathStep> path, u64 shift, const UnitMode& mode) {
    for (unsigned turn = 0; turn < most_turns && path.size() >= shortest_path; ++turn) {
        const PathStep& head = path.front();
        const UnitKey key{head.linear, head.physical.value, mode.key(), shift != 0};
        const auto unit = cache_.find(key);
        if (!unit) return false; // Cold.
        const std::vector<u64>* const known = cache_.unit(*unit).region ? regions_.path_of(*unit) : nullptr;
        if (!known) {
            if (turn != 0) {
                const unsigned count = regions_.count(key);
                if (count == Regions::hopeless) return false;
                if (count < Regions::enough && options_.sample_passes == 0) return true;
            }
            return make_region(path, shift, mode);
        }
        const auto [differs, rest] =
            std::mismatch(path.begin(), path.end(), known->begin(), known->end(),
                          [](const PathStep& step, u64 linear) { return step.linear == linear; });
        path = path.subspan(static_cast<std::size_t>(differs - path.begin()));
    }
    return false;
}

// The protocol of PhysicalMap::mark_code(), as for any unit.
bool Engine::make_region(std::span<const PathStep> path, u64 shift, const UnitMode& mode) {
    if (cache_.full()) return false;
    Region region = jit::make_region(*decoder_, path, mode, &op_memory_);
    const UnitKey key{path.front().linear, path.front().physical.value, mode.key(), shift != 0};
    const bool leads =
        std::any_of(region.unit.ops.begin(), region.unit.ops.end(), [](const ir::Op& op) { return op.follows; });
    if (region.path.size() < shortest_path || !leads) {
        regions_.give_up(key);
        return false;
    }
    for (const ir::CodePiece& piece : region.pieces)
        mark_code(piece);
    std::vector<u8> marked;
    std::vector<u8> piece_bytes;
    for (const ir::CodePiece& piece : region.pieces) {
        piece_bytes.resize(piece.bytes);
        memory_.read(piece.address, piece_bytes);
        marked.insert(marked.end(), piece_bytes.begin(), piece_bytes.end());
    }
    if (marked != region.bytes) return false;
    region.unit.around.movable = key.movable;
    const EmittedUnit* const emitted =
        emit(region.unit, mode, std::span(region.bytes).first(region.pieces.front().bytes),
             LinearAddress(key.linear + shift));
    if (!emitted) return false;
    const std::vector<ir::CodePiece> pieces = region.pieces;
    const u32 number =
        cache_.insert_region(key, std::move(region.pieces), static_cast<u32>(region.unit.ops.size()), *emitted);
    for (const UnitKey& gone : cache_.last_killed())
        forget_target(gone);
    const bool stands = std::all_of(pieces.begin(), pieces.end(), [&](const ir::CodePiece& piece) {
        return memory_.code_marked(piece.address, piece.bytes);
    });
    if (!stands) {
        cache_.kill(number);
        return false;
    }
    regions_.add(number, std::move(region.path));
    ++counters_.regions;
    return true;
}

} // namespace calque::jit
