#include "base/manual_clock.h"
#include "devices/uart16550/uart16550.h"
#include "tests/devices/harness.h"

namespace calque::devices {
namespace {

constexpr u64 RBR = 0x3F8, THR = 0x3F8, IER = 0x3F9, IIR = 0x3FA, FCR = 0x3FA, LCR = 0x3FB, MCR = 0x3FC, LSR = 0x3FD,
              MSR = 0x3FE, SCR = 0x3FF;
constexpr Nanoseconds character_9600_8n1 = 1'041'666;

class UartTest : public testing::Test {
  protected:
    UartTest() { ports.map(0x3F8, 8, uart, "serial0"); }
    u8 in(u64 port) { return static_cast<u8>(ports.read(port, 1)); }
    void out(u64 port, u8 value) { ports.write(port, value, 1); }
    void setup(u8 ier, u8 fcr = 0) {
        out(LCR, 0x03);
        out(FCR, fcr);
        out(MCR, 0x0B);
        out(IER, ier);
    }
    bool irq() const { return lines.level(4); }

    Log log;
    ManualClock clock;
    test::RecordedLines lines;
    test::TypedBackend backend;
    Bus ports{Bus::Kind::ports, log};
    Uart16550 uart{log, clock, IrqLine(lines, 4), &backend, "serial0"};
};

TEST_F(UartTest, ResetValues) {
    EXPECT_EQ(in(IER), 0x00);
    EXPECT_EQ(in(IIR), 0x01);
    EXPECT_EQ(in(LCR), 0x00);
    EXPECT_EQ(in(MCR), 0x00);
    EXPECT_EQ(in(LSR), 0x60);
    EXPECT_EQ(in(MSR), 0xB0);
    EXPECT_FALSE(irq());
}

// The steps of Linux's autoconfig(): interrupt enable bits, loopback modem lines, FIFO bits, no later chip.
TEST_F(UartTest, IsDetectedAsA16550A) {
    out(IER, 0);
    EXPECT_EQ(in(IER)&0x0F, 0);
    out(IER, 0x0F);
    EXPECT_EQ(in(IER), 0x0F);
    out(IER, 0xFF);
    EXPECT_EQ(in(IER), 0x0F);
    out(IER, 0);
    out(MCR, 0x1A); // LOOP, OUT2, RTS
    EXPECT_EQ(in(MSR)&0xF0, 0x90);
    out(MCR, 0x0B);
    out(FCR, 0x01);
    EXPECT_EQ(in(IIR) >> 6, 3);
    out(LCR, 0x80);
    EXPECT_NE(in(IIR), 0) << "an EFR would read 0: a 16650";
    out(LCR, 0xBF);
    EXPECT_NE(in(IIR), 0);
    out(LCR, 0x00);
    out(FCR, 0x21); // The 64-byte FIFO of a 16750.
    EXPECT_EQ(in(IIR) >> 5, 6);
    out(FCR, 0x00);
    EXPECT_EQ(in(IIR) >> 6, 0);
}

TEST_F(UartTest, ScratchAndDivisorHold) {
    out(SCR, 0x5A);
    EXPECT_EQ(in(SCR), 0x5A);
    out(LCR, 0x83);
    out(THR, 0x01);
    out(IER, 0x02);
    EXPECT_EQ(in(RBR), 0x01);
    EXPECT_EQ(in(IER), 0x02);
    out(LCR, 0x03);
    EXPECT_EQ(in(IER), 0x00);
    EXPECT_TRUE(backend.sent.empty());
}

TEST_F(UartTest, SendsAndStaysReady) {
    setup(0);
    for (const char c : std::string("hello"))
        out(THR, static_cast<u8>(c));
    EXPECT_EQ(backend.sent, "hello");
    EXPECT_EQ(in(LSR), 0x60);
}

// Linux's test for a missing THRE interrupt: enabling it while the transmitter is empty must raise it, each time.
TEST_F(UartTest, EnablingTheTransmitInterruptRaisesItEachTime) {
    setup(0);
    out(IER, 0x02);
    EXPECT_TRUE(irq());
    EXPECT_EQ(in(IIR), 0x02);
    EXPECT_FALSE(irq()) << "reading IIR acknowledges it";
    EXPECT_EQ(in(IIR), 0x01);
    out(IER, 0x00);
    out(IER, 0x02);
    EXPECT_TRUE(irq());
    EXPECT_EQ(in(IIR), 0x02);
}

TEST_F(UartTest, TransmitInterruptComesAgainAfterAMoment) {
    setup(0x02);
    in(IIR);
    out(THR, 'x');
    EXPECT_FALSE(irq());
    clock.advance(1900);
    EXPECT_FALSE(irq());
    clock.advance(200);
    EXPECT_TRUE(irq()) << "the line's baud rate does not hold the guest up";
    EXPECT_EQ(in(IIR), 0x02);
    clock.advance(1'000'000'000);
    EXPECT_FALSE(irq()) << "once for each time the transmitter empties";
}

TEST_F(UartTest, WritingTheTransmitterTakesTheInterruptBack) {
    setup(0x02);
    EXPECT_TRUE(irq());
    out(THR, 'x');
    EXPECT_FALSE(irq());
}

TEST_F(UartTest, ReceivesOneCharacterWithoutFifo) {
    setup(0x01);
    EXPECT_EQ(backend.type("ab"), "b");
    EXPECT_TRUE(irq());
    EXPECT_EQ(in(IIR), 0x04);
    EXPECT_EQ(in(LSR), 0x61);
    EXPECT_EQ(in(RBR), 'a');
    EXPECT_FALSE(irq());
    EXPECT_EQ(in(LSR), 0x60);
    EXPECT_GT(backend.resumed, 0u);
}

TEST_F(UartTest, FifoInterruptsAtItsTriggerLevel) {
    setup(0x01, 0x81); // Trigger 8.
    EXPECT_EQ(backend.type("1234567"), "");
    EXPECT_FALSE(irq());
    EXPECT_EQ(in(LSR), 0x61);
    backend.type("8");
    EXPECT_TRUE(irq());
    EXPECT_EQ(in(IIR), 0xC4);
    EXPECT_EQ(in(RBR), '1');
    EXPECT_FALSE(irq());
    EXPECT_EQ(backend.type("abcdefghijkl"), "jkl") << "16 at most";
}

TEST_F(UartTest, FifoTimeoutAfterFourCharacters) {
    setup(0x01, 0xC1); // Trigger 14.
    backend.type("ab");
    clock.advance(3 * character_9600_8n1);
    EXPECT_FALSE(irq());
    clock.advance(2 * character_9600_8n1);
    EXPECT_TRUE(irq());
    EXPECT_EQ(in(IIR), 0xCC);
    EXPECT_EQ(in(RBR), 'a');
    EXPECT_FALSE(irq()) << "reading starts the time again";
    clock.advance(5 * character_9600_8n1);
    EXPECT_EQ(in(IIR), 0xCC);
    EXPECT_EQ(in(RBR), 'b');
    clock.advance(5 * character_9600_8n1);
    EXPECT_FALSE(irq());
}

TEST_F(UartTest, FcrClearsTheFifo) {
    setup(0x01, 0x01);
    backend.type("abc");
    out(FCR, 0x03);
    EXPECT_EQ(in(LSR), 0x60);
    EXPECT_FALSE(irq());
    EXPECT_EQ(backend.room(), 16u);
    backend.type("abc");
    out(FCR, 0x00);
    EXPECT_EQ(in(LSR), 0x60) << "turning the FIFO off clears it";
    EXPECT_EQ(backend.room(), 1u);
}

// What Linux's size_fifo() counts.
TEST_F(UartTest, LoopbackFillsTheFifoAndOverruns) {
    setup(0, 0x01);
    out(MCR, 0x10);
    for (unsigned i = 0; i < 256; ++i)
        out(THR, static_cast<u8>(i));
    EXPECT_TRUE(backend.sent.empty());
    EXPECT_EQ(in(LSR), 0x63);
    EXPECT_EQ(in(LSR), 0x61) << "reading clears OE";
    unsigned count = 0;
    while (in(LSR)&1)
        EXPECT_EQ(in(RBR), count++);
    EXPECT_EQ(count, 16u);
}

TEST_F(UartTest, WithoutFifoAnOverrunReplacesTheCharacter) {
    setup(0x04);
    out(MCR, 0x10);
    out(THR, 'a');
    out(THR, 'b');
    EXPECT_EQ(in(IIR), 0x06);
    EXPECT_EQ(in(LSR), 0x63);
    EXPECT_EQ(in(RBR), 'b');
}

TEST_F(UartTest, InputWaitsDuringLoopback) {
    setup(0, 0x01);
    out(MCR, 0x1B);
    EXPECT_EQ(backend.room(), 0u);
    out(MCR, 0x0B);
    EXPECT_EQ(backend.room(), 16u);
}

TEST_F(UartTest, LoopbackConnectsTheModemLines) {
    setup(0);
    out(MCR, 0x10);
    in(MSR);
    out(MCR, 0x11);
    EXPECT_EQ(in(MSR), 0x22); // DSR and DDSR
    out(MCR, 0x12);
    EXPECT_EQ(in(MSR), 0x13); // CTS, DCTS, DDSR
    out(MCR, 0x14);
    EXPECT_EQ(in(MSR), 0x41) << "RI rising is no event";
    out(MCR, 0x18);
    EXPECT_EQ(in(MSR), 0x8C) << "RI falling is TERI; DCD and DDCD";
    EXPECT_EQ(in(MSR), 0x80);
}

TEST_F(UartTest, ModemStatusInterrupts) {
    setup(0x08);
    in(MSR);
    EXPECT_FALSE(irq());
    out(MCR, 0x10); // Into loopback: the lines change, the interrupt is gated off.
    EXPECT_FALSE(irq());
    out(MCR, 0x0B);
    EXPECT_TRUE(irq());
    EXPECT_EQ(in(IIR), 0x00);
    in(MSR);
    EXPECT_FALSE(irq());
}

TEST_F(UartTest, BreakIsReceivedWithItsErrorBits) {
    setup(0x05, 0x01);
    backend.send_break();
    EXPECT_TRUE(irq());
    EXPECT_EQ(in(IIR), 0xC6) << "line status comes before data";
    EXPECT_EQ(in(LSR), 0x60 | 0x80 | 0x10 | 0x08 | 0x01);
    EXPECT_EQ(in(IIR), 0xC4);
    EXPECT_EQ(in(LSR), 0x61);
    EXPECT_EQ(in(RBR), 0);
    EXPECT_FALSE(irq());
}

TEST_F(UartTest, ErrorBitsShowWhenTheirCharacterComesToTheTop) {
    setup(0x04, 0x01);
    backend.type("a");
    backend.send_break();
    EXPECT_EQ(in(LSR), 0xE1) << "bit 7: an error is somewhere in the FIFO";
    EXPECT_EQ(in(RBR), 'a');
    EXPECT_TRUE(irq());
    EXPECT_EQ(in(LSR), 0x60 | 0x80 | 0x18 | 0x01);
}

TEST_F(UartTest, SentBreakIsReceivedInLoopback) {
    setup(0, 0x01);
    out(MCR, 0x10);
    out(LCR, 0x43);
    EXPECT_EQ(in(LSR)&0x19, 0x19);
}

TEST_F(UartTest, Out2GatesTheInterrupt) {
    setup(0x01);
    out(MCR, 0x03);
    backend.type("a");
    EXPECT_FALSE(irq());
    EXPECT_EQ(in(IIR), 0x04);
    out(MCR, 0x0B);
    EXPECT_TRUE(irq());
}

TEST_F(UartTest, ShortWordsLoseTheirHighBits) {
    setup(0);
    out(LCR, 0x00); // Five bits.
    backend.type("\x7F");
    EXPECT_EQ(in(RBR), 0x1F);
}

TEST_F(UartTest, WithoutBackendThereAreNoModemSignals) {
    Uart16550 alone(log, clock, IrqLine(), nullptr, "serial1");
    Bus bus(Bus::Kind::ports, log);
    bus.map(0, 8, alone, "serial1");
    EXPECT_EQ(bus.read(6, 1), 0u);
    bus.write(0, 'x', 1);
    EXPECT_EQ(bus.read(5, 1), 0x60u);
}

TEST_F(UartTest, RoundTripInMidstream) {
    setup(0x03, 0xC1);
    in(IIR);
    backend.type("ab");
    out(THR, 'x');
    const auto saved = test::save(uart);
    uart.reset();
    EXPECT_EQ(in(LSR), 0x60);
    EXPECT_TRUE(test::load(uart, saved).ok());
    EXPECT_EQ(in(LSR), 0x61);
    clock.advance(2 * character_9600_8n1);
    EXPECT_EQ(in(IIR), 0xC2);
    clock.advance(4 * character_9600_8n1);
    EXPECT_EQ(in(IIR), 0xCC);
    EXPECT_EQ(in(RBR), 'a');
    EXPECT_EQ(in(RBR), 'b');
}

} // namespace
} // namespace calque::devices
