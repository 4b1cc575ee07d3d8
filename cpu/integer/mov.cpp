// MOV, MOVZX, MOVSX, MOVSXD, MOVBE, LEA, XLAT, BSWAP and the sign extensions of the accumulator.
#include "cpu/integer/operand.h"
#include "cpu/integer/rows.h"
#include "cpu/system/rows.h"

namespace calque::cpu {

namespace {

template <class T, Where D, Where S> Flow mov(Cpu& cpu, const Instruction& i) {
    T value;
    if (!load<S, T>(cpu, i, i.source, value)) return Flow::fault;
    return store<D, T>(cpu, i, i.dest, value) ? Flow::next : Flow::fault;
}

// A0 to A3: the offset is in the instruction.
template <class T> Flow mov_from_offset(Cpu& cpu, const Instruction& i) {
    T value;
    if (!cpu.read(i.segment(), i.immediate, value)) return Flow::fault;
    cpu.set_gpr<T>(rax, value);
    return Flow::next;
}
template <class T> Flow mov_to_offset(Cpu& cpu, const Instruction& i) {
    return cpu.write<T>(i.segment(), i.immediate, cpu.gpr<T>(rax)) ? Flow::next : Flow::fault;
}

template <class To, class From, Where S> Flow extend(Cpu& cpu, const Instruction& i) {
    From value;
    if (!load<S, From>(cpu, i, i.source, value)) return Flow::fault;
    cpu.set_gpr<std::make_unsigned_t<To>>(i.dest, static_cast<std::make_unsigned_t<To>>(static_cast<To>(value)));
    return Flow::next;
}
// Signed: To and From are signed types, so that the conversion extends the sign.
template <class To, class From, Where S> Flow extend_signed(Cpu& cpu, const Instruction& i) {
    std::make_unsigned_t<From> value;
    if (!load<S>(cpu, i, i.source, value)) return Flow::fault;
    using Out = std::make_unsigned_t<To>;
    cpu.set_gpr<Out>(i.dest, static_cast<Out>(static_cast<To>(static_cast<From>(value))));
    return Flow::next;
}

template <class T> T swapped(T v) {
    if constexpr (sizeof(T) == 2) return __builtin_bswap16(v);
    if constexpr (sizeof(T) == 4) return __builtin_bswap32(v);
    if constexpr (sizeof(T) == 8) return __builtin_bswap64(v);
    return v;
}
template <class T> Flow movbe_load(Cpu& cpu, const Instruction& i) {
    T value;
    if (!cpu.read_operand(i, value)) return Flow::fault;
    cpu.set_gpr<T>(i.dest, swapped(value));
    return Flow::next;
}
template <class T> Flow movbe_store(Cpu& cpu, const Instruction& i) {
    return cpu.write_operand<T>(i, swapped(cpu.gpr<T>(i.source))) ? Flow::next : Flow::fault;
}

// BSWAP of a 16-bit register is undefined in the manuals; processors clear it.
template <class T> Flow bswap(Cpu& cpu, const Instruction& i) {
    cpu.set_gpr<T>(i.dest, sizeof(T) == 2 ? T{0} : swapped(cpu.gpr<T>(i.dest)));
    return Flow::next;
}

template <class T> Flow lea(Cpu& cpu, const Instruction& i) {
    cpu.set_gpr<T>(i.dest, static_cast<T>(effective_address(cpu.state, i)));
    return Flow::next;
}
template <class T> Flow lea_flat(Cpu& cpu, const Instruction& i) {
    cpu.set_gpr<T>(i.dest, static_cast<T>(cpu.flat_address(i).value));
    return Flow::next;
}

Flow xlat(Cpu& cpu, const Instruction& i) {
    u8 value;
    const u64 offset = (cpu.state.gpr[rbx] + cpu.gpr<u8>(rax)) & address_mask(i.address_bytes());
    if (!cpu.read(i.segment(), offset, value)) return Flow::fault;
    cpu.set_gpr<u8>(rax, value);
    return Flow::next;
}

// CBW, CWDE, CDQE: the accumulator's lower half over the whole.
template <class To, class From> Flow extend_accumulator(Cpu& cpu, const Instruction&) {
    using Out = std::make_unsigned_t<To>;
    cpu.set_gpr<Out>(rax,
                     static_cast<Out>(static_cast<To>(static_cast<From>(cpu.gpr<std::make_unsigned_t<From>>(rax)))));
    return Flow::next;
}
// CWD, CDQ, CQO: the accumulator's sign all over rDX.
template <class T> Flow sign_to_rdx(Cpu& cpu, const Instruction&) {
    cpu.set_gpr<T>(rdx, top_bit(cpu.gpr<T>(rax)) ? static_cast<T>(~T{0}) : T{0});
    return Flow::next;
}

bool has(const Form& f, OperandKind kind) { return f.is(0, kind) || f.is(1, kind); }

template <class T> Handler select_mov_sized(const Form& f) {
    const Where d = where(f, 0), s = where(f, 1);
    if (d == Where::reg) {
        switch (s) {
        case Where::reg: return threaded<mov<T, Where::reg, Where::reg>>;
        case Where::mem: return threaded<mov<T, Where::reg, Where::mem>>;
        case Where::flat: return threaded_or<mov<T, Where::reg, Where::flat>, mov<T, Where::reg, Where::mem>>;
        case Where::imm: return threaded<mov<T, Where::reg, Where::imm>>;
        }
    }
    if (d == Where::flat)
        return s == Where::imm ? threaded_or<mov<T, Where::flat, Where::imm>, mov<T, Where::mem, Where::imm>>
                               : threaded_or<mov<T, Where::flat, Where::reg>, mov<T, Where::mem, Where::reg>>;
    return s == Where::imm ? threaded<mov<T, Where::mem, Where::imm>> : threaded<mov<T, Where::mem, Where::reg>>;
}

template <bool Signed, class To, class From> Handler extend_handler(const Form& f) {
    return by_where(where(f, 1), [&]<Where S>() -> Handler {
        if constexpr (Signed)
            return handler_for<S, extend_signed<To, From, S>, extend_signed<To, From, general(S)>>();
        else
            return handler_for<S, extend<To, From, S>, extend<To, From, general(S)>>();
    });
}

} // namespace

Handler select_mov(const Form& f) {
    if (has(f, OperandKind::segment)) return select_mov_segment(f);
    if (has(f, OperandKind::control)) return select_mov_control(f);
    if (has(f, OperandKind::debug)) return select_mov_debug(f);
    const bool offset = (f.opcode & 0xFC) == 0xA0 && f.any_memory();
    return by_size(f.size[0], [&]<class T>() -> Handler {
        if (offset) return f.memory(0) ? threaded<mov_to_offset<T>> : threaded<mov_from_offset<T>>;
        return select_mov_sized<T>(f);
    });
}

Handler select_movzx(const Form& f) {
    return by_wide_size(f.size[0], [&]<class T>() -> Handler {
        if (f.size[1] == 1) return extend_handler<false, T, u8>(f);
        return extend_handler<false, T, u16>(f);
    });
}
Handler select_movsx(const Form& f) {
    return by_wide_size(f.size[0], [&]<class T>() -> Handler {
        using To = std::make_signed_t<T>;
        if (f.size[1] == 1) return extend_handler<true, To, i8>(f);
        return extend_handler<true, To, i16>(f);
    });
}
// Without REX.W it is a MOV of its operand size.
Handler select_movsxd(const Form& f) {
    if (f.size[0] == 8) return extend_handler<true, i64, i32>(f);
    if (f.size[0] == 4) return select_mov_sized<u32>(f);
    return extend_handler<false, u16, u32>(f); // 32 bits are read (AMD; Intel's manual has 16).
}
Handler select_movbe(const Form& f) {
    return by_wide_size(f.size[0], [&]<class T>() -> Handler {
        return f.memory(0) ? threaded<movbe_store<T>> : threaded<movbe_load<T>>;
    });
}
Handler select_bswap(const Form& f) {
    return by_wide_size(f.size[0], [&]<class T>() -> Handler { return threaded<bswap<T>>; });
}
Handler select_lea(const Form& f) {
    if (!f.memory(1)) return nullptr;
    return by_wide_size(f.size[0],
                        [&]<class T>() -> Handler { return f.flat ? threaded<lea_flat<T>> : threaded<lea<T>>; });
}
Handler select_xlat(const Form&) { return threaded<xlat>; }
Handler select_cbw(const Form&) { return threaded<extend_accumulator<i16, i8>>; }
Handler select_cwde(const Form&) { return threaded<extend_accumulator<i32, i16>>; }
Handler select_cdqe(const Form&) { return threaded<extend_accumulator<i64, i32>>; }
Handler select_cwd(const Form&) { return threaded<sign_to_rdx<u16>>; }
Handler select_cdq(const Form&) { return threaded<sign_to_rdx<u32>>; }
Handler select_cqo(const Form&) { return threaded<sign_to_rdx<u64>>; }

} // namespace calque::cpu
