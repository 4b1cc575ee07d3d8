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
// To the thread sanitizer the guest's own order is nothing that the host's code may rest on (and would cost it a record
// for every word).
#if defined(CALQUE_THREAD_SANITIZER)
inline constexpr int from_guest_order = __ATOMIC_RELAXED, to_guest_order = __ATOMIC_RELAXED;
#else
inline constexpr int from_guest_order = __ATOMIC_ACQUIRE, to_guest_order = __ATOMIC_RELEASE;
#endif

// Ordered copies of any size: aligned eight bytes at a time where possible, else byte by byte.
inline void copy_bytes_from_guest(void* out, const u8* host, u64 size) {
    u8* to = static_cast<u8*>(out);
    while (size != 0) {
        if (size >= 8 && (reinterpret_cast<std::uintptr_t>(host) & 7) == 0) {
            const u64 value = __atomic_load_n(reinterpret_cast<const u64*>(host), from_guest_order);
            std::memcpy(to, &value, 8);
            to += 8, host += 8, size -= 8;
        } else {
            *to++ = __atomic_load_n(host++, from_guest_order);
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
            __atomic_store_n(reinterpret_cast<u64*>(host), value, to_guest_order);
            from += 8, host += 8, size -= 8;
        } else {
            __atomic_store_n(host++, *from++, to_guest_order);
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
            return __atomic_load_n(reinterpret_cast<const T*>(host), from_guest_order);
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
            return __atomic_store_n(reinterpret_cast<T*>(host), value, to_guest_order);
    }
    copy_bytes_to_guest(host, &value, sizeof(T));
#else
    std::memcpy(host, &value, sizeof(T));
#endif
}

// A locked access wherever it lies, over the end of a cache line too, against all other locked accesses: those of
// translated code are the host's own. Elsewhere Mmu::split_lock() has to do.
#if defined(__x86_64__)
inline constexpr bool host_locks_anywhere = true;
template <class T> inline bool compare_exchange_guest(u8* host, T& old, T value) {
    static_assert(std::is_integral_v<T> && sizeof(T) <= 8);
    // The builtins of the C++11 kind may call a library, which locks its own way.
    const T found = __sync_val_compare_and_swap(reinterpret_cast<T*>(host), old, value);
    const bool equal = found == old;
    old = found;
    return equal;
}
#else
inline constexpr bool host_locks_anywhere = false;
template <class T> bool compare_exchange_guest(u8* host, T& old, T value);
#endif

// memmove() and memset() within guest RAM: ordered with what the vCPU does before and after, but not among themselves,
// as the fast string operations are (SDM volume 3, 9.2.4). On x86-64 hosts the fences cost nothing.
#if defined(CALQUE_THREAD_SANITIZER)
template <class T> inline void move_elements(u8* to, const u8* from, u64 count) {
    for (u64 k = 0; k < count; ++k) {
        const u64 at = (to > from ? count - 1 - k : k) * sizeof(T);
        store_guest<T>(to + at, load_guest<T>(from + at));
    }
}
inline void move_within_guest(u8* to, const u8* from, u64 size) {
    const bool words =
        ((reinterpret_cast<std::uintptr_t>(to) | reinterpret_cast<std::uintptr_t>(from) | size) & 7) == 0;
    words ? move_elements<u64>(to, from, size / 8) : move_elements<u8>(to, from, size);
}
inline void fill_guest(u8* to, u8 value, u64 size) {
    for (u64 k = 0; k < size; ++k)
        store_guest<u8>(to + k, value);
}
#else
inline void move_within_guest(u8* to, const u8* from, u64 size) {
    std::atomic_thread_fence(std::memory_order_release);
    std::memmove(to, from, size);
    std::atomic_thread_fence(std::memory_order_acquire);
}
inline void fill_guest(u8* to, u8 value, u64 size) {
    std::atomic_thread_fence(std::memory_order_release);
    std::memset(to, value, size);
}
#endif

} // namespace calque::mmu
