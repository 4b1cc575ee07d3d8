// Reading and writing guest RAM from a host pointer with the guest's memory order (total store order) and atomicity: a
// naturally aligned access of up to 8 bytes is one access. On x86-64 hosts these are plain moves; elsewhere they are
// acquire loads and release stores.
#pragma once

#include "base/types.h"

#include <cstring>
#include <type_traits>

namespace calque::mmu {

template <class T> inline T load_guest(const u8* host) {
    if constexpr (sizeof(T) <= 8 && std::is_integral_v<T>) {
#if !defined(__x86_64__)
        if ((reinterpret_cast<std::uintptr_t>(host) & (sizeof(T) - 1)) == 0)
            return __atomic_load_n(reinterpret_cast<const T*>(host), __ATOMIC_ACQUIRE);
#endif
    }
    T value;
    std::memcpy(&value, host, sizeof(T));
    return value;
}

template <class T> inline void store_guest(u8* host, const T& value) {
    if constexpr (sizeof(T) <= 8 && std::is_integral_v<T>) {
#if !defined(__x86_64__)
        if ((reinterpret_cast<std::uintptr_t>(host) & (sizeof(T) - 1)) == 0)
            return __atomic_store_n(reinterpret_cast<T*>(host), value, __ATOMIC_RELEASE);
#endif
    }
    std::memcpy(host, &value, sizeof(T));
}

} // namespace calque::mmu
