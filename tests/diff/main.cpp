// diff_host: random instances of every user-level instruction, in the interpreter and on the host's own processor.
#include "tests/diff/comparison.h"
#include "tests/diff/rows.h"

#include <charconv>
#include <cstdio>
#include <fmt/format.h>
#include <map>
#include <memory>
#include <sys/wait.h>
#include <unistd.h>

namespace calque::diff {
namespace {

constexpr char usage[] = R"(Usage: diff_host [option]...
Runs random instances of every user-level instruction in the interpreter and on this machine's processor, and compares
registers, memory, flags (also those that the manuals leave undefined), vector and x87 state, and the exception taken.

  --cases N        how many cases to run (default 1000000)
  --seed S         which ones (default 1)
  --case G         only the cases of group G, as a difference's report names it
  --row NAME       only this row of the instruction table; may be given again
  --jobs J         in so many processes (default 1)
  --keep-going     go on after a difference; at the end list the rows that differ, with one example each
  --list           at the end, list the rows with the number of cases of each
  --unknown        instead: try every opcode, and list those that this machine executes and the interpreter does not;
                   a difference is one that the guest's CPU is to have
Status: 0 no difference, 1 a difference, 2 a wrong option, 77 not this kind of host.
)";

constexpr unsigned cases_in_group = 4; // States that one encoding is run with.
constexpr u64 groups_in_epoch = 8192;  // Cases that share one set of pools.

struct Options {
    u64 cases = 1'000'000, seed = 1, jobs = 1;
    std::optional<u64> only;
    std::vector<std::string> rows;
    bool keep_going = false, list = false, unknown = false;
};

class Run {
  public:
    explicit Run(const Options& options) : options_(options) {}
    int all();

  private:
    bool choose_rows(const Patterns& patterns);
    void job(u64 number);
    void group(u64 number, const Pools& pools);
    void difference(const Encoding& e, u64 group);
    int unknown();
    void summary(u64 seconds_hint);

