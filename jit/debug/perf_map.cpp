#include "jit/debug/perf_map.h"

#include <fmt/format.h>
#include <unistd.h>

namespace calque::jit {

PerfMap::PerfMap() : file_(std::fopen(fmt::format("/tmp/perf-{}.map", ::getpid()).c_str(), "ae")) {
    if (file_) std::setvbuf(file_.get(), nullptr, _IOLBF, 4096); // Whole lines: other vCPUs write, too.
}

void PerfMap::add(const std::byte* code, std::size_t bytes, std::string_view name) {
    if (!file_ || bytes == 0) return;
    const std::string line = fmt::format("{:x} {:x} {}\n", reinterpret_cast<std::uintptr_t>(code), bytes, name);
    std::fputs(line.c_str(), file_.get());
}

void PerfMap::add_unit(std::span<const std::byte> code, std::span<const std::byte> cold, u64 linear, bool supervisor) {
    const std::string name = fmt::format("{}_{:x}", supervisor ? "guest_kernel" : "guest", linear);
    add(code.data(), code.size(), name);
    add(cold.data(), cold.size(), name + "_seldom");
}

} // namespace calque::jit
