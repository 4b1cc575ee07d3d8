#include "cpu/interpreter.h"

#include <algorithm>
#include <limits>

namespace calque::cpu {

namespace {

constexpr u64 key_single = 16; // Blocks of one instruction.
// Instructions in one go. A handler that the compiler did not make end in a jump keeps its frame until then, so this
// bounds the stack.
constexpr u64 longest_chain = 4096;

DecodeMode decode_mode(const Cpu& cpu, bool careful) {
    return {cpu.mode.code_size, !cpu.mode.protected_mode || cpu.mode.vm86, careful};
}

} // namespace

Interpreter::Interpreter(mmu::PhysicalMap& memory, Log& log, u32 records)
    : memory_(memory), log_(log), cache_(std::max(records, 4 * BlockCache::block_room)), jumps_(jump_entries) {
    memory_.add_observer(static_cast<mmu::CodeWriteObserver&>(*this));
    memory_.add_observer(static_cast<mmu::MapObserver&>(*this));
}

Interpreter::~Interpreter() {
    memory_.remove_observer(static_cast<mmu::CodeWriteObserver&>(*this));
    memory_.remove_observer(static_cast<mmu::MapObserver&>(*this));
}

InterpreterCounters Interpreter::counters() const {
    InterpreterCounters c = counters_;
    c.cache = cache_.counters();
    if (translator_) c.uncached = translator_->uncached();
    return c;
}

void Interpreter::flush() {
    std::lock_guard lock(mutex_);
    flush_wanted_ = true;
    pending_ = true;
    if (notify_) notify_->request(event_code);
}

void Interpreter::map_changed() { flush(); }

// Blocks of this thread's own vCPU die at once, also the one that runs: its next record is then an exit. On other
// threads the notice is left for the vCPU, which looks before its next block.
void Interpreter::code_written(PhysicalAddress address, u64 length) {
    if (owner_.load(std::memory_order_relaxed) == std::this_thread::get_id()) {
        ++counters_.code_writes;
        cache_.kill(address, length);
        return;
    }
    std::lock_guard lock(mutex_);
    if (written_.size() >= most_ranges)
        flush_wanted_ = true;
    else
        written_.push_back({address, length});
    pending_ = true;
    if (notify_) notify_->request(event_code);
}

void Interpreter::forget_all() {
    cache_.flush();
    std::fill(jumps_.begin(), jumps_.end(), JumpEntry{});
}

void Interpreter::serve_code_events() {
    std::lock_guard lock(mutex_);
    if (notify_) notify_->withdraw(event_code);
    pending_ = false;
    if (flush_wanted_) forget_all();
    flush_wanted_ = false;
    for (const Range& range : written_) {
        ++counters_.code_writes;
        cache_.kill(range.address, range.length);
    }
    written_.clear();
}

void Interpreter::attach(Cpu& cpu) {
    if (cpu_ != &cpu) {
        forget_all();
        translator_ = std::make_unique<BlockTranslator>(memory_, cache_, cpu.model);
        cpu_ = &cpu;
    }
    cpu.dispatch.jumps = jumps_.data();
    owner_.store(std::this_thread::get_id(), std::memory_order_relaxed);
    {
        std::lock_guard lock(mutex_);
        notify_ = &cpu;
    }
    if (pending_) serve_code_events();
}

Interpreter::Session::Session(Interpreter& interpreter, Cpu& cpu)
    : interpreter_(interpreter), cpu_(cpu), park_(cpu.mmu.parked()) {
    interpreter_.attach(cpu);
    if (park_) cpu.mmu.unpark();
}

Interpreter::Session::~Session() {
    if (park_) cpu_.mmu.park();
    std::lock_guard lock(interpreter_.mutex_);
    interpreter_.notify_ = nullptr;
    interpreter_.owner_.store({}, std::memory_order_relaxed);
}

ExitReason Interpreter::run(Cpu& cpu, u64 budget) {
    const Session session(*this, cpu);
    const u64 end = budget > ~cpu.instructions ? ~u64{0} : cpu.instructions + budget;
    for (;;) {
        if (cpu.events.load(std::memory_order_acquire) != 0 || cpu.state.activity != Activity::running)
            if (const auto reason = serve_events(cpu)) return *reason;
        if (cpu.instructions >= end) return ExitReason::budget;
        if ((cpu.events.load(std::memory_order_relaxed) & event_slow) || log_.on(Channel::insn))
            step(cpu);
        else
            run_blocks(cpu, end);
    }
}

void Interpreter::set_hot_after(i32 entries) {
    hot_after_ = entries;
    flush();
}

void Interpreter::keep_cold(i32 entries) {
    if (!hot_) return;
    hot_->heat = entries != 0 ? entries : std::numeric_limits<i32>::max();
    if (hot_->crosses && hot_->second_page.value == 0)
        cache_.remember_heat(hot_->address, hot_->key, hot_->heat); // Decoded anew each time.
    hot_ = nullptr;
}

std::optional<ExitReason> Interpreter::serve_events(Cpu& cpu) {
    const u32 events = cpu.events.load(std::memory_order_acquire);
    if (events & event_code) serve_code_events();
    if (events & event_mmu) {
        cpu.withdraw(event_mmu);
        cpu.mmu.serve_requests();
    }
    if (events & event_stop) return ExitReason::stopped;
    if (cpu.state.activity != Activity::shutdown && events != 0) cpu.handle_events();
    switch (cpu.state.activity) {
    case Activity::running: return std::nullopt;
    case Activity::shutdown: return ExitReason::triple_fault;
    case Activity::halted:
    case Activity::wait_for_sipi: return ExitReason::halted;
    }
    return std::nullopt;
}

void Interpreter::deliver(Cpu& cpu) {
    cpu.rip_of_instruction = cpu.state.rip();
    if (cpu.pending_exception()) cpu.deliver_exception();
}

Block* Interpreter::lookup(Cpu& cpu, const DecodeMode& mode, bool single) {
    ++counters_.lookups;
    const u64 rip = cpu.state.rip();
    BlockTranslator::Place place{LinearAddress(rip), {}, ~u64{0}};
    if (!cpu.mode.mode64) {
        const SegmentRegister& code = cpu.state.segment[cs];
        if (rip > code.limit) {
            cpu.general_protection();
            return nullptr;
        }
        place.linear = LinearAddress(static_cast<u32>(code.base + rip));
        place.within_limit = u64{code.limit} - rip + 1;
    }
    if (!cpu.mmu.fetch(place.linear, place.page)) {
        cpu.raise_memory_fault(flat);
        return nullptr;
    }
    if (cpu.debug.ends_before(place.linear.value)) [[unlikely]] {
        if (cpu.stops_at_breakpoint(place.linear)) return nullptr;
        single = true;
    }
    if (cache_.full()) forget_all();
    const u64 key = mode.key() | (single ? key_single : 0);
    Block* block = cache_.find(place.page.address, key);
    if (block && block->crosses) {
        const auto there = translator_->still_there(cpu, *block, place.linear);
        if (!there) return nullptr;
        if (!*there) {
            cache_.kill(block->address, 1);
            block = nullptr;
        }
    }
    if (!block || block->bytes > place.within_limit) {
        block = translator_->translate(cpu, place, mode, key, single ? 1 : longest_block);
        if (block) block->heat = heat_of_new(*block, key, single);
    }
    if (block && !block->crosses && !single)
        jumps_[jump_slot(place.linear.value)] = {place.linear.value, key, block->host, block->records()};
    return block;
}

// What is decoded anew each time is not to be translated: it would be reported for ever. But for what is decoded anew
// because it is patched: that is counted apart.
i32 Interpreter::heat_of_new(Block& block, u64 key, bool single) {
    const bool patched = translator_->patched();
    const bool cached = !block.crosses || block.second_page.value != 0;
    if (hot_after_ == 0 || single || (!cached && !patched)) return std::numeric_limits<i32>::max();
    const i32 heat = cache_.heat_left(block.address, key, hot_after_);
    if (!patched) return heat;
    block.key = key;
    if (heat < std::numeric_limits<i32>::max()) cache_.remember_heat(block.address, key, heat - 1);
    return heat;
}

void Interpreter::try_link(const Instruction* chain, Block& target) {
    if (chain->handler != chain_unlinked || !chain->third || target.crosses || (target.key & key_single)) return;
    cache_.link(chain, target, chain->source ? chain_same_page : cpu_->mode.mode64 ? chain_checked64 : chain_checked);
}

void Interpreter::execute(Cpu& cpu, Block& block) {
    const Instruction* const first = block.records();
    enter(cpu, first);
    const Instruction* const last = cpu.exit_.last;
    if (is_chain(*last)) return; // Counted.
    const Flow flow = cpu.exit_.flow;
    const bool complete = flow == Flow::jump || flow == Flow::exit || flow == Flow::trap;
    cpu.instructions += static_cast<u64>(last - cpu.dispatch.first) + (complete ? 1 : 0);
}

bool Interpreter::run_blocks(Cpu& cpu, u64 end) {
    const bool single = end - cpu.instructions <= longest_block;
    const DecodeMode mode = decode_mode(cpu, false);
    const bool traced = log_.on(Channel::exec);
    cpu.dispatch.limit = single || traced ? 0 : std::min(end - longest_block, cpu.instructions + longest_chain);
    cpu.dispatch.code_key = mode.key();
    const Instruction* chain = nullptr;
    for (;;) {
        const u64 flushes = cache_.counters().flushes;
        Block* const block = lookup(cpu, mode, single);
        if (!block) {
            deliver(cpu);
            return false;
        }
        if (--block->heat <= 0 && hot_after_ != 0) {
            hot_ = block;
            return true;
        }
        if (traced) trace_state(cpu, Channel::exec);
        if (chain && flushes == cache_.counters().flushes) try_link(chain, *block);
        execute(cpu, *block);
        const Flow flow = cpu.exit_.flow;
        if (flow == Flow::fault || flow == Flow::trap) {
            deliver(cpu);
            return false;
        }
        if (flow == Flow::exit || flow == Flow::again) return false;
        if (cpu.instructions >= cpu.dispatch.limit || cpu.events.load(std::memory_order_relaxed) != 0) return false;
        chain = is_chain(*cpu.exit_.last) ? cpu.exit_.last : nullptr;
    }
}

// --trace insn, --trace exec: the processor before each instruction or block, a line each, in a form that diff can
// compare.
void Interpreter::trace_state(const Cpu& cpu, Channel channel) {
    std::string line = fmt::format("{} rip={:x} fl={:x}", cpu.index, cpu.state.rip(), cpu.rflags());
    for (unsigned n = 0; n < 16; ++n)
        line += fmt::format(" {:x}", cpu.state.gpr[n]);
    log_.write(channel, line);
}

void Interpreter::step_instruction(Cpu& cpu) {
    ++counters_.steps;
    if (log_.on(Channel::insn)) trace_state(cpu, Channel::insn);
    if (cpu.check_instruction_breakpoint()) return;
    const bool trap_flag = cpu.state.rflags & flag_tf;
    cpu.dispatch.limit = 0;
    Block* const block = lookup(cpu, decode_mode(cpu, true), true);
    if (!block) return deliver(cpu);
    execute(cpu, *block);
    if (cpu.exit_.flow == Flow::fault || cpu.exit_.flow == Flow::trap) return deliver(cpu);
    cpu.exit_.last = block->records(); // The instruction, not a chain record after it.
    cpu.finish_slow_instruction(trap_flag);
}

} // namespace calque::cpu
