#include "frontend/console/vnc_password.h"

#include <gtest/gtest.h>

namespace calque::console {
namespace {

struct VncPasswordTest : testing::Test {
    i64 now = 1000;
    VncPassword password{[this] { return now; }};
    VncPassword::Challenge challenge{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    // Of "pass4vnc" to that: openssl enc -des-ecb -nopad -K 0e86cece2c6e76c6, the key's bytes with their bits reversed.
    VncPassword::Challenge response{0x6F, 0xF9, 0xC4, 0x28, 0x70, 0x07, 0xFC, 0x1B,
                                    0x3B, 0x4B, 0xE0, 0xEF, 0x62, 0x53, 0x10, 0xE8};
};

TEST_F(VncPasswordTest, OnlyItsOwnResponseIsGood) {
    ASSERT_TRUE(password.set("pass4vnc"));
    EXPECT_TRUE(password.accepts(challenge, response));
    for (std::size_t i = 0; i < response.size(); ++i) {
        auto other = response;
        other[i] ^= 1;
        EXPECT_FALSE(password.accepts(challenge, other)) << i;
    }
    EXPECT_FALSE(password.accepts(challenge, std::span(response).first(8)));
    ++challenge[3];
    EXPECT_FALSE(password.accepts(challenge, response));
}

TEST_F(VncPasswordTest, WithoutOneNobodyIsLetIn) {
    // With a key of zeros, which is that of no characters.
    const VncPassword::Challenge of_none{0x49, 0x1E, 0x89, 0x0D, 0xE9, 0xAC, 0xE9, 0x32,
                                         0x83, 0x8A, 0x49, 0x79, 0x2F, 0x22, 0x13, 0xF3};
    EXPECT_FALSE(password.accepts(challenge, of_none));
    ASSERT_TRUE(password.set("pass4vnc"));
    ASSERT_TRUE(password.set(""));
    EXPECT_FALSE(password.is_set());
    EXPECT_FALSE(password.accepts(challenge, response));
}

TEST_F(VncPasswordTest, ExpiresAtItsTimeAndNotBefore) {
    ASSERT_TRUE(password.set("pass4vnc"));
    password.expire(1001);
    EXPECT_TRUE(password.accepts(challenge, response));
    now = 1001;
    EXPECT_FALSE(password.accepts(challenge, response));
    password.expire(std::nullopt);
    EXPECT_TRUE(password.accepts(challenge, response));
}

TEST_F(VncPasswordTest, OneThatIsTooLongLeavesTheOldOne) {
    ASSERT_TRUE(password.set("pass4vnc"));
    EXPECT_FALSE(password.set("pass4vncs"));
    EXPECT_TRUE(password.accepts(challenge, response));
}

} // namespace
} // namespace calque::console
