// -cpu: names and features.
#include "cpu/model.h"

#include <gtest/gtest.h>

namespace calque::cpu {
namespace {

TEST(SystemModel, NamesAndFeatures) {
    const auto max = CpuModel::parse("max");
    ASSERT_TRUE(max);
    EXPECT_TRUE(max->features.has(Feature::avx2));
    EXPECT_FALSE(max->features.has(Feature::monitor));
    const auto v2 = CpuModel::parse("x86-64-v2,+aes,popcnt=off");
    ASSERT_TRUE(v2);
    EXPECT_TRUE(v2->features.has(Feature::aes));
    EXPECT_FALSE(v2->features.has(Feature::popcnt));
    EXPECT_FALSE(v2->features.has(Feature::avx));
    for (const std::string& name : CpuModel::names())
        EXPECT_TRUE(CpuModel::parse(name)) << name;
}

TEST(SystemModel, SwitchingOffTakesWhatDependsOnIt) {
    const auto model = CpuModel::parse("max,-xsave");
    ASSERT_TRUE(model);
    for (Feature f : {Feature::avx, Feature::avx2, Feature::fma, Feature::f16c, Feature::xsavec, Feature::pku})
        EXPECT_FALSE(model->features.has(f)) << feature_table[static_cast<unsigned>(f)].name;
    EXPECT_TRUE(model->features.has(Feature::sse4_2));
}

TEST(SystemModel, OtherSpellings) {
    const auto model = CpuModel::parse("max,-sse4.2,-sha-ni,lzcnt=off");
    ASSERT_TRUE(model);
    EXPECT_FALSE(model->features.has(Feature::sse4_2));
    EXPECT_FALSE(model->features.has(Feature::sha));
    EXPECT_FALSE(model->features.has(Feature::abm));
}

TEST(SystemModel, ErrorsNameWhatThereIs) {
    const auto name = CpuModel::parse("pentium5");
    ASSERT_FALSE(name);
    EXPECT_NE(name.error().message.find("max"), std::string::npos);
    const auto feature = CpuModel::parse("max,+avx512f");
    ASSERT_FALSE(feature);
    EXPECT_NE(feature.error().message.find("avx512f"), std::string::npos);
    EXPECT_FALSE(CpuModel::parse("max,aes=maybe"));
    EXPECT_FALSE(CpuModel::parse("max,"));
    EXPECT_FALSE(CpuModel::parse(""));
}

TEST(SystemModel, Signature) {
    CpuModel model;
    model.family = 6;
    model.model = 0x5E;
    model.stepping = 3;
    EXPECT_EQ(model.signature(), 0x506E3u);
    model.family = 0x19;
    model.model = 0x11;
    model.stepping = 1;
    EXPECT_EQ(model.signature(), 0xA10F11u);
}

} // namespace
} // namespace calque::cpu
