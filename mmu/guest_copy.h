// Copying between guest memory and buffers: a naturally aligned 1, 2, 4 or 8 bytes are one access, as on the bus.
#pragma once

#include "mmu/guest_access.h"

namespace calque::mmu {

inline bool one_access(const u8* host, u64 size) {
    return size <= 8 && (size & (size - 1)) == 0 && (reinterpret_cast<std::uintptr_t>(host) & (size - 1)) == 0;
}

template <class T> void copy_value_from_guest(void* out, const u8* host) {
    const T value = load_guest<T>(host);
    std::memcpy(out, &value, sizeof value);
}
template <class T> void copy_value_to_guest(u8* host, const void* in) {
    T value;
    std::memcpy(&value, in, sizeof value);
    store_guest<T>(host, value);
}

inline void copy_from_guest(void* out, const u8* host, u64 size) {
    if (size == 0) return;
    if (!one_access(host, size)) return copy_bytes_from_guest(out, host, size);
    switch (size) {
    case 1: return copy_value_from_guest<u8>(out, host);
    case 2: return copy_value_from_guest<u16>(out, host);
    case 4: return copy_value_from_guest<u32>(out, host);
    default: return copy_value_from_guest<u64>(out, host);
    }
}

inline void copy_to_guest(u8* host, const void* in, u64 size) {
    if (size == 0) return;
    if (!one_access(host, size)) return copy_bytes_to_guest(host, in, size);
    switch (size) {
    case 1: return copy_value_to_guest<u8>(host, in);
    case 2: return copy_value_to_guest<u16>(host, in);
    case 4: return copy_value_to_guest<u32>(host, in);
    default: return copy_value_to_guest<u64>(host, in);
    }
}

} // namespace calque::mmu
