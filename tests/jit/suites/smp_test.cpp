// Two processors, each with an engine and a thread of its own, on one memory.
#include "jit/engine.h"
#include "tests/cpu/system_board.h"

#include <thread>

namespace calque::cpu::testing {
namespace {

// A second processor on the board's memory, in the board's mode, with a stack of its own.
class SecondCpu {
  public:
    explicit SecondCpu(Board& b) : cpu_(1, model_, b.memory, platform_, b.log), engine_(make_engine(b.memory, b.log)) {
        cpu_.state = b.state();
        cpu_.state.gpr[rsp] = user_stack;
        cpu_.state.activity = Activity::running;
        cpu_.events = 0;
        cpu_.update_mode();
    }
    Cpu& cpu() { return cpu_; }
    void start(u64 rip) {
        cpu_.state.rip() = rip;
        thread_ = std::thread([this] { reason_ = engine_->run(cpu_, ~u64{0}); });
    }
    ExitReason finish() {
        thread_.join();
        return reason_;
    }

  private:
    CpuModel model_;
    FakePlatform platform_;
    Cpu cpu_;
    std::unique_ptr<ExecutionEngine> engine_;
    std::thread thread_;
    ExitReason reason_ = ExitReason::budget;
};

class JitSmp : public ::testing::Test {
  protected:
    // The board's own processor takes part only while it runs.
    void SetUp() override { b.cpu().mmu.park(); }
    void TearDown() override { b.cpu().mmu.unpark(); }
    Board b{Board::Mode::long64};
};

TEST_F(JitSmp, LockedIncrementsAllCount) {
    SecondCpu second(b);
    constexpr u32 times = 200'000;
    // LOCK INC DWORD [8000h]; DEC ECX; JNZ -12; HLT
    b.program({0xF0, 0xFF, 0x04, 0x25, 0x00, 0x80, 0x00, 0x00, 0xFF, 0xC9, 0x75, 0xF4, 0xF4});
    b.gpr(rcx) = times;
    second.cpu().state.gpr[rcx] = times;
    second.start(code_at);
    EXPECT_EQ(b.run(~u64{0}), ExitReason::halted);
    EXPECT_EQ(second.finish(), ExitReason::halted);
    EXPECT_EQ(b.peek<u32>(data_at), 2 * times);
}

TEST_F(JitSmp, LockedExchangesAcrossALineAllCount) {
    SecondCpu second(b);
    constexpr u32 times = 20'000;
    // LOCK XADD [8FFEh], EDX, over the end of a page; MOV EDX, 1; DEC ECX; JNZ; HLT
    b.program({0xBA, 0x01, 0x00, 0x00, 0x00, 0xF0, 0x0F, 0xC1, 0x14, 0x25, 0xFE, 0x8F, 0x00, 0x00, 0xFF, 0xC9, 0x75,
               0xEE, 0xF4});
    b.gpr(rcx) = times;
    second.cpu().state.gpr[rcx] = times;
    second.start(code_at);
    EXPECT_EQ(b.run(~u64{0}), ExitReason::halted);
    EXPECT_EQ(second.finish(), ExitReason::halted);
    EXPECT_EQ(b.peek<u32>(0x8FFE), 2 * times);
}

TEST_F(JitSmp, ASpinLockKeepsTheOtherOut) {
    SecondCpu second(b);
    constexpr u32 times = 50'000;
    // Takes [8000h] by XCHG, adds to [8008h] without LOCK, gives it back.
    b.program({
        0xB8, 0x01, 0x00, 0x00, 0x00,                         // again: MOV EAX, 1
        0x87, 0x04, 0x25, 0x00, 0x80, 0x00, 0x00,             // XCHG [8000h], EAX
        0x85, 0xC0, 0x75, 0xF0,                               // TEST EAX, EAX; JNZ again
        0xFF, 0x04, 0x25, 0x08, 0x80, 0x00, 0x00,             // INC DWORD [8008h]
        0xC7, 0x04, 0x25, 0x00, 0x80, 0x00, 0x00, 0, 0, 0, 0, // MOV DWORD [8000h], 0
        0xFF, 0xC9, 0x75, 0xDA, 0xF4,                         // DEC ECX; JNZ again; HLT
    });
    b.gpr(rcx) = times;
    second.cpu().state.gpr[rcx] = times;
    second.start(code_at);
    EXPECT_EQ(b.run(~u64{0}), ExitReason::halted);
    EXPECT_EQ(second.finish(), ExitReason::halted);
    EXPECT_EQ(b.peek<u32>(0x8008), 2 * times);
}

TEST_F(JitSmp, CodeThatTheOtherProcessorChangesIsSeen) {
    SecondCpu second(b);
    // The second waits in a loop until its own code becomes a HLT.
    b.bytes(second_code_at, {0xFF, 0x04, 0x25, 0x08, 0x80, 0x00, 0x00, 0xEB, 0xF7}); // INC DWORD [8008h]; JMP -9
    // The first waits until the second runs, then stores there.
    b.program({
        0x81, 0x3C, 0x25, 0x08, 0x80, 0x00, 0x00, 0xE8, 0x03, 0x00, 0x00, // CMP DWORD [8008h], 1000
        0x72, 0xF3,                                                       // JB
        0xC6, 0x04, 0x25, 0x07, 0x70, 0x00, 0x00, 0xF4,                   // MOV BYTE [7007h], HLT
        0xF4,                                                             // HLT
    });
    second.start(second_code_at);
    EXPECT_EQ(b.run(~u64{0}), ExitReason::halted);
    b.cpu().mmu.park();
    EXPECT_EQ(second.finish(), ExitReason::halted);
    b.cpu().mmu.unpark();
    EXPECT_EQ(second.cpu().state.rip(), second_code_at + 8);
}

TEST_F(JitSmp, BothTranslateAndChangeEachOthersCode) {
    SecondCpu second(b);
    constexpr u32 times = 3'000;
    // Each writes the immediate of the other's MOV EAX and runs its own, which must be whole: 0 or ones in all bytes.
    const auto loop = [&](u64 at, u64 other) {
        const u8 low = static_cast<u8>(other + 1), high = static_cast<u8>((other + 1) >> 8);
        b.bytes(at, {
                        0xB8, 0x00, 0x00, 0x00, 0x00,             // again: MOV EAX, imm32
                        0x0F, 0xBE, 0xD0, 0x39, 0xC2, 0x75, 0x0D, // MOVSX EDX, AL; CMP EDX, EAX; JNZ out
                        0xF7, 0xD3,                               // NOT EBX
                        0x89, 0x1C, 0x25, low,  high, 0x00, 0x00, // MOV [other + 1], EBX
                        0xFF, 0xC9, 0x75, 0xE7,                   // DEC ECX; JNZ again
                        0xF4,                                     // out: HLT
                    });
    };
    // The immediates are aligned: stores to them are seen whole.
    const u64 first_at = code_at + 3, second_at = second_code_at + 3;
    loop(first_at, second_at);
    loop(second_at, first_at);
    b.state().rip() = first_at;
    b.state().activity = Activity::running;
    b.gpr(rcx) = times, b.gpr(rbx) = 0;
    second.cpu().state.gpr[rcx] = times, second.cpu().state.gpr[rbx] = 0;
    second.start(second_at);
    EXPECT_EQ(b.run(~u64{0}), ExitReason::halted);
    b.cpu().mmu.park();
    EXPECT_EQ(second.finish(), ExitReason::halted);
    b.cpu().mmu.unpark();
    EXPECT_EQ(b.gpr(rcx), 0u);
    EXPECT_EQ(second.cpu().state.gpr[rcx], 0u);
}

} // namespace
} // namespace calque::cpu::testing
