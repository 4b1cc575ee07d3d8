// Random encodings of each row: prefixes, opcode maps, ModRM, SIB, displacements and immediates.
#pragma once

#include "cpu/decode/decoder.h"
#include "tests/diff/random.h"

#include <array>
#include <span>
#include <vector>

namespace calque::diff {

// The fixed part of an encoding. What is not here is filled in at random.
struct Pattern {
    u8 prefix = 0;         // A mandatory or size prefix: 0, 66, F3 or F2; in VEX, pp.
    bool size_too = false; // 66 besides F2 or F3.
    bool vex = false;
    u8 map = 0; // 0: one byte; 1: 0F; 2: 0F 38; 3: 0F 3A.
    u8 opcode = 0;
    bool modrm = false;
    bool memory = false;
    bool vsib = false;
    u8 reg = 0;
    i8 rm = -1; // A register that the encoding fixes (x87), or -1.
    bool w = false, l = false;
    bool vvvv = false; // VEX.vvvv names an operand.
};

struct Encoding {
    std::array<u8, 24> bytes{}; // Immediate bytes at random past the end.
    u8 length = 0;
    u8 displacement_at = 0; // Offset of a 32-bit displacement, if has_displacement32.
    bool has_displacement32 = false;
    u8 tail_at = 0; // Offset of what follows opcode, ModRM, SIB and displacement: immediates, relative targets.
    cpu::Instruction record;
    cpu::Form form;
    const Pattern* pattern = nullptr;
    cpu::DecodeMode mode;

    std::span<const u8> code() const { return {bytes.data(), length}; }
    // Decodes anew after bytes were changed. False when that is not an instruction of the same row.
    bool decode(const cpu::Decoder& decoder);
};

class Patterns {
  public:
    // Finds every pattern of every row that is compared, by decoding each opcode of each map.
    explicit Patterns(const cpu::Decoder& decoder);

    const std::vector<Pattern>& of(u16 row) const { return by_row_[row]; }
    // Rows that have patterns.
    const std::vector<u16>& rows() const { return rows_; }

    // Every pattern that a VEX or legacy encoding can have, whatever it decodes to.
    template <class F> static void every(F visit);

  private:
    std::vector<std::vector<Pattern>> by_row_;
    std::vector<u16> rows_;
};

// The encoding with the least in it: registers 0, base RBX, no displacement.
Encoding plain_encoding(const Pattern& pattern);
// An instance at random; false when it did not decode to a row that is compared.
bool random_encoding(const Pattern& pattern, const cpu::Decoder& decoder, Random& random, Encoding& out,
                     const cpu::DecodeMode& mode = {});

template <class F> void Patterns::every(F visit) {
    const auto has_modrm = [](unsigned map, unsigned op) {
        if (map >= 2) return true;
        if (map == 1)
            return !((op >= 0x04 && op <= 0x0C && op != 0x0D) || op == 0x0E || (op >= 0x30 && op <= 0x37) || op == 0x77
                     || (op >= 0x80 && op <= 0x8F) || (op >= 0xA0 && op <= 0xA2) || (op >= 0xA8 && op <= 0xAA)
                     || (op >= 0xC8 && op <= 0xCF));
        if (op < 0x40) return (op & 7) < 4;
        return op == 0x62 || op == 0x63 || op == 0x69 || op == 0x6B || (op >= 0x80 && op <= 0x8F) || op == 0xC0
               || op == 0xC1 || (op >= 0xC4 && op <= 0xC7) || (op >= 0xD0 && op <= 0xD3) || (op >= 0xD8 && op <= 0xDF)
               || op == 0xF6 || op == 0xF7 || op == 0xFE || op == 0xFF;
    };
    const auto operands = [&](Pattern p) {
        p.modrm = has_modrm(p.map, p.opcode) && !(p.vex && p.map == 1 && p.opcode == 0x77);
        if (!p.modrm) return visit(p);
        const bool fixed = p.map == 0 ? (p.opcode & 0xF8) == 0xD8 : p.map == 1 && (p.opcode == 1 || p.opcode == 0xAE);
        for (unsigned reg = 0; reg < 8; ++reg) {
            p.reg = static_cast<u8>(reg);
            p.memory = true;
            visit(p);
            p.memory = false;
            for (int rm = fixed && !p.vex ? 0 : -1; rm < (fixed && !p.vex ? 8 : 0); ++rm) {
                p.rm = static_cast<i8>(rm);
                visit(p);
            }
            p.rm = -1;
        }
    };
    constexpr u8 prefixes[] = {0, 0x66, 0xF3, 0xF2};
    for (unsigned n = 0; n < 4u * 2 * 2 * 256; ++n) {
        Pattern p;
        p.opcode = static_cast<u8>(n);
        p.w = n >> 8 & 1;
        p.prefix = prefixes[n >> 9 & 3];
        const bool other = n >> 11 & 1;
        for (u8 map = 0; map < 4; ++map) {
            p.map = map;
            p.vex = false;
            p.size_too = other;
            if (!other || p.prefix == 0xF2 || p.prefix == 0xF3) operands(p);
            if (map == 0) continue;
            p.vex = true;
            p.size_too = false;
            p.l = other;
            operands(p);
            p.vvvv = true;
            operands(p);
            p.vvvv = p.l = false;
        }
    }
}

} // namespace calque::diff
