// What the handlers of system instructions share. Included by cpu/system/*.cpp only.
#pragma once

#include "cpu/cpu.h"
#include "cpu/threaded.h"

namespace calque::cpu {

inline bool privileged(const Cpu& cpu) { return cpu.mode.cpl == 0; }
inline bool vendor_is_amd(const Cpu& cpu) { return cpu.model.vendor == "AuthenticAMD"; }
inline u8 iopl(const CpuState& s) { return (s.rflags >> 12) & 3; }

// Writes a result of `size` bytes to a register by the encoding's rules.
inline void set_gpr_sized(Cpu& cpu, unsigned n, u64 value, unsigned size) {
    switch (size) {
    case 1: cpu.set_gpr<u8>(n, static_cast<u8>(value)); break;
    case 2: cpu.set_gpr<u16>(n, static_cast<u16>(value)); break;
    case 4: cpu.set_gpr<u32>(n, static_cast<u32>(value)); break;
    default: cpu.set_gpr<u64>(n, value); break;
    }
}
// Calls f(T{}) with the unsigned type of that size.
template <class F> auto with_size(unsigned size, F f) {
    switch (size) {
    case 1: return f(u8{});
    case 2: return f(u16{});
    case 4: return f(u32{});
    default: return f(u64{});
    }
}
[[nodiscard]] inline bool push_sized(Cpu& cpu, u64 value, unsigned size) {
    return with_size(size, [&](auto t) { return cpu.push(static_cast<decltype(t)>(value)); });
}

} // namespace calque::cpu
