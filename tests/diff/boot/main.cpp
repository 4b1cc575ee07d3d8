// diff_boot: a guest by the interpreter and by the translator, compared as it runs.
#include "tests/diff/boot/lockstep.h"
#include "tests/diff/host.h"

#include <charconv>
#include <cstdio>

namespace calque::diff {
namespace {

constexpr char usage[] = R"(Usage: diff_boot -kernel FILE|-bios FILE [option]...
Runs a guest in two machines, one by the interpreter and one by the translator, whose time is counted in instructions, so
that both do the same. Compares the processors every slice and all memory now and then. Where they differ, runs both again
with ever smaller steps up to the unit that made the difference, and prints its guest code, intermediate form and host code.

  -kernel FILE, -initrd FILE, -append TEXT, -bios FILE, -m MIB   the guest (128 MiB, one processor, a serial port, port E9h)
  --instructions N   stop after N instructions, equal until then (default: until the guest ends)
  --slice N          instructions between comparisons of the processors, and between interrupts (10000)
  --memory-every N   slices between comparisons of memory (2000)
  --hot N            translate blocks that have been entered N times (16)
  --console          print what the guest wrote to its serial port
  --spoil N          make a subtraction of the Nth addition that is translated: to see that it is found
  --quiet            no progress
Status: 0 no difference, 1 a difference, 2 a wrong option or a guest that cannot start, 77 not this kind of host.
)";

struct Options {
    LockstepOptions lockstep;
    bool console = false;
};

bool parse(int argc, char** argv, Options& options) {
    machine::MachineConfig& machine = options.lockstep.config;
    machine.no_reboot = true;
    machine.debug_exit = machine::MachineConfig::DebugExit{0xF4, 4};
    options.lockstep.progress = true;
    u64 hot = 0, mebibytes = 128;
    for (int n = 1; n < argc; ++n) {
        const std::string_view name = argv[n];
        if (name == "--console" || name == "--quiet") {
            (name == "--console" ? options.console : options.lockstep.progress) = name == "--console";
            continue;
        }
        std::string* const text = name == "-kernel"   ? &machine.kernel
                                  : name == "-initrd" ? &machine.initrd
                                  : name == "-append" ? &machine.append
                                  : name == "-bios"   ? &machine.bios
                                                      : nullptr;
        u64* const number = name == "-m"               ? &mebibytes
                            : name == "--instructions" ? &options.lockstep.instructions
                            : name == "--slice"        ? &options.lockstep.slice
                            : name == "--memory-every" ? &options.lockstep.memory_every
                            : name == "--hot"          ? &hot
                            : name == "--spoil"        ? &options.lockstep.spoil
                                                       : nullptr;
        if ((!text && !number) || n + 1 == argc) {
            fmt::print(stderr, "diff_boot: {} {}\n{}", name, text || number ? "wants an argument" : "is not an option",
                       usage);
            return false;
        }
        const std::string_view value = argv[++n];
        if (text) {
            *text = value;
        } else if (std::from_chars(value.data(), value.data() + value.size(), *number).ptr
                       != value.data() + value.size()
                   || value.empty() || (*number == 0 && number != &options.lockstep.spoil)) {
            fmt::print(stderr, "diff_boot: {} wants a number, not '{}'\n", name, value);
            return false;
        }
    }
    if (machine.kernel.empty() && machine.bios.empty()) {
        fmt::print(stderr, "diff_boot: which -kernel, or -bios?\n{}", usage);
        return false;
    }
    machine.ram_bytes = mebibytes << 20;
    machine.translator.hot_after = static_cast<u32>(hot);
    machine.translator.verify = true;
    return true;
}

int run(const Options& options) {
    const auto report = run_lockstep(options.lockstep);
    if (!report) {
        fmt::print(stderr, "diff_boot: {}\n", report.error().message);
        return 2;
    }
    if (options.console) fmt::print("{}{}", report->console, report->debug_console);
    fmt::print("{} instructions, {} of them by {} units\n", report->instructions, report->by_units, report->units);
    if (report->equal) {
        fmt::print("No difference; {}\n", report->how_it_ended);
        return 0;
    }
    fmt::print("{}", report->difference);
    return 1;
}

} // namespace
} // namespace calque::diff

int main(int argc, char** argv) {
    calque::diff::Options options;
    if (!calque::diff::parse(argc, argv, options)) return 2;
    if (!calque::diff::translator_is_comparable("diff_boot")) return 77;
    return calque::diff::run(options);
}
