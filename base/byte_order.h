// Numbers in bytes, in either order: descriptors, packets, tables. The caller has seen that the bytes are there.
#pragma once

#include "base/types.h"

#include <cstddef>
#include <span>

namespace calque {

// `size` bytes, 1 to 8.
inline u64 load_little(std::span<const u8> in, std::size_t at, unsigned size) {
    u64 value = 0;
    for (unsigned i = 0; i < size; ++i)
        value |= u64{in[at + i]} << (8 * i);
    return value;
}
inline u64 load_big(std::span<const u8> in, std::size_t at, unsigned size) {
    u64 value = 0;
    for (unsigned i = 0; i < size; ++i)
        value = value << 8 | in[at + i];
    return value;
}
inline void store_little(std::span<u8> out, std::size_t at, u64 value, unsigned size) {
    for (unsigned i = 0; i < size; ++i)
        out[at + i] = static_cast<u8>(value >> (8 * i));
}
inline void store_big(std::span<u8> out, std::size_t at, u64 value, unsigned size) {
    for (unsigned i = 0; i < size; ++i)
        out[at + i] = static_cast<u8>(value >> (8 * (size - 1 - i)));
}

inline u16 little16(std::span<const u8> in, std::size_t at) { return static_cast<u16>(load_little(in, at, 2)); }
inline u32 little32(std::span<const u8> in, std::size_t at) { return static_cast<u32>(load_little(in, at, 4)); }
inline u64 little64(std::span<const u8> in, std::size_t at) { return load_little(in, at, 8); }
inline u16 big16(std::span<const u8> in, std::size_t at) { return static_cast<u16>(load_big(in, at, 2)); }
inline u32 big32(std::span<const u8> in, std::size_t at) { return static_cast<u32>(load_big(in, at, 4)); }

} // namespace calque
