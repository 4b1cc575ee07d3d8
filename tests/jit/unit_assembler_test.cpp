// UnitAssembler beside asmjit's assembler: the same calls give the same bytes.
#include "jit/emit/unit_assembler.h"

#include <gtest/gtest.h>

namespace calque::jit {
namespace {

constexpr u64 base = 0x7000'0000;

std::vector<u8> bytes_of(UnitAssembler& a) {
    std::vector<u8> hot, cold;
    EXPECT_TRUE(a.finish(hot, cold));
    hot.insert(hot.end(), cold.begin(), cold.end());
    return hot;
}

const std::byte* place(u64 address) { return reinterpret_cast<const std::byte*>(address); }

// `emit` writes the same with either.
template <class F> void expect_same(F emit, int line) {
    asmjit::CodeHolder code;
    code.init(asmjit::Environment::host(), base);
    x86::Assembler theirs(&code);
    emit(theirs);
    const auto& buffer = code.textSection()->buffer();
    UnitAssembler ours;
    ours.start(place(base));
    emit(ours);
    EXPECT_EQ(bytes_of(ours), std::vector<u8>(buffer.data(), buffer.data() + buffer.size())) << "line " << line;
}
#define SAME(...) expect_same([&](auto& a) { __VA_ARGS__; }, __LINE__)

std::vector<x86::Gp> registers(std::initializer_list<u32> sizes = {2, 4, 8}) {
    std::vector<x86::Gp> out;
    for (u32 n = 0; n < 16; ++n) {
        const x86::Gpq r = x86::gpq(n);
        for (const u32 size : sizes)
            out.push_back(size == 8   ? x86::Gp(r)
                          : size == 4 ? x86::Gp(r.r32())
                          : size == 2 ? x86::Gp(r.r16())
                                      : x86::Gp(r.r8()));
    }
    return out;
}

// Of `size` bytes: with each base, with index, with segment, with neither.
std::vector<x86::Mem> operands(u32 size) {
    std::vector<x86::Mem> out;
    for (const i32 displacement : {0, 1, -128, 128, 0x12345678}) {
        for (u32 n = 0; n < 16; ++n) {
            out.push_back(x86::ptr(x86::gpq(n), displacement, size));
            out.push_back(
                x86::ptr(x86::gpq(n), x86::gpq((n + 7) % 16 == 4 ? 5 : (n + 7) % 16), n % 4, displacement, size));
        }
        const auto add = [&](x86::Mem m, const x86::SReg& segment) {
            m.setOffset(displacement);
            m.setSegment(segment);
            out.push_back(m);
        };
        add(x86::ptr_abs(0, size), x86::gs);
        add(x86::ptr(u64{0}, x86::r15, 3, size), x86::gs);
        add(x86::ptr(x86::r15, 0, size), x86::fs);
        add(x86::ptr(x86::r14d, x86::esi, 2, 0, size), x86::gs); // Of 32 bits.
        add(x86::ptr(u64{0}, x86::r13d, 3, size), x86::gs);
    }
    return out;
}

constexpr i64 values[] = {0, 1, -1, 127, 128, -128, -129, 0x7FFF, 0x1234'5678, -0x1234'5678};

TEST(UnitAssembler, MovesBetweenRegistersAndMemory) {
    for (const x86::Gp& r : registers({1, 2, 4, 8})) {
        for (const x86::Gp& s : registers({1, 2, 4, 8}))
            if (r.size() == s.size()) SAME(a.mov(r, s));
        for (const x86::Mem& m : operands(r.size())) {
            SAME(a.mov(r, m));
            SAME(a.mov(m, r));
        }
    }
    for (const x86::Gp& r : registers({4, 8}))
        for (const x86::Mem& m : operands(r.size()))
            SAME(a.lea(r, m));
}

TEST(UnitAssembler, MovesImmediates) {
    for (const i64 value : values) {
        for (const x86::Gp& r : registers({4, 8}))
            SAME(a.mov(r, asmjit::Imm(value)));
        for (const u32 size : {1u, 2u, 4u, 8u})
            for (const x86::Mem& m : operands(size))
                SAME(a.mov(m, asmjit::Imm(size == 1   ? static_cast<i8>(value)
                                          : size == 2 ? static_cast<i16>(value)
                                                      : value)));
    }
    SAME(a.mov(x86::rax, asmjit::Imm(u64{0xFFFF'FFFF})));
    SAME(a.mov(x86::r15, asmjit::Imm(u64{0xFFFF'8000'1234'5678})));
    SAME(a.mov(x86::r9d, asmjit::Imm(u32{0x8000'0000})));
    SAME(a.mov(x86::dword_ptr(x86::rsp, 8), u32{0x8000'0001}));
}

TEST(UnitAssembler, ExtendsBytesAndWords) {
    for (const x86::Gp& to : registers({4, 8})) {
        for (const x86::Gp& from : registers({1, 2})) {
            SAME(a.movzx(to, from));
            SAME(a.movsx(to, from));
        }
        for (const u32 size : {1u, 2u})
            for (const x86::Mem& from : operands(size)) {
                SAME(a.movzx(to, from));
                SAME(a.movsx(to, from));
            }
    }
    SAME(a.movzx(x86::eax, x86::ah));
    for (const x86::Mem& from : operands(4))
        SAME(a.movsxd(x86::r9, from));
    SAME(a.movsxd(x86::r15, x86::r15d));
}

#define ALU(name)                                                                                                      \
    TEST(UnitAssembler, Does_##name) {                                                                                 \
        for (const x86::Gp& r : registers()) {                                                                         \
            for (const x86::Gp& s : registers())                                                                       \
                if (r.size() == s.size()) SAME(a.name(r, s));                                                          \
            for (const i64 value : values)                                                                             \
                if (r.size() != 2 || value == static_cast<i16>(value)) SAME(a.name(r, asmjit::Imm(value)));            \
        }                                                                                                              \
        for (const u32 size : {1u, 2u, 4u, 8u})                                                                        \
            for (const x86::Mem& m : operands(size)) {                                                                 \
                for (const i64 value : {i64{1}, i64{-1}, i64{0x7FFF}})                                                 \
                    SAME(a.name(m, asmjit::Imm(size == 1 ? static_cast<i8>(value) : value)));                          \
                const x86::Gp r = size == 8 ? x86::Gp(x86::r9) : size == 4 ? x86::Gp(x86::esi) : x86::Gp(x86::dx);     \
                if (size != 1) SAME(a.name(m, r));                                                                     \
            }                                                                                                          \
        for (const x86::Mem& m : operands(8))                                                                          \
            SAME(a.name(x86::rax, m));                                                                                 \
    }
ALU(add)
ALU(or_)
ALU(and_)
ALU(sub)
ALU(xor_)
ALU(cmp)
#undef ALU

TEST(UnitAssembler, TestsAndShifts) {
    for (const x86::Gp& r : registers({4, 8})) {
        SAME(a.test(r, r));
        for (const i64 value : values)
            SAME(a.test(r, asmjit::Imm(value)));
        for (const unsigned count : {1u, 3u, 31u}) {
            SAME(a.shl(r, count));
            SAME(a.shr(r, count));
            SAME(a.sar(r, count));
        }
        SAME(a.neg(r));
        SAME(a.not_(r));
        SAME(a.sarx(r, r, r));
        SAME(a.rorx(r, r, 11));
        SAME(a.pext(r, r, x86::ptr(x86::rsp, 0x30, r.size())));
        SAME(a.cmova(r, r));
        SAME(a.cmovb(r, r));
        SAME(a.andn(r, r, r));
    }
    SAME(a.test(x86::al, 15));
    SAME(a.add(x86::al, 0x7F));
    SAME(a.seto(x86::al));
    SAME(a.sarx(x86::rdx, x86::r13, x86::rax));
    SAME(a.andn(x86::ecx, x86::r12d, x86::eax));
    SAME(a.shrd(x86::rax, x86::rdx, 32));
    for (const x86::Mem& m : operands(4)) {
        SAME(a.test(m, 0x400));
        SAME(a.test(m, x86::r9d));
    }
    for (const x86::Mem& m : operands(8)) {
        SAME(a.mul(m));
        SAME(a.lock(); a.bts(m, x86::rax));
        SAME(a.bt(m, x86::rax));
        SAME(a.btr(m, x86::rax));
        SAME(a.btc(m, x86::rax));
        SAME(a.jmp(m));
    }
}

TEST(UnitAssembler, HasWhatStandsAlone) {
    for (const x86::Gp& r : registers({8})) {
        SAME(a.push(r));
        SAME(a.pop(r));
    }
    SAME(a.lahf(); a.sahf(); a.ud2(); a.pause(); a.lfence(); a.mfence(); a.rdtsc());
    SAME(a.rep().stosb(); a.rep().stosw(); a.rep().stosd(); a.rep().stosq());
    SAME(a.rep().movsb(); a.rep().movsw(); a.rep().movsd(); a.rep().movsq());
    SAME(a.fnstsw(x86::ax); a.fldcw(x86::word_ptr(x86::r15)));
}

TEST(UnitAssembler, HasTheVectorInstructionsOfGathers) {
    for (u32 n = 0; n < 16; ++n)
        for (const i32 displacement : {0, 16, 0x200}) {
            SAME(a.vmovups(x86::ymm(n), x86::ymmword_ptr(x86::rsp, displacement)));
            SAME(a.vmovups(x86::ymmword_ptr(x86::rsp, displacement), x86::ymm(n)));
            SAME(a.vmovups(x86::xmm(n), x86::xmmword_ptr(x86::rsp, displacement)));
            SAME(a.vmovq(x86::xmm(n), x86::qword_ptr(x86::rsp, displacement)));
            SAME(a.vpxor(x86::xmm(n), x86::xmm(n), x86::xmm(n)));
        }
    SAME(a.repne(); a.scasb(); a.repe(); a.scasw(); a.repe(); a.scasd(); a.repne(); a.scasq());
    SAME(a.repne(); a.cmpsb(); a.repe(); a.cmpsw(); a.repe(); a.cmpsd(); a.repne(); a.cmpsq());
}

TEST(UnitAssembler, TakesOperationsByNumber) {
    namespace Inst = x86::Inst;
    for (const Inst::Id id : {Inst::kIdMov, Inst::kIdTest, Inst::kIdAdd, Inst::kIdOr, Inst::kIdAdc, Inst::kIdSbb,
                              Inst::kIdAnd, Inst::kIdSub, Inst::kIdXor, Inst::kIdCmp}) {
        SAME(a.emit(id, x86::r9, x86::rax));
        if (id != Inst::kIdTest) SAME(a.emit(id, x86::eax, x86::dword_ptr(x86::rsp, 8)));
        SAME(a.emit(id, x86::qword_ptr(x86::rsp, 8), x86::r12));
    }
}

// As long as nobody names the register, comes from elsewhere or calls, what it holds is known.
TEST(UnitAssembler, SeesWhenTheWatchedRegisterIsTouched) {
    UnitAssembler a;
    a.start(place(base));
    a.watch(x86::r15);
    const auto touches = [&](auto emit) {
        const u32 before = a.touches();
        emit();
        return a.touches() != before;
    };
    EXPECT_FALSE(touches([&] { a.mov(x86::rax, x86::rcx); }));
    EXPECT_FALSE(touches([&] { a.mov(x86::qword_ptr(x86::r15, 8), x86::rax); }));
    EXPECT_FALSE(touches([&] { a.lea(x86::r14, x86::ptr(x86::r14, -8)); }));
    EXPECT_TRUE(touches([&] { a.mov(x86::r15, x86::rax); }));
    EXPECT_TRUE(touches([&] { a.mov(x86::r15, asmjit::Imm(1)); }));
    EXPECT_TRUE(touches([&] { a.mov(x86::r15, asmjit::Imm(u64{1} << 40)); }));
    EXPECT_TRUE(touches([&] { a.mov(x86::r15, x86::ptr(x86::rsp, 8)); }));
    EXPECT_TRUE(touches([&] { a.add(x86::r15d, 5); }));
    EXPECT_TRUE(touches([&] { a.pop(x86::r15); }));
    EXPECT_TRUE(touches([&] { a.rorx(x86::r15, x86::rax, 3); }));
    EXPECT_TRUE(touches([&] { a.pext(x86::r15, x86::rax, x86::ptr(x86::rsp, 8)); }));
    EXPECT_TRUE(touches([&] { a.movzx(x86::r15d, x86::al); }));
    EXPECT_TRUE(touches([&] { a.bind(a.newLabel()); }));
    EXPECT_TRUE(touches([&] { a.call(asmjit::Imm(base)); }));
}

TEST(UnitAssembler, JumpsToLabelsAndAddresses) {
    SAME(const auto there = a.newLabel(); a.long_().jmp(there); a.long_().ja(there); a.short_().jecxz(x86::rcx, there);
         a.short_().jecxz(x86::ecx, there); a.jne(there); a.bind(there); a.jmp(there); a.jz(there);
         a.long_().jnz(there));
    SAME(const auto back = a.newLabel(); a.bind(back); for (int n = 0; n < 60; ++n) a.mov(x86::rax, x86::rcx);
         a.jmp(back); a.je(back));
    SAME(a.jmp(asmjit::Imm(base + 0x100'0000)); a.call(asmjit::Imm(base - 0x100'0000)));
}

TEST(UnitAssembler, JumpsFromOnePartToTheOther) {
    UnitAssembler a;
    a.start(place(base));
    const auto cold = a.newLabel(), back = a.newLabel();
    a.long_().jmp(cold); // 5 bytes
    a.bind(back);
    EXPECT_EQ(a.here(), 5u);
    a.begin_cold(place(base + 0x1000));
    EXPECT_EQ(a.here(), 0x1000u);
    a.bind(cold);
    a.jmp(back);
    a.call(asmjit::Imm(base));
    EXPECT_EQ(bytes_of(a),
              (std::vector<u8>{0xE9, 0xFB, 0x0F, 0, 0, 0xE9, 0x00, 0xF0, 0xFF, 0xFF, 0xE8, 0xF6, 0xEF, 0xFF, 0xFF}));
}

TEST(UnitAssembler, GrowsWithTheUnit) {
    UnitAssembler a;
    a.start(place(base));
    const auto end = a.newLabel();
    a.jmp(end);
    for (int n = 0; n < 5000; ++n)
        a.mov(x86::rax, x86::rcx);
    a.bind(end);
    const std::vector<u8> bytes = bytes_of(a);
    ASSERT_EQ(bytes.size(), 15005u);
    EXPECT_EQ(bytes[1] | bytes[2] << 8, 15000);
}

// Nothing that is left out goes unnoticed.
TEST(UnitAssembler, SaysWhatCannotBeEncoded) {
    const auto complete = [](auto emit) {
        UnitAssembler a;
        a.start(place(base));
        emit(a);
        std::vector<u8> hot, cold;
        return a.finish(hot, cold);
    };
    EXPECT_TRUE(complete([](auto& a) { a.mov(x86::rax, x86::rcx); }));
    EXPECT_FALSE(complete([](auto& a) { a.jmp(a.newLabel()); }));
    EXPECT_FALSE(complete([](auto& a) {
        const auto far = a.newLabel();
        a.short_().jmp(far);
        for (int n = 0; n < 100; ++n)
            a.mov(x86::rax, x86::rcx);
        a.bind(far);
    }));
    EXPECT_FALSE(complete([](auto& a) { a.movzx(x86::r9d, x86::ah); }));
    EXPECT_FALSE(complete([](auto& a) { a.and_(x86::rax, asmjit::Imm(u64{0xFFFF'FFFF})); }));
    EXPECT_FALSE(complete([](auto& a) { a.jmp(asmjit::Imm(base + (u64{1} << 40))); }));
}

} // namespace
} // namespace calque::jit
