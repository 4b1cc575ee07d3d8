// Programs that patch their own code while it runs: the same state as by the interpreter, without a translation for
// each patch (mmu/patch_fields.h, jit/emit/patched.cpp).
#include "cpu/interpreter.h"
#include "jit/engine.h"
#include "tests/cpu/system_board.h"

namespace calque::cpu::testing {
namespace {

using Bytes = std::vector<u8>;

constexpr u32 rounds = 3000;

void append(Bytes& to, const Bytes& more) { to.insert(to.end(), more.begin(), more.end()); }
void append32(Bytes& to, u64 value) {
    for (unsigned n = 0; n < 4; ++n)
        to.push_back(static_cast<u8>(value >> 8 * n));
}

// MOV [address], DL, DX, EDX or RDX.
Bytes store_rdx(u64 address, unsigned size) {
    Bytes code = size == 1   ? Bytes{0x88, 0x14, 0x25}
                 : size == 2 ? Bytes{0x66, 0x89, 0x14, 0x25}
                 : size == 4 ? Bytes{0x89, 0x14, 0x25}
                             : Bytes{0x48, 0x89, 0x14, 0x25};
    append32(code, address);
    return code;
}

// What a loop does with RDX besides: another value each round, and a trace of the flags in R11 and of RAX in R8.
const Bytes next_value{0x9C, 0x41, 0x5A,                          // PUSHFQ; POP R10
                       0x4D, 0x31, 0xD3, 0x49, 0xD1, 0xC3,        // XOR R11, R10; ROL R11
                       0x49, 0x01, 0xC0,                          // ADD R8, RAX
                       0x48, 0x69, 0xD2, 0x6D, 0x4E, 0xC6, 0x41,  // IMUL RDX, RDX, 41C64E6Dh
                       0x48, 0x81, 0xC2, 0x39, 0x30, 0x00, 0x00}; // ADD RDX, 3039h

class Patching : public ::testing::Test {
  protected:
    void SetUp() override {
        jit_ = dynamic_cast<jit::Engine*>(&b.engine());
        if (!jit_) GTEST_SKIP() << "by the interpreter";
    }

