// The commands x, xp and print: memory and sums as numbers, memory as instructions.
#pragma once

#include "base/result.h"
#include "base/types.h"
#include "frontend/machine/inspect.h"

#include <functional>
#include <string>
#include <string_view>

namespace calque::monitor {

// "/3xg 0x1000": how many of what, and where.
struct Examine {
    unsigned count = 1; // 1 to `most`.
    char format = 'x';  // x, d, u, o, c: numbers; i: instructions; b is a size, as for QEMU.
    unsigned size = 4;  // Bytes of each number: 1, 2, 4 or 8.
    u64 address = 0;

    static constexpr unsigned most = 4096;
};

using RegisterLookup = std::function<std::optional<u64>(std::string_view)>;

// `text` is what follows the command: [/COUNT FORMAT SIZE] ADDRESS, where an address is numbers and $registers with +
// and - between them.
Result<Examine> parse_examine(std::string_view text, const RegisterLookup& registers);

// What `print` says of "[/FORMAT] SUM": the sum as 64 bits.
std::string print_value(std::string_view text, const RegisterLookup& registers);

// The lines that the command prints.
std::string examine(const Examine& what, machine::AddressSpace space, const cpu::Cpu& cpu, mmu::PhysicalMap& map);

} // namespace calque::monitor
