// The translating engine of one vCPU: the interpreter runs what is cold, translated units what is hot.
//
//   interpreter --hot block--> translate, passes, emit --> unit --exit--> unit --exit to what is cold--> interpreter
//
// Units are entered and left with the guest's registers in CpuState; between units they stay in the host's.
#pragma once

#include "cpu/interpreter.h"
#include "jit/cache/code_cache.h"
#include "jit/context.h"
#include "jit/debug/perf_map.h"
#include "jit/debug/unit_dump.h"
#include "jit/emit/counting.h"
#include "jit/host.h"
#include "jit/opt/passes.h"
#include "jit/regions.h"
#include "jit/sampler.h"
#include "jit/translate/region.h"
#include "jit/translate/translate.h"

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace calque::jit {

struct EngineOptions {
    i32 hot_after = 16;                             // Entries of a block before it is translated.
    std::size_t code_bytes = std::size_t{47} << 20; // Reserved for code.
    unsigned longest_unit = jit::longest_unit;      // Guest instructions; 1 for tests.
    u32 mirror_interval = 8192;                     // One in so many accesses outside the mirror brings its page there.
    bool fast_pext = host::fast_pext();             // Else two instructions do what PEXT does.
    // Regions are made of what is at work when samples are taken: every so often, each time longer where that does not
    // find anything new (0); or, for tests, at each so many-th pass of the engine's loop, of any path, at once.
    unsigned sample_passes = 0;
    Switches switches;
    bool perf_map = false; // Name translated code for perf.
    Counting counting = Counting::none;
    std::optional<UnitDumpRequest> dump;
    // Changes units before they are emitted: for tests of what finds wrong translations. Empty: nothing.
    std::function<void(ir::Unit&)> spoil;
};

struct EngineCounters {
    u64 entries = 0;        // From the engine into translated code.
    u64 exits = 0;          // By an exit that was not linked (yet).
    u64 interpreted = 0;    // Instructions of translated code done by their handlers.
    u64 refills = 0;        // TLB misses that were filled.
    u64 code_stores = 0;    // Stores to pages that hold code.
    u64 slow_accesses = 0;  // Accesses that their handlers did: devices, page crossings, faults, code pages.
    u64 traps = 0;          // SIGFPE in translated code.
    u64 ranges_refused = 0; // Checks of a range of accesses that failed: the unit went on with one for each.
    u64 x87_stores = 0;     // Of the x87 state, out of the host's unit.
    u64 page_crossings = 0; // Reads across two pages of plain memory.
    u64 refused = 0;        // Blocks that could not be translated.
    u64 resolved = 0;       // Exits that were not linked (yet), or to somewhere else, whose targets were known.
    u64 targets_found = 0;  // Computed targets that no target cache had.
    u64 entered = 0;        // Units that C++ functions found for translated code to go on at.
    u64 timestamps = 0;     // RDTSC by a C++ function.
    u64 counted = 0;        // Instructions while translated code ran (Counting), their handlers' included.
    u64 samples = 0, regions = 0;
    u64 apart = 0; // Exits to code that does not move along, which are looked for each time.
};

struct EmitMemory;

class Engine final : public cpu::ExecutionEngine, mmu::CodeWriteObserver, mmu::MapObserver {
  public:
    Engine(mmu::PhysicalMap& memory, Log& log, const EngineOptions& options = {});
    ~Engine() override;
    Engine(const Engine&) = delete;
    Engine& operator=(const Engine&) = delete;

    // False where this host cannot run translated code (no AVX2 and BMI2, no user access to the GS base).
    static bool supported();

    cpu::ExitReason run(cpu::Cpu& cpu, u64 budget) override;
    void flush() override; // Any thread.

    const EngineCounters& counters() const { return counters_; }
    const CodeCacheCounters& cache_counters() const { return cache_.counters(); }
    bool counting() const { return options_.counting != Counting::none; }
    // Instructions so far while translated code runs (Counting), at least those that it had begun with. Any thread.
    u64 instructions() const { return __atomic_load_n(&context_.counts.instructions, __ATOMIC_RELAXED); }
    // The counters, and the instructions that ran by their handlers most often (--stats).
    std::string describe() const;
    // What became of the units that EngineOptions::dump asked for; empty without it.
    std::string describe_dumped() const { return dump_ ? dump_->describe(cache_) : std::string(); }
    // The unit that was entered last, as `--dump guest,ir,host` shows units, where dumps of all units are kept
    // (UnitDumpRequest::keep_all).
    std::string last_unit() const { return dump_ ? dump_->text_of(context_.counts.last_unit) : std::string(); }

    // From now on run() returns after each unit (Counting::bounded), or stretch of interpreted code, as if its budget
    // had run out.
    void set_step_units(bool on) { step_units_ = on; }
    bool ran_unit() const { return ran_unit_; } // In the last step.

    // --- Called by the thunks.
    u64 refill(u64 address);
    const void* interpret();
    u64 read_timestamp() {
        ++counters_.timestamps;
        return cpu_->read_tsc();
    }
    // Around interpret(): Cpu::instructions is what the units counted, and the other way.
    void take_count() {
        if (counting()) cpu_->instructions = context_.counts.instructions;
    }
    void give_count() { context_.counts.instructions = cpu_->instructions; }
    const void* find_target();
    const void* resolve();
    // Called by the signal handler: where to go on instead, or null when `rip` is not a place that may trap.
    const void* trap_stub(const void* rip) const;

  private:
    const void* entered(const void* code) {
        counters_.entered += code != nullptr;
        return code;
    }
    std::string describe_counts() const;
    void code_written(PhysicalAddress address, u64 length) override;
    void map_changed() override;
    void attach(cpu::Cpu& cpu);
    void serve_code_events();
    void forget_all();
    void mark_code(const ir::CodePiece& piece);
    void kill(PhysicalAddress address, u64 length);

    // With alignment checks in force no access is a plain one.
    static bool translatable(const cpu::Cpu& cpu) { return !cpu.mmu.context().alignment_check; }
    void leave_x87(); // The guest's x87 state to CpuState.
    UnitMode unit_mode();
    u64 mode_key() { return unit_mode().key(); }
    // Of Cpu::events, or 0 (EmitRequest::events).
    u64 events_address() const {
        const u64 at = reinterpret_cast<std::uintptr_t>(&cpu_->events);
        return at >> 31 == 0 ? at : 0;
    }
    void describe_segments(UnitMode& mode);
    // What stands in front of RIP in the addresses of units: the base of CS outside 64-bit code.
    u64 code_base() const { return cpu_->mode.mode64 ? 0 : cpu_->state.segment[cpu::cs].base; }
    // Of the code at RIP; nothing beyond the code segment's limit.
    std::optional<LinearAddress> code_address() const;
    // Tells the processor what translated code has left untold (JitContext::unsynced). Whatever C++ function translated
    // code calls or returns to does this before it looks at the processor.
    void sync() {
        if (context_.unsynced != 0) sync_now();
    }
    void sync_now();
    // The unit at `linear`, when it is translated.
    std::optional<u32> find(cpu::Cpu& cpu, LinearAddress linear);
    // How far from what its sites and exits say a unit runs, once it does.
    u64 shift_of(u32 unit) { return cache_.unit(unit).key.movable ? context_.shift : 0; }
    u64 target_of(const Exit& exit) { return exit.target + shift_of(exit.unit) - code_base(); } // As RIP.
    u64 rip_of(const Site& site) { return site.rip + shift_of(site.unit) - code_base(); }
    // The entry for packed flags, where the unit is to be run at `linear`.
    const void* entry_at(u32 unit, LinearAddress linear);
    i32 wait_at_rip(cpu::Cpu& cpu);
    bool make_patch_fields(const ir::Unit& unit);
    bool decode_again(const Site& site);
    static LinearAddress target_key(u64 mode_key, LinearAddress address);
    void remember_target(u64 mode_key, LinearAddress address, u32 unit);
    void forget_target(const UnitKey& key);
    std::optional<u32> translate_at_rip(cpu::Cpu& cpu, const UnitMode& mode);
    bool prepare(ir::Unit& unit, const UnitMode& mode) const;
    const EmittedUnit* emit(const ir::Unit& unit, const UnitMode& mode, std::span<const u8> bytes, LinearAddress rip,
                            mmu::ExecuteId second_page_id = 0);
    // Regions (engine_regions.cpp).
    void begin_sampling(cpu::Cpu& cpu);
    bool take_sample_request(cpu::Cpu& cpu);
    bool sample(cpu::Cpu& cpu, u64 end); // True when it has run instructions.
    std::vector<PathStep> record_path(cpu::Cpu& cpu, u64 end, u64& shift);
    bool learn(std::span<const PathStep> path, u64 shift, const UnitMode& mode);
    struct RegionJob {
        UnitKey key;
        UnitMode mode;
        std::vector<PathStep> path;
        u64 shift = 0;   // Of the path from its place.
        u64 flushes = 0; // Of the cache; after another one it is not wanted any more.
        Region region;   // Without operations where there is none.
    };
    bool begin_region(std::span<const PathStep> path, u64 shift, const UnitKey& key, const UnitMode& mode);
    void make_region(RegionJob& job, const cpu::Decoder& decoder) const; // Any thread.
    void adopt_regions();
    bool adopt(RegionJob& job);
    // No event waits, nothing has happened to code, the processor runs.
    bool undisturbed(const cpu::Cpu& cpu) const;
    // Translated code for RIP, with the context loaded for it; null when there is none.
    const void* continue_at_rip(cpu::Cpu& cpu);
    const void* continue_alone(cpu::Cpu& cpu, const Site& site);
    const void* continue_alone(cpu::Cpu& cpu, std::optional<u32> exit); // At RIP; the exit is linked there.
    void link(u32 exit, u32 unit, LinearAddress target);
    bool second_page_there(cpu::Cpu& cpu, u32 unit);
    bool guard_holds(const cpu::Cpu& cpu, LinearAddress page, mmu::ExecuteId id) const;
    // From `code` on, through everything that is translated, until something else has to happen.
    void execute(cpu::Cpu& cpu, const void* code);
    void load_context(cpu::Cpu& cpu);
    void note_table_sizes();
    u8* read_across_pages(LinearAddress address, u64 size);
    u64 find_host(u64 address); // Of an access whose check failed; 0: the handler does it.
    void note_hot(LinearAddress address);
    void mirror_hot_pages();
    void load_segments(const cpu::Cpu& cpu);
    void store_flags(cpu::Cpu& cpu, FlagsIn where, const FlagRecipe& recipe);

    mmu::PhysicalMap& memory_;
    Log& log_;
    EngineOptions options_;
    std::unique_ptr<PerfMap> perf_map_;
    std::unique_ptr<UnitDump> dump_;
    cpu::Interpreter interpreter_;
    CodeCache cache_;
    std::unique_ptr<EmitMemory> emit_memory_;
    ContextMemory context_memory_;
    JitContext& context_;
    const cpu::Decoder* decoder_ = nullptr; // The interpreter's.
    OpMemory op_memory_;                    // Of that decoder.
    cpu::Cpu* cpu_ = nullptr;
    std::array<cpu::Instruction, 2> handled_; // The instruction of a site, and the record that ends a block.
    u64 mode_key_ = 0;                        // Of the unit that runs.
    CodeSegments code_segments_;
    const void* table_ = nullptr; // GS's base on this thread.
    EngineCounters counters_;
    std::vector<u64> interpreted_rows_; // By row.
    bool step_units_ = false, ran_unit_ = false;
    // Translated code was left for a place that has none. Stays true by mistake now and then (events), for one block.
    bool nothing_here_ = false;
    std::array<LinearAddress, 64> hot_; // Pages to be mirrored.
    std::size_t hot_count_ = 0;
    Regions regions_;
    unsigned jobs_ = 0; // Regions that are being made.
    std::mutex made_mutex_;
    std::vector<RegionJob> made_regions_;                // For the vCPU's own thread to put in place,
    std::atomic<bool> made_{false};                      // some.
    std::unique_ptr<const cpu::Decoder> region_decoder_; // The sampler's thread's.
    std::unique_ptr<Sampler> sampler_;
    unsigned passes_ = 0;
    bool mirror_ = false; // The switch is on, and the processor's Mmu has mirrors.

    // What other threads leave for the vCPU's own to do.
    struct Range {
        PhysicalAddress address;
        u64 length;
    };
    static constexpr std::size_t most_ranges = 256;
    std::mutex mutex_;
    std::vector<Range> written_;
    bool flush_wanted_ = false;
    cpu::Cpu* notify_ = nullptr;
    std::atomic<bool> pending_{false};
    std::atomic<std::thread::id> owner_;
};

} // namespace calque::jit
