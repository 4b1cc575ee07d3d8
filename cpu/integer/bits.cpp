// BT, BTS, BTR, BTC, BSF, BSR, LZCNT, TZCNT, POPCNT, CRC32. Flags left undefined are as on AMD's Zen 4.
#include "cpu/integer/operand.h"
#include "cpu/integer/rows.h"

#include <bit>

namespace calque::cpu {

namespace {

enum class BitOp : u8 { test, set, reset, complement };

template <BitOp Op, class T> T change_bit(T a, T mask) {
    if constexpr (Op == BitOp::set) return a | mask;
    if constexpr (Op == BitOp::reset) return static_cast<T>(a & ~mask);
    if constexpr (Op == BitOp::complement) return a ^ mask;
    return a;
}

// The bit string at `offset` (a register's bit offset moved it already): bit n of the T there.
template <BitOp Op, class T> Flow bit_in_memory(Cpu& cpu, const Instruction& i, u64 offset, unsigned n) {
    bool bit = false;
    if constexpr (Op == BitOp::test) {
        T a;
        if (!cpu.read(i.segment(), offset, a)) return Flow::fault;
        bit = (a >> n) & 1;
    } else {
        const auto operation = [&](T a) {
            bit = (a >> n) & 1;
            return change_bit<Op>(a, static_cast<T>(T{1} << n));
        };
        if (!cpu.modify<T>(i.segment(), offset, i.lock(), operation)) return Flow::fault;
    }
    cpu.state.lazy = with_cf(cpu.state.lazy, bit);
    return Flow::next;
}

template <BitOp Op, class T, bool ByImmediate> Flow bit_memory(Cpu& cpu, const Instruction& i) {
    u64 offset = effective_address(cpu.state, i);
    if (ByImmediate) return bit_in_memory<Op, T>(cpu, i, offset, i.immediate & (bits_of<T> - 1));
    // SDM volume 2, BT: the register's offset is signed and reaches beyond the operand.
    const T index = cpu.gpr<T>(i.source);
    const i64 distance = static_cast<i64>(static_cast<std::make_signed_t<T>>(index)) >> std::countr_zero(bits_of<T>);
    offset = (offset + static_cast<u64>(distance) * sizeof(T)) & address_mask(i.address_bytes());
    return bit_in_memory<Op, T>(cpu, i, offset, index & (bits_of<T> - 1));
}

template <BitOp Op, class T, bool ByImmediate> Flow bit_register(Cpu& cpu, const Instruction& i) {
    const unsigned n = (ByImmediate ? i.immediate : cpu.gpr<T>(i.source)) & (bits_of<T> - 1);
    const T a = cpu.gpr<T>(i.dest);
    cpu.state.lazy = with_cf(cpu.state.lazy, (a >> n) & 1);
    if constexpr (Op != BitOp::test) cpu.set_gpr<T>(i.dest, change_bit<Op>(a, static_cast<T>(T{1} << n)));
    return Flow::next;
}

template <BitOp Op> Handler select_bit(const Form& f) {
    const bool by_immediate = f.is(1, OperandKind::immediate);
    return by_wide_size(f.size[0], [&]<class T>() -> Handler {
        if (f.memory(0)) return by_immediate ? threaded<bit_memory<Op, T, true>> : threaded<bit_memory<Op, T, false>>;
        return by_immediate ? threaded<bit_register<Op, T, true>> : threaded<bit_register<Op, T, false>>;
    });
}

// A source of zero leaves the destination as it is, all 64 bits of it.
template <bool Reverse, class T, Where S> Flow bit_scan(Cpu& cpu, const Instruction& i) {
    T a;
    if (!load<S, T>(cpu, i, i.source, a)) return Flow::fault;
    if (a == 0) {
        cpu.state.lazy = flags_logic(T{0});
        return Flow::next;
    }
    const T r = static_cast<T>(Reverse ? bits_of<T> - 1 - std::countl_zero(a) : std::countr_zero(a));
    cpu.set_gpr<T>(i.dest, r);
    cpu.state.lazy = lazy_from_bits(pf(flags_logic(r)) ? flag_pf : 0);
    return Flow::next;
}

// LZCNT and TZCNT: OF is kept, SF, AF and PF are cleared.
template <bool Leading, class T, Where S> Flow count_zeros(Cpu& cpu, const Instruction& i) {
    T a;
    if (!load<S, T>(cpu, i, i.source, a)) return Flow::fault;
    const T r = static_cast<T>(Leading ? std::countl_zero(a) : std::countr_zero(a));
    const u64 kept = of(cpu.state.lazy) ? flag_of : 0;
    cpu.set_gpr<T>(i.dest, r);
    cpu.state.lazy = lazy_from_bits(kept | (a == 0 ? flag_cf : 0) | (r == 0 ? flag_zf : 0));
    return Flow::next;
}

template <class T, Where S> Flow popcnt(Cpu& cpu, const Instruction& i) {
    T a;
    if (!load<S, T>(cpu, i, i.source, a)) return Flow::fault;
    cpu.set_gpr<T>(i.dest, static_cast<T>(std::popcount(a)));
    cpu.state.lazy = lazy_from_bits(a == 0 ? flag_zf : 0);
    return Flow::next;
}

// CRC-32C, polynomial 11EDC6F41h, bits reflected (SDM volume 2, CRC32).
struct Crc32cTable {
    u32 of_byte[256];
    constexpr Crc32cTable() : of_byte{} {
        for (u32 n = 0; n < 256; ++n) {
            u32 crc = n;
            for (int bit = 0; bit < 8; ++bit)
                crc = (crc >> 1) ^ (crc & 1 ? 0x82F63B78 : 0);
            of_byte[n] = crc;
        }
    }
};
constexpr Crc32cTable crc32c;

template <class T, Where S> Flow crc32(Cpu& cpu, const Instruction& i) {
    T a;
    if (!load<S, T>(cpu, i, i.source, a)) return Flow::fault;
    u32 crc = cpu.gpr<u32>(i.dest);
    for (unsigned n = 0; n < sizeof(T); ++n)
        crc = (crc >> 8) ^ crc32c.of_byte[(crc ^ (static_cast<u64>(a) >> (8 * n))) & 0xFF];
    cpu.set_gpr<u32>(i.dest, crc);
    return Flow::next;
}

template <bool Reverse> Handler select_scan(const Form& f) {
    return by_wide_size(f.size[0], [&]<class T>() {
        return by_where(where(f, 1), [&]<Where S>() -> Handler {
            return handler_for<S, bit_scan<Reverse, T, S>, bit_scan<Reverse, T, general(S)>>();
        });
    });
}
template <bool Leading> Handler select_count(const Form& f) {
    return by_wide_size(f.size[0], [&]<class T>() {
        return by_where(where(f, 1), [&]<Where S>() -> Handler {
            return handler_for<S, count_zeros<Leading, T, S>, count_zeros<Leading, T, general(S)>>();
        });
    });
}

} // namespace

Handler select_bt(const Form& f) { return select_bit<BitOp::test>(f); }
Handler select_bts(const Form& f) { return select_bit<BitOp::set>(f); }
Handler select_btr(const Form& f) { return select_bit<BitOp::reset>(f); }
Handler select_btc(const Form& f) { return select_bit<BitOp::complement>(f); }
Handler select_bsf(const Form& f) { return select_scan<false>(f); }
Handler select_bsr(const Form& f) { return select_scan<true>(f); }
Handler select_lzcnt(const Form& f) { return select_count<true>(f); }
Handler select_tzcnt(const Form& f) { return select_count<false>(f); }
Handler select_popcnt(const Form& f) {
    return by_wide_size(f.size[0], [&]<class T>() {
        return by_where(where(f, 1),
                        [&]<Where S>() -> Handler { return handler_for<S, popcnt<T, S>, popcnt<T, general(S)>>(); });
    });
}
Handler select_crc32(const Form& f) {
    return by_size(f.size[1], [&]<class T>() {
        return by_where(where(f, 1),
                        [&]<Where S>() -> Handler { return handler_for<S, crc32<T, S>, crc32<T, general(S)>>(); });
    });
}

} // namespace calque::cpu
