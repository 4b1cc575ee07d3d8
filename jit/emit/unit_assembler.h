// Writes units: the calls are those of asmjit's assembler, with its operands, for the instructions that units need
// beside the guest's own. asmjit finds each in tables of all there are and keeps labels, sections and relocations in
// memory of its own; here an instruction is its bytes, and all memory is kept from unit to unit.
#pragma once

#include "base/types.h"

#include <array>
#include <asmjit/asmjit.h>
#include <cstddef>
#include <cstring>
#include <span>
#include <vector>

namespace calque::jit {

namespace x86 = asmjit::x86;

// In two parts, wherever the second will be: what is often run, and after begin_cold() what is not. Offsets are from
// the start of the first. What cannot be encoded (a jump too far for its form, AH with REX) makes the unit incomplete.
class UnitAssembler {
  public:
    using Label = asmjit::Label;
    using Imm = asmjit::Imm;
    using Gp = x86::Gp;
    using Mem = x86::Mem;
    using Operand = asmjit::Operand; // A register, memory or an immediate.

    // Begins a unit that will run at `base`.
    void start(const std::byte* base);
    // What follows will run at `cold`.
    void begin_cold(const std::byte* cold);
    // The bytes of both parts; false when they are incomplete.
    bool finish(std::vector<u8>& hot, std::vector<u8>& cold);

    u32 here() const { return static_cast<u32>(at_ - first_) + part_offset_; }
    std::size_t offset() const { return here(); }
    Label newLabel() {
        places_.push_back(unbound);
        return Label(static_cast<u32>(places_.size() - 1));
    }
    void bind(const Label& label) {
        places_[label.id()] = here();
        ++touches_;
    }
    // As long as this stays the same, one register is what it was: nothing that names it has been written, no label
    // bound, nothing called. `touched()`: that something else has been, or somebody comes here from elsewhere.
    void watch(const Gp& r) { watched_ = r.id(); }
    u32 touches() const { return touches_; }
    void touched() { ++touches_; }
    template <std::size_t count> void embed(const std::array<u8, count>& bytes) {
        static_assert(count <= 16);
        u8* const to = room();
        std::memcpy(to, bytes.data(), count);
        at_ = to + count;
    }
    // For an instruction that somebody else writes; `bytes` of it then are.
    std::span<u8, 16> place_for_one() { return std::span<u8, 16>(room(), 16); }
    void embedded(unsigned bytes) { at_ += bytes; }

    // Of the next jump: 8 or 32 bits of distance. Without, one to a label that is not bound yet gets 32.
    UnitAssembler& short_() { return with(Distance::near8); }
    UnitAssembler& long_() { return with(Distance::near32); }
    // Before the next instruction.
    UnitAssembler& lock() { return with_prefix(0xF0); }
    UnitAssembler& rep() { return with_prefix(0xF3); }
    UnitAssembler& repe() { return with_prefix(0xF3); }
    UnitAssembler& repne() { return with_prefix(0xF2); }

    void jmp(const Label& to) { jump(0xE9, 0xEB, to); }
    void jmp(const Imm& address) { go_to(0xE9, address); }
    void jmp(const Mem& from) { encode(0xFF, 4, from); }
    void jmp(const Gp& to) { encode(0xFF, 4, to); }
    void call(const Imm& address) { go_to(0xE8, address); }
    void j(x86::CondCode condition, const Label& to) {
        const u32 code = static_cast<u32>(condition);
        jump(map_0f | 0x80 | code, static_cast<u8>(0x70 | code), to);
    }
    void ja(const Label& to) { j(x86::CondCode::kA, to); }
    void jae(const Label& to) { j(x86::CondCode::kAE, to); }
    void jns(const Label& to) { j(x86::CondCode::kNS, to); }
    void je(const Label& to) { j(x86::CondCode::kE, to); }
    void jz(const Label& to) { j(x86::CondCode::kE, to); }
    void jne(const Label& to) { j(x86::CondCode::kNE, to); }
    void jnz(const Label& to) { j(x86::CondCode::kNE, to); }
    void jecxz(const Gp& counter, const Label& to); // ECX or RCX.

    void mov(const Gp& to, const Gp& from) { by_size(0x89, from, to); }
    void mov(const Gp& to, const Mem& from) { by_size(0x8B, to, from); }
    void mov(const Mem& to, const Gp& from) { by_size(0x89, from, to); }
    void mov(const Gp& to, const Imm& value);
    void mov(const Mem& to, const Imm& value);
    void mov(const Gp& to, const Operand& from);
    void lea(const Gp& to, const Mem& address) { by_size(0x8D, to, address); }
    void lea(const Gp& to, const Label& label); // Its address, of 64 bits, where the unit will run.
    template <class From> void movzx(const Gp& to, const From& from) { extend(0xB6, to, from); }
    template <class From> void movsx(const Gp& to, const From& from) { extend(0xBE, to, from); }
    template <class From> void movsxd(const Gp& to, const From& from) { by_size(0x63, to, from); }
    void push(const Gp& from) { encode_register(0x50, from); }
    void pop(const Gp& to) { encode_register(0x58, to); }

