// SSE4.2 string comparison: PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM (SDM volume 2, 4.1).
#include "cpu/simd/forms.h"
#include "cpu/simd/rows.h"

namespace calque::cpu::simd {

namespace {

// The immediate's fields.
constexpr bool words(u8 imm) { return imm & 1; }
constexpr bool signed_lanes(u8 imm) { return imm & 2; }
enum Aggregation : unsigned { equal_any = 0, ranges = 1, equal_each = 2, equal_ordered = 3 };

struct Operand {
    std::array<i32, 16> lane{};
    unsigned valid = 0; // Lanes before the string's end.
};

Operand unpack(const Vec<16>& v, u8 imm) {
    Operand r;
    const auto b = lanes<u8>(v);
    const auto w = lanes<u16>(v);
    for (unsigned n = 0; n < (words(imm) ? 8u : 16u); ++n) {
        if (words(imm))
            r.lane[n] = signed_lanes(imm) ? static_cast<i16>(w[n]) : w[n];
        else
            r.lane[n] = signed_lanes(imm) ? static_cast<i8>(b[n]) : b[n];
    }
    return r;
}
unsigned implicit_length(const Operand& s, unsigned count) {
    unsigned n = 0;
    while (n < count && s.lane[n] != 0)
        ++n;
    return n;
}
// Explicit lengths count by absolute value and saturate at the number of lanes.
unsigned explicit_length(i64 length, unsigned count) {
    const u64 magnitude = length < 0 ? u64{0} - static_cast<u64>(length) : static_cast<u64>(length);
    return magnitude > count ? count : static_cast<unsigned>(magnitude);
}

// One bit a lane of the second operand. A pair with an invalid lane counts as the aggregation's table says (table 4-7).
u32 aggregate(const Operand& a, const Operand& b, unsigned count, u8 imm) {
    u32 result = 0;
    for (unsigned j = 0; j < count; ++j) {
        bool hit = false;
        switch (imm >> 2 & 3) {
        case equal_any:
            for (unsigned i = 0; i < a.valid && j < b.valid; ++i)
                hit |= a.lane[i] == b.lane[j];
            break;
        case ranges:
            for (unsigned i = 0; i + 1 < a.valid && j < b.valid; i += 2)
                hit |= b.lane[j] >= a.lane[i] && b.lane[j] <= a.lane[i + 1];
            break;
        case equal_each:
            if (j < a.valid && j < b.valid)
                hit = a.lane[j] == b.lane[j];
            else
                hit = j >= a.valid && j >= b.valid;
            break;
        default: // equal_ordered
            hit = true;
            for (unsigned i = 0; i < a.valid && i + j < count; ++i)
                hit &= i + j < b.valid && a.lane[i] == b.lane[i + j];
            break;
        }
        result |= u32{hit} << j;
    }
    return result;
}

template <bool Explicit, bool Index, Encoding E, bool Memory> Flow compare_strings(Cpu& cpu, const Instruction& i) {
    if (unavailable<E>(cpu)) return Flow::fault;
    const u8 imm = static_cast<u8>(i.immediate);
    Vec<16> second;
    if constexpr (Memory) {
        if (!load<false>(cpu, i, second)) return Flow::fault; // These do not ask for alignment in either encoding.
    } else {
        second = get<Vec<16>, E>(cpu, i.source);
    }
    const unsigned count = words(imm) ? 8 : 16;
    Operand a = unpack(get<Vec<16>, E>(cpu, i.dest), imm), b = unpack(second, imm);
    if constexpr (Explicit) {
        const bool wide = i.flags & insn_rex_w;
        const u64 la = cpu.state.gpr[rax], lb = cpu.state.gpr[rdx];
        a.valid = explicit_length(wide ? static_cast<i64>(la) : static_cast<i32>(la), count);
        b.valid = explicit_length(wide ? static_cast<i64>(lb) : static_cast<i32>(lb), count);
    } else {
        a.valid = implicit_length(a, count);
        b.valid = implicit_length(b, count);
    }
    u32 result = aggregate(a, b, count, imm);
    const u32 all = (1u << count) - 1;
    if (imm & 0x10) result ^= imm & 0x20 ? (1u << b.valid) - 1 : all; // Negated: all lanes, or the valid ones only.
    result &= all;
    if constexpr (Index) {
        const unsigned index = result == 0  ? count
                               : imm & 0x40 ? 31 - static_cast<unsigned>(std::countl_zero(result))
                                            : static_cast<unsigned>(std::countr_zero(result));
        cpu.state.gpr[rcx] = index;
    } else {
        Vec<16> mask{{result, 0}};
        if (imm & 0x40) {
            std::array<u8, 16> bytes{};
            const unsigned width = words(imm) ? 2 : 1;
            for (unsigned n = 0; n < 16; ++n)
                bytes[n] = result >> (n / width) & 1 ? 0xFF : 0;
            mask = vec(bytes);
        }
        put<E>(cpu, 0, mask);
    }
    cpu.state.lazy = lazy_from_bits((result ? flag_cf : 0) | (b.valid < count ? flag_zf : 0)
                                    | (a.valid < count ? flag_sf : 0) | (result & 1 ? flag_of : 0));
    return Flow::next;
}
template <bool Explicit, bool Index> Handler comparing(const Form& f) {
    return by_encoding(
        f, []<Encoding E, bool Memory>() -> Handler { return threaded<compare_strings<Explicit, Index, E, Memory>>; });
}

} // namespace

Handler pcmpestri(const Form& f) { return comparing<true, true>(f); }
Handler pcmpestrm(const Form& f) { return comparing<true, false>(f); }
Handler pcmpistri(const Form& f) { return comparing<false, true>(f); }
Handler pcmpistrm(const Form& f) { return comparing<false, false>(f); }

} // namespace calque::cpu::simd
