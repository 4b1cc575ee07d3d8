// The interpreter: runs cached blocks of decoded records by threaded dispatch (cpu/threaded.h, cpu/dispatch.h).
#pragma once

#include "cpu/block_cache.h"
#include "cpu/decode/decoder.h"
#include "cpu/dispatch.h"
#include "cpu/translate_block.h"

#include <atomic>
#include <mutex>
#include <thread>
#include <vector>

namespace calque::cpu {

struct InterpreterCounters {
    BlockCacheCounters cache;
    u64 lookups = 0;     // Blocks that the loop had to find.
    u64 steps = 0;       // Instructions run one at a time.
    u64 code_writes = 0; // Notices of written code.
    u64 uncached = 0;    // Instructions decoded anew each time: in device memory, or at a segment's limit.
};

// One for each vCPU: run() is called by one thread at a time. The physical map outlives it.
class Interpreter final : public ExecutionEngine, mmu::CodeWriteObserver, mmu::MapObserver {
  public:
    // `records` bounds the memory for decoded code, 32 bytes each.
    Interpreter(mmu::PhysicalMap& memory, Log& log, u32 records = 1u << 21);
    ~Interpreter() override;
    Interpreter(const Interpreter&) = delete;
    Interpreter& operator=(const Interpreter&) = delete;

    // A REP instruction counts as one when it is done; the budget is otherwise kept to the instruction. Faulting
    // instructions do not count.
    ExitReason run(Cpu& cpu, u64 budget) override;
    void flush() override; // Any thread.

    InterpreterCounters counters() const;

    // --- For an engine that translates hot code and leaves the rest to this one.
    // What run() does around its loop: the calling thread owns the processor between the two.
    class Session {
      public:
        Session(Interpreter& interpreter, Cpu& cpu);
        ~Session();
        Session(const Session&) = delete;
        Session& operator=(const Session&) = delete;

      private:
        Interpreter& interpreter_;
        Cpu& cpu_;
        bool park_;
    };
    // Blocks are reported as hot when they have been entered this often. 0: never.
    void set_hot_after(i32 entries);
    // Events that are pending; nothing when the loop goes on.
    std::optional<ExitReason> serve_events(Cpu& cpu);
    // Until something wants the loop in run(). True: RIP is at a hot block, which has not been entered.
    bool run_blocks(Cpu& cpu, u64 end);
    // The block that run_blocks() reported last is to be reported again after so many more entries; 0: never.
    void keep_cold(i32 entries = 0);
    // One instruction, with all that can go with one: breakpoints, single-step, shadows.
    void step(Cpu& cpu) {
        step_instruction(cpu);
        if (cpu.debug.step) cpu.debug_stop({DebugStop::Reason::step, cpu.linear_rip()});
    }
    // Of the processor whose session it is, with what it remembers of the instructions here.
    const Decoder& decoder() const { return translator_->decoder(); }
    // What is pending after an instruction that faulted or trapped.
    void deliver(Cpu& cpu);

  private:
    void code_written(PhysicalAddress address, u64 length) override;
    void map_changed() override;

    void attach(Cpu& cpu);
    void serve_code_events();
    void forget_all();
    void trace_state(const Cpu& cpu, Channel channel);
    void step_instruction(Cpu& cpu);
    // The block at RIP, decoded if need be; null when the fetch raised an exception, or a debugger's breakpoint is
    // there. Where there may be one the block is of one instruction, and nothing leads to it but this.
    Block* lookup(Cpu& cpu, const DecodeMode& mode, bool single);
    i32 heat_of_new(Block& block, u64 key, bool single);
    // Runs a block; what made it leave is in cpu.exit_, and its instructions are counted.
    void execute(Cpu& cpu, Block& block);
    void try_link(const Instruction* chain, Block& target);

    mmu::PhysicalMap& memory_;
    Log& log_;
    BlockCache cache_;
    std::vector<JumpEntry> jumps_;
    std::unique_ptr<BlockTranslator> translator_;
    Cpu* cpu_ = nullptr; // The processor that this interpreter's blocks are decoded for.
    InterpreterCounters counters_;
    i32 hot_after_ = 0;
    Block* hot_ = nullptr;

    // What other threads leave for the vCPU's own to do.
    struct Range {
        PhysicalAddress address;
        u64 length;
    };
    static constexpr std::size_t most_ranges = 256;
    std::mutex mutex_;
    std::vector<Range> written_;
    bool flush_wanted_ = false;
    Cpu* notify_ = nullptr;
    std::atomic<bool> pending_{false};
    std::atomic<std::thread::id> owner_;
};

} // namespace calque::cpu