    // Registers, memory and immediates as the instructions have them, with the size of the first.
    template <class A, class B> void add(const A& a, const B& b) { alu(0, a, b); }
    template <class A, class B> void or_(const A& a, const B& b) { alu(1, a, b); }
    template <class A, class B> void and_(const A& a, const B& b) { alu(4, a, b); }
    template <class A, class B> void sub(const A& a, const B& b) { alu(5, a, b); }
    template <class A, class B> void xor_(const A& a, const B& b) { alu(6, a, b); }
    template <class A, class B> void cmp(const A& a, const B& b) { alu(7, a, b); }
    // MOV, TEST and the eight arithmetic operations by asmjit's numbers for them.
    void emit(x86::Inst::Id instruction, const Operand& a, const Operand& b);
    void test(const Gp& a, const Gp& b) { by_size(0x85, b, a); }
    void test(const Mem& a, const Gp& b) { by_size(0x85, b, a); }
    void test(const Gp& a, const Imm& b);
    void test(const Mem& a, const Imm& b);
    void test(const Operand& a, const Operand& b);
    void shl(const Gp& to, unsigned count) { shift(4, to, count); }
    void shr(const Gp& to, unsigned count) { shift(5, to, count); }
    void sar(const Gp& to, unsigned count) { shift(7, to, count); }
    void shrd(const Gp& to, const Gp& from, u8 count);
    void neg(const Gp& to) { encode(size_bits(to.size()) | 0xF7, 3, to); }
    void not_(const Gp& to) { encode(size_bits(to.size()) | 0xF7, 2, to); }
    void mul(const Mem& by) { encode(size_bits(by.size()) | 0xF7, 4, by); }
    void cmova(const Gp& to, const Gp& from) { by_size(map_0f | 0x47, to, from); }
    void cmovb(const Gp& to, const Gp& from) { by_size(map_0f | 0x42, to, from); }
    void bt(const Mem& in, const Gp& bit) { by_size(map_0f | 0xA3, bit, in); }
    void bts(const Mem& in, const Gp& bit) { by_size(map_0f | 0xAB, bit, in); }
    void btr(const Mem& in, const Gp& bit) { by_size(map_0f | 0xB3, bit, in); }
    void btc(const Mem& in, const Gp& bit) { by_size(map_0f | 0xBB, bit, in); }
    void seto(const Gp& to) { encode(map_0f | 0x90 | byte_bits(to), 0, to); }
    void rorx(const Gp& to, const Gp& from, u8 count);
    void pext(const Gp& to, const Gp& from, const Mem& mask); // Addressed by one of the first eight registers alone.
    void sarx(const Gp& to, const Gp& from, const Gp& count);
    void andn(const Gp& to, const Gp& inverted, const Gp& from);

    void lahf() { embed(std::array<u8, 1>{0x9F}); }
    void sahf() { embed(std::array<u8, 1>{0x9E}); }
    void ud2() { embed(std::array<u8, 2>{0x0F, 0x0B}); }
    void gs() { embed(std::array<u8, 1>{0x65}); }        // The prefix.
    void address32() { embed(std::array<u8, 1>{0x67}); } // Likewise.
    void pause() { embed(std::array<u8, 2>{0xF3, 0x90}); }
    void lfence() { embed(std::array<u8, 3>{0x0F, 0xAE, 0xE8}); }
    void mfence() { embed(std::array<u8, 3>{0x0F, 0xAE, 0xF0}); }
    void rdtsc() { embed(std::array<u8, 2>{0x0F, 0x31}); }
    void stosb() { string(0xAA, 1); }
    void stosw() { string(0xAB, 2); }
    void stosd() { string(0xAB, 4); }
    void stosq() { string(0xAB, 8); }
    void movsb() { string(0xA4, 1); }
    void movsw() { string(0xA5, 2); }
    void movsd() { string(0xA5, 4); }
    void movsq() { string(0xA5, 8); }
    void scasb() { string(0xAE, 1); }
    void scasw() { string(0xAF, 2); }
    void scasd() { string(0xAF, 4); }
    void scasq() { string(0xAF, 8); }
    void cmpsb() { string(0xA6, 1); }
    void cmpsw() { string(0xA7, 2); }
    void cmpsd() { string(0xA7, 4); }
    void cmpsq() { string(0xA7, 8); }
    // In memory: what is addressed by one of the first eight registers alone.
    void vmovups(const x86::Vec& to, const Mem& from) { vector(0, 0x10, to, from); }
    void vmovups(const Mem& to, const x86::Vec& from) { vector(0, 0x11, from, to); }
    void vmovq(const x86::Xmm& to, const Mem& from) { vector(2, 0x7E, to, from); }
    void vpxor(const x86::Xmm& to, const x86::Xmm& a, const x86::Xmm& b);
    void fnstsw(const Gp&) { embed(std::array<u8, 2>{0xDF, 0xE0}); } // AX.
    void fldcw(const Mem& from) { encode(0xD9, 5, from); }

