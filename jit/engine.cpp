#include "jit/engine.h"

#include "cpu/dispatch.h"
#include "cpu/table.h"
#include "cpu/threaded.h"
#include "jit/emit/legalize.h"
#include "jit/emit/unit_emitter.h"
#include "jit/host.h"
#include "jit/x87.h"
#include "mmu/guest_copy.h"
#include "mmu/tlb_table.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace calque::jit {

using cpu::Cpu;
using cpu::ExitReason;
using cpu::Flow;

namespace {

constexpr u32 cold_records = 1u << 20; // For the interpreter: what is hot is seldom its.
constexpr u32 mxcsr_masks = 0x1F80, x87_masks = 0x3F, x87_error_summary = 0x80;

u64 refill_thunk(JitContext* context, u64 address) { return context->engine->refill(address); }
const void* interpret_thunk(JitContext* context) {
    context->engine->take_count();
    const void* const code = context->engine->interpret();
    context->engine->give_count();
    return code;
}

u64 timestamp_thunk(JitContext* context) { return context->engine->read_timestamp(); }
const void* find_target_thunk(JitContext* context) { return context->engine->find_target(); }
const void* resolve_thunk(JitContext* context) { return context->engine->resolve(); }

// AH: SF ZF 0 AF 0 PF 1 CF; AL: OF.
PackedFlags pack(u64 rflags) {
    constexpr u64 in_ah = cpu::flag_sf | cpu::flag_zf | cpu::flag_af | cpu::flag_pf | cpu::flag_cf;
    return static_cast<PackedFlags>((((rflags & in_ah) | 2) << 8) | (rflags & cpu::flag_of ? 1 : 0));
}
u64 unpack(PackedFlags packed) {
    constexpr u64 in_ah = cpu::flag_sf | cpu::flag_zf | cpu::flag_af | cpu::flag_pf | cpu::flag_cf;
    return ((packed >> 8) & in_ah) | (packed & 1 ? cpu::flag_of : 0);
}

template <class T> cpu::LazyFlags flags_by(const FlagRecipe& recipe, const cpu::CpuState& state) {
    const T result = static_cast<T>(state.gpr[recipe.result]);
    const T operand =
        recipe.operand_is_register ? static_cast<T>(state.gpr[recipe.operand]) : static_cast<T>(i64{recipe.immediate});
    switch (recipe.kind) {
    case FlagRecipe::Kind::add: return cpu::flags_add<T>(static_cast<T>(result - operand), operand, result);
    case FlagRecipe::Kind::subtract: return cpu::flags_sub<T>(static_cast<T>(result + operand), operand, result);
    case FlagRecipe::Kind::compare: return cpu::flags_sub<T>(result, operand, static_cast<T>(result - operand));
    case FlagRecipe::Kind::logic: return cpu::flags_logic<T>(result);
    case FlagRecipe::Kind::test: return cpu::flags_logic<T>(static_cast<T>(result & operand));
    case FlagRecipe::Kind::none: break;
    }
    return {};
}

} // namespace

Engine::Engine(mmu::PhysicalMap& memory, Log& log, const EngineOptions& options)
    : memory_(memory), log_(log), options_(options), interpreter_(memory, log, cold_records),
      cache_(options.code_bytes, {refill_thunk, interpret_thunk, timestamp_thunk, find_target_thunk, resolve_thunk},
             options.perf_map ? CodeArena::Mapping::anonymous : CodeArena::Mapping::file),
      emit_memory_(std::make_unique<EmitMemory>()), context_(context_memory_.context()),
      interpreted_rows_(cpu::instruction_table().size()) {
    context_.engine = this;
    if (options_.perf_map) {
        perf_map_ = std::make_unique<PerfMap>();
        perf_map_->add(cache_.thunk_base(), cache_.thunk_bytes(), "thunks");
    }
    if (options_.dump) dump_ = std::make_unique<UnitDump>(*options_.dump);
    handled_[1].handler = cpu::end_of_block;
    interpreter_.set_hot_after(options_.hot_after);
    memory_.add_observer(static_cast<mmu::CodeWriteObserver&>(*this));
    memory_.add_observer(static_cast<mmu::MapObserver&>(*this));
    host::install_trap_handler();
}

