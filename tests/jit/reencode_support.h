// What the tests of the re-encoder share.
#pragma once

#include "jit/emit/reencode.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <random>
#include <string>
#include <vector>

namespace calque::jit::test {

using Bytes = std::vector<u8>;
using Random = std::mt19937_64;

inline Bytes encode(const ParsedInstruction& p, const HostOperands& host) {
    std::array<u8, 16> out;
    out.fill(0xCC);
    const unsigned length = encode_instruction(p, host, out);
    EXPECT_LE(length, 15u);
    return Bytes(out.begin(), out.begin() + length);
}

inline std::string hex(std::span<const u8> bytes) {
    std::string out;
    for (const u8 byte : bytes)
        out += fmt::format("{:02x} ", byte);
    return out;
}

// Bytes that are likely to be an instruction: any prefixes in any order, any map, any ModRM and SIB.
inline std::array<u8, 24> random_instruction(Random& random, bool code64) {
    static constexpr u8 prefixes[] = {0x66, 0xF2, 0xF3, 0x67, 0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65, 0xF0, 0x48};
    std::array<u8, 24> bytes;
    for (u8& byte : bytes)
        byte = static_cast<u8>(random());
    std::size_t at = 0;
    const bool vex = random() % 3 == 0;
    for (unsigned n = random() % 4; n > 0; --n) {
        const u8 prefix = prefixes[random() % std::size(prefixes)];
        if ((code64 || prefix != 0x48) && (!vex || (prefix & 0xFC) == 0x64)) bytes[at++] = prefix;
    }
    if (vex) {
        bytes[at] = random() % 4 ? 0xC4 : 0xC5;
        const bool short_form = bytes[at++] == 0xC5;
        if (!code64) bytes[at] |= 0xC0;
        if (!short_form) {
            bytes[at] = static_cast<u8>((bytes[at] & 0xE0) | (1 + random() % 3));
            ++at;
        }
        if (random() % 2) bytes[at] |= 0x78; // vvvv unused.
        if (random() % 2) bytes[at] = static_cast<u8>((bytes[at] & ~3) | 1);
        return bytes;
    }
    if (code64 && random() % 2) bytes[at++] = static_cast<u8>(0x40 | random() % 16);
    const unsigned map = random() % 4;
    if (map > 0) bytes[at++] = 0x0F;
    if (map > 1) bytes[at++] = map == 2 ? 0x38 : 0x3A;
    return bytes;
}

} // namespace calque::jit::test
