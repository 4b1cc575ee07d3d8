// The re-encoder's answers one by one, and its manners with bytes that are no instruction.
#include "jit/debug/disassembler.h"
#include "tests/jit/reencode_support.h"

#include <cstring>

using namespace calque;
using namespace calque::jit;
using namespace calque::jit::test;
using cpu::CodeSize;

namespace {

struct Known {
    Bytes guest;
    bool code64;
    HostOperands host;
    Bytes expected;
    const char* text; // Of Capstone.
};

HostOperands registers(u8 reg, u8 rm, u8 vvvv = 0, u8 is4 = 0) {
    return {.reg = reg, .rm = rm, .vvvv = vvvv, .is4 = is4, .opcode_register = rm, .memory = {}};
}
HostOperands memory(u8 reg, u8 base, i32 displacement = 0, u8 index = no_register, u8 shift = 0, u8 vvvv = 0) {
    HostOperands host = registers(reg, 0, vvvv);
    host.memory = {.base = base, .index = index, .scale_shift = shift, .displacement = displacement};
    return host;
}

const Known known_answers[] = {
    // PADDD of XMM and of MMX.
    {{0x66, 0x0F, 0xFE, 0xC1}, true, registers(9, 14), {0x66, 0x45, 0x0F, 0xFE, 0xCE}, "paddd xmm9, xmm14"},
    {{0x0F, 0xFE, 0xC1}, true, registers(3, 5), {0x0F, 0xFE, 0xDD}, "paddd mm3, mm5"},
    // VEX grows to three bytes for the high half of rm, not for that of reg or vvvv.
    {{0xC5, 0xF1, 0xFE, 0xC2}, true, registers(8, 9, 15), {0xC4, 0x41, 0x01, 0xFE, 0xC1}, "vpaddd xmm8, xmm15, xmm9"},
    {{0xC5, 0xF1, 0xFE, 0xC2}, true, registers(8, 1, 0), {0xC5, 0x79, 0xFE, 0xC1}, "vpaddd xmm8, xmm0, xmm1"},
    // MOVAPS to memory: R12 and RSP need SIB, R13 and RBP a displacement.
    {{0x0F, 0x29, 0x18}, true, memory(3, 12), {0x41, 0x0F, 0x29, 0x1C, 0x24}, "movaps xmmword ptr [r12], xmm3"},
    {{0x0F, 0x29, 0x18}, true, memory(3, 13), {0x41, 0x0F, 0x29, 0x5D, 0x00}, "movaps xmmword ptr [r13], xmm3"},
    {{0x0F, 0x29, 0x18}, true, memory(3, 5), {0x0F, 0x29, 0x5D, 0x00}, "movaps xmmword ptr [rbp], xmm3"},
    {{0x0F, 0x29, 0x18},
     true,
     memory(3, 4, 0x1000, 9, 3),
     {0x42, 0x0F, 0x29, 0x9C, 0xCC, 0x00, 0x10, 0x00, 0x00},
     "movaps xmmword ptr [rsp + r9*8 + 0x1000], xmm3"},
    // MOV AL, CL: SIL needs an empty REX. ADD AH, CL: BH has none.
    {{0x88, 0xC8}, true, registers(6, 0), {0x40, 0x88, 0xF0}, "mov al, sil"},
    {{0x00, 0xCC}, true, registers(1, 3), {0x00, 0xCF}, "add bh, cl"},
    // ADD EAX, imm and INC ECX (32-bit code) in their forms with ModRM.
    {{0x05, 0x78, 0x56, 0x34, 0x12},
     true,
     registers(0, 11),
     {0x41, 0x81, 0xC3, 0x78, 0x56, 0x34, 0x12},
     "add r11d, 0x12345678"},
    {{0x41}, false, registers(0, 9), {0x41, 0xFF, 0xC1}, "inc r9d"},
    // Two register files in one instruction.
    {{0xF3, 0x48, 0x0F, 0x2A, 0xC1}, true, registers(12, 3), {0xF3, 0x4C, 0x0F, 0x2A, 0xE3}, "cvtsi2ss xmm12, rbx"},
    {{0x0F, 0xD7, 0xC1}, true, registers(12, 3), {0x44, 0x0F, 0xD7, 0xE3}, "pmovmskb r12d, mm3"},
    // The register in the opcode.
    {{0x0F, 0xC9}, true, registers(0, 13), {0x41, 0x0F, 0xCD}, "bswap r13d"},
    {{0x48, 0xB8, 1, 2, 3, 4, 5, 6, 7, 8},
     true,
     registers(0, 10),
     {0x49, 0xBA, 1, 2, 3, 4, 5, 6, 7, 8},
     "movabs r10, 0x807060504030201"},
    // Four registers; a vector index.
    {{0xC4, 0xE3, 0x69, 0x4C, 0xCB, 0x40},
     true,
     registers(10, 12, 11, 13),
     {0xC4, 0x43, 0x21, 0x4C, 0xD4, 0xD0},
     "vpblendvb xmm10, xmm11, xmm12, xmm13"},
    {{0xC4, 0xE2, 0x65, 0x92, 0x0C, 0x90},
     true,
     memory(9, 5, 0, 12, 2, 11),
     {0xC4, 0x22, 0x25, 0x92, 0x4C, 0xA5, 0x00},
     "vgatherdps ymm9, dword ptr [rbp + ymm12*4], ymm11"},
    // x87, and prefixes of the address, which go.
    {{0xDD, 0x00}, false, memory(0, 11), {0x41, 0xDD, 0x03}, "fld qword ptr [r11]"},
    {{0xD8, 0xC3}, true, registers(7, 7), {0xD8, 0xC3}, "fadd st(3)"},
    {{0x64, 0x67, 0x8B, 0x43, 0x10}, true, memory(0, 15), {0x41, 0x8B, 0x07}, "mov eax, dword ptr [r15]"},
};

TEST(Reencode, KnownAnswers) {
    for (const auto& known : known_answers) {
        const auto parsed = parse_instruction(known.guest, known.code64);
        ASSERT_TRUE(parsed) << known.text;
        EXPECT_EQ(parsed->length, known.guest.size()) << known.text;
        const Bytes out = encode(*parsed, known.host);
        EXPECT_EQ(hex(out), hex(known.expected)) << known.text;
        const auto lines = disassemble(out, CodeSize::bits64, 0, 2);
        ASSERT_EQ(lines.size(), 1u) << known.text;
        EXPECT_EQ(lines[0].text, known.text);
    }
}

// In 16-bit code 66 and 67 choose 32 bits; where 66 is part of the opcode, or means nothing, it stays what it is.
TEST(Reencode, SixteenBitCode) {
    struct {
        Bytes guest;
        Bytes expected;
        const char* text;
    } const cases[] = {
        {{0x01, 0xC8}, {0x66, 0x01, 0xC8}, "add ax, cx"},
        {{0x66, 0x01, 0xC8}, {0x01, 0xC8}, "add eax, ecx"},
        {{0x00, 0xC8}, {0x66, 0x00, 0xC8}, "add al, cl"},
        {{0x05, 0x34, 0x12}, {0x66, 0x81, 0xC0, 0x34, 0x12}, "add ax, 0x1234"},
        {{0x66, 0xB8, 1, 2, 3, 4}, {0xB8, 1, 2, 3, 4}, "mov eax, 0x4030201"},
        {{0x0F, 0xB6, 0xC1}, {0x66, 0x0F, 0xB6, 0xC1}, "movzx ax, cl"},
        {{0xF3, 0x0F, 0xB8, 0xC1}, {0x66, 0xF3, 0x0F, 0xB8, 0xC1}, "popcnt ax, cx"},
        {{0x66, 0xF2, 0x0F, 0x38, 0xF1, 0xC1}, {0xF2, 0x0F, 0x38, 0xF1, 0xC1}, "crc32 eax, ecx"},
        {{0x66, 0x0F, 0x58, 0xC1}, {0x66, 0x0F, 0x58, 0xC1}, "addpd xmm0, xmm1"},
        {{0x0F, 0x58, 0xC1}, {0x0F, 0x58, 0xC1}, "addps xmm0, xmm1"},
        {{0x66, 0x0F, 0x38, 0xF6, 0xC1}, {0x66, 0x0F, 0x38, 0xF6, 0xC1}, "adcx eax, ecx"},
        {{0xD9, 0xC1}, {0xD9, 0xC1}, "fld st(1)"},
        {{0x41}, {0x66, 0xFF, 0xC1}, "inc cx"},
    };
    for (const auto& known : cases) {
        const auto parsed = parse_instruction(known.guest, CodeBits::bits16);
        ASSERT_TRUE(parsed) << known.text;
        EXPECT_EQ(parsed->length, known.guest.size()) << known.text;
        HostOperands same;
        same.reg = parsed->modrm_reg, same.rm = parsed->modrm_rm, same.opcode_register = parsed->opcode_register;
        const Bytes out = encode(*parsed, same);
        EXPECT_EQ(hex(out), hex(known.expected)) << known.text;
        const auto lines = disassemble(out, CodeSize::bits64, 0, 2);
        ASSERT_EQ(lines.size(), 1u) << known.text;
        EXPECT_EQ(lines[0].text, known.text);
    }
    auto p = parse_instruction(Bytes{0x8B, 0x42, 0xFE}, CodeBits::bits16); // MOV AX, [BP+SI-2]
    ASSERT_TRUE(p);
    EXPECT_EQ(p->base, 5);
    EXPECT_EQ(p->index, 6);
    EXPECT_EQ(p->displacement, -2);
    p = parse_instruction(Bytes{0x67, 0x8B, 0x44, 0xB5, 0x02}, CodeBits::bits16); // MOV AX, [EBP+ESI*4+2]
    ASSERT_TRUE(p);
    EXPECT_EQ(p->base, 5);
    EXPECT_EQ(p->index, 6);
    EXPECT_EQ(p->scale, 4);
}

TEST(Reencode, AHighByteWithoutAnEncoding) {
    auto add = parse_instruction(Bytes{0x00, 0xCC}, true); // ADD AH, CL
    ASSERT_TRUE(add && add->rm_high && !add->reg_high);
    EXPECT_EQ(add->modrm_rm, 0);
    EXPECT_TRUE(encode(*add, registers(1, 5)).empty());  // RBP has no high byte,
    EXPECT_TRUE(encode(*add, registers(9, 0)).empty());  // R9B needs REX, which takes AH away,
    EXPECT_TRUE(encode(*add, registers(6, 0)).empty());  // and so does SIL.
    EXPECT_FALSE(encode(*add, registers(2, 0)).empty()); //
    add->rm_high = false;
    EXPECT_EQ(hex(encode(*add, registers(9, 5))), hex(Bytes{0x44, 0x00, 0xCD}));
}

TEST(Reencode, RspIsNoIndex) {
    const auto load = parse_instruction(Bytes{0x8B, 0x00}, true);
    ASSERT_TRUE(load);
    EXPECT_TRUE(encode(*load, memory(0, 0, 0, 4)).empty());
    EXPECT_FALSE(encode(*load, memory(0, 0, 0, 12)).empty());
}

// --- What the parser reports ---

TEST(Reencode, MemoryOperands) {
    auto p = parse_instruction(Bytes{0x43, 0x8B, 0x44, 0xA5, 0x80}, true); // MOV EAX, [R13+R12*4-128]
    ASSERT_TRUE(p && p->memory);
    EXPECT_EQ(p->base, 13);
    EXPECT_EQ(p->index, 12);
    EXPECT_EQ(p->scale, 4);
    EXPECT_EQ(p->displacement, -128);
    p = parse_instruction(Bytes{0x8B, 0x05, 0x10, 0, 0, 0}, true); // MOV EAX, [RIP+16]
    ASSERT_TRUE(p && p->rip_relative);
    EXPECT_EQ(p->base, no_register);
    EXPECT_EQ(p->displacement, 16);
    p = parse_instruction(Bytes{0x8B, 0x05, 0x10, 0, 0, 0}, false); // MOV EAX, [16]
    ASSERT_TRUE(p && !p->rip_relative);
    EXPECT_EQ(p->base, no_register);
    p = parse_instruction(Bytes{0x8B, 0x04, 0x25, 0xF0, 0xFF, 0xFF, 0xFF}, true); // MOV EAX, [-16]
    ASSERT_TRUE(p && !p->rip_relative);
    EXPECT_EQ(p->base, no_register);
    EXPECT_EQ(p->index, no_register);
    EXPECT_EQ(p->displacement, -16);
    p = parse_instruction(Bytes{0x67, 0x8B, 0x42, 0xFE}, false); // MOV EAX, [BP+SI-2]
    ASSERT_TRUE(p && p->address_prefix);
    EXPECT_EQ(p->base, 5);
    EXPECT_EQ(p->index, 6);
    EXPECT_EQ(p->displacement, -2);
    p = parse_instruction(Bytes{0xC4, 0xE2, 0x65, 0x92, 0x0C, 0xA0}, true); // VGATHERDPS YMM1, [RAX+YMM4*4], YMM3
    ASSERT_TRUE(p && p->vsib);
    EXPECT_EQ(p->index, 4);
    EXPECT_EQ(p->vvvv_class, FieldClass::vector);
}

TEST(Reencode, SegmentsThatCount) {
    const auto segment = [](Bytes bytes, bool code64) { return parse_instruction(bytes, code64)->segment_prefix; };
    EXPECT_EQ(segment({0x26, 0x8B, 0x00}, false), 0x26);
    EXPECT_EQ(segment({0x26, 0x8B, 0x00}, true), 0);
    EXPECT_EQ(segment({0x65, 0x26, 0x8B, 0x00}, true), 0x65);
    EXPECT_EQ(segment({0x65, 0x26, 0x8B, 0x00}, false), 0x26);
}

TEST(Reencode, ARexBeforeAnotherPrefixIsNone) {
    const auto p = parse_instruction(Bytes{0x4F, 0x66, 0x01, 0xC8}, true);
    ASSERT_TRUE(p);
    EXPECT_FALSE(p->w);
    EXPECT_EQ(p->modrm_rm, 0);
    EXPECT_EQ(p->modrm_reg, 1);
    EXPECT_EQ(hex(encode(*p, registers(1, 0))), hex(Bytes{0x66, 0x01, 0xC8}));
}

// SDM volume 2, VMOVD/VMOVQ, ANDN: VEX.W does not make them 64-bit there.
TEST(Reencode, VexWDoesNotWidenRegistersOf32BitCode) {
    const Bytes vmovq{0xC4, 0xE1, 0xF9, 0x6E, 0xC1};
    EXPECT_TRUE(parse_instruction(vmovq, true)->w);
    EXPECT_FALSE(parse_instruction(vmovq, false)->w);
    const Bytes fma_pd{0xC4, 0xE2, 0xF1, 0xB8, 0xC2}; // There W is the element's size.
    EXPECT_TRUE(parse_instruction(fma_pd, false)->w);
}

TEST(Reencode, NothingForWhatItCannotDo) {
    const Bytes both[] = {{0xE8, 0, 0, 0, 0},
                          {0x74, 0},
                          {0xFF, 0xD0},
                          {0x50},
                          {0xA4},
                          {0xE4, 1},
                          {0xA1, 0, 0, 0, 0, 0, 0, 0, 0},
                          {0x62, 0xF1, 0x7C, 0x48, 0x58, 0xC1}, // EVEX
                          {0x8F, 0xE9, 0x78, 0x81, 0xC1},       // XOP
                          {0x66, 0xC5, 0xF1, 0xFE, 0xC2},       // A prefix before VEX
                          {0xC5, 0xF1, 0x6F, 0xC2},             // vvvv of VMOVDQA
                          {0x0F, 0x0B},
                          {0xF4},
                          {0x0F, 0x1F, 0x00}};
    for (const Bytes& bytes : both) {
        EXPECT_FALSE(parse_instruction(bytes, true)) << hex(bytes);
        EXPECT_FALSE(parse_instruction(bytes, false)) << hex(bytes);
    }
    const Bytes only64[] = {{0x63, 0xC0}, {0x0F, 0x20, 0xC0}, {0x0F, 0xAE, 0x00}, {0x0F, 0xAE, 0x20}};
    for (const Bytes& bytes : only64) {
        EXPECT_TRUE(parse_instruction(bytes, true)) << hex(bytes);
        EXPECT_FALSE(parse_instruction(bytes, false)) << hex(bytes);
    }
    EXPECT_FALSE(parse_instruction({}, true));
}

TEST(Reencode, MemoryAsARegister) {
    struct Case {
        Bytes bytes;
        const char* text; // "" where the forms differ.
    };
    const Case cases[] = {
        {{0x66, 0x0F, 0xFE, 0x4E, 0x10}, "paddd xmm1, xmm9"},
        {{0x48, 0x03, 0x0D, 1, 2, 3, 4}, "add rcx, r9"},
        {{0x65, 0x80, 0x04, 0x24, 0x07}, "add r9b, 7"},
        {{0xC4, 0xE2, 0x79, 0x30, 0x08}, "vpmovzxbw xmm1, xmm9"},
        {{0xF3, 0x0F, 0x10, 0x08}, ""},             // MOVSS
        {{0x0F, 0x12, 0x08}, ""},                   // MOVLPS; MOVHLPS
        {{0x66, 0x0F, 0x12, 0x08}, ""},             // MOVLPD
        {{0x66, 0x0F, 0x3A, 0x21, 0x08, 0x40}, ""}, // INSERTPS
        {{0x0F, 0xA3, 0x08}, ""},                   // BT [rax], ecx
        {{0x87, 0x08}, ""},                         // XCHG
        {{0xF0, 0x01, 0x08}, ""},                   // LOCK ADD
        {{0x66, 0x0F, 0x2A, 0x08}, ""},             // CVTPI2PD
        {{0xD8, 0x00}, ""},                         // FADD m32; FADD ST, ST
        {{0x8D, 0x08}, ""},                         // LEA
        {{0x01, 0xC8}, ""},                         // A register already.
    };
    for (const auto& c : cases) {
        auto parsed = parse_instruction(c.bytes, true);
        ASSERT_TRUE(parsed) << hex(c.bytes);
        ASSERT_EQ(with_register_form(*parsed, 9), *c.text != 0) << hex(c.bytes);
        if (!*c.text) continue;
        const auto lines = disassemble(encode(*parsed, registers(1, 9)), CodeSize::bits64, 0, 1);
        ASSERT_EQ(lines.size(), 1u);
        EXPECT_EQ(lines[0].text, c.text);
    }
}

// --- Robustness ---

// Each span is a heap block of its own size, so that the address sanitizer sees a read past it.
TEST(Reencode, EveryTruncationIsNothing) {
    Random random(7);
    for (unsigned n = 0; n < 20'000; ++n) {
        const bool code64 = random() % 2;
        const auto bytes = random_instruction(random, code64);
        const auto parsed = parse_instruction(bytes, code64);
        if (!parsed) continue;
        ASSERT_LE(parsed->length, 15) << hex(bytes);
        for (std::size_t length = 0; length <= parsed->length; ++length) {
            const Bytes part(bytes.begin(), bytes.begin() + length);
            ASSERT_EQ(parse_instruction(part, code64).has_value(), length == parsed->length) << hex(part);
        }
    }
}

TEST(Reencode, AnyBytesAndAnyHostOperands) {
    Random random(11);
    unsigned taken = 0;
    for (unsigned n = 0; n < 500'000; ++n) {
        std::array<u8, 16> bytes;
        for (unsigned half = 0; half < 2; ++half) {
            const u64 word = random();
            std::memcpy(bytes.data() + 8 * half, &word, 8);
        }
        auto parsed = parse_instruction(std::span(bytes).first(random() % 17), random() % 2);
        if (!parsed) continue;
        ++taken;
        const auto any = [&] { return static_cast<u8>(random()); }; // Numbers above 15 too.
        HostOperands host = memory(any(), any(), static_cast<i32>(random()), any(), any(), any());
        host.rm = host.opcode_register = any();
        host.is4 = any();
        if (random() % 2) with_register_form(*parsed, static_cast<u8>(random()));
        EXPECT_LE(encode(*parsed, host).size(), 15u);
    }
    EXPECT_GT(taken, 50'000u);
}

} // namespace
