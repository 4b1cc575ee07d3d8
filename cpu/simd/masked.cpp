// AVX loads and stores by mask, and gathers: elements whose mask bit is clear are neither read nor written and cannot
// fault.
#include "cpu/simd/forms.h"
#include "cpu/simd/rows.h"

#include <cstring>

namespace calque::cpu::simd {

namespace {

constexpr Encoding vex = Encoding::vex;
template <class T> constexpr bool selected(T mask) { return mask >> (sizeof(T) * 8 - 1); }

// Masked moves and gathers never raise #AC (SDM volume 2, VMASKMOV and VGATHER: type 6 and 12 exceptions): unaligned
// elements go byte by byte while it could be.
template <class T> bool needs_bytes(const Cpu& cpu, u64 offset) {
    return (cpu.state.rflags & flag_ac) && (offset & (sizeof(T) - 1));
}
template <class T> [[nodiscard]] bool read_element(Cpu& cpu, unsigned segment, u64 offset, T& out) {
    if (!needs_bytes<T>(cpu, offset)) [[likely]]
        return cpu.read(segment, offset, out);
    std::array<u8, sizeof(T)> bytes;
    for (std::size_t n = 0; n < bytes.size(); ++n)
        if (!cpu.read(segment, offset + n, bytes[n])) return false;
    std::memcpy(&out, bytes.data(), sizeof(T));
    return true;
}
template <class T> [[nodiscard]] bool write_element(Cpu& cpu, unsigned segment, u64 offset, const T& value) {
    if (!needs_bytes<T>(cpu, offset)) [[likely]]
        return cpu.write(segment, offset, value);
    std::array<u8, sizeof(T)> bytes;
    std::memcpy(bytes.data(), &value, sizeof(T));
    for (std::size_t n = 0; n < bytes.size(); ++n)
        if (!cpu.write(segment, offset + n, bytes[n])) return false;
    return true;
}
template <class T> [[nodiscard]] bool probe_element(Cpu& cpu, unsigned segment, u64 offset) {
    LinearAddress address;
    if (!cpu.linear(segment, offset, sizeof(T), mmu::Access::write, address)) return false;
    const u64 step = needs_bytes<T>(cpu, offset) ? 1 : sizeof(T);
    for (u64 n = 0; n < sizeof(T); n += step)
        if (!cpu.mmu.probe_write(address + n, step)) {
            cpu.raise_memory_fault(segment);
            return false;
        }
    return true;
}

template <class T, class V> Flow mask_load(Cpu& cpu, const Instruction& i) {
    if (unavailable<vex>(cpu)) return Flow::fault;
    const auto mask = lanes<T>(get<V, vex>(cpu, i.source));
    const u64 base = effective_address(cpu.state, i);
    std::array<T, mask.size()> r{};
    for (std::size_t n = 0; n < r.size(); ++n)
        if (selected(mask[n])
            && !read_element(cpu, i.segment(), (base + n * sizeof(T)) & address_mask(i.address_bytes()), r[n]))
            return Flow::fault;
    put<vex>(cpu, i.dest, vec(r));
    return Flow::next;
}

// Stores must be all or nothing: every element is probed first.
template <class T, class V> Flow mask_store(Cpu& cpu, const Instruction& i) {
    if (unavailable<vex>(cpu)) return Flow::fault;
    const auto mask = lanes<T>(get<V, vex>(cpu, i.source)), data = lanes<T>(get<V, vex>(cpu, i.third));
    const u64 base = effective_address(cpu.state, i);
    const auto at = [&](std::size_t n) { return (base + n * sizeof(T)) & address_mask(i.address_bytes()); };
    for (std::size_t n = 0; n < data.size(); ++n)
        if (selected(mask[n]) && !probe_element<T>(cpu, i.segment(), at(n))) return Flow::fault;
    for (std::size_t n = 0; n < data.size(); ++n)
        if (selected(mask[n]) && !write_element(cpu, i.segment(), at(n), data[n])) return Flow::fault;
    return Flow::next;
}
template <class T> Handler mask_moving(const Form& f) {
    if (is_ymm(f)) return f.memory(0) ? threaded<mask_store<T, Vec<32>>> : threaded<mask_load<T, Vec<32>>>;
    return f.memory(0) ? threaded<mask_store<T, Vec<16>>> : threaded<mask_load<T, Vec<16>>>;
}

// Gathers: dest, memory with a vector of indexes, mask. An element that is done has its mask cleared, so that after a
// fault the instruction goes on where it was. #UD when two of the three registers are the same.
template <class T, class Index, unsigned Count> Flow gather(Cpu& cpu, const Instruction& i) {
    if (unavailable<vex>(cpu)) return Flow::fault;
    const unsigned index_register = i.index & 15, mask_register = i.third;
    if (i.dest == mask_register || i.dest == index_register || mask_register == index_register)
        return cpu.undefined_opcode();
    auto r = lanes<T>(get<Vec<32>, vex>(cpu, i.dest));
    auto mask = lanes<T>(get<Vec<32>, vex>(cpu, mask_register));
    const auto index = lanes<Index>(get<Vec<32>, vex>(cpu, index_register));
    const u64 base = cpu.state.gpr[i.base] + static_cast<u64>(static_cast<i64>(i.displacement));
    // A fault leaves the elements before it done, with their masks clear, and all the rest as it was.
    for (unsigned n = 0; n < Count; ++n) {
        const u64 offset =
            (base + (static_cast<u64>(static_cast<i64>(index[n])) << i.scale())) & address_mask(i.address_bytes());
        if (selected(mask[n]) && !read_element(cpu, i.segment(), offset, r[n])) {
            put<vex>(cpu, i.dest, vec(r));
            put<vex>(cpu, mask_register, vec(mask));
            return Flow::fault;
        }
        mask[n] = 0;
    }
    for (unsigned n = Count; n < r.size(); ++n)
        r[n] = 0;
    put<vex>(cpu, i.dest, vec(r));
    put<vex>(cpu, mask_register, Vec<32>{});
    return Flow::next;
}

} // namespace

Handler maskmov_d(const Form& f) { return mask_moving<u32>(f); }
Handler maskmov_q(const Form& f) { return mask_moving<u64>(f); }
Handler gather_dd(const Form& f) { return is_ymm(f) ? threaded<gather<u32, i32, 8>> : threaded<gather<u32, i32, 4>>; }
Handler gather_dq(const Form& f) { return is_ymm(f) ? threaded<gather<u64, i32, 4>> : threaded<gather<u64, i32, 2>>; }
Handler gather_qd(const Form& f) { return is_ymm(f) ? threaded<gather<u32, i64, 4>> : threaded<gather<u32, i64, 2>>; }
Handler gather_qq(const Form& f) { return is_ymm(f) ? threaded<gather<u64, i64, 4>> : threaded<gather<u64, i64, 2>>; }

} // namespace calque::cpu::simd
