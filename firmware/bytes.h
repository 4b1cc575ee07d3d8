// Little-endian bytes: building tables and reading fields of untrusted images.
#pragma once

#include "base/byte_order.h"
#include "base/types.h"

#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace calque::firmware {

inline void append(std::vector<u8>& out, u64 value, unsigned size) {
    for (unsigned i = 0; i < size; ++i)
        out.push_back(static_cast<u8>(value >> (8 * i)));
}
// By bytes: these are small, and g++ 12 sees a false overflow in the inlined vector::insert.
inline void append(std::vector<u8>& out, std::string_view text) {
    for (const char letter : text)
        out.push_back(static_cast<u8>(letter));
}
inline void append(std::vector<u8>& out, std::span<const u8> bytes) {
    for (const u8 byte : bytes)
        out.push_back(byte);
}

// `text` cut or padded with `fill` to `width` bytes.
inline void append_fixed(std::vector<u8>& out, std::string_view text, std::size_t width, char fill) {
    for (std::size_t i = 0; i < width; ++i)
        out.push_back(static_cast<u8>(i < text.size() ? text[i] : fill));
}

// Overwrites `size` bytes that are already there.
inline void store(std::span<u8> out, std::size_t offset, u64 value, unsigned size) {
    store_little(out, offset, value, size);
}

inline u64 load(std::span<const u8> in, std::size_t offset, unsigned size) { return load_little(in, offset, size); }

// The part [offset, offset + size) of an image, or nothing when it does not lie wholly inside. Any values are allowed.
inline std::optional<std::span<const u8>> part(std::span<const u8> in, u64 offset, u64 size) {
    if (offset > in.size() || size > in.size() - offset) return std::nullopt;
    return in.subspan(offset, size);
}

inline u8 sum(std::span<const u8> bytes) {
    u8 total = 0;
    for (const u8 byte : bytes)
        total = static_cast<u8>(total + byte);
    return total;
}

inline std::span<const u8> as_bytes(std::string_view text) {
    return {reinterpret_cast<const u8*>(text.data()), text.size()};
}

} // namespace calque::firmware
