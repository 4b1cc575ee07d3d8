// What a comparison with the host's user mode cannot show of the x87: its other memory formats, CR0, FERR#, faults,
// MMX.
#include "tests/cpu/harness.h"

#include <gtest/gtest.h>

namespace calque::cpu::testing {
namespace {

constexpr u16 exception_pending = 0x8080, zero_divide = 0x04;

void fill(CpuState& s) {
    s.x87.control = 0x037B; // division by zero unmasked
    s.x87.status = 0x3800;  // TOP 7
    s.x87.valid = 0x80;
    s.x87.reg[7] = {0xC000000000000000, 0x4000}; // 3
    s.x87.instruction_pointer = 0x12345;
    s.x87.instruction_selector = 0x1000;
    s.x87.data_pointer = 0x0678;
    s.x87.data_selector = 0x2340;
    s.x87.opcode = 0x5AB;
}

TEST(X87, RealModeEnvironmentHasLinearPointers) {
    Machine m(Machine::Kind::real16);
    fill(m.state());
    m.state().gpr[rbx] = 0x2000;
    ASSERT_FALSE(m.step({0xD9, 0x37})); // FNSTENV [BX]
    EXPECT_EQ(m.peek<u16>(0x2000), 0x037B);
    EXPECT_EQ(m.peek<u16>(0x2002), 0x3800);
    EXPECT_EQ(m.peek<u16>(0x2004), 0x3FFF); // R7 valid, the rest empty
    EXPECT_EQ(m.peek<u16>(0x2006), 0x2345); // 1000h * 16 + 12345h = 22345h
    EXPECT_EQ(m.peek<u16>(0x2008), 0x25AB);
    EXPECT_EQ(m.peek<u16>(0x200A), 0x3A78); // 2340h * 16 + 0678h = 23A78h
    EXPECT_EQ(m.peek<u16>(0x200C), 0x2000);
    EXPECT_EQ(m.state().x87.control, 0x037F); // masked after it
}

TEST(X87, RealModeEnvironmentOf32Bits) {
    Machine m(Machine::Kind::real16);
    fill(m.state());
    m.state().gpr[rbx] = 0x2000;
    ASSERT_FALSE(m.step({0x66, 0xD9, 0x37}));
    EXPECT_EQ(m.peek<u32>(0x2008), 0xFFFF3FFFu);
    EXPECT_EQ(m.peek<u32>(0x200C), 0xFFFF2345u);
    EXPECT_EQ(m.peek<u32>(0x2010), 0x000025ABu);
    EXPECT_EQ(m.peek<u32>(0x2014), 0xFFFF3A78u);
    EXPECT_EQ(m.peek<u32>(0x2018), 0x00002000u);
}

TEST(X87, ProtectedModeEnvironmentHasSelectors) {
    Machine m(Machine::Kind::compat32);
    fill(m.state());
    m.state().gpr[rbx] = data_base;
    ASSERT_FALSE(m.step({0xD9, 0x33})); // FNSTENV [EBX]
    EXPECT_EQ(m.peek<u32>(data_base + 12), 0x12345u);
    EXPECT_EQ(m.peek<u32>(data_base + 16), 0x05AB1000u);
    EXPECT_EQ(m.peek<u32>(data_base + 20), 0x678u);
    EXPECT_EQ(m.peek<u32>(data_base + 24), 0xFFFF2340u);
}

TEST(X87, EnvironmentOf16BitsInProtectedModeHasNoOpcode) {
    Machine m(Machine::Kind::compat32);
    fill(m.state());
    m.state().gpr[rbx] = data_base;
    ASSERT_FALSE(m.step({0x66, 0xD9, 0x33}));
    EXPECT_EQ(m.peek<u16>(data_base + 6), 0x2345);
    EXPECT_EQ(m.peek<u16>(data_base + 8), 0x1000);
    EXPECT_EQ(m.peek<u16>(data_base + 10), 0x0678);
    EXPECT_EQ(m.peek<u16>(data_base + 12), 0x2340);
}

TEST(X87, RestoredStateEqualsSavedOneInEveryFormat) {
    for (const auto kind :
         {Machine::Kind::real16, Machine::Kind::compat16, Machine::Kind::compat32, Machine::Kind::long64}) {
        for (const bool other_size : {false, true}) {
            Machine m(kind);
            fill(m.state());
            const bool real = kind == Machine::Kind::real16;
            m.state().gpr[rbx] = real ? 0x2000 : data_base;
            const u8 modrm_save = kind == Machine::Kind::real16 || kind == Machine::Kind::compat16 ? 0x37 : 0x33;
            if (kind == Machine::Kind::compat16) // 16-bit addresses do not reach the arena
                for (const unsigned n : {ds, ss})
                    m.state().segment[n].base = data_base, m.state().gpr[rbx] = 0;
            std::vector<u8> save = {0xDD, modrm_save}, restore = {0xDD, static_cast<u8>(modrm_save - 0x10)};
            if (other_size) save.insert(save.begin(), 0x66), restore.insert(restore.begin(), 0x66);
            const X87State before = m.state().x87;
            ASSERT_FALSE(m.step(save));
            EXPECT_EQ(m.state().x87.valid, 0); // FNSAVE initializes
            EXPECT_EQ(m.state().x87.control, 0x037F);
            ASSERT_FALSE(m.step(restore));
            EXPECT_EQ(m.state().x87.control, before.control);
            EXPECT_EQ(m.state().x87.status, before.status);
            EXPECT_EQ(m.state().x87.valid, before.valid);
            EXPECT_EQ(m.state().x87.reg[7].significand, before.reg[7].significand);
            EXPECT_EQ(m.state().x87.reg[7].sign_exponent, before.reg[7].sign_exponent);
        }
    }
}

// 3 / 0 with division by zero unmasked leaves the exception pending.
void divide_by_zero(Machine& m) {
    fill(m.state());
    const u64 zero_at = m.mode().real ? 0x2000 : data_base;
    m.poke<u32>(zero_at, 0);
    m.state().gpr[rbx] = zero_at;
    ASSERT_FALSE(m.mode().real ? m.step({0xD8, 0x37}) : m.step({0xD8, 0x33})); // FDIV m32
    ASSERT_EQ(m.state().x87.status & (exception_pending | zero_divide), exception_pending | zero_divide);
}

TEST(X87, PendingErrorIsRaisedByTheNextWaitingInstruction) {
    Machine m(Machine::Kind::long64);
    divide_by_zero(m);
    const u64 at = m.state().rip();
    ASSERT_FALSE(m.step({0xDB, 0xE4})); // FSETPM does not wait
    ASSERT_FALSE(m.step({0xDF, 0xE0})); // FNSTSW AX
    EXPECT_EQ(m.state().gpr[rax] & 0xFFFF, m.state().x87.status);
    m.state().rip() = at;
    const auto fault = m.step({0xD9, 0xD0}); // FNOP waits
    ASSERT_TRUE(fault);
    EXPECT_EQ(fault->vector, Vector::x87_floating_point);
    EXPECT_EQ(m.state().rip(), at);
    ASSERT_TRUE(m.step({0x9B}));
    ASSERT_FALSE(m.step({0xDB, 0xE2})); // FNCLEX
    EXPECT_EQ(m.state().x87.status & 0x80FF, 0);
    ASSERT_FALSE(m.step({0x9B}));
}

TEST(X87, UnmaskingAPendingFlagMakesItAnError) {
    Machine m(Machine::Kind::long64);
    m.state().x87.status = zero_divide;
    m.state().gpr[rbx] = data_base;
    m.poke<u16>(data_base, 0x037B);
    ASSERT_FALSE(m.step({0xD9, 0x2B})); // FLDCW
    EXPECT_EQ(m.state().x87.status, exception_pending | zero_divide);
    ASSERT_TRUE(m.step({0x9B}));
}

TEST(X87, WithoutNumericErrorReportingFerrIsAsserted) {
    Machine m(Machine::Kind::real16); // CR0.NE is clear
    divide_by_zero(m);
    EXPECT_FALSE(m.platform.ferr);
    ASSERT_FALSE(m.step({0x9B})); // the second attempt goes on, as under IGNNE#
    EXPECT_TRUE(m.platform.ferr);
    ASSERT_FALSE(m.step({0xDB, 0xE2})); // FNCLEX
    EXPECT_FALSE(m.platform.ferr);
}

TEST(X87, AnMmxInstructionLetsTheInterruptOfFerrInFirst) {
    Machine m(Machine::Kind::real16);
    divide_by_zero(m);
    m.poke<u32>(0x75 * 4, 0x6000); // IRQ 13
    m.poke<u8>(0x6000, 0xF4);      // HLT
    m.platform.ferr_changed = [&] {
        m.platform.interrupt = 0x75;
        m.cpu().request(event_interrupt);
    };
    m.state().rflags |= flag_if;
    const u16 rsp_before = m.cpu().gpr<u16>(rsp);
    EXPECT_EQ(m.run({0x0F, 0x6E, 0xC0, 0xF4}), ExitReason::halted); // MOVD MM0, EAX; HLT
    EXPECT_EQ(m.state().rip(), 0x6001u);
    EXPECT_EQ(m.peek<u16>(rsp_before - 6u), real_code);
    EXPECT_NE(m.state().x87.valid, 0xFF);
}

TEST(X87, AConversionOfIntegersInMemoryDoesNotWait) {
    Machine m(Machine::Kind::long64);
    divide_by_zero(m);
    m.poke<u64>(data_base, 0x00000002'00000001);
    ASSERT_FALSE(m.step({0x0F, 0x2A, 0x03})); // CVTPI2PS XMM0, [RBX]
    EXPECT_EQ(m.state().vector[0].q[0], 0x40000000'3F800000u);
    ASSERT_TRUE(m.step({0x0F, 0x2A, 0xC1})); // CVTPI2PS XMM0, MM1
}

std::optional<Vector> vector_of(const std::optional<Exception>& e) {
    return e ? std::optional(e->vector) : std::nullopt;
}

TEST(X87, ControlRegisterDecidesWhatIsAvailable) {
    Machine m(Machine::Kind::long64);
    const auto with = [&](u64 bits, std::initializer_list<u8> bytes) {
        m.state().cr0 = (m.state().cr0 & ~(cr0_em | cr0_ts | cr0_mp)) | bits;
        m.cpu().update_mode();
        return vector_of(m.step(bytes));
    };
    const auto nm = std::optional(Vector::device_not_available);
    EXPECT_EQ(with(0, {0xD9, 0xE8}), std::nullopt); // FLD1
    EXPECT_EQ(with(cr0_em, {0xD9, 0xE8}), nm);
    EXPECT_EQ(with(cr0_ts, {0xD9, 0xE8}), nm);
    EXPECT_EQ(with(cr0_ts, {0xDB, 0xE3}), nm); // FNINIT
    EXPECT_EQ(with(cr0_ts, {0x9B}), std::nullopt);
    EXPECT_EQ(with(cr0_ts | cr0_mp, {0x9B}), nm);
    EXPECT_EQ(with(cr0_em | cr0_mp, {0x9B}), std::nullopt);
    EXPECT_EQ(with(cr0_ts, {0x0F, 0xAE, 0x03}), nm); // FXSAVE
}

TEST(X87, FaultingStoreLeavesEverythingAsItWas) {
    Machine m(Machine::Kind::long64);
    fill(m.state());
    const X87State before = m.state().x87;
    m.state().gpr[rbx] = 0x1000; // not mapped
    for (const std::initializer_list<u8> store :
         {std::initializer_list<u8>{0xD9, 0x1B}, {0xDB, 0x3B}, {0xDF, 0x33}, {0xDD, 0x33}}) {
        const auto fault = m.step(store); // FSTP m32, FSTP m80, FBSTP, FNSAVE
        ASSERT_TRUE(fault);
        EXPECT_EQ(fault->vector, Vector::page_fault);
        EXPECT_EQ(m.state().x87.status, before.status);
        EXPECT_EQ(m.state().x87.valid, before.valid);
        EXPECT_EQ(m.state().x87.control, before.control);
        EXPECT_EQ(m.state().x87.instruction_pointer, before.instruction_pointer);
    }
}

TEST(X87, FxsaveWantsAnAlignedAddress) {
    Machine m(Machine::Kind::long64);
    m.state().gpr[rbx] = data_base + 8;
    EXPECT_EQ(vector_of(m.step({0x0F, 0xAE, 0x03})), Vector::general_protection);
    EXPECT_EQ(vector_of(m.step({0x0F, 0xAE, 0x0B})), Vector::general_protection);
}

TEST(X87, XsaveOfAnAmdProcessorLeavesPointersOutUnlessAnErrorIsPending) {
    CpuModel model;
    model.vendor = "AuthenticAMD";
    Machine m(Machine::Kind::long64, model);
    fill(m.state());
    m.state().gpr[rbx] = data_base;
    m.state().gpr[rax] = 1;
    m.state().gpr[rdx] = 0;
    ASSERT_FALSE(m.step({0x0F, 0xAE, 0x23})); // XSAVE [RBX]
    EXPECT_EQ(m.peek<u16>(data_base + 6), 0u);
    EXPECT_EQ(m.peek<u64>(data_base + 8), 0u);
    EXPECT_EQ(m.peek<u64>(data_base + 16), 0u);
    m.state().x87.status |= exception_pending | zero_divide;
    ASSERT_FALSE(m.step({0x0F, 0xAE, 0x23}));
    EXPECT_EQ(m.peek<u16>(data_base + 6), 0x5ABu);
    EXPECT_EQ(m.peek<u64>(data_base + 8), u64{0x1000} << 32 | 0x12345);
    EXPECT_EQ(m.peek<u64>(data_base + 16), u64{0x2340} << 32 | 0x678);
    EXPECT_EQ(m.peek<u64>(data_base + 32), 0xC000000000000000u);
}

TEST(X87, FxrstorRefusesReservedMxcsrBits) {
    Machine m(Machine::Kind::long64);
    m.state().gpr[rbx] = data_base;
    ASSERT_FALSE(m.step({0x0F, 0xAE, 0x03}));
    m.poke<u32>(data_base + 24, 0x10000);
    m.state().x87.valid = 0x55;
    EXPECT_EQ(vector_of(m.step({0x0F, 0xAE, 0x0B})), Vector::general_protection);
    EXPECT_EQ(m.state().x87.valid, 0x55);
}

TEST(X87, FxsaveAndFxrstorKeepTheWholeState) {
    for (const auto kind : {Machine::Kind::long64, Machine::Kind::compat32}) {
        Machine m(kind);
        CpuState& s = m.state();
        fill(s);
        s.mxcsr = 0x9FC0;
        for (unsigned n = 0; n < 16; ++n)
            s.vector[n] = {{n + 1, ~u64{n}, 0x77, 0x88}};
        m.state().gpr[rbx] = data_base;
        for (u64 n = 0; n < 512; ++n)
            m.poke<u8>(data_base + n, 0xEE);
        const CpuState before = s;
        ASSERT_FALSE(m.step({0x0F, 0xAE, 0x03}));
        EXPECT_EQ(m.peek<u8>(data_base + 4), 0x80);
        EXPECT_EQ(m.peek<u16>(data_base + 6), 0x5AB);
        EXPECT_EQ(m.peek<u64>(data_base + 32), 0xC000000000000000u); // ST0, which is R7
        EXPECT_EQ(m.peek<u8>(data_base + 511), 0xEE);
        const bool all = kind == Machine::Kind::long64;
        EXPECT_EQ(m.peek<u8>(data_base + 160 + 16 * 8) == 0xEE, !all); // XMM8
        s.x87 = X87State{};
        s.mxcsr = 0x1F80;
        for (auto& v : s.vector)
            v = {};
        ASSERT_FALSE(m.step({0x0F, 0xAE, 0x0B}));
        EXPECT_EQ(s.x87.status, before.x87.status);
        EXPECT_EQ(s.x87.valid, before.x87.valid);
        EXPECT_EQ(s.x87.opcode, before.x87.opcode);
        EXPECT_EQ(s.x87.data_selector, before.x87.data_selector);
        EXPECT_EQ(s.x87.reg[7].significand, before.x87.reg[7].significand);
        EXPECT_EQ(s.mxcsr, before.mxcsr);
        for (unsigned n = 0; n < 16; ++n)
            EXPECT_EQ(s.vector[n].q[1], all || n < 8 ? before.vector[n].q[1] : 0) << n;
    }
}

TEST(X87, MmxRegistersAreTheSignificands) {
    Machine m(Machine::Kind::long64);
    ASSERT_FALSE(m.step({0xDB, 0xE3})); // FNINIT
    ASSERT_FALSE(m.step({0xD9, 0xEB})); // FLDPI into R7
    EXPECT_EQ(m.state().x87.reg[7].significand, 0xC90FDAA22168C235u);
    EXPECT_EQ(m.state().x87.top(), 7u);
    ASSERT_FALSE(m.step({0x48, 0x0F, 0x7E, 0xF8})); // MOVQ RAX, MM7
    EXPECT_EQ(m.state().gpr[rax], 0xC90FDAA22168C235u);
    EXPECT_EQ(m.state().x87.top(), 0u);
    EXPECT_EQ(m.state().x87.valid, 0xFF);
}

} // namespace
} // namespace calque::cpu::testing
