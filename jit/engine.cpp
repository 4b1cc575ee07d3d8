#include "jit/engine.h"

#include "cpu/dispatch.h"
#include "cpu/table.h"
#include "cpu/threaded.h"
#include "jit/debug/disassembler.h"
#include "jit/emit/legalize.h"
#include "jit/emit/unit_emitter.h"
#include "jit/host.h"
#include "jit/x87.h"
#include "mmu/guest_copy.h"
#include "mmu/tlb_table.h"

#include <algorithm>
#include <cstring>

namespace calque::jit {

using cpu::Cpu;
using cpu::ExitReason;
using cpu::Flow;

namespace {

// With alignment checks in force no access is a plain one.
bool translatable(const Cpu& cpu) { return !cpu.mmu.context().alignment_check; }

constexpr u32 cold_records = 1u << 20;                // For the interpreter: what is hot is seldom its.
constexpr std::size_t remembered_instructions = 4096; // By the decoder.
constexpr u32 mxcsr_masks = 0x1F80, x87_masks = 0x3F, x87_error_summary = 0x80;

u64 refill_thunk(JitContext* context, u64 address) { return context->engine->refill(address); }
const void* interpret_thunk(JitContext* context) { return context->engine->interpret(); }

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
      cache_(options.code_bytes, {refill_thunk, interpret_thunk, timestamp_thunk, find_target_thunk, resolve_thunk}),
      context_(context_memory_.context()), interpreted_rows_(cpu::instruction_table().size()) {
    context_.engine = this;
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

void Engine::forget_all() {
    cache_.flush();
    if (cpu_) cpu_->mmu.forget_targets();
}

void Engine::kill(PhysicalAddress address, u64 length) {
    if (!cache_.kill(address, length)) return;
    for (const UnitKey& key : cache_.last_killed())
        cpu_->mmu.forget_target(target_key(key.mode, LinearAddress(key.linear)));
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
        forget_all();
        decoder_ = std::make_unique<cpu::Decoder>(cpu.model, remembered_instructions);
        context_.state = &cpu.state;
        context_.events = &cpu.events;
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
}

// --- The loop

ExitReason Engine::run(Cpu& cpu, u64 budget) {
    const cpu::Interpreter::Session session(interpreter_, cpu);
    attach(cpu);
    struct Detach {
        Engine& self;
        ~Detach() {
            std::lock_guard lock(self.mutex_);
            self.notify_ = nullptr;
            self.owner_.store({}, std::memory_order_relaxed);
        }
    } detach{*this};
    const u64 end = budget > ~cpu.instructions ? ~u64{0} : cpu.instructions + budget;
    for (;;) {
        if (cpu.events.load(std::memory_order_acquire) != 0 || cpu.state.activity != cpu::Activity::running)
            if (const auto reason = interpreter_.serve_events(cpu)) return *reason;
        if (pending_.load(std::memory_order_relaxed)) serve_code_events();
        if (code_segments_.full()) {
            forget_all();
            code_segments_.forget();
        }
        if (cpu.instructions >= end) return ExitReason::budget;
        if ((cpu.events.load(std::memory_order_relaxed) & cpu::event_slow) || log_.on(Channel::insn)) {
            interpreter_.step(cpu);
            continue;
        }
        if (!translatable(cpu) || end != ~u64{0} || log_.on(Channel::exec)) {
            if (interpreter_.run_blocks(cpu, end)) interpreter_.keep_cold();
            continue;
        }
        const void* code = continue_at_rip(cpu);
        if (!code) {
            if (!interpreter_.run_blocks(cpu, end)) continue;
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
        execute(cpu, code);
        take_x87_notes(context_, cpu.state);
        leave_x87();
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
    mode.code_segment = code_segments_.number(mode.code_base, mode.code_limit);
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
    return mode;
}

// The target cache keeps code of several code segments.
LinearAddress Engine::target_key(u64 mode_key, LinearAddress address) {
    return LinearAddress(address.value | (mode_key >> UnitMode::segment_shift) << 32);
}

void Engine::remember_target(u64 mode_key, LinearAddress address, u32 unit) {
    cpu_->mmu.remember_target(target_key(mode_key, address), cache_.unit(unit).at(cache_.unit(unit).entry_packed));
}

std::optional<u32> Engine::find(Cpu& cpu, LinearAddress linear) {
    const u32 page_id = cpu.mmu.execute_id(linear);
    if (page_id == 0) return std::nullopt;
    if (const auto unit = cache_.find_indexed(linear.value, mode_key_, page_id)) return unit;
    mmu::Mmu::CodePage page;
    if (!cpu.mmu.fetch(linear, page) || !page.host) return std::nullopt;
    const auto unit = cache_.find({linear.value, page.address.value, mode_key_});
    if (unit) cache_.enter_indexed(*unit, cpu.mmu.execute_id(linear));
    return unit;
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

std::optional<u32> Engine::translate_at_rip(Cpu& cpu, const UnitMode& mode) {
    const auto linear = code_address();
    mmu::Mmu::CodePage page;
    if (!translatable(cpu) || !linear || mode.code_segment == CodeSegments::none) return std::nullopt;
    if (!cpu.mmu.fetch(*linear, page) || !page.host) return std::nullopt;
    const LinearAddress rip = *linear;
    if (const auto known = cache_.find({rip.value, page.address.value, mode.key()})) return known;
    if (cache_.full()) forget_all();
    std::array<u8, longest_unit * cpu::longest_instruction> bytes;
    const u64 rest_of_page = page_size - rip.page_offset();
    const u64 rest_of_segment = cpu.mode.mode64 ? ~u64{0} : mode.code_limit - cpu.state.rip() + 1;
    const std::span copy(bytes.data(), std::min<u64>({bytes.size(), rest_of_page, rest_of_segment}));
    const u64 at = code_base() + cpu.state.rip();
    PatchedCode patched{memory_.page_patched(page.host) ? &memory_ : nullptr, page.host,
                        !options_.switches.patch_fields};
    mmu::Mmu::CodePage second_page;
    for (;;) {
        SecondPage second;
        // The protocol of PhysicalMap::mark_code(): mark, then read, then see whether the marks still stand. The extent
        // to mark is known only from a first look.
        mmu::copy_from_guest(copy.data(), page.host, copy.size());
        const u64 fields = memory_.patch_fields_made();
        ir::Unit unit = translate(*decoder_, copy, at, page.address, mode, options_.longest_unit, patched);
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
            second = {second_page.address, unit.bytes - static_cast<u32>(copy.size()), cpu.mmu.execute_id(next)};
            if (second.id == 0 || !guard_holds(cpu, next, second.id)) return std::nullopt;
            if (memory_.touches_patch_field(page.host, copy.size())
                || memory_.touches_patch_field(second_page.host, second.bytes))
                return std::nullopt;
        }
        const u32 here = unit.bytes - second.bytes;
        const auto mark = [&](PhysicalAddress address, u32 length) {
            if (memory_.mark_code(address, length)) memory_.protect_code_page(address.page(), &cpu.mmu);
        };
        mark(page.address, here);
        if (second.bytes != 0) mark(second.address, second.bytes);
        std::array<u8, longest_unit * cpu::longest_instruction> marked;
        mmu::copy_from_guest(marked.data(), page.host, here);
        if (second.bytes != 0) mmu::copy_from_guest(marked.data() + here, second_page.host, second.bytes);
        if (!std::equal(marked.begin(), marked.begin() + unit.bytes, bytes.begin())
            || fields != memory_.patch_fields_made()) {
            if (memory_.page_patched(page.host)) patched.memory = &memory_;
            continue;
        }
        legalize(unit);
        Switches switches = options_.switches;
        switches.check_elimination &= !mode.is.alone;
        if (const std::string wrong = run_passes(unit, switches, options_.longest_unit); !wrong.empty()) {
            log_.write(Channel::jit, fmt::format("unit {:x} is wrong: {}", rip.value, wrong));
            return std::nullopt;
        }
        const EmitRequest request{unit,
                                  cache_.next(),
                                  cache_.next_cold(),
                                  cache_.thunk_base(),
                                  cache_.thunks(),
                                  cache_.next_unit(),
                                  cache_.next_site(),
                                  cache_.next_exit(),
                                  mode,
                                  second.id};
        EmittedUnit emitted = UnitEmitter(request).run();
        if (log_.on(Channel::jit)) trace_unit(unit, emitted);
        const UnitKey key{rip.value, page.address.value, mode.key()};
        const u32 number = cache_.insert(key, here, static_cast<u32>(unit.ops.size()), std::move(emitted), second);
        if (!memory_.code_marked(page.address, here)
            || (second.bytes != 0 && !memory_.code_marked(second.address, second.bytes))) {
            cache_.kill(number);
            continue;
        }
        if (!mode.is.alone) remember_target(mode.key(), rip, number);
        return number;
    }
}

// --trace jit: a unit as guest code, in the intermediate form, and as host code.
void Engine::trace_unit(const ir::Unit& unit, const EmittedUnit& emitted) {
    std::string text = ir::print(unit);
    const auto add = [&](std::span<const u8> code, const std::byte* at) {
        for (const CodeLine& line :
             disassemble(code, cpu::CodeSize::bits64, reinterpret_cast<std::uintptr_t>(at), code.size()))
            text += line.line() + '\n';
    };
    add(emitted.code, cache_.next());
    add(emitted.cold, cache_.next_cold());
    log_.write(Channel::jit, text);
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
        host::set_gs_base(reinterpret_cast<const std::byte*>(first) + mmu::tlb_entries_offset);
    }
    note_table_sizes();
    mmu::TlbTable* const table = cpu.mmu.view().table;
    u64* const code_key = reinterpret_cast<u64*>(reinterpret_cast<std::byte*>(table) + mmu::tlb_code_key_offset);
    const u64 kind = mode_key_ & ((u64{1} << UnitMode::segment_shift) - 1);
    if (*code_key != kind) {
        cpu.mmu.forget_targets();
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

bool Engine::undisturbed(const Cpu& cpu) const {
    return cpu.events.load(std::memory_order_relaxed) == 0 && !pending_.load(std::memory_order_relaxed)
           && cpu.state.activity == cpu::Activity::running;
}

const void* Engine::continue_at_rip(Cpu& cpu) {
    if (!translatable(cpu)) return nullptr;
    mode_key_ = mode_key();
    load_context(cpu);
    const auto rip = code_address();
    if (!rip) return nullptr;
    const auto* const targets = reinterpret_cast<const mmu::TlbTarget*>(
        reinterpret_cast<const std::byte*>(cpu.mmu.view().table) + mmu::tlb_targets_offset);
    const LinearAddress key = target_key(mode_key_, *rip);
    const mmu::TlbTarget& target = targets[mmu::tlb_target_slot(key.value)];
    if (target.linear == key.value) return target.code;
    const auto unit = find(cpu, *rip);
    if (!unit) return nullptr;
    remember_target(mode_key_, *rip, *unit);
    return cache_.unit(*unit).at(cache_.unit(*unit).entry_packed);
}

void Engine::execute(Cpu& cpu, const void* code) {
    ++counters_.entries;
    context_.exit_site = 0;
    using Enter = void (*)(JitContext*, const void*);
    reinterpret_cast<Enter>(reinterpret_cast<std::uintptr_t>(cache_.thunk(cache_.thunks().enter)))(&context_, code);
    sync();
    if (!(context_.exit_site & exit_bit)) return; // By a handler, which left all in order.
    if (context_.exit_site != computed_exit)
        cpu.state.rip() = cache_.exit(context_.exit_site & ~exit_bit).target - code_base();
    store_flags(cpu, FlagsIn::packed, {});
    ++counters_.exits;
}

// --- What translated code calls

void Engine::sync_now() {
    const u8 untold = std::exchange(context_.unsynced, u8{0});
    if (untold & sync_system_call) cpu_->finish_system_call();
    if (untold & sync_system_return) cpu_->finish_system_return();
    if (untold & sync_access) cpu_->finish_access_change();
    mode_key_ = mode_key();
}

u64 Engine::refill(u64 address) {
    sync();
    const u64 host = find_host(address);
    note_table_sizes();
    return host;
}

// After anything that may have put a page into the table.
void Engine::note_table_sizes() {
    for (unsigned mode = 0; mode < mmu::rights_modes; ++mode)
        context_.index_masks[mode] = static_cast<u32>(cpu_->mmu.table(mode).index_mask());
}

// What lies on two pages of plain memory, put together; null when it does not, or cannot be read.
u8* Engine::read_across_pages(LinearAddress address, u64 size) {
    const u64 first = page_size - address.page_offset();
    if (first >= size) return nullptr;
    // Over the end of 4 GiB: beyond any limit, or around to 0.
    if (!cpu_->mode.mode64 && (address + size).value >> 32 != 0) return nullptr;
    const u8* const low = cpu_->mmu.refill(address, first, mmu::Access::read);
    const u8* const high = low ? cpu_->mmu.refill(address + first, size - first, mmu::Access::read) : nullptr;
    if (!high) return nullptr;
    u8* const together = reinterpret_cast<u8*>(context_.across.data());
    mmu::copy_from_guest(together, low, first);
    mmu::copy_from_guest(together + first, high, size - first);
    ++counters_.page_crossings;
    return together;
}

u64 Engine::find_host(u64 address) {
    const Site& site = cache_.site(context_.exit_site);
    const bool misaligned = site.aligned && (address & (site.access_bytes - 1)) != 0;
    if (!misaligned) {
        const auto access = site.write ? mmu::Access::write : mmu::Access::read;
        u8* host = cpu_->mmu.refill(LinearAddress(address), site.access_bytes, access);
        // Beside code on its page only these bytes may be written.
        const u64 tag = cpu_->mmu.view().entry(address).write_tag;
        if (site.piece && site.write && !mmu::tlb_hit(tag, address, site.access_bytes)) host = nullptr;
        if (host) {
            ++counters_.refills;
            return reinterpret_cast<std::uintptr_t>(host);
        }
        if (!site.write && !site.window && !site.piece && !cpu_->mmu.checks_alignment()) {
            if (u8* const host = read_across_pages(LinearAddress(address), site.access_bytes))
                return reinterpret_cast<std::uintptr_t>(host);
        }
        // A page with code (not for a range, whose address lasts too long): the store may go ahead once it is told,
        // unless it hits the unit that makes it.
        if (site.write && !site.window && !site.piece && cpu_->mmu.fault().kind == mmu::Fault::Kind::none) {
            u8* const host = cpu_->mmu.host_for_write(LinearAddress(address), site.access_bytes);
            if (host && !cache_.unit(site.unit).dead) {
                ++counters_.code_stores;
                return reinterpret_cast<std::uintptr_t>(host);
            }
        }
    }
    ++counters_.slow_accesses;
    return 0;
}

const void* Engine::find_target() {
    sync();
    ++counters_.targets_found;
    const u64 linear = context_.leave_rip;
    const auto unit = find(*cpu_, LinearAddress(linear));
    if (!unit) return cache_.thunk(cache_.thunks().leave_computed);
    const void* const code = cache_.unit(*unit).at(cache_.unit(*unit).entry_packed);
    cpu_->mmu.remember_target(LinearAddress(linear), code);
    return code;
}

const void* Engine::resolve() {
    sync();
    Cpu& cpu = *cpu_;
    const u32 number = context_.exit_site & ~exit_bit;
    const Exit& exit = cache_.exit(number);
    // Whatever waits, these two go on: without a step forward they would end here again.
    if (exit.alone) {
        cpu.state.rip() = exit.target - code_base();
        store_flags(cpu, FlagsIn::packed, {});
        return continue_alone(cpu, number);
    }
    if (exit.second_page) {
        if (!second_page_there(cpu, exit.unit)) return nullptr;
        return cache_.unit(exit.unit).at(cache_.unit(exit.unit).entry_packed);
    }
    if (!undisturbed(cpu)) return nullptr;
    cpu.state.rip() = exit.target - code_base();
    const auto target = code_address();
    const auto unit = target ? find(cpu, *target) : std::nullopt;
    if (!unit) return nullptr;
    if (exit.jump != 0) cache_.link(number, *unit, exit.in_page ? 0 : cpu.mmu.execute_id(*target));
    ++counters_.resolved;
    return cache_.unit(*unit).at(cache_.unit(*unit).entry_packed);
}

const void* Engine::interpret() {
    sync();
    Cpu& cpu = *cpu_;
    Site& site = cache_.site(context_.exit_site);
    take_x87_notes(context_, cpu.state);
    if (site.x87_note) take_x87_note(*site.x87_note, cpu.state);
    if (site.window && undisturbed(cpu))
        if (const void* alone = continue_alone(cpu, site)) return alone;
    ++counters_.interpreted;
    ++interpreted_rows_[site.record.row];
    handled_[0] = site.record;
    store_flags(cpu, site.flags, site.recipe);
    if (site.patched && !decode_again(site)) {
        cpu.state.rip() = site.rip - code_base();
        return nullptr;
    }
    const cpu::Instruction* const record = handled_.data();
    if (site.x87_state) leave_x87();
    cpu.state.rip() = site.rip - code_base();
    cpu.dispatch.first = record;
    cpu.dispatch.limit = 0;
    const u64 flushes = cache_.counters().flushes;
    record->handler(cpu, record);
    switch (cpu.exit_.flow) {
    case Flow::next: ++cpu.instructions; break;
    case Flow::fault:
    case Flow::trap: interpreter_.deliver(cpu); return undisturbed(cpu) ? continue_at_rip(cpu) : nullptr;
    case Flow::jump:
    case Flow::exit: ++cpu.instructions; return undisturbed(cpu) ? continue_at_rip(cpu) : nullptr;
    case Flow::again: return nullptr;
    }
    if (!site.resumes || site.window || cpu.events.load(std::memory_order_relaxed) != 0
        || flushes != cache_.counters().flushes)
        return nullptr;
    const TranslatedUnit& unit = cache_.unit(site.unit);
    if (unit.dead || unit_mode().key() != mode_key_) return nullptr;
    load_context(cpu);
    return unit.at(site.resume);
}

// The record of an instruction whose immediate is patched, as it is now. False when the bytes are another instruction.
bool Engine::decode_again(const Site& site) {
    const TranslatedUnit& unit = cache_.unit(site.unit);
    const PhysicalAddress at(unit.key.physical + ((site.rip - unit.key.linear) & page_offset_mask));
    std::array<u8, cpu::longest_instruction> bytes;
    const std::span copy(bytes.data(), std::min<u64>(bytes.size(), page_size - at.page_offset()));
    memory_.read(at, copy);
    cpu::Instruction now;
    cpu::Form form;
    if (decoder_->decode(copy, unit_mode().decode, now, &form) != cpu::DecodeStatus::ok) return false;
    cpu::Instruction& record = handled_[0];
    if (now.row != record.row || now.length != record.length || now.handler != record.handler) return false;
    record.immediate = now.immediate;
    return true;
}

// The range of several accesses could not be had at once: it crosses a page, or some of it faults, or is a device's.
const void* Engine::continue_alone(Cpu& cpu, const Site& site) {
    store_flags(cpu, site.flags, site.recipe);
    cpu.state.rip() = site.rip - code_base();
    return continue_alone(cpu, std::nullopt);
}
const void* Engine::continue_alone(Cpu& cpu, std::optional<u32> exit) {
    ++counters_.ranges_refused;
    UnitMode mode = unit_mode();
    mode.is.alone = true;
    const u64 flushes = cache_.counters().flushes;
    const auto unit = translate_at_rip(cpu, mode);
    if (!unit) return nullptr;
    if (exit && flushes == cache_.counters().flushes) cache_.link(*exit, *unit, 0);
    load_context(cpu);
    return cache_.unit(*unit).at(cache_.unit(*unit).entry_packed);
}

// Whether the guards of translated code see this id for the page now. Never while alignment checks are in force.
bool Engine::guard_holds(const Cpu& cpu, LinearAddress page, u32 id) const {
    const u64 slot = page.page_number() & (mmu::tlb_execute_id_count - 1);
    return cpu.mmu.view().table->execute_ids()[slot] == id;
}

// The second page of the unit's instruction is what it was; the table knows it from now on. Else the unit is dead.
bool Engine::second_page_there(Cpu& cpu, u32 number) {
    const LinearAddress second = LinearAddress(cache_.unit(number).key.linear).page() + page_size;
    mmu::Mmu::CodePage page;
    if (cpu.mmu.fetch(second, page) && page.host && guard_holds(cpu, second, cache_.unit(number).second.id))
        return true;
    cache_.kill(number);
    const UnitKey& key = cache_.unit(number).key;
    cpu.mmu.forget_target(target_key(key.mode, LinearAddress(key.linear)));
    return false;
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

std::string Engine::describe() const {
    const auto& c = cache_.counters();
    std::string text = fmt::format(
        "  units translated  {}\n  guest bytes       {}\n  host bytes        {}\n  seldom run        {}\n  links       "
        "      {}\n"
        "  units killed      {}\n  cache flushes     {}\n  entries           {}\n  exits unlinked    {}\n"
        "  by handlers       {}\n  TLB refills       {}\n  slow accesses     {}\n  stores by code    {}\n  "
        "traps             {}\n  x87 put back      {}\n"
        "  refused blocks    {}\n  ranges refused    {}\n  reads across      {}\n",
        c.units, c.guest_bytes, c.host_bytes, c.cold_bytes, c.links, c.killed, c.flushes, counters_.entries,
        counters_.exits, counters_.interpreted, counters_.refills, counters_.slow_accesses, counters_.code_stores,
        counters_.traps, counters_.x87_stores, counters_.refused, counters_.ranges_refused, counters_.page_crossings);
    text +=
        fmt::format("  exits resolved    {}\n  targets found     {}\n", counters_.resolved, counters_.targets_found);
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
    return text;
}

} // namespace calque::jit