Engine::~Engine() {
    memory_.remove_observer(static_cast<mmu::CodeWriteObserver&>(*this));
    memory_.remove_observer(static_cast<mmu::MapObserver&>(*this));
}

bool Engine::supported() { return host::can_run_translated_code(); }

// --- Code that goes

void Engine::flush() {
    interpreter_.flush();
    std::lock_guard lock(mutex_);
    flush_wanted_ = true;
    pending_ = true;
    if (notify_) notify_->request(cpu::event_code);
}

void Engine::map_changed() { flush(); }

void Engine::code_written(PhysicalAddress address, u64 length) {
    if (owner_.load(std::memory_order_relaxed) == std::this_thread::get_id()) {
        return kill(address, length);
    }
    std::lock_guard lock(mutex_);
    if (written_.size() >= most_ranges)
        flush_wanted_ = true;
    else
        written_.push_back({address, length});
    pending_ = true;
    if (notify_) notify_->request(cpu::event_code);
}

void Engine::mark_code(const ir::CodePiece& piece) {
    if (memory_.mark_code(piece.address, piece.bytes)) memory_.protect_code_page(piece.address.page(), &cpu_->mmu);
}

void Engine::forget_all() {
    cache_.flush();
    regions_.forget();
    if (cpu_) cpu_->mmu.forget_targets();
}

void Engine::kill(PhysicalAddress address, u64 length) {
    if (!cache_.kill(address, length)) return;
    for (const UnitKey& key : cache_.last_killed())
        forget_target(key);
}

void Engine::serve_code_events() {
    std::lock_guard lock(mutex_);
    pending_ = false;
    if (flush_wanted_) forget_all();
    flush_wanted_ = false;
    for (const Range& range : written_)
        kill(range.address, range.length);
    written_.clear();
}

void Engine::attach(Cpu& cpu) {
    if (cpu_ != &cpu) {
        cpu_ = &cpu;
        mirror_ = options_.switches.mirror && cpu.mmu.mirrors();
        forget_all();
        decoder_ = &interpreter_.decoder();
        begin_sampling(cpu);
        op_memory_ = OpMemory(cpu::remembered_instructions);
        context_.state = &cpu.state;
        context_.events = &cpu.events;
        cpu.mmu.set_no_return(cache_.thunk(cache_.thunks().gone));
        context_.timestamp_scale = cpu.platform.timestamp_scale();
    }
    table_ = nullptr; // Another thread, perhaps.
    host::current_engine = this;
    owner_.store(std::this_thread::get_id(), std::memory_order_relaxed);
    {
        std::lock_guard lock(mutex_);
        notify_ = &cpu;
    }
    if (pending_) serve_code_events();
    if (sampler_) sampler_->sample(cpu);
}

// --- The loop

