#include "frontend/monitor/examine.h"

#include <gtest/gtest.h>

using namespace calque;
using namespace calque::monitor;

namespace {

std::optional<u64> registers(std::string_view name) {
    if (name == "pc") return 0x1000;
    if (name == "rsp") return 0x7F00;
    return {};
}
Result<Examine> parse(std::string_view text) { return parse_examine(text, registers); }

TEST(Examine, AnAddressAloneIsOneWordInHexadecimal) {
    const auto what = parse("0x1234");
    ASSERT_TRUE(what);
    EXPECT_EQ(what->address, 0x1234u);
    EXPECT_EQ(what->count, 1u);
    EXPECT_EQ(what->format, 'x');
    EXPECT_EQ(what->size, 4u);
}

TEST(Examine, CountFormatAndSizeInEitherOrder) {
    for (const auto* text : {"/3xg 4096", "/3gx 4096", "  /3gx   4096 "}) {
        const auto what = parse(text);
        ASSERT_TRUE(what) << text;
        EXPECT_EQ(what->count, 3u);
        EXPECT_EQ(what->size, 8u);
        EXPECT_EQ(what->address, 4096u);
    }
    EXPECT_EQ(parse("/i $pc")->format, 'i');
}

TEST(Examine, RegistersAndSums) {
    EXPECT_EQ(parse("/10i $pc")->address, 0x1000u);
    EXPECT_EQ(parse("$rsp + 8 - 0x10")->address, 0x7EF8u);
    EXPECT_EQ(parse("0 - 1")->address, ~u64{0});
}

TEST(Examine, PrintsSums) {
    EXPECT_EQ(print_value("$pc + 0x10", registers), "0x0000000000001010\n");
    EXPECT_EQ(print_value("/d 3 - 5", registers), "-2\n");
    EXPECT_EQ(print_value("/u 0 - 1", registers), "18446744073709551615\n");
    EXPECT_NE(print_value("/i $pc", registers).find("print takes"), std::string::npos);
    EXPECT_NE(print_value("$nothing", registers).find("'$nothing'"), std::string::npos);
}

TEST(Examine, WhatIsWrongIsSaidByName) {
    EXPECT_NE(parse("$nothing").error().message.find("'$nothing'"), std::string::npos);
    EXPECT_NE(parse("/2z 0").error().message.find("'z'"), std::string::npos);
    EXPECT_NE(parse("12monkeys").error().message.find("'12monkeys'"), std::string::npos);
    EXPECT_NE(parse("/99999999999999999999x 0").error().message.find("1 to 4096"), std::string::npos);
    for (const auto* text : {"", "/4x", "5 +", "/", "/0x 0", "0x10000000000000000", "/4097x 0", "0x", "-", "$"})
        EXPECT_FALSE(parse(text)) << text;
}

} // namespace
