// Fixed-width names and the address types. A linear address is not a physical one: mixing them is a compile error.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>

namespace calque {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using i8 = std::int8_t;
using i16 = std::int16_t;
using i32 = std::int32_t;
using i64 = std::int64_t;
__extension__ typedef unsigned __int128 u128;
__extension__ typedef __int128 i128;

inline constexpr u64 page_size = 4096;
inline constexpr u64 page_offset_mask = page_size - 1;
inline constexpr unsigned page_shift = 12;

// An address of one kind. The tag keeps the kinds apart; arithmetic stays inside a kind.
template <class Tag> struct Address {
    u64 value = 0;

    constexpr Address() = default;
    constexpr explicit Address(u64 v) : value(v) {}

    constexpr auto operator<=>(const Address&) const = default; // NOLINT(modernize-use-nullptr): takes its 0 for one.
    constexpr Address operator+(u64 n) const { return Address(value + n); }
    constexpr Address operator-(u64 n) const { return Address(value - n); }
    constexpr u64 operator-(Address other) const { return value - other.value; }
    constexpr Address& operator+=(u64 n) {
        value += n;
        return *this;
    }
    constexpr Address page() const { return Address(value & ~page_offset_mask); }
    constexpr u64 page_number() const { return value >> page_shift; }
    constexpr u64 page_offset() const { return value & page_offset_mask; }
};

using LinearAddress = Address<struct LinearTag>;     // After segmentation, before paging.
using PhysicalAddress = Address<struct PhysicalTag>; // After paging: what the bus sees.

} // namespace calque
