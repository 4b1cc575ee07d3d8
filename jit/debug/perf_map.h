// /tmp/perf-PID.map: names for pieces of translated code, as `perf report` and `perf top` read them (Linux,
// tools/perf/Documentation/jit-interface.txt). One file for the process, whichever vCPU adds to it.
#pragma once

#include "base/types.h"

#include <cstddef>
#include <cstdio>
#include <memory>
#include <span>
#include <string_view>

namespace calque::jit {

class PerfMap {
  public:
    PerfMap(); // Adds to the file, if it can be written.
    bool open() const { return file_ != nullptr; }
    void add(const std::byte* code, std::size_t bytes, std::string_view name);
    // A unit: where its code runs, where what is seldom run of it does, and the guest's linear address.
    void add_unit(std::span<const std::byte> code, std::span<const std::byte> cold, u64 linear, bool supervisor);

  private:
    struct Close {
        void operator()(std::FILE* file) const { std::fclose(file); }
    };
    std::unique_ptr<std::FILE, Close> file_;
};

} // namespace calque::jit