  private:
    // Above an opcode byte.
    enum Code : u32 {
        map_0f = 1u << 8,
        operand_16 = 1u << 9, // 66
        wide = 1u << 10,      // REX.W
        with_rex = 1u << 11,  // SPL to DIL.
        without_rex = 1u << 12,
    };
    enum class Distance : u8 { any, near8, near32 };
    static constexpr u32 unbound = ~u32{0};

    UnitAssembler& with(Distance distance) {
        distance_ = distance;
        return *this;
    }
    UnitAssembler& with_prefix(u8 prefix) {
        at_ = put(room(), prefix);
        return *this;
    }
    // Where the next instruction goes, of at most 15 bytes.
    u8* room() {
        if (end_ - at_ < 32) [[unlikely]]
            grow();
        return at_;
    }
    void grow();
    void leave_part();

    static u32 size_bits(u32 size) { return size == 8 ? u32{wide} : size == 2 ? u32{operand_16} : 0; }
    static u32 byte_bits(const Gp& r) {
        return r.size() != 1 ? 0 : r.isGpbHi() ? u32{without_rex} : r.id() >= 4 ? u32{with_rex} : 0;
    }
    static unsigned number(const Gp& r) { return r.id() + (r.isGpbHi() ? 4 : 0); }

    // An opcode that is one less for bytes, with the size of `reg`.
    template <class Rm> void by_size(u32 code, const Gp& reg, const Rm& rm) {
        const u32 size = reg.size();
        encode((size == 1 ? code - 1 : code | size_bits(size)) | byte_bits(reg), number(reg), rm);
    }
    void extend(u32 code, const Gp& to, const Gp& from) {
        encode(map_0f | (from.size() == 2 ? code + 1 : code) | size_bits(to.size()) | byte_bits(from), to.id(), from);
    }
    void extend(u32 code, const Gp& to, const Mem& from) {
        encode(map_0f | (from.size() == 2 ? code + 1 : code) | size_bits(to.size()), to.id(), from);
    }
    void alu(unsigned operation, const Gp& a, const Gp& b) { by_size(operation << 3 | 1, b, a); }
    void alu(unsigned operation, const Gp& a, const Mem& b) { by_size(operation << 3 | 3, a, b); }
    void alu(unsigned operation, const Mem& a, const Gp& b) { by_size(operation << 3 | 1, b, a); }
    void alu(unsigned operation, const Gp& a, const Imm& b);
    void alu(unsigned operation, const Mem& a, const Imm& b);
    void alu(unsigned operation, const Operand& a, const Operand& b);
    void shift(unsigned operation, const Gp& to, unsigned count);
    void string(u8 opcode, u32 size);
    void vector(u8 pp, u8 opcode, const x86::Vec& reg, const Mem& m);

    void encode(u32 code, unsigned reg, const Gp& rm) { encode_rm(code | byte_bits(rm), reg, number(rm)); }
    void encode(u32 code, unsigned reg, const Mem& rm);
    void encode_rm(u32 code, unsigned reg, unsigned rm);
    void encode_register(u8 opcode, const Gp& r); // In the opcode.
    void encode_vex(u8 map, u8 pp, u8 opcode, const Gp& reg, const Gp& vvvv, const Gp& rm);
    // These write at `to` and return what is behind: bytes are written through a pointer that lives in a register.
    u8* put_opcode(u8* to, u32 code, unsigned rex);
    static u8* put(u8* to, unsigned byte) {
        *to = static_cast<u8>(byte);
        return to + 1;
    }
    static u8* put_value(u8* to, i64 value, u32 size);
    void name(unsigned r) { touches_ += r == watched_ ? 1 : 0; }
    void append(i64 value, u32 size) { at_ = put_value(at_, value, size); } // To the instruction that was written last.
    void jump(u32 code, u8 short_opcode, const Label& to);
    void go_to(u8 opcode, const Imm& address);

    struct Part {
        std::vector<u8> bytes;
        std::size_t used = 0;
    };
    struct Fixup {
        u32 part, at; // The distance's first byte in the part; it counts from the end,
        u32 end;      // an offset.
        u32 label;
        u32 size;
    };
    void fix(const Fixup& fixup);

    std::array<Part, 2> parts_;
    u32 part_ = 0;
    u32 part_offset_ = 0;
    u64 base_ = 0;
    u8 *first_ = nullptr, *at_ = nullptr, *end_ = nullptr; // Of the part that is being written.
    Distance distance_ = Distance::any;
    bool complete_ = true;
    u32 watched_ = 16, touches_ = 0;
    std::vector<u32> places_; // By label.
    std::vector<Fixup> fixups_;
};

} // namespace calque::jit
