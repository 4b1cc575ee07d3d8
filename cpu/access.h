// The inline part of Cpu's memory access. Included by cpu/cpu.h only.
#pragma once

#include "cpu/cpu.h"

namespace calque::cpu {

template <class T> inline bool Cpu::read(unsigned segment, u64 offset, T& out) {
    LinearAddress address;
    if (!linear(segment, offset, sizeof(T), mmu::Access::read, address)) return false;
    if (!mmu.load(address, out)) [[unlikely]] {
        raise_memory_fault(segment);
        return false;
    }
    if (state.dr[7] & 0xFF) [[unlikely]]
        note_data_access(address, sizeof(T), false);
    return true;
}

template <class T> inline bool Cpu::read_flat(const Instruction& i, T& out) {
    if (mmu.load(flat_address(i), out)) [[likely]]
        return true;
    raise_memory_fault(i.segment());
    return false;
}
template <class T> inline bool Cpu::write_flat(const Instruction& i, const T& value) {
    if (mmu.store(flat_address(i), value)) [[likely]]
        return true;
    raise_memory_fault(i.segment());
    return false;
}

template <class T> inline bool Cpu::try_load(LinearAddress address, T& out) const {
    const mmu::TlbView& view = mmu.view(mmu::Privilege::current);
    const mmu::TlbEntry& entry = view.entry(address.value);
    if (!mmu::tlb_hit(entry.read_tag, address.value, sizeof(T))) [[unlikely]]
        return false;
    out = mmu::load_guest<T>(reinterpret_cast<const u8*>(entry.host + (address.value ^ entry.read_tag)));
    return true;
}
template <class T> inline bool Cpu::try_store(LinearAddress address, const T& value) {
    u8* const host = try_host_for_write(address, sizeof(T));
    if (!host) [[unlikely]]
        return false;
    mmu::store_guest<T>(host, value);
    return true;
}
inline u8* Cpu::try_host_for_write(LinearAddress address, unsigned size) {
    const mmu::TlbView& view = mmu.view(mmu::Privilege::current);
    const mmu::TlbEntry& entry = view.entry(address.value);
    if (!mmu::tlb_hit(entry.write_tag, address.value, size)) [[unlikely]]
        return nullptr;
    return reinterpret_cast<u8*>(entry.host + (address.value ^ entry.write_tag));
}

template <class T> inline bool Cpu::write(unsigned segment, u64 offset, const T& value) {
    LinearAddress address;
    if (!linear(segment, offset, sizeof(T), mmu::Access::write, address)) return false;
    if (!mmu.store(address, value)) [[unlikely]] {
        raise_memory_fault(segment);
        return false;
    }
    if (state.dr[7] & 0xFF) [[unlikely]]
        note_data_access(address, sizeof(T), true);
    return true;
}

#ifdef __clang__ // It warns that 16 bytes (CMPXCHG16B) go through libatomic, which is what keeps this portable.
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Watomic-alignment"
#endif
template <class T, class F> inline bool Cpu::modify(unsigned segment, u64 offset, bool locked, F operation) {
    LinearAddress address;
    if (!linear(segment, offset, sizeof(T), mmu::Access::write, address)) return false;
    if (u8* host = mmu.host_for_write(address, sizeof(T))) [[likely]] {
        if (!locked) {
            mmu::store_guest<T>(host, operation(mmu::load_guest<T>(host)));
        } else if ((reinterpret_cast<std::uintptr_t>(host) & (sizeof(T) - 1)) == 0) {
            T* cell = reinterpret_cast<T*>(host);
            T old = __atomic_load_n(cell, __ATOMIC_RELAXED);
            while (
                !__atomic_compare_exchange_n(cell, &old, operation(old), false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) {
            }
        } else if constexpr (mmu::host_locks_anywhere && sizeof(T) <= 8) {
            T old = mmu::load_guest<T>(host);
            while (!mmu::compare_exchange_guest<T>(host, old, operation(old))) {
            }
        } else {
            std::lock_guard bus(mmu.split_lock());
            mmu::store_guest<T>(host, operation(mmu::load_guest<T>(host)));
        }
    } else {
        if (mmu.fault().kind != mmu::Fault::Kind::none) {
            raise_memory_fault(segment);
            return false;
        }
        std::unique_lock<std::mutex> bus;
        if (locked) bus = std::unique_lock(mmu.split_lock());
        T old;
        if (!mmu.probe_write(address, sizeof(T)) || !mmu.load(address, old) || !mmu.store(address, operation(old))) {
            raise_memory_fault(segment);
            return false;
        }
    }
    if (state.dr[7] & 0xFF) [[unlikely]]
        note_data_access(address, sizeof(T), true);
    return true;
}
#ifdef __clang__
#pragma clang diagnostic pop
#endif

template <class T> inline bool Cpu::read_system(u64 address, T& out) {
    if (mmu.load(LinearAddress(address), out, mmu::Privilege::system)) [[likely]]
        return true;
    raise_memory_fault(flat);
    return false;
}
template <class T> inline bool Cpu::write_system(u64 address, const T& value) {
    if (mmu.store(LinearAddress(address), value, mmu::Privilege::system)) [[likely]]
        return true;
    raise_memory_fault(flat);
    return false;
}

} // namespace calque::cpu
