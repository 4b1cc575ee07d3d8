// A vector value of 8, 16 or 32 bytes, and lane-wise operations on it. Plain loops over lanes: the compiler vectorises
// them on any host.
#pragma once

#include "base/types.h"

#include <array>
#include <bit>
#include <limits>

namespace calque::cpu::simd {

template <unsigned Bytes> struct Vec {
    static constexpr unsigned bytes = Bytes;
    std::array<u64, Bytes / 8> q{};
};

template <class T, unsigned B> constexpr unsigned lane_count = B / sizeof(T);

template <class T, unsigned B> std::array<T, B / sizeof(T)> lanes(const Vec<B>& v) {
    return std::bit_cast<std::array<T, B / sizeof(T)>>(v);
}
template <class T, std::size_t N> Vec<N * sizeof(T)> vec(const std::array<T, N>& lanes) {
    return std::bit_cast<Vec<N * sizeof(T)>>(lanes);
}

// r[i] = f(a[i])
template <class T, class V, class F> V map(const V& a, F f) {
    auto x = lanes<T>(a);
    for (auto& lane : x)
        lane = static_cast<T>(f(lane));
    return vec(x);
}
// r[i] = f(a[i], b[i])
template <class T, class V, class F> V map(const V& a, const V& b, F f) {
    auto x = lanes<T>(a);
    const auto y = lanes<T>(b);
    for (std::size_t i = 0; i < x.size(); ++i)
        x[i] = static_cast<T>(f(x[i], y[i]));
    return vec(x);
}

// Most 256-bit operations are two 128-bit ones side by side: f(low halves), f(high halves). 64- and 128-bit vectors
// pass through.
template <class V, class F> V by_half(const V& a, const V& b, F f) {
    if constexpr (V::bytes < 32) {
        return f(a, b);
    } else {
        const auto low = f(Vec<16>{{a.q[0], a.q[1]}}, Vec<16>{{b.q[0], b.q[1]}});
        const auto high = f(Vec<16>{{a.q[2], a.q[3]}}, Vec<16>{{b.q[2], b.q[3]}});
        return V{{low.q[0], low.q[1], high.q[0], high.q[1]}};
    }
}

// Clamps to the range of T.
template <class T> constexpr T saturate(i64 value) {
    constexpr i64 low = std::numeric_limits<T>::min(), high = static_cast<i64>(std::numeric_limits<T>::max());
    return static_cast<T>(value < low ? low : value > high ? high : value);
}

} // namespace calque::cpu::simd
