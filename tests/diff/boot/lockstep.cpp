#include "tests/diff/boot/lockstep.h"

#include "tests/diff/state_difference.h"

#include <algorithm>
#include <cstring>

namespace calque::diff {

namespace {

using cpu::ExitReason;

constexpr std::string_view reasons[] = {"its budget has run out", "it was stopped", "it waits",
                                        "it met a triple fault"};

// Turns an addition that is on the host's own instruction into a subtraction.
std::function<void(jit::ir::Unit&)> spoiler(u64 which) {
    if (which == 0) return {};
    return [left = which](jit::ir::Unit& unit) mutable {
        for (jit::ir::Op& op : unit.ops) {
            const bool addition = op.kind == jit::ir::OpKind::host && op.parsed.map == 0 && op.parsed.opcode <= 3;
            if (!addition || left == 0 || --left != 0) continue;
            op.parsed.opcode |= 0x28;
            return;
        }
    };
}

class Pair {
  public:
    static Result<std::unique_ptr<Pair>> start(const LockstepOptions& options) {
        machine::MachineConfig config = options.config;
        config.engine = machine::MachineConfig::Engine::interpreter;
        auto interpreter = Side::start(config);
        if (!interpreter) return interpreter.error();
        config.engine = machine::MachineConfig::Engine::translator;
        config.translator.counting = jit::Counting::bounded;
        config.translator.sample_passes = 8;
        config.translator.dump = jit::UnitDumpRequest{.parts = {}, .address = 0, .keep_all = true};
        config.translator.spoil = spoiler(options.spoil);
        auto translator = Side::start(config);
        if (!translator) return translator.error();
        if (!(*translator)->translator()) return error("this host cannot run translated code");
        return std::unique_ptr<Pair>(new Pair(options, std::move(*interpreter), std::move(*translator)));
    }

    enum class State : u8 { goes_on, ended, differs };

    // One slice, compared; memory too when told.
    State slice(bool memory) {
        begin();
        const ExitReason a = interpreter_->run(budget()), b = translator_->run(budget());
        difference_ = registers(a, b);
        if ((memory || !doubt_.empty()) && difference_.empty()) compare_memory();
        return end(a);
    }
    // The same, the translator one unit at a time and the interpreter behind it, with all compared after each.
    State step_through_slice();

    u64 number() const { return number_; } // Of slices that are done.
    u64 instructions() const { return interpreter_->cpu().instructions; }
    bool memory_is_equal() const { return doubt_.empty(); } // When it was compared last.
    u64 first() const { return first_; }                    // Instruction of the latest slice.
    const std::string& difference() const { return difference_; }
    LockstepReport report() const {
        LockstepReport report;
        report.instructions = instructions();
        report.by_units = translator_->translator()->counters().counted;
        report.units = translator_->translator()->cache_counters().units;
        report.how_it_ended = how_it_ended_;
        report.console = translator_->console();
        report.debug_console = translator_->debug_console();
        return report;
    }

  private:
    Pair(const LockstepOptions& options, std::unique_ptr<Side> interpreter, std::unique_ptr<Side> translator)
        : options_(options), interpreter_(std::move(interpreter)), translator_(std::move(translator)) {}

    u64 budget() const { return std::min(options_.slice, options_.instructions - first_); }
    void begin() {
        first_ = instructions();
        interpreter_->begin_slice();
        translator_->begin_slice();
    }
    State end(ExitReason reason) {
        if (!difference_.empty()) return State::differs;
        ++number_;
        const auto a = interpreter_->ending(), b = translator_->ending();
        if (a || b) {
            if (!a || !b || a->status != b->status)
                difference_ = fmt::format("  one machine ended with status {}, the other with {}\n", a ? a->status : -1,
                                          b ? b->status : -1);
            else
                how_it_ended_ = fmt::format("the guest ended with status {}", a->status);
            return difference_.empty() ? State::ended : State::differs;
        }
        const u64 passed = instructions() - first_;
        const bool waits = !interpreter_->end_slice(passed, reason);
        translator_->end_slice(passed, reason);
        if (waits) how_it_ended_ = "the guest waits for ever";
        if (reason == ExitReason::triple_fault) how_it_ended_ = "the guest met a triple fault";
        if (instructions() >= options_.instructions) how_it_ended_ = "as many instructions as were asked for";
        return how_it_ended_.empty() ? State::goes_on : State::ended;
    }
    std::string registers(ExitReason a, ExitReason b) {
        std::string text = state_difference(interpreter_->cpu().state, translator_->cpu().state);
        compare(text, "instructions", instructions(), translator_->cpu().instructions);
        if (a != b)
            text += fmt::format("  {}; but {}\n", reasons[static_cast<unsigned>(a)], reasons[static_cast<unsigned>(b)]);
        if (interpreter_->console() != translator_->console()) text += "  what was written to the serial port\n";
        return text;
    }
    std::string memory_difference() {
        const auto x = interpreter_->ram(), y = translator_->ram();
        std::string text;
        unsigned shown = 0;
        for (u64 page = 0; page < x.size() && shown < 16; page += page_size) {
            if (std::memcmp(&x[page], &y[page], page_size) == 0) continue;
            for (u64 at = page; at < page + page_size && shown < 16; ++at)
                if (x[at] != y[at]) compare(text, fmt::format("byte {:#x} of RAM", at), x[at], y[at]), ++shown;
        }
        return text;
    }
    // The translator may have looked at the next instruction's page, and set an accessed bit, where the interpreter has
    // not come to it yet: memory differs when it does so twice in turn. In `difference_`, then.
    void compare_memory() {
        const std::string text = memory_difference();
        if (!doubt_.empty() && !text.empty()) difference_ = text;
        doubt_ = text;
    }
    static std::string place(const cpu::Cpu& cpu) {
        std::string text = fmt::format("  rip {:#x} (linear {:#x})", cpu.state.rip(),
                                       (cpu.mode.mode64 ? 0 : cpu.state.segment[cpu::cs].base) + cpu.state.rip());
        for (unsigned n = 0; n < 16; ++n)
            text += fmt::format("{}{:x}", n % 8 == 0 ? "\n  " : " ", cpu.state.gpr[n]);
        return text + fmt::format("\n  rflags {:x}\n", cpu.rflags());
    }

