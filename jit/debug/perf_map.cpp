#include "jit/debug/perf_map.h"

#include <fmt/format.h>
#include <unistd.h>

namespace calque::jit {

PerfMap::PerfMap() : file_(std::fopen(fmt::format("/tmp/perf-{}.map", ::getpid()).c_str(), "ae")) {
    if (file_) std::setvbuf(file_.get(), nullptr, _IOLBF, 4096); // Whole lines: other vCPUs write, too.
}

void PerfMap::add(const std::byte* code, std::size_t bytes, u64 linear, bool supervisor) {
    if (!file_ || bytes == 0) return;
    const std::string line = fmt::format("{:x} {:x} {}_{:x}\n", reinterpret_cast<std::uintptr_t>(code), bytes,
                                         supervisor ? "guest_kernel" : "guest", linear);
    std::fputs(line.c_str(), file_.get());
}

} // namespace calque::jit
