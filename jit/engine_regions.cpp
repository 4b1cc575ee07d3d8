// The second tier: where samples find a vCPU more than once, the interpreter runs on for a little and says which way it
// went, and that path becomes a region.
#include "jit/engine.h"
#include "mmu/guest_copy.h"

#include <algorithm>

namespace calque::jit {

using cpu::Cpu;

namespace {
constexpr std::size_t shortest_path = 4; // Nothing is to be won of fewer instructions.
constexpr unsigned most_jobs = 16;       // Regions that are being made.
constexpr unsigned most_turns = 4;       // Regions that a path is followed through, to where it leaves them.
} // namespace

void Engine::begin_sampling(Cpu& cpu) {
    if (options_.sample_passes != 0 || !options_.switches.regions) return;
    sampler_.reset(); // First: it has tasks with the decoder.
    made_regions_.clear();
    jobs_ = 0;
    region_decoder_ = std::make_unique<cpu::Decoder>(cpu.model);
    sampler_ = std::make_unique<Sampler>();
}

bool Engine::take_sample_request(Cpu& cpu) {
    if (options_.sample_passes != 0) return ++passes_ % options_.sample_passes == 0;
    if (!(cpu.events.load(std::memory_order_relaxed) & cpu::event_sample)) return false;
    cpu.withdraw(cpu::event_sample);
    return true;
}

bool Engine::sample(Cpu& cpu, u64 end) {
    if (!options_.switches.regions || options_.longest_unit == 1 || !cpu.mode.mode64 || !translatable(cpu))
        return false;
    if (log_.on(Channel::exec) || cpu.debug.step || cpu.debug.offsets.any()) return false; // Units end at breakpoints.
    if (end != ~u64{0} && options_.counting != Counting::bounded) return false;
    ++counters_.samples;
    const UnitMode mode = unit_mode();
    mode_key_ = mode.key();
    const auto rip = code_address();
    const auto unit = rip ? find(cpu, *rip) : std::nullopt;
    bool found = false, ran = false;
    if (unit) {
        const TranslatedUnit& there = cache_.unit(*unit);
        if (there.region || options_.sample_passes != 0 || regions_.wants_path(there.key)) {
            u64 shift = 0;
            const std::vector<PathStep> path = record_path(cpu, end, shift);
            ran = !path.empty();
            found = learn(path, shift, mode);
        } else {
            found = !regions_.hopeless(there.key);
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
            if (!cpu.mmu.fetch(linear, page) || !page.host) break;
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
        if (path.empty() || path.back().linear != linear.value - shift) { // A repeated instruction is one.
            PathStep& step = path.emplace_back();
            step.linear = linear.value - shift;
            step.physical = page.address + offset;
            step.page_id = page_id;
            step.count = static_cast<u8>(std::min<u64>(step.bytes.size(), page_size - offset));
            mmu::copy_from_guest(step.bytes.data(), page.host + offset, step.count);
        }
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
        const std::vector<u64>* const known = regions_.path_of(*unit);
        if (!known) {
            if (options_.sample_passes == 0) path = regions_.add_path(key, path);
            return path.empty() ? !regions_.hopeless(key) : begin_region(path, shift, key, mode);
        }
        const auto [differs, rest] =
            std::mismatch(path.begin(), path.end(), known->begin(), known->end(),
                          [](const PathStep& step, u64 linear) { return step.linear == linear; });
        path = path.subspan(static_cast<std::size_t>(differs - path.begin()));
    }
    return false;
}

// On the sampler's thread where there is one.
bool Engine::begin_region(std::span<const PathStep> path, u64 shift, const UnitKey& key, const UnitMode& mode) {
    RegionJob job{key, mode, {path.begin(), path.end()}, shift, cache_.counters().flushes, {}};
    if (!sampler_) {
        make_region(job, *decoder_);
        return adopt(job);
    }
    if (jobs_ == most_jobs) return true;
    ++jobs_;
    regions_.give_up(key); // There is one soon, or never.
    sampler_->post([this, job = std::move(job)]() mutable {
        make_region(job, *region_decoder_);
        std::lock_guard lock(made_mutex_);
        made_regions_.push_back(std::move(job));
        made_.store(true, std::memory_order_release);
    });
    return true;
}

void Engine::make_region(RegionJob& job, const cpu::Decoder& decoder) const {
    job.region = jit::make_region(decoder, job.path, job.mode);
    ir::Unit& unit = job.region.unit;
    const auto any = [&](auto of) { return std::any_of(unit.ops.begin(), unit.ops.end(), of); };
    const bool follows = any([](const ir::Op& op) { return op.follows; });
    // Others were measured to be worth nothing (docs/measurements.md).
    const bool loops = options_.sample_passes != 0 || any([&](const ir::Op& op) { return ir::leads_back(op, unit); });
    unit.around.movable = job.key.movable;
    if (job.region.path.size() < shortest_path || !follows || !loops || !prepare(unit, job.mode)) job.region = {};
}

void Engine::adopt_regions() {
    std::vector<RegionJob> jobs;
    {
        std::lock_guard lock(made_mutex_);
        jobs.swap(made_regions_);
        made_.store(false, std::memory_order_relaxed);
    }
    jobs_ -= static_cast<unsigned>(jobs.size());
    for (RegionJob& job : jobs)
        if (job.flushes == cache_.counters().flushes) adopt(job);
}

// By the protocol of PhysicalMap::mark_code(), as for any unit.
bool Engine::adopt(RegionJob& job) {
    const Region& region = job.region;
    if (region.path.empty() || cache_.full()) {
        regions_.give_up(job.key);
        return false;
    }
    for (const ir::CodePiece& piece : region.pieces)
        mark_code(piece);
    std::vector<u8> marked(region.bytes.size());
    std::span<u8> rest(marked);
    for (const ir::CodePiece& piece : region.pieces) {
        memory_.read(piece.address, rest.first(piece.bytes));
        rest = rest.subspan(piece.bytes);
    }
    if (marked != region.bytes) return false;
    const EmittedUnit* const emitted =
        emit(region.unit, job.mode, region.bytes, LinearAddress(job.key.linear + job.shift));
    if (!emitted) return false;
    const u32 number = cache_.insert_region(job.key, region.pieces, static_cast<u32>(region.unit.ops.size()), *emitted);
    for (const UnitKey& gone : cache_.last_killed())
        forget_target(gone);
    const bool stands = std::all_of(region.pieces.begin(), region.pieces.end(), [&](const ir::CodePiece& piece) {
        return memory_.code_marked(piece.address, piece.bytes);
    });
    if (!stands) {
        cache_.kill(number);
        return false;
    }
    regions_.add(number, std::move(job.region.path));
    ++counters_.regions;
    return true;
}

} // namespace calque::jit
