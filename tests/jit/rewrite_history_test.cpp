// How long code that is rewritten again and again is left to the interpreter.
#include "jit/cache/rewrite_history.h"

#include <gtest/gtest.h>

namespace calque::jit {
namespace {

constexpr u64 place = 0x6000, hot_after = 16;

TEST(RewriteHistory, OneKillMeansNothing) {
    RewriteHistory history;
    EXPECT_EQ(history.wait(place, hot_after), 0);
    history.killed(place, 1);
    EXPECT_EQ(history.wait(place, hot_after), 0);
}

TEST(RewriteHistory, KillsThatFollowEachOtherSoonMakeItWaitLongerEachTime) {
    RewriteHistory history;
    history.killed(place, 1);
    i32 before = hot_after;
    for (u64 now = 2; now < 8; ++now) {
        history.killed(place, now);
        const i32 wait = history.wait(place, hot_after);
        EXPECT_EQ(wait, before * 4);
        EXPECT_EQ(history.wait(place, hot_after), 0); // It has waited.
        before = wait;
    }
    for (u64 now = 8; now < 100; ++now)
        history.killed(place, now);
    EXPECT_EQ(history.wait(place, hot_after), before);
}

TEST(RewriteHistory, CodeThatLivedLongDoesNotWait) {
    RewriteHistory history;
    for (u64 now = 0; now < 10'000; now += 100)
        history.killed(place, now);
    EXPECT_EQ(history.wait(place, hot_after), 0);
}

} // namespace
} // namespace calque::jit