ExitReason Engine::run(Cpu& cpu, u64 budget) {
    const cpu::Interpreter::Session session(interpreter_, cpu);
    attach(cpu);
    struct Detach {
        Engine& self;
        ~Detach() {
            if (self.sampler_) self.sampler_->stop_sampling();
            std::lock_guard lock(self.mutex_);
            self.notify_ = nullptr;
            self.owner_.store({}, std::memory_order_relaxed);
        }
    } detach{*this};
    const u64 end = budget > ~cpu.instructions ? ~u64{0} : cpu.instructions + budget;
    const u64 start = cpu.instructions;
    bool refused = false;
    ran_unit_ = false;
    for (;;) {
        const bool sampled = take_sample_request(cpu);
        if (cpu.events.load(std::memory_order_acquire) != 0 || cpu.state.activity != cpu::Activity::running)
            if (const auto reason = interpreter_.serve_events(cpu)) return *reason;
        if (pending_.load(std::memory_order_relaxed)) serve_code_events();
        if (made_.load(std::memory_order_acquire)) adopt_regions();
        if (code_segments_.full()) {
            forget_all();
            code_segments_.forget();
        }
        if (cpu.instructions >= end || (step_units_ && cpu.instructions != start)) return ExitReason::budget;
        if ((cpu.events.load(std::memory_order_relaxed) & cpu::event_slow) || log_.on(Channel::insn)) {
            interpreter_.step(cpu);
            continue;
        }
        if (sampled && sample(cpu, end)) continue;
        if (!translatable(cpu) || (end != ~u64{0} && options_.counting != Counting::bounded)
            || log_.on(Channel::exec)) {
            if (interpreter_.run_blocks(cpu, end)) interpreter_.keep_cold();
            continue;
        }
        if (refused) {              // The budget ends within the unit.
            constexpr i32 soon = 2; // The block is to be run now, and to be reported again.
            if (interpreter_.run_blocks(cpu, end)) interpreter_.keep_cold(soon);
            refused = false;
            continue;
        }
        const void* code = std::exchange(nothing_here_, false) ? nullptr : continue_at_rip(cpu);
        if (!code) {
            if (!interpreter_.run_blocks(cpu, end)) continue;
            code = continue_at_rip(cpu); // Most often it is back where code is translated.
        }
        if (!code) {
            if (const i32 wait = wait_at_rip(cpu); wait != 0) {
                interpreter_.keep_cold(wait);
                continue;
            }
            if (!translate_at_rip(cpu, unit_mode())) {
                ++counters_.refused;
                interpreter_.keep_cold();
                continue;
            }
            code = continue_at_rip(cpu);
        }
        if (!code) continue;
        const u64 room = end - cpu.instructions, before = cpu.instructions;
        context_.counts.limit = step_units_ ? before + std::min<u64>(cache_.unit_at(code)->instructions, room) : end;
        execute(cpu, code);
        refused = counting() && end != ~u64{0} && cpu.instructions == before;
        take_x87_notes(context_, cpu.state);
        leave_x87();
        ran_unit_ = true;
    }
}

void Engine::leave_x87() {
    if (context_.x87_absent) return;
    store_x87(context_, cpu_->state);
    ++counters_.x87_stores;
}

std::optional<LinearAddress> Engine::code_address() const {
    const u64 rip = cpu_->state.rip();
    if (cpu_->mode.mode64) return LinearAddress(rip);
    if (rip > cpu_->state.segment[cpu::cs].limit) return std::nullopt;
    return LinearAddress(static_cast<u32>(code_base() + rip));
}

// SDM volume 3, 5.3 and 5.5: rights count in protected mode only.
void Engine::describe_segments(UnitMode& mode) {
    mode.is.stack32 = cpu_->mode.stack32;
    const cpu::SegmentRegister& code = cpu_->state.segment[cpu::cs];
    mode.code_base = static_cast<u32>(code.base);
    mode.code_limit = code.limit;
    if (mode.decode.real) {
        constexpr u16 size_bits = 0xC000; // D/B and G, as protected mode left them.
        mode.is.paragraphs = 1;
        for (const unsigned n : {cpu::es, cpu::ds, cpu::fs, cpu::gs}) {
            const cpu::SegmentRegister& s = cpu_->state.segment[n];
            const bool usual = mode.is.ring0 ? (s.rights & ~size_bits) == 0x93 : s.rights == 0xF3 && s.limit == 0xFFFF;
            if (!usual) mode.is.paragraphs = 0;
        }
        return;
    }
    for (unsigned n = cpu::es; n <= cpu::gs; ++n) {
        const cpu::SegmentRegister& s = cpu_->state.segment[n];
        if (s.limit != ~u32{0} || !s.present() || !s.writable() || s.expand_down()) continue;
        if (s.base == 0 && n != cpu::fs && n != cpu::gs) // Those have one now and then.
            mode.is.flat_segments |= 1u << n;
        else
            mode.is.unlimited |= 1u << n;
    }
}

