// Which part of a path becomes a region.
#include "jit/regions.h"

#include <gtest/gtest.h>
#include <initializer_list>

namespace calque::jit {
namespace {

constexpr UnitKey key{.linear = 0x1000, .physical = 0x1000, .mode = 0, .movable = false};

class RegionsTest : public ::testing::Test {
  protected:
    // How much of the path is wanted, after paths from the same place that came before.
    std::size_t add(std::initializer_list<u64> path) {
        std::vector<PathStep> steps;
        for (const u64 linear : path) {
            PathStep& step = steps.emplace_back();
            step.linear = linear;
        }
        return regions.add_path(key, steps).size();
    }
    Regions regions;
};

TEST_F(RegionsTest, AskForAPathAtTheSecondSample) {
    EXPECT_FALSE(regions.wants_path(key));
    EXPECT_TRUE(regions.wants_path(key));
    regions.give_up(key);
    EXPECT_FALSE(regions.wants_path(key));
    EXPECT_TRUE(regions.hopeless(key));
    regions.forget();
    EXPECT_FALSE(regions.hopeless(key));
}

TEST_F(RegionsTest, AreWherePathsAgree) {
    EXPECT_EQ(add({1, 2, 3, 4, 5}), 0u);
    EXPECT_EQ(add({1, 2, 3, 4, 5}), 0u);
    EXPECT_EQ(add({1, 2, 3, 4, 5}), 5u);
}

TEST_F(RegionsTest, EndWhereMoreThanOneInFourGoesElsewhere) {
    EXPECT_EQ(add({1, 2, 3, 4, 5}), 0u);
    EXPECT_EQ(add({1, 2, 3, 40, 50}), 0u);
    EXPECT_EQ(add({1, 2, 3, 4, 5}), 3u);
}

TEST_F(RegionsTest, CountTheRoundsOfALoop) {
    EXPECT_EQ(add({1, 2, 3, 1, 2, 3}), 0u);
    EXPECT_EQ(add({1, 2, 3, 1, 2, 3}), 0u);
    EXPECT_EQ(add({1, 2, 9, 1, 2, 3}), 0u); // One round of six goes elsewhere: this path is not the one to follow
    EXPECT_EQ(add({1, 2, 3, 1, 2, 3}), 6u); // but the next is.
}

TEST_F(RegionsTest, AreGivenUpWhereNothingAgrees) {
    for (u64 n = 1; n <= Regions::most; ++n)
        EXPECT_EQ(add({n, n * 100, n * 1000}), 0u);
    EXPECT_TRUE(regions.hopeless(key));
}

} // namespace
} // namespace calque::jit
