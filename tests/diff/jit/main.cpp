// diff_jit: random programs, by the interpreter and by the translator.
#include "tests/diff/host.h"
#include "tests/diff/jit/program.h"
#include "tests/diff/jit/world.h"
#include "tests/diff/state_difference.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <mutex>
#include <pthread.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace calque::diff {
namespace {

constexpr char usage[] = R"(Usage: diff_jit [option]...
Runs random programs (of 64-bit code, if nothing else is said) in rings 0 and 3, with random page tables, through the interpreter, through the translator,
and through the translator with each unit forced to one instruction, and compares processors, memory and devices. What does not
end, and some of the rest, is compared after a number of instructions, with units that keep to it.

  --cases N        how many programs to run (default 20000)
  --seed S         which ones (default 1)
  --case N         only program N, as a difference's report names it
  --jobs J         in so many processes (default 1)
  --keep-going N   go on after a difference, up to N of them
  --bits32         programs in 32-bit code (compatibility mode), with segments
  --bits16         the same in 16-bit code
  --real           programs in real mode, with big segments now and then
  --protected32, --protected16, --vm86
                   programs in ring 3 of protected mode without long mode
  --disturb        another thread raises interrupts, and drops translations of addresses and of code, all the time
  --hot N          translate blocks that have been entered N times (default 1)
  --no-passes      without the translator's passes
  --verbose        with --case: the program and the exceptions that it takes
  --trace          the translated units of a program that differs
Status: 0 no difference, 1 a difference, 2 a wrong option, 77 not this kind of host.
)";

constexpr u64 programs_in_epoch = 4096; // That share one set of pools.
constexpr u64 most_instructions = 20'000;

struct Options {
    u64 cases = 20'000, seed = 1, jobs = 1, most_differences = 1, hot = 1;
    std::optional<u64> only;
    bool verbose = false, trace = false, passes = true, disturb = false;
    CodeKind code = CodeKind::long64;
};

// The program that runs now, for the watchdog and for the report of a crash.
struct Progress {
    std::atomic<u64> number{0};
    std::atomic<u64> runs{0};
    std::atomic<World*> world{nullptr};
    std::mutex mutex; // Held while `world` changes, and while it is disturbed.
    u64 seed = 0;
};
Progress progress;

void crashed(int signal) {
    char text[128];
    World* const world = progress.world;
    const int length = std::snprintf(text, sizeof text, "diff_jit: signal %d in --seed %llu --case %llu (%s)\n", signal,
                                     static_cast<unsigned long long>(progress.seed),
                                     static_cast<unsigned long long>(progress.number.load()),
                                     world ? engine_names[static_cast<unsigned>(world->kind())].data() : "none");
    if (::write(2, text, static_cast<std::size_t>(length)) < 0) _exit(3);
    std::signal(signal, SIG_DFL);
    std::raise(signal);
}

