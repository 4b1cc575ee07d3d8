// XSAVE, XSAVEOPT, XSAVEC and XRSTOR (SDM volume 1, chapter 13). Components: x87, SSE, AVX and PKRU.
#include "cpu/simd/forms.h"
#include "cpu/simd/rows.h"
#include "cpu/system/xsave_layout.h"
#include "cpu/x87/environment.h"
#include "cpu/x87/stack.h"

#include <algorithm>
#include <cstring>

namespace calque::cpu::simd {

namespace {

enum class Saving : u8 { plain, optimized, compacted };

constexpr u64 bit_of(const XsaveComponent& component) { return u64{1} << component.number; }
constexpr u64 xstate_x87 = 1u << 0, xstate_sse = 1u << 1, xstate_avx = bit_of(xsave_avx),
              xstate_pkru = bit_of(xsave_pkru);
constexpr u64 xcomp_compacted = u64{1} << 63;
constexpr u64 header_offset = xsave_legacy_size, extended_offset = xsave_legacy_size + xsave_header_size;
constexpr u32 initial_mxcsr = 0x1F80;

// What FNINIT leaves: the initial configuration of the x87 component.
X87State initial_x87() {
    X87State s;
    s.control = x87::fcw_initial;
    return s;
}
bool same_x87(const X87State& a, const X87State& b) {
    for (unsigned n = 0; n < 8; ++n)
        if (a.reg[n].significand != b.reg[n].significand || a.reg[n].sign_exponent != b.reg[n].sign_exponent)
            return false;
    return a.control == b.control && a.status == b.status && a.valid == b.valid && a.opcode == b.opcode
           && a.instruction_pointer == b.instruction_pointer && a.data_pointer == b.data_pointer
           && a.instruction_selector == b.instruction_selector && a.data_selector == b.data_selector;
}

bool all_zero(const VectorRegister& r, unsigned first) { return (r.q[first] | r.q[first + 1]) == 0; }

// Components that are not in their initial configuration (13.6).
u64 in_use(const CpuState& s) {
    const X87State initial = initial_x87();
    u64 mask = same_x87(s.x87, initial) ? 0 : xstate_x87;
    for (const VectorRegister& r : s.vector) {
        if (!all_zero(r, 0)) mask |= xstate_sse;
        if (!all_zero(r, 2)) mask |= xstate_avx;
    }
    if (s.pkru != 0) mask |= xstate_pkru;
    return mask;
}

bool usable(Cpu& cpu) {
    if (!(cpu.state.cr4 & cr4_osxsave)) {
        cpu.undefined_opcode();
        return false;
    }
    if (cpu.state.cr0 & cr0_ts) {
        cpu.raise(Vector::device_not_available);
        return false;
    }
    return true;
}

// The area's address: #GP(0) unless it is a multiple of 64.
bool area_address(Cpu& cpu, const Instruction& i, mmu::Access access, u64 size, u64& offset) {
    offset = effective_address(cpu.state, i);
    LinearAddress address;
    if (!cpu.linear(i.segment(), offset, size, access, address)) return false;
    if (address.value & 63) {
        cpu.general_protection();
        return false;
    }
    if (access == mmu::Access::write && !cpu.mmu.probe_write(address, size)) {
        cpu.raise_memory_fault(i.segment());
        return false;
    }
    return true;
}

u64 requested(const Cpu& cpu) {
    const u64 mask = static_cast<u32>(cpu.state.gpr[rax]) | cpu.state.gpr[rdx] << 32;
    return mask & cpu.state.xcr0;
}

// Where a component beyond the legacy area lies: fixed in the standard format, packed in the compacted one.
u64 offset_of(const XsaveComponent& component, u64 compaction) {
    if (!(compaction & xcomp_compacted)) return component.offset;
    return xsave_compacted_size(compaction & (bit_of(component) - 1));
}
u64 area_size(u64 mask, u64 compaction) {
    u64 size = extended_offset;
    for (const XsaveComponent& c : xsave_components)
        if (mask & bit_of(c)) size = std::max(size, offset_of(c, compaction) + c.size);
    return size;
}

unsigned register_count(const Instruction& i) { return i.mode64() ? 16 : 8; }

// Part of the legacy area, from or to memory. Whoever writes has probed the area.
template <std::size_t At, std::size_t Size>
bool write_piece(Cpu& cpu, const Instruction& i, u64 base, const x87::LegacyArea& area) {
    std::array<u8, Size> piece;
    std::memcpy(piece.data(), area.data() + At, Size);
    return cpu.write(i.segment(), base + At, piece);
}
template <std::size_t At, std::size_t Size>
bool read_piece(Cpu& cpu, const Instruction& i, u64 base, x87::LegacyArea& area) {
    std::array<u8, Size> piece;
    if (!cpu.read(i.segment(), base + At, piece)) return false;
    std::memcpy(area.data() + At, piece.data(), Size);
    return true;
}

// The x87 part is in two pieces, with MXCSR between them.
constexpr std::size_t x87_registers_size = x87::legacy_xmm - x87::legacy_registers;
bool save_x87(Cpu& cpu, const Instruction& i, u64 base) {
    x87::LegacyArea area{};
    x87::save_x87(cpu, i.flags & insn_rex_w, area);
    return write_piece<0, x87::legacy_x87_bytes>(cpu, i, base, area)
           && write_piece<x87::legacy_registers, x87_registers_size>(cpu, i, base, area);
}
bool read_x87(Cpu& cpu, const Instruction& i, u64 base, x87::LegacyArea& area) {
    return read_piece<0, x87::legacy_x87_bytes>(cpu, i, base, area)
           && read_piece<x87::legacy_registers, x87_registers_size>(cpu, i, base, area);
}

bool save_mxcsr(Cpu& cpu, const Instruction& i, u64 base) {
    x87::LegacyArea area{};
    x87::save_mxcsr(cpu.state.mxcsr, area);
    return write_piece<x87::legacy_mxcsr, 8>(cpu, i, base, area);
}

bool save_xmm(Cpu& cpu, const Instruction& i, u64 base) {
    x87::LegacyArea area{};
    x87::save_xmm(cpu.state.vector, register_count(i), area);
    return i.mode64() ? write_piece<x87::legacy_xmm, 256>(cpu, i, base, area)
                      : write_piece<x87::legacy_xmm, 128>(cpu, i, base, area);
}
bool read_xmm(Cpu& cpu, const Instruction& i, u64 base, x87::LegacyArea& area) {
    return i.mode64() ? read_piece<x87::legacy_xmm, 256>(cpu, i, base, area)
                      : read_piece<x87::legacy_xmm, 128>(cpu, i, base, area);
}

bool save_avx(Cpu& cpu, const Instruction& i, u64 at) {
    for (unsigned n = 0; n < register_count(i); ++n)
        if (!cpu.write(i.segment(), at + 16 * n, Vec<16>{{cpu.state.vector[n].q[2], cpu.state.vector[n].q[3]}}))
            return false;
    return true;
}

template <Saving S> Flow save(Cpu& cpu, const Instruction& i) {
    if (!usable(cpu)) return Flow::fault;
    const u64 asked = requested(cpu);
    u64 used = in_use(cpu.state);
    if (S == Saving::compacted && cpu.state.mxcsr != initial_mxcsr) used |= xstate_sse;
    const u64 compaction = S == Saving::compacted ? asked | xcomp_compacted : 0;
    const u64 write = S == Saving::plain ? asked : asked & used;
    u64 base;
    if (!area_address(cpu, i, mmu::Access::write, area_size(write, compaction), base)) return Flow::fault;
    const unsigned seg = i.segment();
    u64 present = asked & used;
    if constexpr (S != Saving::compacted) {
        u64 before;
        if (!cpu.read(seg, base + header_offset, before)) return Flow::fault;
        present |= before & ~asked;
    }
    if (write & xstate_x87)
        if (!save_x87(cpu, i, base)) return Flow::fault;
    const bool mxcsr = S == Saving::compacted ? write & xstate_sse : asked & (xstate_sse | xstate_avx);
    if (mxcsr && !save_mxcsr(cpu, i, base)) return Flow::fault;
    if (write & xstate_sse)
        if (!save_xmm(cpu, i, base)) return Flow::fault;
    if (write & xstate_avx)
        if (!save_avx(cpu, i, base + offset_of(xsave_avx, compaction))) return Flow::fault;
    if (write & xstate_pkru)
        if (!cpu.write(seg, base + offset_of(xsave_pkru, compaction), u64{cpu.state.pkru})) return Flow::fault;
    if (!cpu.write(seg, base + header_offset, present)) return Flow::fault;
    if constexpr (S == Saving::compacted)
        if (!cpu.write(seg, base + header_offset + 8, compaction)) return Flow::fault;
    return Flow::next;
}

// The header's rules (13.8.1 and 13.8.2). False: #GP(0) or a memory fault is pending.
bool read_header(Cpu& cpu, const Instruction& i, u64 base, u64& present, u64& compaction) {
    std::array<u64, 8> header;
    for (unsigned n = 0; n < 8; ++n)
        if (!cpu.read(i.segment(), base + header_offset + 8 * n, header[n])) return false;
    present = header[0];
    compaction = header[1];
    bool good = header[2] == 0; // Bytes 23:16.
    if (compaction & xcomp_compacted) {
        const u64 listed = compaction & ~xcomp_compacted;
        good = good && !(listed & ~cpu.state.xcr0) && !(present & ~listed);
        for (unsigned n = 3; n < 8; ++n)
            good = good && header[n] == 0;
    } else {
        good = good && compaction == 0 && !(present & ~cpu.state.xcr0);
    }
    if (!good) cpu.general_protection();
    return good;
}

Flow restore(Cpu& cpu, const Instruction& i) {
    if (!usable(cpu)) return Flow::fault;
    const u64 asked = requested(cpu);
    u64 base, present, compaction;
    if (!area_address(cpu, i, mmu::Access::read, extended_offset, base)) return Flow::fault;
    if (!read_header(cpu, i, base, present, compaction)) return Flow::fault;
    const unsigned seg = i.segment();
    const bool compacted = compaction & xcomp_compacted;
    // Everything is read into a copy first, so that a fault leaves the processor as it was.
    x87::LegacyArea legacy{};
    auto vector = cpu.state.vector;
    u32 mxcsr = cpu.state.mxcsr, pkru = 0;
    if ((asked & present & xstate_x87) && !read_x87(cpu, i, base, legacy)) return Flow::fault;
    if (compacted ? asked & present & xstate_sse : asked & (xstate_sse | xstate_avx)) {
        if (!cpu.read(seg, base + x87::legacy_mxcsr, mxcsr)) return Flow::fault;
        if (mxcsr & ~x87::mxcsr_mask) return cpu.general_protection();
    } else if (compacted && (asked & xstate_sse)) {
        mxcsr = initial_mxcsr;
    }
    if ((asked & present & xstate_sse) && !read_xmm(cpu, i, base, legacy)) return Flow::fault;
    if (asked & xstate_sse) x87::load_xmm(vector, register_count(i), legacy);
    for (unsigned n = 0; (asked & xstate_avx) && n < register_count(i); ++n) {
        Vec<16> high;
        if ((present & xstate_avx) && !cpu.read(seg, base + offset_of(xsave_avx, compaction) + 16 * n, high))
            return Flow::fault;
        std::copy(high.q.begin(), high.q.end(), vector[n].q + 2);
    }
    if ((asked & present & xstate_pkru) && !cpu.read(seg, base + offset_of(xsave_pkru, compaction), pkru))
        return Flow::fault;
    if (asked & present & xstate_x87) {
        x87::load_x87(cpu, i.flags & insn_rex_w, legacy);
    } else if (asked & xstate_x87) {
        const bool ferr = cpu.state.x87.ferr;
        cpu.state.x87 = initial_x87();
        cpu.state.x87.ferr = ferr;
        x87::update_summary(cpu);
    }
    cpu.state.vector = vector;
    cpu.state.mxcsr = mxcsr;
    if (asked & xstate_pkru) {
        cpu.state.pkru = pkru;
        cpu.update_paging_context();
    }
    return Flow::next;
}

} // namespace

Handler xsave(const Form&) { return threaded<save<Saving::plain>>; }
Handler xsaveopt(const Form&) { return threaded<save<Saving::optimized>>; }
Handler xsavec(const Form&) { return threaded<save<Saving::compacted>>; }
Handler xrstor(const Form&) { return threaded<restore>; }

} // namespace calque::cpu::simd