    const Options& options_;
    Comparison comparison_;
    std::unique_ptr<Patterns> patterns_;
    std::vector<u16> rows_;
    std::vector<u64> hits_;
    std::map<u16, std::pair<u64, std::string>> failures_;
};

bool Run::choose_rows(const Patterns& patterns) {
    if (options_.rows.empty()) {
        rows_ = patterns.rows();
        return true;
    }
    for (const std::string& name : options_.rows) {
        const std::size_t before = rows_.size();
        for (const u16 row : patterns.rows())
            if (cpu::instruction_table()[row].name == name) rows_.push_back(row);
        if (rows_.size() == before) {
            fmt::print(stderr, "diff_host: no row {} is compared; --list names those that are\n", name);
            return false;
        }
    }
    return true;
}

void Run::difference(const Encoding& e, u64 group) {
    auto& [count, text] = failures_[e.record.row];
    if (count++ == 0)
        text = fmt::format("{}\n  repeat with: diff_host --seed {} --case {}{}", comparison_.report(e), options_.seed,
                           group, options_.rows.empty() ? "" : " and the same --row");
}

void Run::group(u64 number, const Pools& pools) {
    Random random(options_.seed, number);
    Encoding e;
    for (unsigned attempt = 0; attempt < 64; ++attempt) {
        const u16 row = rows_[random.below(rows_.size())];
        const auto& patterns = patterns_->of(row);
        if (!random_encoding(patterns[random.below(patterns.size())], comparison_.decoder(), random, e)) continue;
        if (!comparison_.place(e, random)) continue;
        for (unsigned n = 0; n < cases_in_group; ++n) {
            ++hits_[e.record.row];
            if (!comparison_.run(e, random, pools)) difference(e, number);
        }
        return comparison_.remove();
    }
}

void Run::job(u64 number) {
    u64 epoch = ~u64{0};
    std::unique_ptr<Pools> pools;
    const u64 groups = options_.cases / cases_in_group;
    u64 first = number, last = groups, step = options_.jobs;
    if (options_.only) first = *options_.only, last = first + 1;
    u64 shown = 0;
    for (u64 n = first; n < last; n += step) {
        if (n / groups_in_epoch != epoch) {
            epoch = n / groups_in_epoch;
            pools = std::make_unique<Pools>(options_.seed, epoch);
        }
        group(n, *pools);
        if (!failures_.empty() && !options_.keep_going) return;
        if (number == 0 && n / (5'000'000 / cases_in_group) != shown) {
            shown = n / (5'000'000 / cases_in_group);
            fmt::print("{} million cases, {} rows differ\n", n * cases_in_group / 1'000'000, failures_.size());
            std::fflush(stdout);
        }
    }
}

void Run::summary(u64) {
    u64 total = 0, never = 0;
    std::string missed;
    for (const u16 row : rows_) {
        total += hits_[row];
        const auto name = cpu::instruction_table()[row].name;
        if (options_.list) fmt::print("{:>10} {}\n", hits_[row], name);
        if (hits_[row] == 0 && !options_.only) ++never, missed += fmt::format(" {}", name);
    }
    std::string left;
    for (u16 row = 0; row < cpu::instruction_table().size(); ++row)
        if (left_out(row).empty() && patterns_->of(row).empty())
            left += fmt::format(" {}", cpu::instruction_table()[row].name);
    for (const auto& [row, failure] : failures_)
        fmt::print("\n{} differing cases of {}\n", failure.first, failure.second);
    fmt::print("{} cases of {} rows: {} rows differ\n", total, rows_.size(), failures_.size());
    if (never) fmt::print("never met:{}\n", missed);
    if (options_.list && !left.empty()) fmt::print("without a 64-bit encoding:{}\n", left);
}

// Encodings that decode to nothing here but to something on the host.
int Run::unknown() {
    std::map<std::string, unsigned> found;
    Patterns::every([&](const Pattern& p) {
        if (!p.vex && p.map == 0 && (p.opcode == 0x0F || p.opcode == 0xC4 || p.opcode == 0xC5 || p.opcode == 0x62))
            return;
        Encoding e = plain_encoding(p);
        if (comparison_.decoder().decode(e.bytes, {}, e.record, &e.form) != cpu::DecodeStatus::ok) return;
        if (!cpu::instruction_table()[e.record.row].name.empty()) return;
        if (!comparison_.host_knows(std::span(e.bytes).first(15))) return;
        std::string text = cpu::Decoder::disassemble(std::span(e.bytes).first(15), cpu::CodeSize::bits64, 0);
        std::string name = text.substr(0, text.find(' '));
        if (name == "(bad)")
            for (unsigned n = 0; n < e.tail_at; ++n)
                name += fmt::format(" {:02x}", e.bytes[n]);
        ++found[name];
    });
    int result = 0;
    for (const auto& [name, count] : found) {
        fmt::print("{}{} ({} encodings)\n", not_offered(name) ? "not offered: " : "MISSING: ", name, count);
        if (!not_offered(name)) result = 1;
    }
    return result;
}

int Run::all() {
    if (!comparison_.ok()) {
        fmt::print("diff_host: the addresses 0F000000h to 101FFFFFh are taken in this process; nothing was compared\n");
        return 77;
    }
    if (options_.unknown) return unknown();
    patterns_ = std::make_unique<Patterns>(comparison_.decoder());
    if (!choose_rows(*patterns_)) return 2;
    hits_.resize(cpu::instruction_table().size());
    std::vector<pid_t> children;
    for (u64 n = 1; n < options_.jobs; ++n) {
        std::fflush(stdout);
        const pid_t child = fork();
        if (child == 0) {
            job(n);
            for (const auto& [row, failure] : failures_)
                fmt::print("\n{} differing cases of {}\n", failure.first, failure.second);
            std::fflush(stdout);
            _exit(failures_.empty() ? 0 : 1);
        }
        children.push_back(child);
    }
    job(0);
    int result = failures_.empty() ? 0 : 1;
    for (const pid_t child : children) {
        int status = 0;
        waitpid(child, &status, 0);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) result = 1;
    }
    summary(0);
    return result;
}

bool parse(int argc, char** argv, Options& options) {
    const auto number = [](const char* text, u64& out) {
        const char* end = text + std::strlen(text);
        return std::from_chars(text, end, out).ptr == end && end != text;
    };
    for (int n = 1; n < argc; ++n) {
        const std::string_view name = argv[n];
        u64 only = 0;
        u64* value = name == "--cases"  ? &options.cases
                     : name == "--seed" ? &options.seed
                     : name == "--jobs" ? &options.jobs
                     : name == "--case" ? &only
                                        : nullptr;
        if (value) {
            if (++n == argc || !number(argv[n], *value)) {
                fmt::print(stderr, "diff_host: {} wants a number\n", name);
                return false;
            }
            if (value == &only) options.only = only;
        } else if (name == "--row" && n + 1 < argc) {
            options.rows.emplace_back(argv[++n]);
        } else if (name == "--keep-going") {
            options.keep_going = true;
        } else if (name == "--list") {
            options.list = true;
        } else if (name == "--unknown") {
            options.unknown = true;
        } else {
            fmt::print(stderr, "diff_host: {} is not an option\n{}", name, usage);
            return false;
        }
    }
    if (options.jobs == 0) options.jobs = 1;
    return true;
}

} // namespace
} // namespace calque::diff

int main(int argc, char** argv) {
    calque::diff::Options options;
    if (!calque::diff::parse(argc, argv, options)) return 2;
    __builtin_cpu_init();
    if (!__builtin_cpu_is("amd")) {
        std::puts("diff_host: what the manuals leave undefined is modelled on AMD's Zen; this is another processor");
        return 77;
    }
    return calque::diff::Run(options).all();
}