UnitMode Engine::unit_mode() {
    UnitMode mode;
    mode.decode = {cpu_->mode.code_size, !cpu_->mode.protected_mode || cpu_->mode.vm86, false};
    mode.is.sse_off = cpu_->mode.sse_fault != 0;
    mode.is.avx_off = cpu_->mode.avx_fault != 0;
    mode.is.ring0 = cpu_->mode.cpl == 0;
    if (!cpu_->mode.mode64) describe_segments(mode);
    mode.is.rights = static_cast<u32>(mmu::rights_mode(cpu_->mmu.context(), mmu::Privilege::current)) & 3;
    mode.is.smap = (cpu_->state.cr4 & cpu::cr4_smap) != 0;
    mode.is.tsd = (cpu_->state.cr4 & cpu::cr4_tsd) != 0;
    mode.is.float_traps = (~cpu_->state.mxcsr & mxcsr_masks) != 0;
    // While the state is in the host's unit, these are those it was fetched with.
    const cpu::X87State& x87 = cpu_->state.x87;
    mode.is.x87_traps = (~x87.control & x87_masks) != 0 || (x87.status & x87_error_summary) != 0;
    mode.is.x87_off = cpu_->mode.x87_fault != 0 || !options_.switches.x87;
    mode.is.mmx_off = cpu_->mode.mmx_fault != 0 || !options_.switches.x87;
    mode.is.wait_off = cpu_->mode.wait_fault != 0;
    mode.is.x87_transcendentals = options_.switches.x87_transcendentals;
    if (!cpu_->mode.mode64)
        mode.code_segment = code_segments_.number(mode.code_base, mode.code_limit, mode.key() & UnitMode::kind_bits);
    return mode;
}

// The target cache keeps code of several code segments.
LinearAddress Engine::target_key(u64 mode_key, LinearAddress address) {
    return LinearAddress(address.value | (mode_key >> UnitMode::segment_shift) << 32);
}

void Engine::remember_target(u64 mode_key, LinearAddress address, u32 unit) {
    cpu_->mmu.remember_target(target_key(mode_key, address), cache_.unit(unit).at(cache_.unit(unit).entry_computed));
}

void Engine::forget_target(const UnitKey& key) {
    if (!key.movable) // Else it says so itself (CodeCache::kill).
        cpu_->mmu.forget_target(target_key(key.mode, LinearAddress(key.linear)));
}

std::optional<u32> Engine::find(Cpu& cpu, LinearAddress linear) {
    const mmu::ExecuteId id = cpu.mmu.execute_id(linear);
    if (id == 0) return std::nullopt;
    if (const auto unit = cache_.find_indexed(linear.value, mode_key_, mmu::execute_number(id))) return unit;
    mmu::Mmu::CodePage page;
    if (!cpu.mmu.fetch(linear, page) || !page.host) return std::nullopt;
    const u64 shift = mmu::execute_shift(id);
    const auto unit = cache_.find({linear.value - shift, page.address.value, mode_key_, shift != 0});
    if (unit) cache_.enter_indexed(*unit, linear.value, mmu::execute_number(id));
    return unit;
}

const void* Engine::entry_at(u32 number, LinearAddress linear) {
    const TranslatedUnit& unit = cache_.unit(number);
    if (unit.key.movable) set_shift(context_, linear.value - unit.key.linear);
    return unit.at(unit.entry_packed);
}

// How long code that is rewritten again and again is still to be interpreted.
i32 Engine::wait_at_rip(Cpu& cpu) {
    const auto linear = code_address();
    mmu::Mmu::CodePage page;
    if (!linear || !cpu.mmu.fetch(*linear, page) || !page.host) return 0;
    return cache_.wait(page.address, options_.hot_after);
}

// The bytes that the unit reads each time it runs become patch fields. False when there are none to be had.
bool Engine::make_patch_fields(const ir::Unit& unit) {
    for (const ir::Op& op : unit.ops)
        if (op.literal.host && !op.literal.field && !memory_.make_patch_field({op.literal.host, op.literal.size}))
            return false;
    return true;
}

