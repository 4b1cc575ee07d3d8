#include "frontend/monitor/remote.h"

#include <gtest/gtest.h>

using calque::i64;
using calque::monitor::parse_expiry;

namespace {

TEST(Expiry, OfAPassword) {
    constexpr i64 now = 5000;
    EXPECT_EQ(*parse_expiry("now", now), std::optional<i64>(5000));
    EXPECT_EQ(*parse_expiry("never", now), std::nullopt);
    EXPECT_EQ(*parse_expiry("+60", now), std::optional<i64>(5060));
    EXPECT_EQ(*parse_expiry("7000", now), std::optional<i64>(7000));
    for (const char* wrong : {"", "+", "-5", "+-5", "60s", "++1", "tomorrow", "99999999999999999999"})
        EXPECT_FALSE(parse_expiry(wrong, now)) << wrong;
}

} // namespace
