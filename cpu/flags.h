// The flag formulas: how results become RFLAGS, and back (SDM volume 1, 3.4.3.1).
#pragma once

#include "cpu/state.h"

namespace calque::cpu {

inline constexpr u64 lazy_cf = u64{1} << 63, lazy_carry_in = u64{1} << 62, lazy_af = 1u << 3, lazy_sf_flip = 1u << 0;
inline constexpr unsigned lazy_pf_shift = 8;
inline constexpr u64 lazy_carry_mask = lazy_cf | lazy_carry_in | lazy_af;

template <class T> constexpr unsigned bit_width_of = sizeof(T) * 8;

// Carries as LazyFlags has them, from an adder's carry-out vector of a T-sized operation.
template <class T> constexpr u64 lazy_carries(u64 vector) {
    return ((vector << (64 - bit_width_of<T>)) & (lazy_cf | lazy_carry_in)) | (vector & lazy_af);
}
template <class T> constexpr u64 lazy_result(T r) {
    return static_cast<u64>(static_cast<i64>(static_cast<std::make_signed_t<T>>(r)));
}

// a + b (+ carry) = r: every carry out of a bit position.
template <class T> constexpr LazyFlags flags_add(T a, T b, T r) {
    const u64 x = a, y = b, z = r;
    return {lazy_result(r), lazy_carries<T>((x & y) | ((x | y) & ~z))};
}
// a - b (- borrow) = r: every borrow out of a bit position.
template <class T> constexpr LazyFlags flags_sub(T a, T b, T r) {
    const u64 x = a, y = b, z = r;
    return {lazy_result(r), lazy_carries<T>((~x & y) | ((~x | y) & z))};
}
// AND, OR, XOR, TEST: CF and OF cleared; AF, undefined in the manual, is cleared by every known processor.
template <class T> constexpr LazyFlags flags_logic(T r) { return {lazy_result(r), 0}; }

constexpr bool cf(const LazyFlags& f) { return f.carries >> 63; }
constexpr bool of(const LazyFlags& f) { return ((f.carries >> 63) ^ (f.carries >> 62)) & 1; }
constexpr bool af(const LazyFlags& f) { return (f.carries >> 3) & 1; }
constexpr bool zf(const LazyFlags& f) { return f.result == 0; }
constexpr bool sf(const LazyFlags& f) { return ((f.result >> 63) ^ f.carries) & 1; }
constexpr bool pf(const LazyFlags& f) {
    u64 byte = (f.result ^ (f.carries >> lazy_pf_shift)) & 0xFF;
    byte ^= byte >> 4;
    return (0x9669u >> (byte & 0xF)) & 1;
}

// The six arithmetic flags as RFLAGS bits.
constexpr u64 arithmetic_bits(const LazyFlags& f) {
    return (cf(f) ? flag_cf : 0) | (pf(f) ? flag_pf : 0) | (af(f) ? flag_af : 0) | (zf(f) ? flag_zf : 0)
           | (sf(f) ? flag_sf : 0) | (of(f) ? flag_of : 0);
}
// The lazy form of six given flags: any combination, also those that no result has (ZF with SF).
constexpr LazyFlags lazy_from_bits(u64 flags) {
    LazyFlags f;
    f.result = flags & flag_zf ? 0 : 1; // Even parity: PF would be 1 for 0, 0 for 1.
    const bool natural_pf = flags & flag_zf;
    f.carries = (flags & flag_cf ? lazy_cf : 0)
                | (((flags & flag_cf) != 0) != ((flags & flag_of) != 0) ? lazy_carry_in : 0)
                | (flags & flag_af ? lazy_af : 0) | (flags & flag_sf ? lazy_sf_flip : 0)
                | (natural_pf != ((flags & flag_pf) != 0) ? u64{1} << lazy_pf_shift : 0);
    return f;
}
// `f` with only CF replaced (INC, DEC and the shifts keep or set it alone); OF stays.
constexpr LazyFlags with_cf(LazyFlags f, bool carry) {
    const u64 change = (f.carries >> 63) ^ u64 { carry };
    f.carries ^= change ? lazy_cf | lazy_carry_in : 0;
    return f;
}

inline u64 read_rflags(const CpuState& s) { return s.rflags | arithmetic_bits(s.lazy); }
inline void write_rflags(CpuState& s, u64 value) {
    s.lazy = lazy_from_bits(value);
    s.rflags = (value & ~arithmetic_flags) | flag_one;
}

// Condition codes as the low four bits of Jcc, SETcc and CMOVcc have them (SDM volume 1, appendix B).
template <unsigned Condition> constexpr bool condition(const LazyFlags& f) {
    constexpr unsigned base = Condition >> 1;
    bool holds = false;
    if constexpr (base == 0) holds = of(f);
    if constexpr (base == 1) holds = cf(f);
    if constexpr (base == 2) holds = zf(f);
    if constexpr (base == 3) holds = cf(f) || zf(f);
    if constexpr (base == 4) holds = sf(f);
    if constexpr (base == 5) holds = pf(f);
    if constexpr (base == 6) holds = sf(f) != of(f);
    if constexpr (base == 7) holds = zf(f) || sf(f) != of(f);
    return holds != static_cast<bool>(Condition & 1);
}

} // namespace calque::cpu