// What is said of the unit before it is emitted; false when the verifier finds it wrong. Any thread.
bool Engine::prepare(ir::Unit& unit, const UnitMode& mode) const {
    legalize(unit);
    if (options_.spoil) options_.spoil(unit);
    Switches switches = options_.switches;
    switches.check_elimination &= !mode.is.alone;
    const std::string wrong = run_passes(unit, switches, options_.longest_unit);
    if (!wrong.empty()) log_.write(Channel::jit, fmt::format("unit {:x} is wrong: {}", unit.linear, wrong));
    return wrong.empty();
}

// The host's code for the unit, which runs at `rip` now, and which `bytes` are of; null when there is none. It has to
// go into the cache next.
const EmittedUnit* Engine::emit(const ir::Unit& unit, const UnitMode& mode, std::span<const u8> bytes,
                                LinearAddress rip, mmu::ExecuteId second_page_id) {
    const EmitRequest request{unit,
                              cache_.next(),
                              cache_.next_cold(),
                              cache_.thunk_base(),
                              cache_.thunks(),
                              cache_.next_unit(),
                              cache_.next_site(),
                              cache_.next_exit(),
                              mode,
                              second_page_id,
                              options_.counting,
                              mirror_,
                              options_.fast_pext,
                              options_.switches.return_stack,
                              events_address()};
    const EmittedUnit& emitted = UnitEmitter(request, *emit_memory_).run();
    if (!emitted.complete) {
        log_.write(Channel::jit, fmt::format("unit {:x} could not be encoded", rip.value));
        return nullptr;
    }
    const bool dumped = dump_ && dump_->wants(unit, rip.value - unit.linear);
    if (log_.on(Channel::jit) || dumped) {
        const MadeUnit made{unit, bytes, mode, emitted, cache_.next(), cache_.next_cold()};
        if (log_.on(Channel::jit)) log_.write(Channel::jit, jit::describe(made, {}));
        if (dumped) dump_->add(made, cache_, log_);
    }
    if (perf_map_)
        perf_map_->add_unit({cache_.next(), emitted.code.size()}, {cache_.next_cold(), emitted.cold.size()}, rip.value,
                            mode.rights() != mmu::RightsMode::user);
    return &emitted;
}

