// MOVS, STOS, LODS, CMPS, SCAS, INS, OUTS, with and without REP.
//
// A REP instruction runs in pieces: registers are committed piece by piece, so that a fault leaves it where it is to be
// restarted, and while something waits it stops with Flow::again, so that interrupts are taken. Without that it goes
// on, even when it has overwritten itself: how many pieces there are must not show. Pieces of plain memory are done
// through host pointers, clipped to pages; everything else goes element by element.
#include "cpu/integer/alu.h"
#include "cpu/integer/rows.h"

#include <algorithm>

namespace calque::cpu {

namespace {

unsigned destination_segment(const Instruction& i) { return i.mode64() ? unsigned{flat} : unsigned{es}; }
bool repeated(const Instruction& i) { return i.flags & (insn_rep | insn_repne); }
bool backwards(const Cpu& cpu) { return cpu.state.rflags & flag_df; }
bool single_steps(const Cpu& cpu) { return cpu.events.load(std::memory_order_relaxed) & event_slow; }

template <class A, class T> void advance(Cpu& cpu, unsigned number, u64 elements) {
    const u64 bytes = elements * sizeof(T);
    const u64 at = cpu.gpr<A>(number);
    cpu.set_gpr<A>(number, static_cast<A>(backwards(cpu) ? at - bytes : at + bytes));
}

// --- One element. False: an exception is pending.

template <class T, class A> struct Movs {
    static constexpr bool compares = false, reads = true, writes = true;
    static bool one(Cpu& cpu, const Instruction& i) {
        T value;
        if (!cpu.read(i.segment(), cpu.gpr<A>(rsi), value)) return false;
        if (!cpu.write(destination_segment(i), cpu.gpr<A>(rdi), value)) return false;
        advance<A, T>(cpu, rsi, 1);
        advance<A, T>(cpu, rdi, 1);
        return true;
    }
    static u64 many(Cpu& cpu, const Instruction&, const u8* from, u8* to, u64 n) {
        const u64 bytes = n * sizeof(T);
        const bool down = backwards(cpu);
        // A destination that overlaps what is still to be read sees its own writes, element after element.
        const bool feeds_itself = down ? to < from && to + bytes > from : to > from && from + bytes > to;
        if (!feeds_itself) {
            mmu::move_within_guest(to, from, bytes);
        } else {
            for (u64 k = 0; k < n; ++k) {
                const u64 at = (down ? n - 1 - k : k) * sizeof(T);
                mmu::store_guest<T>(to + at, mmu::load_guest<T>(from + at));
            }
        }
        return n;
    }
};

template <class T, class A> struct Stos {
    static constexpr bool compares = false, reads = false, writes = true;
    static bool one(Cpu& cpu, const Instruction& i) {
        if (!cpu.write<T>(destination_segment(i), cpu.gpr<A>(rdi), cpu.gpr<T>(rax))) return false;
        advance<A, T>(cpu, rdi, 1);
        return true;
    }
    static u64 many(Cpu& cpu, const Instruction&, const u8*, u8* to, u64 n) {
        const T value = cpu.gpr<T>(rax);
        if constexpr (sizeof(T) == 1) {
            mmu::fill_guest(to, value, n);
        } else {
            for (u64 k = 0; k < n; ++k)
                mmu::store_guest<T>(to + k * sizeof(T), value);
        }
        return n;
    }
};

template <class T, class A> struct Lods {
    static constexpr bool compares = false, reads = true, writes = false;
    static bool one(Cpu& cpu, const Instruction& i) {
        T value;
        if (!cpu.read(i.segment(), cpu.gpr<A>(rsi), value)) return false;
        cpu.set_gpr<T>(rax, value);
        advance<A, T>(cpu, rsi, 1);
        return true;
    }
    static u64 many(Cpu& cpu, const Instruction&, const u8* from, u8*, u64 n) {
        cpu.set_gpr<T>(rax, mmu::load_guest<T>(from + (backwards(cpu) ? 0 : n - 1) * sizeof(T)));
        return n;
    }
};

// The comparing ones stop after the element that differs (REPE) or matches (REPNE); many() tells how many it took.
template <class T, class A> struct Cmps {
    static constexpr bool compares = true, reads = true, writes = false;
    static bool one(Cpu& cpu, const Instruction& i) {
        T a, b;
        const auto read_a = [&] { return cpu.read(i.segment(), cpu.gpr<A>(rsi), a); };
        const auto read_b = [&] { return cpu.read(destination_segment(i), cpu.gpr<A>(rdi), b); };
        // Which comes first shows when both fault: rDI's, but with REP rSI's, on AMD's processors.
        if (!(repeated(i) ? read_a() && read_b() : read_b() && read_a())) return false;
        Sub::apply(cpu.state.lazy, a, b);
        advance<A, T>(cpu, rsi, 1);
        advance<A, T>(cpu, rdi, 1);
        return true;
    }
    static u64 many(Cpu& cpu, const Instruction& i, const u8* from, const u8* to, u64 n) {
        const bool down = backwards(cpu), until_equal = i.repne();
        T a{}, b{};
        u64 k = 0;
        while (k < n) {
            const u64 at = (down ? n - 1 - k : k) * sizeof(T);
            a = mmu::load_guest<T>(from + at), b = mmu::load_guest<T>(to + at);
            ++k;
            if ((a == b) == until_equal) break;
        }
        Sub::apply(cpu.state.lazy, a, b);
        return k;
    }
};

template <class T, class A> struct Scas {
    static constexpr bool compares = true, reads = false, writes = false;
    static bool one(Cpu& cpu, const Instruction& i) {
        T b;
        if (!cpu.read(destination_segment(i), cpu.gpr<A>(rdi), b)) return false;
        Sub::apply(cpu.state.lazy, cpu.gpr<T>(rax), b);
        advance<A, T>(cpu, rdi, 1);
        return true;
    }
    static u64 many(Cpu& cpu, const Instruction& i, const u8*, const u8* to, u64 n) {
        const bool down = backwards(cpu), until_equal = i.repne();
        const T a = cpu.gpr<T>(rax);
        T b{};
        u64 k = 0;
        while (k < n) {
            b = mmu::load_guest<T>(to + (down ? n - 1 - k : k) * sizeof(T));
            ++k;
            if ((a == b) == until_equal) break;
        }
        Sub::apply(cpu.state.lazy, a, b);
        return k;
    }
};

template <class T, class A> struct Ins {
    static constexpr bool compares = false;
    static bool one(Cpu& cpu, const Instruction& i) {
        const u16 port = cpu.gpr<u16>(rdx);
        if (!cpu.io_allowed(port, sizeof(T))) return false;
        // The store must not fail once the device has given its data away.
        LinearAddress linear;
        const unsigned segment = destination_segment(i);
        if (!cpu.linear(segment, cpu.gpr<A>(rdi), sizeof(T), mmu::Access::write, linear)) return false;
        if (!cpu.mmu.probe_write(linear, sizeof(T))) {
            cpu.raise_memory_fault(segment);
            return false;
        }
        const T value = static_cast<T>(cpu.platform.port_read(port, sizeof(T)));
        cpu.note_io_access(port, sizeof(T));
        if (!cpu.write<T>(segment, cpu.gpr<A>(rdi), value)) return false;
        advance<A, T>(cpu, rdi, 1);
        return true;
    }
};
template <class T, class A> struct Outs {
    static constexpr bool compares = false;
    static bool one(Cpu& cpu, const Instruction& i) {
        const u16 port = cpu.gpr<u16>(rdx);
        if (!cpu.io_allowed(port, sizeof(T))) return false;
        T value;
        if (!cpu.read(i.segment(), cpu.gpr<A>(rsi), value)) return false;
        cpu.platform.port_write(port, value, sizeof(T));
        cpu.note_io_access(port, sizeof(T));
        advance<A, T>(cpu, rsi, 1);
        return true;
    }
};

// --- Pieces.

// The lowest linear address of n elements from `offset` on, in the direction of DF, when they lie in one page and the
// segment allows them all; nothing is raised.
struct Piece {
    LinearAddress linear;
    u64 elements = 0;
};
template <class T> bool segment_allows(const Cpu& cpu, unsigned segment, u64 low, u64 bytes, bool write) {
    if (segment >= flat || cpu.mode.mode64) return true;
    const SegmentRegister& s = cpu.state.segment[segment];
    const bool checked = cpu.mode.protected_mode && !cpu.mode.vm86;
    if (checked && (!s.present() || !(write ? s.writable() : s.readable()))) return false;
    return !s.expand_down() && low + bytes - 1 <= s.limit;
}
template <class T, class A> Piece piece(Cpu& cpu, unsigned segment, unsigned number, u64 wanted, bool write) {
    const u64 offset = cpu.gpr<A>(number);
    const u64 base = segment >= flat ? 0 : cpu.state.segment[segment].base;
    const u64 in_page = (base + offset) & page_offset_mask;
    const bool down = backwards(cpu);
    // Elements up to the end of the page, or down to its start; the first must lie in it whole.
    if (in_page + sizeof(T) > page_size) return {};
    u64 n = std::min(wanted, down ? in_page / sizeof(T) + 1 : (page_size - in_page) / sizeof(T));
    // Nor may the offset wrap at the address size.
    const u64 room = down ? offset / sizeof(T) + 1 : (u64{static_cast<A>(~offset)} / sizeof(T));
    n = std::min(n, room);
    if (n == 0) return {};
    const u64 low = down ? offset - (n - 1) * sizeof(T) : offset;
    if (!segment_allows<T>(cpu, segment, low, n * sizeof(T), write)) return {};
    const u64 linear = base + low;
    return {LinearAddress(cpu.mode.mode64 ? linear : static_cast<u32>(linear)), n};
}

template <class Op, class T> constexpr bool has_pieces = requires { &Op::many; };

// As many elements as can be done at once through host pointers, up to `wanted`; 0 when the next one needs the slow
// way.
template <class Op, class T, class A> u64 do_piece(Cpu& cpu, const Instruction& i, u64 wanted) {
    constexpr bool at_rdi = Op::writes || Op::compares;
    Piece source{{}, wanted}, target{{}, wanted};
    if constexpr (Op::reads) {
        source = piece<T, A>(cpu, i.segment(), rsi, wanted, false);
        if (source.elements == 0) return 0;
    }
    if constexpr (at_rdi) {
        target = piece<T, A>(cpu, destination_segment(i), rdi, source.elements, Op::writes);
        if (target.elements == 0) return 0;
    }
    u64 n = std::min(source.elements, target.elements);
    if (Op::reads && source.elements > n) source = piece<T, A>(cpu, i.segment(), rsi, n, false);
    const u64 bytes = n * sizeof(T);
    u8* to = nullptr;
    const u8* from = nullptr;
    if constexpr (Op::reads) {
        from = cpu.mmu.host_for_read(source.linear, bytes);
        if (!from) return 0;
    }
    if constexpr (Op::writes) {
        to = cpu.mmu.host_for_write(target.linear, bytes);
        if (!to) return 0;
    } else if constexpr (at_rdi) {
        to = const_cast<u8*>(cpu.mmu.host_for_read(target.linear, bytes));
        if (!to) return 0;
    }
    n = Op::many(cpu, i, from, to, n);
    if constexpr (Op::reads) advance<A, T>(cpu, rsi, n);
    if constexpr (at_rdi) advance<A, T>(cpu, rdi, n);
    return n;
}

template <class Op> bool finished(const Cpu& cpu, const Instruction& i) {
    return Op::compares && zf(cpu.state.lazy) == i.repne();
}

template <class Op, class T, class A> Flow repeat(Cpu& cpu, const Instruction& i) {
    for (;;) {
        const u64 count = cpu.gpr<A>(rcx);
        if (count == 0) return Flow::next;
        u64 n = 0;
        if constexpr (has_pieces<Op, T>) {
            if (!single_steps(cpu)) n = do_piece<Op, T, A>(cpu, i, std::min<u64>(count, page_size));
        }
        if (n == 0) {
            if (!Op::one(cpu, i)) return Flow::fault;
            n = 1;
        }
        cpu.set_gpr<A>(rcx, static_cast<A>(count - n));
        if (count == n || finished<Op>(cpu, i)) return Flow::next;
        if (cpu.events.load(std::memory_order_relaxed) != 0) return Flow::again;
    }
}

template <template <class, class> class Op, class T, class A> Flow string(Cpu& cpu, const Instruction& i) {
    if (repeated(i)) return repeat<Op<T, A>, T, A>(cpu, i);
    return Op<T, A>::one(cpu, i) ? Flow::next : Flow::fault;
}

template <template <class, class> class Op, class T> Handler select_string_sized(const Form& f) {
    switch (f.address_size) {
    case 2: return threaded<string<Op, T, u16>>;
    case 4: return threaded<string<Op, T, u32>>;
    default: return threaded<string<Op, T, u64>>;
    }
}
// The element's size is in the opcode's lowest bit and the operand size.
template <template <class, class> class Op> Handler select_string(const Form& f) {
    return by_size(f.opcode & 1 ? f.operand_size : 1, [&]<class T>() { return select_string_sized<Op, T>(f); });
}
// Ports have at most 32 bits.
template <template <class, class> class Op> Handler select_port_string(const Form& f) {
    if (!(f.opcode & 1)) return select_string_sized<Op, u8>(f);
    return f.operand_size == 2 ? select_string_sized<Op, u16>(f) : select_string_sized<Op, u32>(f);
}

} // namespace

Handler select_movs(const Form& f) { return select_string<Movs>(f); }
Handler select_stos(const Form& f) { return select_string<Stos>(f); }
Handler select_lods(const Form& f) { return select_string<Lods>(f); }
Handler select_cmps(const Form& f) { return select_string<Cmps>(f); }
Handler select_scas(const Form& f) { return select_string<Scas>(f); }
Handler select_ins(const Form& f) { return select_port_string<Ins>(f); }
Handler select_outs(const Form& f) { return select_port_string<Outs>(f); }

} // namespace calque::cpu
