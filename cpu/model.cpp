#include "cpu/model.h"

#include <algorithm>

namespace calque::cpu {

namespace {

// What x86-64 itself and every model contain: never switched off by a model's name.
constexpr Feature baseline[] = {
    Feature::fpu,  Feature::de,   Feature::pse,   Feature::tsc,     Feature::msr,     Feature::pae,  Feature::cx8,
    Feature::apic, Feature::cmov, Feature::mmx,   Feature::fxsr,    Feature::sse,     Feature::sse2, Feature::pge,
    Feature::pat,  Feature::lm,   Feature::nx,    Feature::syscall, Feature::sep,     Feature::mtrr, Feature::mca,
    Feature::mce,  Feature::vme,  Feature::pse36, Feature::clflush, Feature::lahf_lm, Feature::cx16, Feature::sse3,
};

FeatureSet with(std::initializer_list<Feature> more, FeatureSet set) {
    for (Feature f : more)
        set.set(f);
    return set;
}
FeatureSet version1() {
    FeatureSet set;
    for (Feature f : baseline)
        set.set(f);
    // Nothing of the processor's: what an emulated one has anyway.
    return with({Feature::hypervisor, Feature::x2apic, Feature::tsc_deadline, Feature::invtsc, Feature::arat,
                 Feature::tsc_adjust, Feature::rdtscp, Feature::arch_capabilities},
                set);
}
FeatureSet version2() { return with({Feature::ssse3, Feature::sse4_1, Feature::sse4_2, Feature::popcnt}, version1()); }
FeatureSet version3() {
    return with({Feature::avx, Feature::avx2, Feature::bmi1, Feature::bmi2, Feature::f16c, Feature::fma, Feature::abm,
                 Feature::movbe, Feature::xsave},
                version2());
}
struct Named {
    std::string_view name, text;
    FeatureSet (*features)();
};
constexpr Named known[] = {
    {"max", "everything that this emulator has (the default)", CpuModel::everything},
    {"x86-64-v1", "the x86-64 baseline (SSE2)", version1},
    {"x86-64-v2", "SSE4.2, POPCNT", version2},
    {"x86-64-v3", "AVX2, BMI, FMA, F16C, MOVBE", version3},
    {"qemu64", "the same as x86-64-v1", version1},
};

// Names that people use for a feature besides the table's own.
struct Alias {
    std::string_view name;
    Feature feature;
};
constexpr Alias aliases[] = {
    {"pni", Feature::sse3},  {"cmpxchg16b", Feature::cx16}, {"cmpxchg8b", Feature::cx8},
    {"lzcnt", Feature::abm}, {"sha-ni", Feature::sha},      {"3dnowprefetch", Feature::prefetchw},
    {"i64", Feature::lm},    {"xd", Feature::nx},
};

std::string normalised(std::string_view name) {
    std::string text(name);
    for (char& c : text)
        if (c == '-' || c == '.') c = '_';
    return text;
}

Feature find_feature(std::string_view name) {
    const std::string wanted = normalised(name);
    for (std::size_t n = 0; n < feature_table.size(); ++n)
        if (feature_table[n].name == wanted) return static_cast<Feature>(n);
    for (const Alias& alias : aliases)
        if (normalised(alias.name) == wanted) return alias.feature;
    return Feature::count;
}

// What a feature cannot be without; switching the right one off takes the left one with it.
struct Needs {
    Feature feature, needed;
};
constexpr Needs needs[] = {
    {Feature::fxsr, Feature::fpu},       {Feature::mmx, Feature::fpu},
    {Feature::sse, Feature::fxsr},       {Feature::sse2, Feature::sse},
    {Feature::sse3, Feature::sse2},      {Feature::ssse3, Feature::sse3},
    {Feature::sse4_1, Feature::ssse3},   {Feature::sse4_2, Feature::sse4_1},
    {Feature::aes, Feature::sse2},       {Feature::pclmulqdq, Feature::sse2},
    {Feature::sha, Feature::ssse3},      {Feature::avx, Feature::sse4_2},
    {Feature::avx, Feature::xsave},      {Feature::avx2, Feature::avx},
    {Feature::fma, Feature::avx},        {Feature::f16c, Feature::avx},
    {Feature::xsaveopt, Feature::xsave}, {Feature::xsavec, Feature::xsave},
    {Feature::xgetbv1, Feature::xsave},  {Feature::pku, Feature::xsave},
    {Feature::nx, Feature::pae},         {Feature::lm, Feature::pae},
    {Feature::lm, Feature::nx},          {Feature::pcid, Feature::lm},
    {Feature::x2apic, Feature::apic},    {Feature::tsc_deadline, Feature::apic},
    {Feature::fsgsbase, Feature::lm},    {Feature::syscall, Feature::lm},
    {Feature::cx16, Feature::lm},        {Feature::lahf_lm, Feature::lm},
    {Feature::pdpe1gb, Feature::lm},     {Feature::invpcid, Feature::pcid},
    {Feature::rdtscp, Feature::tsc},     {Feature::invtsc, Feature::tsc},
    {Feature::tsc_adjust, Feature::tsc}, {Feature::xsave, Feature::fxsr},
};

void close_under_needs(FeatureSet& set) {
    for (bool changed = true; changed;) {
        changed = false;
        for (const Needs& n : needs) {
            if (!set.has(n.feature) || set.has(n.needed)) continue;
            set.set(n.feature, false);
            changed = true;
        }
    }
}

Result<void> apply(FeatureSet& set, std::string_view word) {
    bool on = true;
    std::string_view name = word;
    const std::size_t equals = word.find('=');
    if (!word.empty() && (word[0] == '+' || word[0] == '-')) {
        on = word[0] == '+';
        name.remove_prefix(1);
    } else if (equals != word.npos) {
        const std::string_view value = word.substr(equals + 1);
        name = word.substr(0, equals);
        if (value == "on" || value == "yes" || value == "true")
            on = true;
        else if (value == "off" || value == "no" || value == "false")
            on = false;
        else
            return error("-cpu: {} is set to '{}'; write {}=on or {}=off", name, value, name, name);
    }
    const Feature feature = find_feature(name);
    if (feature == Feature::count)
        return error("-cpu: there is no CPU feature '{}'; -cpu help lists those there are", name);
    set.set(feature, on);
    return {};
}

} // namespace

Result<CpuModel> CpuModel::parse(std::string_view text) {
    CpuModel model;
    std::size_t comma = std::min(text.find(','), text.size());
    const std::string_view name = text.substr(0, comma);
    const auto found = std::find_if(std::begin(known), std::end(known), [&](const Named& n) { return n.name == name; });
    if (found == std::end(known)) {
        std::string list;
        for (const Named& n : known)
            list.append(list.empty() ? "" : ", ").append(n.name);
        return calque::error("there is no CPU model '{}'; the models are: {}", name, list);
    }
    model.name = name;
    model.features = found->features();
    while (comma < text.size()) {
        text.remove_prefix(comma + 1);
        comma = std::min(text.find(','), text.size());
        if (const Result<void> done = apply(model.features, text.substr(0, comma)); !done) return done.error();
    }
    close_under_needs(model.features);
    return model;
}

std::vector<std::string> CpuModel::names() {
    std::vector<std::string> list;
    for (const Named& n : known)
        list.emplace_back(n.name);
    return list;
}

std::string CpuModel::help() {
    std::string text = "CPU models:\n";
    for (const Named& n : known)
        text += fmt::format("  {:<12} {}\n", n.name, n.text);
    text += "\nFeatures, to be switched by ,+name ,-name or ,name=on|off:\n ";
    std::size_t column = 1;
    for (const FeatureInfo& f : feature_table) {
        if (column + f.name.size() + 1 > 78) {
            text += "\n ";
            column = 1;
        }
        text.append(" ").append(f.name);
        column += f.name.size() + 1;
    }
    return text + "\n";
}

} // namespace calque::cpu
