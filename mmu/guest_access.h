// Reading and writing guest RAM from a host pointer with the guest's memory order (total store order) and atomicity: a
// naturally aligned access of up to 8 bytes is one access. On x86-64 hosts these are plain moves; elsewhere they are
// acquire loads and release stores, and what is not aligned is ordered by fences.
#pragma once

#include "base/types.h"

#include <atomic>
#include <cstring>
#include <type_traits>

// The thread sanitizer has to see that guest memory is meant to be raced for.
#if defined(__SANITIZE_THREAD__)
#define CALQUE_THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define CALQUE_THREAD_SANITIZER 1
#endif
#endif
#if defined(CALQUE_THREAD_SANITIZER) || !defined(__x86_64__)
#define CALQUE_GUEST_ATOMICS 1
#endif

namespace calque::mmu {

#if defined(CALQUE_GUEST_ATOMICS)
// Ordered copies of any size: aligned eight bytes at a time where possible, else byte by byte.
inline void copy_bytes_from_guest(void* out, const u8* host, u64 size) {
    u8* to = static_cast<u8*>(out);
    while (size != 0) {
        if (size >= 8 && (reinterpret_cast<std::uintptr_t>(host) & 7) == 0) {
            const u64 value = __atomic_load_n(reinterpret_cast<const u64*>(host), __ATOMIC_ACQUIRE);
            std::memcpy(to, &value, 8);
            to += 8, host += 8, size -= 8;
        } else {
            *to++ = __atomic_load_n(host++, __ATOMIC_ACQUIRE);
            --size;
        }
    }
}
inline void copy_bytes_to_guest(u8* host, const void* in, u64 size) {
    const u8* from = static_cast<const u8*>(in);
    while (size != 0) {
        if (size >= 8 && (reinterpret_cast<std::uintptr_t>(host) & 7) == 0) {
            u64 value;
            std::memcpy(&value, from, 8);
            __atomic_store_n(reinterpret_cast<u64*>(host), value, __ATOMIC_RELEASE);
            from += 8, host += 8, size -= 8;
        } else {
            __atomic_store_n(host++, *from++, __ATOMIC_RELEASE);
            --size;
        }
    }
}
#else
inline void copy_bytes_from_guest(void* out, const u8* host, u64 size) { std::memcpy(out, host, size); }
inline void copy_bytes_to_guest(u8* host, const void* in, u64 size) { std::memcpy(host, in, size); }
#endif

// Orders every earlier store before every later load.
inline void full_fence() {
#if defined(CALQUE_THREAD_SANITIZER) // It knows no fences.
    static std::atomic<int> ordered{0};
    ordered.fetch_add(1);
#else
    std::atomic_thread_fence(std::memory_order_seq_cst);
#endif
}

template <class T> inline T load_guest(const u8* host) {
#if defined(CALQUE_GUEST_ATOMICS)
    if constexpr (sizeof(T) <= 8 && std::is_integral_v<T>) {
        if ((reinterpret_cast<std::uintptr_t>(host) & (sizeof(T) - 1)) == 0)
            return __atomic_load_n(reinterpret_cast<const T*>(host), __ATOMIC_ACQUIRE);
    }
    T value;
    copy_bytes_from_guest(&value, host, sizeof(T));
    return value;
#else
    T value;
    std::memcpy(&value, host, sizeof(T));
    return value;
#endif
}

template <class T> inline void store_guest(u8* host, const T& value) {
#if defined(CALQUE_GUEST_ATOMICS)
    if constexpr (sizeof(T) <= 8 && std::is_integral_v<T>) {
        if ((reinterpret_cast<std::uintptr_t>(host) & (sizeof(T) - 1)) == 0)
            return __atomic_store_n(reinterpret_cast<T*>(host), value, __ATOMIC_RELEASE);
    }
    copy_bytes_to_guest(host, &value, sizeof(T));
#else
    std::memcpy(host, &value, sizeof(T));
#endif
}

} // namespace calque::mmu
