// calque-img: makes, looks at, checks and converts disk images.
#include "frontend/tools/commands.h"

#include <array>
#include <cstdio>

namespace {

using namespace calque;

constexpr const char* help = R"(calque-img COMMAND ...: disk images (raw, qcow2, and what NBD servers have)

  create [-q] [-f FORMAT] [-b BACKING [-F FORMAT]] [-o OPTION=VALUE,...] FILE [SIZE]
         options of qcow2: compat=0.10|1.1, cluster_size=, refcount_bits=, lazy_refcounts=on|off
  info [-f FORMAT] [-U] FILE
  check [-q] [-f FORMAT] [-U] FILE          exit status 0: good, 2: damaged, 3: leaks alone, 63: not checkable
  convert [-q] [-f FORMAT] [-O FORMAT] [-o OPTION=VALUE,...] FILE NEW
  snapshot [-q] [-l | -c NAME | -a NAME | -d NAME] FILE
  resize [-q] [-f FORMAT] [--shrink] FILE [+|-]SIZE

SIZE has an optional suffix k, M, G or T.
)";

struct Entry {
    const char* name;
    tools::Command command;
};
constexpr std::array entries{
    Entry{"create", tools::create_command},     Entry{"info", tools::info_command},
    Entry{"check", tools::check_command},       Entry{"convert", tools::convert_command},
    Entry{"snapshot", tools::snapshot_command}, Entry{"resize", tools::resize_command},
};

} // namespace

int main(int argc, char** argv) {
    const std::vector<std::string> words(argv + 1, argv + argc);
    if (words.empty() || words[0] == "--help" || words[0] == "-h" || words[0] == "help") {
        fmt::print("{}", help);
        return words.empty() ? 1 : 0;
    }
    for (const Entry& entry : entries) {
        if (words[0] != entry.name) continue;
        const auto status = entry.command({words.begin() + 1, words.end()});
        if (status) return *status;
        fmt::print(stderr, "calque-img: {}\n", status.error().message);
        return 1;
    }
    fmt::print(stderr,
               "calque-img: there is no command '{}'; there are create, info, check, convert, snapshot and "
               "resize\n",
               words[0]);
    return 1;
}
