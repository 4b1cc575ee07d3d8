// The memory formats of x87 operands: what FLD and FST move.
#pragma once

#include "base/types.h"
#include "cpu/fp/f80.h"

#include <array>
#include <cstring>

namespace calque::cpu::x87 {

using Tbyte = std::array<u8, 10>;

inline fp::F80 from_tbyte(const Tbyte& bytes) {
    fp::F80 value;
    value.significand = value.sign_exponent = 0;
    for (unsigned n = 0; n < 8; ++n)
        value.significand |= u64{bytes[n]} << (8 * n);
    value.sign_exponent = static_cast<u16>(bytes[8] | bytes[9] << 8);
    return value;
}
inline Tbyte to_tbyte(fp::F80 value) {
    Tbyte bytes;
    for (unsigned n = 0; n < 8; ++n)
        bytes[n] = static_cast<u8>(value.significand >> (8 * n));
    bytes[8] = static_cast<u8>(value.sign_exponent);
    bytes[9] = static_cast<u8>(value.sign_exponent >> 8);
    return bytes;
}

// Little-endian fields of the environment and FXSAVE images.
template <class T, std::size_t N> inline void set_field(std::array<u8, N>& image, std::size_t at, T value) {
    for (std::size_t n = 0; n < sizeof(T); ++n)
        image[at + n] = static_cast<u8>(static_cast<u64>(value) >> (8 * n));
}
template <class T, std::size_t N> inline T get_field(const std::array<u8, N>& image, std::size_t at) {
    u64 value = 0;
    for (std::size_t n = 0; n < sizeof(T); ++n)
        value |= u64{image[at + n]} << (8 * n);
    return static_cast<T>(value);
}
template <std::size_t N> inline void set_register(std::array<u8, N>& image, std::size_t at, fp::F80 value) {
    set_field(image, at, value.significand);
    set_field(image, at + 8, value.sign_exponent);
}
template <std::size_t N> inline fp::F80 get_register(const std::array<u8, N>& image, std::size_t at) {
    return fp::F80{get_field<u64>(image, at), get_field<u16>(image, at + 8)};
}

} // namespace calque::cpu::x87