std::optional<u32> Engine::translate_at_rip(Cpu& cpu, const UnitMode& mode) {
    const auto linear = code_address();
    mmu::Mmu::CodePage page;
    if (!translatable(cpu) || !linear || mode.code_segment == CodeSegments::none) return std::nullopt;
    if (!cpu.mmu.fetch(*linear, page) || !page.host) return std::nullopt;
    const LinearAddress rip = *linear;
    if (cpu.debug.ends_before(rip.value)) return std::nullopt;
    const u64 shift = mmu::execute_shift(cpu.mmu.execute_id(rip));
    const UnitKey key{rip.value - shift, page.address.value, mode.key(), shift != 0};
    if (const auto known = cache_.find(key)) return known;
    if (cache_.full()) forget_all();
    std::array<u8, longest_unit * cpu::longest_instruction> bytes;
    const u64 rest_of_page = page_size - rip.page_offset();
    const u64 rest_of_segment = cpu.mode.mode64 ? ~u64{0} : mode.code_limit - cpu.state.rip() + 1;
    const std::span copy(bytes.data(), std::min<u64>({bytes.size(), cpu.debug.room(rip.value), rest_of_segment}));
    const u64 at = code_base() + cpu.state.rip() - shift;
    PatchedCode patched{memory_.page_patched(page.host) ? &memory_ : nullptr, page.host,
                        !options_.switches.patch_fields};
    mmu::Mmu::CodePage second_page;
    for (;;) {
        SecondPage second;
        // The protocol of PhysicalMap::mark_code(): mark, then read, then see whether the marks still stand. The extent
        // to mark is known only from a first look.
        mmu::copy_from_guest(copy.data(), page.host, copy.size());
        const u64 fields = memory_.patch_fields_made();
        ir::Unit unit = translate(*decoder_, copy, at, page.address, mode, options_.longest_unit, patched, &op_memory_);
        if (patched.memory) patched.only_fields |= !make_patch_fields(unit);
        if (unit.ops.empty()) { // The instruction goes on in the next page: it is a unit alone.
            const LinearAddress next = rip.page() + page_size;
            const bool crosses = copy.size() == rest_of_page && copy.size() < cpu::longest_instruction;
            if (!crosses || (!cpu.mode.mode64 && next.value >> 32 != 0)) return std::nullopt;
            if (!cpu.mmu.fetch(next, second_page) || !second_page.host) return std::nullopt;
            const std::span both(bytes.data(), std::min<u64>(cpu::longest_instruction, rest_of_segment));
            mmu::copy_from_guest(bytes.data() + copy.size(), second_page.host, both.size() - copy.size());
            unit = translate(*decoder_, both, at, page.address, mode, 1);
            if (unit.ops.empty() || unit.bytes <= copy.size()) return std::nullopt;
            const mmu::ExecuteId id = cpu.mmu.execute_id(next);
            if (id == 0 || !guard_holds(cpu, next, id)) return std::nullopt;
            second = {second_page.address, unit.bytes - static_cast<u32>(copy.size()), id - mmu::execute_id(0, shift)};
            if (memory_.touches_patch_field(page.host, copy.size())
                || memory_.touches_patch_field(second_page.host, second.bytes))
                return std::nullopt;
        }
        const u32 here = unit.bytes - second.bytes;
        mark_code({page.address, here});
        if (second.bytes != 0) mark_code({second.address, second.bytes});
        std::array<u8, longest_unit * cpu::longest_instruction> marked;
        mmu::copy_from_guest(marked.data(), page.host, here);
        if (second.bytes != 0) mmu::copy_from_guest(marked.data() + here, second_page.host, second.bytes);
        if (!std::equal(marked.begin(), marked.begin() + unit.bytes, bytes.begin())
            || fields != memory_.patch_fields_made()) {
            if (memory_.page_patched(page.host)) patched.memory = &memory_;
            continue;
        }
        unit.around.movable = key.movable;
        if (!prepare(unit, mode)) return std::nullopt;
        const EmittedUnit* const emitted = emit(unit, mode, std::span(bytes).first(unit.bytes), rip, second.id);
        if (!emitted) return std::nullopt;
        const u32 number = cache_.insert(key, here, static_cast<u32>(unit.ops.size()), *emitted, second);
        op_memory_.give_back(std::move(unit.ops));
        if (!memory_.code_marked(page.address, here)
            || (second.bytes != 0 && !memory_.code_marked(second.address, second.bytes))) {
            cache_.kill(number);
            continue;
        }
        if (!mode.is.alone) remember_target(mode.key(), rip, number);
        return number;
    }
}

void Engine::load_context(Cpu& cpu) {
    context_.flags = pack(cpu::arithmetic_bits(cpu.state.lazy));
    context_.fs_base = cpu.state.segment[cpu::Segment::fs].base;
    context_.gs_base = cpu.state.segment[cpu::Segment::gs].base;
    context_.direction = cpu.state.rflags & cpu::flag_df ? -1 : 1;
    if (!cpu.mode.mode64) load_segments(cpu);
    const mmu::TlbTable* const first = &cpu.mmu.first_table();
    if (first != table_) {
        table_ = first;
        context_.mirror = reinterpret_cast<const std::byte*>(first) + mmu::tlb_mirror_distance;
        host::set_gs_base(context_.mirror);
    }
    note_table_sizes();
    mmu::TlbTable* const table = cpu.mmu.view().table;
    u64* const code_key = reinterpret_cast<u64*>(reinterpret_cast<std::byte*>(table) + mmu::tlb_code_key_offset);
    // Other segments have numbers that tell the kind.
    const u64 kind = mode_key_ & UnitMode::kind_bits;
    if (mode_key_ >> UnitMode::segment_shift == CodeSegments::flat && *code_key != kind) {
        table->forget_targets();
        *code_key = kind;
    }
}

