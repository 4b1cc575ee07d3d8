// A decoder that remembers says the same as one that does not: for every opcode and ModRM byte, in every mode, with
// other displacements and immediates each time.
#include "cpu/decode/decoder.h"

#include <gtest/gtest.h>
#include <random>

namespace calque::cpu {
namespace {

bool same(const Instruction& a, const Instruction& b) {
    return a.handler == b.handler && a.immediate == b.immediate && a.displacement == b.displacement && a.row == b.row
           && a.length == b.length && a.dest == b.dest && a.source == b.source && a.third == b.third
           && a.fourth == b.fourth && a.base == b.base && a.index == b.index && a.memory == b.memory
           && a.operand_size == b.operand_size && a.flags == b.flags;
}
bool same(const Form& a, const Form& b) {
    return a.kind == b.kind && a.size == b.size && a.count == b.count && a.operand_size == b.operand_size
           && a.address_size == b.address_size && a.code_bits == b.code_bits && a.flags == b.flags && a.flat == b.flat
           && a.opcode == b.opcode;
}

class DecodeMemoryTest : public ::testing::TestWithParam<CodeSize> {
  protected:
    void compare(std::span<const u8> bytes) {
        const DecodeMode mode{GetParam(), false, false};
        for (const std::size_t length : {bytes.size(), 1 + random_() % bytes.size()}) {
            const auto part = bytes.first(length);
            Instruction plain, remembered;
            Form plain_form, remembered_form;
            const DecodeStatus status = plain_.decode(part, mode, plain, &plain_form);
            const auto check = [&](DecodeStatus its_status) {
                ASSERT_EQ(its_status, status) << text(part);
                if (status != DecodeStatus::ok) return;
                ASSERT_TRUE(same(plain, remembered)) << text(part);
                if (plain.row + 1u < instruction_table().size()) { // The last row stands for what is undefined.
                    ASSERT_TRUE(same(plain_form, remembered_form)) << text(part);
                }
            };
            ASSERT_NO_FATAL_FAILURE(check(remembering_.decode(part, mode, remembered, &remembered_form)));
            // At an address where something else was, then at the same again.
            const u64 address = random_() % 4;
            for (unsigned times = 0; times < 2; ++times)
                ASSERT_NO_FATAL_FAILURE(
                    check(remembering_.decode_at(address, part, mode, remembered, &remembered_form)));
        }
    }
    static std::string text(std::span<const u8> bytes) {
        std::string text;
        for (const u8 byte : bytes)
            text += fmt::format("{:02x} ", byte);
        return text;
    }
    void fill_tail(std::vector<u8>& bytes, std::size_t from) {
        bytes.resize(from);
        while (bytes.size() < 16)
            bytes.push_back(static_cast<u8>(random_()));
    }

    Decoder plain_{CpuModel{}}, remembering_{CpuModel{}, 1024};
    std::mt19937 random_{7};
};

TEST_P(DecodeMemoryTest, EveryOpcodeAndModrm) {
    const std::vector<std::vector<u8>> escapes{{}, {0x0F}, {0x0F, 0x38}, {0x0F, 0x3A}, {0x66, 0x0F}, {0xF3, 0x0F}};
    for (const auto& escape : escapes)
        for (unsigned opcode = 0; opcode < 256; ++opcode)
            for (unsigned modrm = 0; modrm < 256; ++modrm) {
                std::vector<u8> bytes = escape;
                bytes.push_back(static_cast<u8>(opcode));
                bytes.push_back(static_cast<u8>(modrm));
                const std::size_t head = bytes.size();
                fill_tail(bytes, head);
                ASSERT_NO_FATAL_FAILURE(compare(bytes));
                const u8 sib = bytes[head];
                fill_tail(bytes, head);
                bytes[head] = sib; // The same head, perhaps, with another tail.
                ASSERT_NO_FATAL_FAILURE(compare(bytes));
            }
}

TEST_P(DecodeMemoryTest, PrefixesAndVex) {
    static constexpr u8 prefixes[] = {0x66, 0x67, 0xF2, 0xF3, 0xF0, 0x2E, 0x36, 0x3E, 0x26, 0x64, 0x65, 0x40,
                                      0x41, 0x44, 0x48, 0x4C, 0x4F, 0xC4, 0xC5, 0xC4, 0xC5, 0x62, 0x8F};
    for (unsigned round = 0; round < 200'000; ++round) {
        std::vector<u8> bytes;
        for (unsigned n = random_() % 4; n-- > 0;)
            bytes.push_back(prefixes[random_() % std::size(prefixes)]);
        if (random_() % 2) bytes.push_back(0x0F);
        // Few heads, so that they come again.
        bytes.push_back(static_cast<u8>(random_() % 256));
        bytes.push_back(static_cast<u8>(random_() % 8 * 0x21));
        fill_tail(bytes, bytes.size());
        ASSERT_NO_FATAL_FAILURE(compare(bytes));
        std::vector<u8> other = bytes;
        fill_tail(other, 5);
        ASSERT_NO_FATAL_FAILURE(compare(other));
    }
}

TEST(DecodeMemory, KnowsAnInstructionWhereItWasByItsBytes) {
    const Decoder decoder(CpuModel{}, 1024);
    std::array<u8, 16> code{0x48, 0xC7, 0xC0, 1, 2, 3, 4}; // mov rax, imm32
    Instruction record;
    EXPECT_FALSE(decoder.knows_at(0x1000, code, {}));
    ASSERT_EQ(decoder.decode_at(0x1000, code, {}, record), DecodeStatus::ok);
    EXPECT_TRUE(decoder.knows_at(0x1000, code, {}));
    code[7] = 0x90; // What follows.
    EXPECT_TRUE(decoder.knows_at(0x1000, code, {}));
    EXPECT_FALSE(decoder.knows_at(0x1001, code, {}));
    EXPECT_FALSE(decoder.knows_at(0x1000, code, {CodeSize::bits32, false, false}));
    EXPECT_FALSE(decoder.knows_at(0x1000, code, {CodeSize::bits64, false, true}));
    EXPECT_FALSE(decoder.knows_at(0x1000, std::span(code).first(6), {}));
    code[6] = 5;
    EXPECT_FALSE(decoder.knows_at(0x1000, code, {}));
    ASSERT_EQ(decoder.decode_at(0x1000, code, {}, record), DecodeStatus::ok);
    EXPECT_EQ(record.immediate, 0x05030201u);
}

INSTANTIATE_TEST_SUITE_P(All, DecodeMemoryTest,
                         ::testing::Values(CodeSize::bits16, CodeSize::bits32, CodeSize::bits64));

} // namespace
} // namespace calque::cpu