double seconds(clockid_t clock) {
    timespec now{};
    clock_gettime(clock, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

// Stops what runs for too long by the processor time of its thread (the interpreter soon: exceptions without end, by
// which its budget is not used up); ends the process when even that does not help, or when nothing happens at all.
void watch(clockid_t runner) {
    constexpr double interpreter_seconds = 0.1, translator_seconds = 5, longest = 15, longest_wait = 300;
    u64 last = ~u64{0};
    double since = 0, waiting_since = 0;
    for (;;) {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        const u64 now = progress.runs;
        World* const world = progress.world;
        if (now != last || !world) {
            last = now;
            since = seconds(runner);
            waiting_since = seconds(CLOCK_MONOTONIC);
            continue;
        }
        const double ran = seconds(runner) - since;
        if (ran > (world->kind() == EngineKind::interpreter ? interpreter_seconds : translator_seconds)) world->stop();
        if (ran < longest && seconds(CLOCK_MONOTONIC) - waiting_since < longest_wait) continue;
        std::fprintf(stderr, "diff_jit: hangs in --seed %llu --case %llu (%s), and does not stop when told\n",
                     static_cast<unsigned long long>(progress.seed),
                     static_cast<unsigned long long>(progress.number.load()),
                     engine_names[static_cast<unsigned>(world->kind())].data());
        _exit(1);
    }
}

void disturb(u64 seed) {
    Random random(seed, ~u64{0});
    for (;;) {
        for (u64 n = random.below(2000); n; --n)
            asm volatile("" ::: "memory");
        std::lock_guard lock(progress.mutex);
        if (World* const world = progress.world) world->disturb(random);
    }
}

jit::EngineOptions engine_options(const Options& options) {
    jit::EngineOptions engine;
    engine.hot_after = static_cast<i32>(options.hot);
    engine.code_bytes = std::size_t{8} << 20; // Fills up now and then.
    engine.mirror_interval = 3;
    engine.sample_passes = 2;
    engine.switches.verify = true;
    engine.switches.flag_liveness = options.passes;
    return engine;
}

class Runner {
  public:
    explicit Runner(const Options& options)
        : options_(options), engine_options_(engine_options(options)), jit_(EngineKind::jit, engine_options_),
          single_(EngineKind::jit_single, engine_options_), bounded_(EngineKind::jit_bounded, engine_options_) {}
    int job(u64 number);

  private:
    // Runs the program in one world.
    cpu::ExitReason run(World& world, const Image& image, u64 budget);
    // What differs, by the first translator that differs; empty when nothing does.
    std::string compare(Image& image, const Program& program);
    std::string compare_ended(const Image& image);
    // After so many instructions of the program by both; empty also when it cannot be stopped there.
    std::string compare_stopped(const Image& image, u64 budget) {
        return compare_stopped(image, budget, interpreter_, bounded_);
    }
    std::string compare_stopped(const Image& image, u64 budget, World& interpreter, World& bounded);
    // With the smallest budget that makes a difference in machines that have run nothing else.
    std::string compare_earliest(const Image& image);
    void shrink(Image& image, Program& program);
    void report(Image& image, Program& program, u64 number, const std::string& first);
    std::string exceptions(const World& world) const;

    const Options& options_;
    jit::EngineOptions engine_options_;
    World interpreter_{EngineKind::interpreter, {}}, jit_, single_, bounded_;
    cpu::CpuModel model_;
    cpu::Decoder decoder_{model_};
    Generator generator_{decoder_};
    World* differs_ = nullptr;
    u64 stopped_ = 0, endless_ = 0, differences_ = 0, exceptions_ = 0, instructions_ = 0;
};

cpu::ExitReason Runner::run(World& world, const Image& image, u64 budget) {
    world.load(image);
    const auto now_runs = [](World* running) {
        std::lock_guard lock(progress.mutex);
        progress.world = running;
    };
    now_runs(&world);
    ++progress.runs;
    const cpu::ExitReason reason = world.run(budget);
    now_runs(nullptr);
    return reason;
}

// A HLT of the program's own, met by a jump or a store into the blue: an interrupt may have come before it or after.
bool waits(const Image& image, const World& world) {
    return image.setting.interrupts && world.state().activity == cpu::Activity::halted
           && (world.state().rflags & cpu::flag_if);
}

// A CR3 that is not the program's: it lives by what the TLB holds of global pages, the interrupts' too or not, which
// depends on whether one came before.
bool lost_its_pages(const Image& image, const World& world) {
    return image.setting.interrupts && world.state().cr3 != image.state.cr3;
}

std::string Runner::compare(Image& image, const Program& program) {
    program.place(image, decoder_);
    const u64 before = interpreter_.cpu().instructions;
    const cpu::ExitReason expected = run(interpreter_, image, most_instructions);
    const u64 ran = interpreter_.cpu().instructions - before;
    instructions_ += ran;
    exceptions_ += interpreter_.exceptions();
    if (expected == cpu::ExitReason::stopped) { // By the watchdog.
        ++endless_;
        return {};
    }
    if (expected == cpu::ExitReason::budget) return compare_stopped(image, most_instructions);
    std::string text = compare_ended(image);
    // Some of them once more, up to somewhere in the middle.
    if (text.empty() && ran > 1 && (ran ^ program.start) % 4 == 0)
        text = compare_stopped(image, 1 + (program.start * 0x9E3779B97F4A7C15 >> 32) % (ran - 1));
    return text;
}

std::string Runner::compare_ended(const Image& image) {
    for (World* const world : {&jit_, &single_}) {
        const cpu::ExitReason reason = run(*world, image, ~u64{0});
        differs_ = world;
        if (waits(image, interpreter_) || waits(image, *world)) continue;
        if (lost_its_pages(image, interpreter_) || lost_its_pages(image, *world)) continue;
        if (reason == cpu::ExitReason::stopped) return "  does not end\n";
        std::string text = difference(interpreter_, *world);
        if (!text.empty()) return text;
    }
    return {};
}

std::string Runner::compare_earliest(const Image& image) {
    for (u64 budget = 1; budget <= most_instructions; ++budget) {
        World interpreter(EngineKind::interpreter, {}), bounded(EngineKind::jit_bounded, engine_options_);
        const std::string text = compare_stopped(image, budget, interpreter, bounded);
        if (!text.empty()) return text;
        if (interpreter.state().activity == cpu::Activity::halted) break;
    }
    return "  no budget makes a difference in new machines\n";
}

std::string Runner::compare_stopped(const Image& image, u64 budget, World& interpreter, World& bounded) {
    if (image.setting.interrupts) { // Their handlers are instructions as well, and they come between blocks.
        Image quiet = image;
        quiet.setting.interrupts = false;
        return compare_stopped(quiet, budget, interpreter, bounded);
    }
    ++stopped_;
    const auto run_so_far = [&](World& world) {
        const u64 before = world.cpu().instructions;
        const cpu::ExitReason reason = run(world, image, budget);
        return std::pair(reason, world.cpu().instructions - before);
    };
    const auto [expected, instructions] = run_so_far(interpreter);
    const auto [reason, counted] = run_so_far(bounded);
    differs_ = &bounded_;
    std::string text;
    if (expected == cpu::ExitReason::stopped || reason == cpu::ExitReason::stopped) return text;
    diff::compare(text, "why it stopped", static_cast<u64>(expected), static_cast<u64>(reason));
    diff::compare(text, "instructions", instructions, counted);
    text += difference(interpreter, bounded, Accessed::may_be_early);
    return text.empty() ? text : fmt::format("  with a budget of {} instructions:\n", budget) + text;
}

// Takes away halves, quarters, ... single items, as long as something still differs.
void Runner::shrink(Image& image, Program& program) {
    for (std::size_t piece = program.items.size() / 2; piece >= 1; piece /= 2) {
        for (bool again = true; again;) {
            again = false;
            for (std::size_t at = 0; at < program.items.size(); at += piece) {
                Program smaller = program;
                bool any = false;
                for (std::size_t n = at; n < std::min(at + piece, smaller.items.size()); ++n)
                    if (!smaller.items[n].last) any |= !std::exchange(smaller.items[n].removed, true);
                if (!any) continue;
                std::fill(image.ram.begin() + frame::code * page_size, image.ram.begin() + frame::data * page_size,
                          u8{0});
                if (compare(image, smaller).empty()) continue;
                program = std::move(smaller);
                again = piece == 1;
            }
        }
    }
}

std::string Runner::exceptions(const World& world) const {
    std::string text;
    const auto log = world.ram().subspan(frame::log * page_size, page_size);
    const auto word = [&](u64 at) {
        u64 v;
        std::memcpy(&v, &log[at], 8);
        return v;
    };
    const u64 count = std::min<u64>(word(log_count_at) & 0xFFFFFFFF, most_exceptions);
    for (u64 n = 0; n < count; ++n) {
        const u64 at = log_entries_at + n * log_entry_bytes;
        text += fmt::format("  vector {} error {:#x} cr2 {:#x} rip {:#x}\n", word(at), word(at + 8), word(at + 16),
                            word(at + 24));
    }
    return text;
}

void Runner::report(Image& image, Program& program, u64 number, const std::string& first) {
    const World* const which = differs_;
    fmt::print("--seed {} --case {}: {} differs from the interpreter\n{}", options_.seed, number,
               engine_names[static_cast<unsigned>(which->kind())], first);
    if (differs_ == &bounded_) fmt::print("{}", compare_earliest(image));
    const Program whole = program;
    const std::string by_interpreter = exceptions(interpreter_), by_translator = exceptions(*which);
    shrink(image, program);
    std::string text = compare(image, program);
    if (text.empty()) {
        fmt::print("  (does not differ again: depends on what ran before, or on another thread)\n{}exceptions by the "
                   "interpreter:\n{}by the translator:\n{}",
                   whole.list(image), by_interpreter, by_translator);
        std::fflush(stdout);
        return;
    }
    const auto& s = image.state;
    fmt::print("The smallest program that differs ({}; base {:#x}, ring {}, cr0 {:#x}, cr4 {:#x}, rflags {:#x}, mxcsr "
               "{:#x}):\n{}{}",
               engine_names[static_cast<unsigned>(differs_->kind())], image.setting.base, image.setting.ring, s.cr0,
               s.cr4, cpu::read_rflags(s), s.mxcsr, program.list(image), text);
    for (unsigned n = cpu::es; n <= cpu::gs; ++n)
        fmt::print("  segment {}: base {:#x} limit {:#x} rights {:#x}\n", n, s.segment[n].base, s.segment[n].limit,
                   s.segment[n].rights);
    for (unsigned n = 0; n < 16; ++n)
        fmt::print("{}{:x}{}", n % 8 == 0 ? "  " : " ", s.gpr[n], n % 8 == 7 ? "\n" : "");
    fmt::print("exceptions by the interpreter:\n{}by the translator:\n{}", exceptions(interpreter_),
               exceptions(*differs_));
    std::fflush(stdout);
    if (!options_.trace) return;
    World fresh(differs_->kind(), engine_options_);
    (void)fresh.log().enable("jit");
    run(fresh, image, ~u64{0});
}

int Runner::job(u64 first) {
    u64 epoch = ~u64{0};
    std::unique_ptr<Pools> pools;
    u64 last = options_.cases, step = options_.jobs;
    if (options_.only) first = *options_.only, last = first + 1;
    for (u64 n = first; n < last; n += step) {
        progress.number = n;
        if (n / programs_in_epoch != epoch) {
            epoch = n / programs_in_epoch;
            pools = std::make_unique<Pools>(options_.seed, epoch);
        }
        Random random(options_.seed, n);
        Image image = make_image(random, *pools, {options_.disturb, options_.code});
        Program program = generator_.make(image.setting, random, *pools);
        const std::string text = compare(image, program);
        if (options_.verbose) {
            fmt::print("{}{}units {}\n", program.list(image), exceptions(interpreter_), jit_.translated());
            std::fflush(stdout);
        }
        if (text.empty()) continue;
        report(image, program, n, text);
        if (++differences_ >= options_.most_differences) break;
    }
    fmt::print(
        "{} programs of seed {}: {} differ, {} do not end; {} blocks translated, {} of one instruction, {} with a "
        "budget ({} times)\n",
        options_.only ? 1 : (options_.cases + step - 1 - first) / step, options_.seed, differences_, endless_,
        jit_.translated(), single_.translated(), bounded_.translated(), stopped_);
    fmt::print("{} guest instructions, {} exceptions\n", instructions_, exceptions_);
    std::fflush(stdout);
    return differences_ == 0 ? 0 : 1;
}

struct Kind {
    std::string_view option;
    CodeKind code;
};
constexpr Kind kinds[] = {{"--bits32", CodeKind::compatible32},
                          {"--bits16", CodeKind::compatible16},
                          {"--real", CodeKind::real},
                          {"--protected32", CodeKind::protected32},
                          {"--protected16", CodeKind::protected16},
                          {"--vm86", CodeKind::virtual86}};

bool parse(int argc, char** argv, Options& options) {
    const auto number = [](const char* text, u64& out) {
        const char* end = text + std::strlen(text);
        return std::from_chars(text, end, out).ptr == end && end != text;
    };
    for (int n = 1; n < argc; ++n) {
        const std::string_view name = argv[n];
        u64 only = 0;
        u64* value = name == "--cases"        ? &options.cases
                     : name == "--seed"       ? &options.seed
                     : name == "--jobs"       ? &options.jobs
                     : name == "--keep-going" ? &options.most_differences
                     : name == "--hot"        ? &options.hot
                     : name == "--case"       ? &only
                                              : nullptr;
        if (value) {
            if (++n == argc || !number(argv[n], *value)) {
                fmt::print(stderr, "diff_jit: {} wants a number\n", name);
                return false;
            }
            if (value == &only) options.only = only;
        } else if (name == "--verbose") {
            options.verbose = true;
        } else if (const auto* const kind = std::find_if(std::begin(kinds), std::end(kinds),
                                                         [&](const Kind& k) { return k.option == name; });
                   kind != std::end(kinds)) {
            options.code = kind->code;
        } else if (name == "--disturb") {
            options.disturb = true;
        } else if (name == "--no-passes") {
            options.passes = false;
        } else if (name == "--trace") {
            options.trace = true;
        } else {
            fmt::print(stderr, "diff_jit: {} is not an option\n{}", name, usage);
            return false;
        }
    }
    if (options.code == CodeKind::real && options.disturb) {
        fmt::print(stderr,
                   "diff_jit: --real goes without --disturb: without paging nothing keeps a REP from overwriting "
                   "itself, which shows when it was interrupted\n");
        return false;
    }
    if (options.jobs == 0) options.jobs = 1;
    return true;
}

int one_process(const Options& options, u64 number) {
    progress.seed = options.seed;
    clockid_t runner{};
    pthread_getcpuclockid(pthread_self(), &runner);
    std::thread(watch, runner).detach();
    if (options.disturb) std::thread(disturb, options.seed).detach();
    for (const int signal : {SIGSEGV, SIGILL, SIGBUS, SIGABRT})
        std::signal(signal, crashed);
    return Runner(options).job(number);
}

int all(const Options& options) {
    if (options.jobs == 1 || options.only) return one_process(options, 0);
    std::vector<pid_t> children;
    for (u64 n = 0; n < options.jobs; ++n) {
        const pid_t child = fork();
        if (child == 0) _exit(one_process(options, n));
        children.push_back(child);
    }
    int result = 0;
    for (const pid_t child : children) {
        int status = 0;
        waitpid(child, &status, 0);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) result = 1;
    }
    return result;
}

} // namespace
} // namespace calque::diff

int main(int argc, char** argv) {
    calque::diff::Options options;
    if (!calque::diff::parse(argc, argv, options)) return 2;
    if (!calque::diff::translator_is_comparable("diff_jit")) return 77;
    const int result = calque::diff::all(options);
    std::fflush(stdout);
    _exit(result); // The watchdog runs on.
}