void Engine::load_segments(const Cpu& cpu) {
    const bool checked = cpu.mode.protected_mode && !cpu.mode.vm86;
    for (unsigned n = 0; n < std::size(context_.segments); ++n) {
        const cpu::SegmentRegister& s = cpu.state.segment[n];
        const u64 end = (checked && !s.present()) || s.expand_down() ? 0 : u64{s.limit} + 1;
        context_.segments[n] = {s.base, checked && !s.readable() ? 0 : end, checked && !s.writable() ? 0 : end};
    }
}

void Engine::store_flags(Cpu& cpu, FlagsIn where, const FlagRecipe& recipe) {
    if (where == FlagsIn::recipe)
        cpu.state.lazy = recipe.size == 8 ? flags_by<u64>(recipe, cpu.state) : flags_by<u32>(recipe, cpu.state);
    else
        cpu.state.lazy = cpu::lazy_from_bits(unpack(context_.flags));
}

// An interrupt that waits for IF disturbs nobody: whatever sets IF comes by here again, for the event stands.
bool Engine::undisturbed(const Cpu& cpu) const {
    const u32 events = cpu.events.load(std::memory_order_relaxed);
    constexpr u32 interrupt = cpu::event_interrupt | cpu::event_interrupt_aside;
    const bool none = events == 0 || ((events & ~interrupt) == 0 && !(cpu.state.rflags & cpu::flag_if));
    return none && !pending_.load(std::memory_order_relaxed) && cpu.state.activity == cpu::Activity::running;
}

const void* Engine::continue_at_rip(Cpu& cpu) {
    if (!translatable(cpu)) return nullptr;
    mode_key_ = mode_key();
    load_context(cpu);
    const auto rip = code_address();
    if (!rip) return nullptr;
    const auto* const targets = reinterpret_cast<const mmu::TlbTarget*>(
        reinterpret_cast<const std::byte*>(cpu.mmu.view().table) + mmu::tlb_targets_offset);
    context_.leave_rip = rip->value; // A computed entry asks for it.
    const LinearAddress key = target_key(mode_key_, *rip);
    const mmu::TlbTarget& target = targets[mmu::tlb_target_slot(key.value)];
    if (target.linear == key.value) return target.code;
    const auto unit = find(cpu, *rip);
    if (!unit) return nullptr;
    remember_target(mode_key_, *rip, *unit);
    return entry_at(*unit, *rip);
}

void Engine::execute(Cpu& cpu, const void* code) {
    ++counters_.entries;
    ++counters_.entered;
    mirror_hot_pages();
    const u64 before = context_.counts.instructions = cpu.instructions;
    context_.exit_site = 0;
    using Enter = void (*)(JitContext*, const void*);
    reinterpret_cast<Enter>(reinterpret_cast<std::uintptr_t>(cache_.thunk(cache_.thunks().enter)))(&context_, code);
    take_count();
    counters_.counted += cpu.instructions - before;
    sync();
    if (!(context_.exit_site & exit_bit)) return; // By a handler, which left all in order.
    if (context_.exit_site != computed_exit) cpu.state.rip() = target_of(cache_.exit(context_.exit_site & ~exit_bit));
    store_flags(cpu, FlagsIn::packed, {});
    ++counters_.exits;
}

const void* Engine::trap_stub(const void* rip) const {
    const TranslatedUnit* const unit = cache_.unit_at(rip);
    if (!unit) return nullptr;
    const u32 offset = static_cast<u32>(static_cast<const std::byte*>(rip) - unit->code);
    for (u32 n = unit->first_site; n < unit->first_site + unit->sites; ++n) {
        const Site& site = const_cast<CodeCache&>(cache_).site(n);
        if (site.trap == offset && site.trap_stub != 0) return unit->at(site.trap_stub);
    }
    return nullptr;
}

} // namespace calque::jit