    static void load(Board& board, const Bytes& code, u64 at) {
        board.memory.write(PhysicalAddress(at), code);
        for (unsigned n = 0; n < 16; ++n)
            board.gpr(n) = u64{0x1111'1111'1111'1111} * n;
        board.gpr(rsp) = kernel_stack;
        write_rflags(board.state(), flag_one);
        board.gpr(rcx) = rounds;
        board.poke<u64>(data_at, 0x8877'6655'4433'2211);
        board.state().rip() = at;
        board.state().activity = Activity::running;
    }

    // Runs the code by both engines until its HLT.
    void compare(const Bytes& code, u64 at = code_at) {
        load(b, code, at);
        ASSERT_EQ(b.run(~u64{0}), ExitReason::halted);
        Board other(Board::Mode::long64);
        other.memory.set_regions(b.memory.regions().size() == 1 ? other.memory.regions() : aliased(other));
        load(other, code, at);
        Interpreter interpreter(other.memory, other.log, 1u << 16);
        ASSERT_EQ(interpreter.run(other.cpu(), 1'000'000), ExitReason::halted);
        for (unsigned n = 0; n < 16; ++n)
            EXPECT_EQ(b.gpr(n), other.gpr(n)) << n;
        EXPECT_EQ(b.state().rip(), other.state().rip());
        EXPECT_EQ(arithmetic_bits(b.state().lazy), arithmetic_bits(other.state().lazy));
        EXPECT_EQ(b.peek<u64>(data_at), other.peek<u64>(data_at));
    }

    // All of RAM a second time, from 1 MiB on.
    static std::vector<mmu::Region> aliased(Board& board) {
        std::vector<mmu::Region> regions = board.memory.regions();
        mmu::Region alias = regions[0];
        alias.base = PhysicalAddress(0x100000);
        regions.push_back(alias);
        return regions;
    }

    // A loop that writes `patched` bytes at `offset` from the end of `instruction`, and runs it.
    static Bytes loop(const Bytes& instruction, unsigned size, u64 at = code_at, u64 alias = 0) {
        const u64 end = at + store_rdx(0, size).size() + instruction.size() + size;
        Bytes code = store_rdx(end - size + alias, size);
        append(code, instruction);
        code.resize(code.size() + size);
        append(code, next_value);
        append(code, {0xFF, 0xC9, 0x0F, 0x85}); // DEC ECX; JNZ
        append32(code, -(code.size() + 4));
        code.push_back(0xF4);
        return code;
    }
    u64 killed() const { return jit_->cache_counters().killed; }
    u64 units() const { return jit_->cache_counters().units; }

    Board b{Board::Mode::long64};
    jit::Engine* jit_ = nullptr;
};

struct Form {
    const char* name;
    Bytes head; // All but the immediate, which is the end of the instruction.
    unsigned size;
};

const Form forms[] = {
    {"ADD EAX, imm32", {0x05}, 4},
    {"ADD RAX, imm32", {0x48, 0x05}, 4},
    {"ADD AX, imm16", {0x66, 0x05}, 2},
    {"ADD AL, imm8", {0x04}, 1},
    {"ADC EBX, imm8", {0x83, 0xD3}, 1},
    {"SUB R14, imm32", {0x49, 0x81, 0xEE}, 4},
    {"CMP R15D, imm8", {0x41, 0x83, 0xFF}, 1},
    {"ADD R15D, imm32", {0x41, 0x81, 0xC7}, 4},
    {"XOR AH, imm8", {0x80, 0xF4}, 1},
    {"OR SIL, imm8", {0x40, 0x80, 0xCE}, 1},
    {"ADD R13W, imm16", {0x66, 0x41, 0x81, 0xC5}, 2},
    {"AND DWORD [8000h], imm32", {0x81, 0x24, 0x25, 0x00, 0x80, 0x00, 0x00}, 4},
    {"SBB BYTE [8000h], imm8", {0x80, 0x1C, 0x25, 0x00, 0x80, 0x00, 0x00}, 1},
    {"LOCK ADD QWORD [8000h], imm8", {0xF0, 0x48, 0x83, 0x04, 0x25, 0x00, 0x80, 0x00, 0x00}, 1},
    {"MOV EBX, imm32", {0xBB}, 4},
    {"MOV R15, imm64", {0x49, 0xBF}, 8},
    {"MOV RAX, imm64", {0x48, 0xB8}, 8},
    {"MOV AL, imm8", {0xB0}, 1},
    {"MOV AH, imm8", {0xB4}, 1},
    {"MOV BX, imm16", {0x66, 0xBB}, 2},
    {"MOV R13B, imm8", {0x41, 0xB5}, 1},
    {"MOV RSI, imm32", {0x48, 0xC7, 0xC6}, 4},
    {"MOV QWORD [8000h], imm32", {0x48, 0xC7, 0x04, 0x25, 0x00, 0x80, 0x00, 0x00}, 4},
    {"MOV BYTE [8000h], imm8", {0xC6, 0x04, 0x25, 0x00, 0x80, 0x00, 0x00}, 1},
    {"TEST EAX, imm32", {0xA9}, 4},
    {"TEST BYTE [8000h], imm8", {0xF6, 0x04, 0x25, 0x00, 0x80, 0x00, 0x00}, 1},
    {"IMUL EBX, EAX, imm32", {0x69, 0xD8}, 4},
    {"IMUL R14, R13, imm8", {0x4D, 0x6B, 0xF5}, 1},
    {"IMUL R15W, [8000h], imm16", {0x66, 0x44, 0x69, 0x3C, 0x25, 0x00, 0x80, 0x00, 0x00}, 2},
    {"IMUL R13D, [8000h], imm32", {0x44, 0x69, 0x2C, 0x25, 0x00, 0x80, 0x00, 0x00}, 4},
    {"POP RBX; PUSH imm32", {0x5B, 0x68}, 4},
    {"POP RBX; PUSH imm8", {0x5B, 0x6A}, 1},
};

TEST_F(Patching, EveryFormReadsWhatWasWrittenAndIsNotTranslatedAgain) {
    for (const Form& form : forms) {
        SCOPED_TRACE(form.name);
        const u64 before = killed();
        compare(loop(form.head, form.size));
        EXPECT_LT(killed() - before, 60u);
        jit_->flush();
    }
}

// The other operands come from memory that faults: the handler does the instruction, with the immediate of now.
TEST_F(Patching, AnInstructionThatFaultsHasTheImmediateOfNow) {
    const Bytes code = loop({0x81, 0x04, 0x25, 0x00, 0x80, 0x00, 0x00}, 4); // ADD DWORD [8000h], imm32
    load(b, code, code_at);
    ASSERT_EQ(b.run(~u64{0}), ExitReason::halted);
    // Once more from the instruction itself, with a device in the place of its operand's page.
    struct Device final : mmu::IoTarget {
        u64 read(PhysicalAddress, unsigned) override { return 1000; }
        void write(PhysicalAddress, u64 value, unsigned) override { last = value; }
        u64 last = 0;
    } device;
    std::vector<mmu::Region> regions = b.memory.regions();
    mmu::Region io;
    io.base = PhysicalAddress(data_at);
    io.length = page_size;
    io.kind = mmu::RegionKind::io;
    io.target = &device;
    io.priority = 1;
    regions.push_back(io);
    b.memory.set_regions(regions);
    b.gpr(rcx) = 100;
    b.state().rip() = code_at;
    b.state().activity = Activity::running;
    ASSERT_EQ(b.run(~u64{0}), ExitReason::halted);
    const u32 immediate = b.peek<u32>(code_at + 7 + 7);
    EXPECT_EQ(device.last, static_cast<u32>(1000 + immediate));
    b.memory.set_regions({regions[0]});
}

TEST_F(Patching, BytesInTheMiddleOfAFieldMayBeWritten) {
    Bytes code = loop({0x05}, 4);
    const u64 immediate = code_at + store_rdx(0, 4).size() + 1;
    code.resize(code.size() - 9); // From DEC ECX on.
    append(code, store_rdx(immediate + 1, 1));
    append(code, {0xFF, 0xC9, 0x0F, 0x85});
    append32(code, -(code.size() + 4));
    code.push_back(0xF4);
    compare(code);
}

// While its immediate is a field, the instruction becomes another now and then.
TEST_F(Patching, AnOpcodeThatChangesBesideAFieldIsSeen) {
    Bytes code = loop({0x05}, 4);
    const u64 opcode = code_at + store_rdx(0, 4).size();
    code.resize(code.size() - 9);
    append(code, {0x80, 0xF9, 0x40, 0x75, 0x08}); // CMP CL, 40h; JNE +8
    append(code, {0x80, 0x34, 0x25});             // XOR BYTE [opcode], 28h: ADD to SUB and back
    append32(code, opcode);
    code.push_back(0x28);
    append(code, {0xFF, 0xC9, 0x0F, 0x85});
    append32(code, -(code.size() + 4));
    code.push_back(0xF4);
    compare(code);
}

TEST_F(Patching, AFieldIsPatchedThroughAnAliasOfItsPage) {
    b.memory.set_regions(aliased(b));
    const u64 before = killed();
    compare(loop({0x48, 0x05}, 4, code_at, 0x100000));
    EXPECT_LT(killed() - before, 60u);
}

// Behind the page's end: such an instruction is not read at run time, but it must be right.
TEST_F(Patching, AnInstructionThatCrossesAPageIsPatched) {
    for (u64 in_first = 1; in_first <= 6; ++in_first) {
        SCOPED_TRACE(in_first);
        const u64 at = second_code_at - in_first - store_rdx(0, 4).size();
        compare(loop({0x48, 0x05}, 4, at), at);
        jit_->flush();
    }
}

// Bytes that no operation can read at run time.
TEST_F(Patching, CodeThatIsRewrittenEachRoundIsNotTranslatedEachRound) {
    // LEA RAX, [RAX + disp32]
    compare(loop({0x48, 0x8D, 0x80}, 4));
    EXPECT_LT(units(), 300u);
}

// Of a call, a jump, and a branch: to one of two places, as bit 0 of ECX says.
TEST_F(Patching, PatchedDistances) {
    struct Jump {
        const char* name;
        Bytes opcode;
        bool returns;
    };
    const Jump jumps[] = {{"CALL", {0xE8}, true}, {"JMP", {0xE9}, false}, {"JC", {0x0F, 0x82}, false}};
    for (const Jump& jump : jumps) {
        SCOPED_TRACE(jump.name);
        // MOV EDX, ECX; AND EDX, 1; SHL EDX, 4; ADD EDX, d: the distance to the first place or, 16 bytes on, to the
        // second.
        const unsigned first = 0x60;
        Bytes code{0x89, 0xCA, 0x83, 0xE2, 0x01, 0xC1, 0xE2, 0x04, 0x83, 0xC2, 0x00};
        const std::size_t distance_at = code.size() - 1;
        const u64 field = code_at + code.size() + 7 + 4 + jump.opcode.size();
        append(code, store_rdx(field, 4));
        append(code, {0x0F, 0xBA, 0xE1, 0x02}); // BT ECX, 2
        append(code, jump.opcode);
        append32(code, 0);
        code[distance_at] = static_cast<u8>(first - code.size());
        append(code, {0x48, 0x83, 0xC0, 0x03}); // ADD RAX, 3
        const std::size_t back = code.size();
        append(code, {0xFF, 0xC9, 0x0F, 0x85});
        append32(code, -(code.size() + 4));
        code.push_back(0xF4);
        ASSERT_LT(code.size(), first);
        for (const u8 added : {u8{0x11}, u8{0x70}}) {
            code.resize(first + (added == 0x70 ? 16 : 0), 0xF4);
            append(code, {0x48, 0x83, 0xC0, added}); // ADD RAX, imm8
            if (jump.returns)
                code.push_back(0xC3);
            else
                append(code, {0xEB, static_cast<u8>(back - (code.size() + 2))});
        }
        const u64 before = killed();
        compare(code);
        EXPECT_LT(killed() - before, 60u);
        jit_->flush();
    }
}

} // namespace
} // namespace calque::cpu::testing