    const LockstepOptions options_;
    std::unique_ptr<Side> interpreter_, translator_;
    u64 number_ = 0, first_ = 0;
    std::string difference_, how_it_ended_;
    std::string doubt_; // How memory differed when it was compared last.
};

Pair::State Pair::step_through_slice() {
    begin();
    translator_->translator()->set_step_units(true);
    ExitReason a = ExitReason::budget, b = ExitReason::budget;
    std::string start, earlier; // Where this step began; where memory began to differ, if it does.
    for (u64 left = budget(); left != 0 && a == ExitReason::budget;) {
        const u64 before = translator_->cpu().instructions;
        start = place(interpreter_->cpu());
        b = translator_->run(left);
        const u64 done = translator_->cpu().instructions - before;
        // The last step ends with more than its budget, where the reason is another one.
        a = interpreter_->run(b == ExitReason::budget ? done : left);
        difference_ = registers(a, b);
        compare_memory();
        if (!doubt_.empty() || !difference_.empty()) {
            const bool unit = translator_->translator()->ran_unit();
            std::string here =
                fmt::format("after instruction {} (in the translator {} of them {}):\n{}before them:\n{}", before, done,
                            unit ? "by a unit" : "by the interpreter", difference_.empty() ? doubt_ : difference_,
                            start)
                + (unit ? "The unit that was entered last:\n" + translator_->translator()->last_unit() : "");
            if (!difference_.empty()) {
                difference_ = earlier.empty() ? here : earlier;
                break;
            }
            earlier = std::move(here);
        } else {
            earlier.clear();
        }
        left -= done;
    }
    translator_->translator()->set_step_units(false);
    return end(a);
}

class Search {
  public:
    explicit Search(const LockstepOptions& options) : options_(options) {}

    // Runs again and again up to where all was equal, each time with fewer slices between the comparisons of memory.
    Result<LockstepReport> run() {
        u64 every = options_.memory_every, from = 0;
        for (;; every = every > 64 ? every / 64 : 1) {
            auto pair = Pair::start(options_);
            if (!pair) return pair.error();
            u64 equal = from;
            const Pair::State state = until_different(**pair, from, every, equal);
            if (state == Pair::State::ended) {
                LockstepReport report = (*pair)->report();
                report.equal = first_.empty();
                report.difference = first_ + (first_.empty() ? "" : "and not when run again\n");
                return report;
            }
            if (first_.empty()) first_ = describe(**pair, equal);
            from = equal;
            if (every == 1) return in_slice(equal);
        }
    }

  private:
    Pair::State until_different(Pair& pair, u64 from, u64 every, u64& equal) {
        for (;;) {
            const bool memory = pair.number() >= from && (pair.number() + 1) % every == 0;
            const Pair::State state = pair.slice(memory);
            if (state != Pair::State::goes_on) return state;
            if (memory && pair.memory_is_equal()) equal = pair.number();
            if (options_.progress && pair.number() % 5000 == 0)
                fmt::print(stderr, "{} million instructions\n", pair.instructions() / 1'000'000);
        }
    }
    std::string describe(const Pair& pair, u64 equal) const {
        return fmt::format(
            "Different in the slice of {} instructions that begins at instruction {}, or since memory was "
            "compared last, {} slices before:\n{}",
            options_.slice, pair.first(), pair.number() - equal, pair.difference());
    }
    // All is equal before this slice, and not after it.
    Result<LockstepReport> in_slice(u64 number) {
        auto pair = Pair::start(options_);
        if (!pair) return pair.error();
        Pair::State state = Pair::State::goes_on;
        while ((*pair)->number() < number && state == Pair::State::goes_on)
            state = (*pair)->slice(false);
        for (unsigned n = 0; n < 3 && state == Pair::State::goes_on; ++n)
            state = (*pair)->step_through_slice();
        LockstepReport report = (*pair)->report();
        report.difference =
            first_
            + (state == Pair::State::differs
                   ? "First different " + (*pair)->difference()
                   : "Equal when units run one at a time: units that go from one to the next differ.\n");
        return report;
    }

    const LockstepOptions& options_;
    std::string first_;
};

} // namespace

Result<LockstepReport> run_lockstep(const LockstepOptions& options) { return Search(options).run(); }

} // namespace calque::diff
