#include "base/json.h"

#include <gtest/gtest.h>

namespace calque {
namespace {

TEST(Json, ValuesAreRead) {
    const auto parsed =
        Json::parse(R"( {"a": [1, -2.5e1, true, false, null], "b": {"c": "x\n\u00e9\ud83d\ude00\"\\/"}} )");
    ASSERT_TRUE(parsed.ok()) << parsed.error().message;
    const auto* const array = parsed->find("a")->get_if<Json::Array>();
    ASSERT_TRUE(array);
    ASSERT_EQ(array->size(), 5u);
    EXPECT_EQ(*(*array)[0].get_if<i64>(), 1);
    EXPECT_EQ(*(*array)[1].get_if<double>(), -25.0);
    EXPECT_TRUE(*(*array)[2].get_if<bool>());
    EXPECT_FALSE(*(*array)[3].get_if<bool>());
    EXPECT_TRUE((*array)[4].get_if<std::monostate>());
    EXPECT_EQ(*parsed->find("b")->find("c")->string(), "x\n\xc3\xa9\xf0\x9f\x98\x80\"\\/");
    EXPECT_EQ(parsed->find("d"), nullptr);
    EXPECT_EQ(array->front().find("d"), nullptr);
}

TEST(Json, WhatIsNotJsonIsAnError) {
    for (const char* text : {"", "{", "{\"a\"}", "{\"a\":1,}", "[1", "[1,]", "\"a", "\"\\x\"", "\"\\u12\"",
                             "\"\\ud800\"", "01", "-", "1.2.3", "tru", "1 2", "\"a\nb\"", "+1", ".5", "{a:1}"})
        EXPECT_FALSE(Json::parse(text).ok()) << text;
    EXPECT_FALSE(Json::parse(std::string(100'000, '[')).ok());
}

TEST(JsonText, IsReadAsWhatItWasMadeFrom) {
    for (const char* text : {"null", "true", "[]", "{}", R"({"a": [1, -5, 2.5, "x"], "b": {"c": false}})",
                             R"(["\"\\\n\u0001\u007f\u00e9\u20ac\ud83d\ude00"])", "9223372036854775807"}) {
        const auto value = Json::parse(text);
        ASSERT_TRUE(value) << text;
        EXPECT_EQ(value->text(), text);
    }
}

TEST(JsonText, WhatIsNoUtf8IsReplaced) {
    for (const char* bytes : {"\xff", "\xc3", "\x80", "\xc0", "\xf8"})
        EXPECT_EQ(Json(std::string(bytes)).text(), R"("\ufffd")");
    EXPECT_EQ(Json(std::string("\xed\xa0\x80")).text(), R"("\ufffd\ufffd\ufffd")"); // Half a surrogate pair.
    EXPECT_EQ(Json(std::string("\xe2\x82x")).text(), R"("\ufffd\ufffdx")");
}

} // namespace
} // namespace calque
