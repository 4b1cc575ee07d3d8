// The guest CPU's optional features, each with the CPUID bit that announces it (SDM volume 2, CPUID; APM volume 3,
// appendix E).
#pragma once

#include "base/types.h"

#include <array>
#include <bitset>
#include <string_view>

namespace calque::cpu {

enum class CpuidRegister : u8 { eax, ebx, ecx, edx };

// X(name as in -cpu +name, leaf, subleaf, register, bit)
#define CALQUE_CPU_FEATURES(X)                                                                                         \
    X(fpu, 0x1, 0, edx, 0)                                                                                             \
    X(vme, 0x1, 0, edx, 1)                                                                                             \
    X(de, 0x1, 0, edx, 2)                                                                                              \
    X(pse, 0x1, 0, edx, 3)                                                                                             \
    X(tsc, 0x1, 0, edx, 4)                                                                                             \
    X(msr, 0x1, 0, edx, 5)                                                                                             \
    X(pae, 0x1, 0, edx, 6)                                                                                             \
    X(mce, 0x1, 0, edx, 7)                                                                                             \
    X(cx8, 0x1, 0, edx, 8)                                                                                             \
    X(apic, 0x1, 0, edx, 9)                                                                                            \
    X(sep, 0x1, 0, edx, 11)                                                                                            \
    X(mtrr, 0x1, 0, edx, 12)                                                                                           \
    X(pge, 0x1, 0, edx, 13)                                                                                            \
    X(mca, 0x1, 0, edx, 14)                                                                                            \
    X(cmov, 0x1, 0, edx, 15)                                                                                           \
    X(pat, 0x1, 0, edx, 16)                                                                                            \
    X(pse36, 0x1, 0, edx, 17)                                                                                          \
    X(clflush, 0x1, 0, edx, 19)                                                                                        \
    X(mmx, 0x1, 0, edx, 23)                                                                                            \
    X(fxsr, 0x1, 0, edx, 24)                                                                                           \
    X(sse, 0x1, 0, edx, 25)                                                                                            \
    X(sse2, 0x1, 0, edx, 26)                                                                                           \
    X(sse3, 0x1, 0, ecx, 0)                                                                                            \
    X(pclmulqdq, 0x1, 0, ecx, 1)                                                                                       \
    X(monitor, 0x1, 0, ecx, 3)                                                                                         \
    X(ssse3, 0x1, 0, ecx, 9)                                                                                           \
    X(fma, 0x1, 0, ecx, 12)                                                                                            \
    X(cx16, 0x1, 0, ecx, 13)                                                                                           \
    X(pcid, 0x1, 0, ecx, 17)                                                                                           \
    X(sse4_1, 0x1, 0, ecx, 19)                                                                                         \
    X(sse4_2, 0x1, 0, ecx, 20)                                                                                         \
    X(x2apic, 0x1, 0, ecx, 21)                                                                                         \
    X(movbe, 0x1, 0, ecx, 22)                                                                                          \
    X(popcnt, 0x1, 0, ecx, 23)                                                                                         \
    X(tsc_deadline, 0x1, 0, ecx, 24)                                                                                   \
    X(aes, 0x1, 0, ecx, 25)                                                                                            \
    X(xsave, 0x1, 0, ecx, 26)                                                                                          \
    X(avx, 0x1, 0, ecx, 28)                                                                                            \
    X(f16c, 0x1, 0, ecx, 29)                                                                                           \
    X(rdrand, 0x1, 0, ecx, 30)                                                                                         \
    X(hypervisor, 0x1, 0, ecx, 31)                                                                                     \
    X(fsgsbase, 0x7, 0, ebx, 0)                                                                                        \
    X(tsc_adjust, 0x7, 0, ebx, 1)                                                                                      \
    X(bmi1, 0x7, 0, ebx, 3)                                                                                            \
    X(avx2, 0x7, 0, ebx, 5)                                                                                            \
    X(smep, 0x7, 0, ebx, 7)                                                                                            \
    X(bmi2, 0x7, 0, ebx, 8)                                                                                            \
    X(erms, 0x7, 0, ebx, 9)                                                                                            \
    X(invpcid, 0x7, 0, ebx, 10)                                                                                        \
    X(rdseed, 0x7, 0, ebx, 18)                                                                                         \
    X(adx, 0x7, 0, ebx, 19)                                                                                            \
    X(smap, 0x7, 0, ebx, 20)                                                                                           \
    X(clflushopt, 0x7, 0, ebx, 23)                                                                                     \
    X(clwb, 0x7, 0, ebx, 24)                                                                                           \
    X(sha, 0x7, 0, ebx, 29)                                                                                            \
    X(umip, 0x7, 0, ecx, 2)                                                                                            \
    X(pku, 0x7, 0, ecx, 3)                                                                                             \
    X(rdpid, 0x7, 0, ecx, 22)                                                                                          \
    X(fsrm, 0x7, 0, edx, 4)                                                                                            \
    X(arch_capabilities, 0x7, 0, edx, 29)                                                                              \
    X(xsaveopt, 0xD, 1, eax, 0)                                                                                        \
    X(xsavec, 0xD, 1, eax, 1)                                                                                          \
    X(xgetbv1, 0xD, 1, eax, 2)                                                                                         \
    X(arat, 0x6, 0, eax, 2)                                                                                            \
    X(lahf_lm, 0x80000001, 0, ecx, 0)                                                                                  \
    X(abm, 0x80000001, 0, ecx, 5)                                                                                      \
    X(prefetchw, 0x80000001, 0, ecx, 8)                                                                                \
    X(syscall, 0x80000001, 0, edx, 11)                                                                                 \
    X(nx, 0x80000001, 0, edx, 20)                                                                                      \
    X(pdpe1gb, 0x80000001, 0, edx, 26)                                                                                 \
    X(rdtscp, 0x80000001, 0, edx, 27)                                                                                  \
    X(lm, 0x80000001, 0, edx, 29)                                                                                      \
    X(invtsc, 0x80000007, 0, edx, 8)

enum class Feature : u8 {
#define X(name, leaf, subleaf, reg, bit) name,
    CALQUE_CPU_FEATURES(X)
#undef X
        count
};

struct FeatureInfo {
    std::string_view name;
    u32 leaf;
    u32 subleaf;
    CpuidRegister reg;
    u8 bit;
};
inline constexpr std::array feature_table{
#define X(name, leaf, subleaf, reg, bit) FeatureInfo{#name, leaf, subleaf, CpuidRegister::reg, bit},
    CALQUE_CPU_FEATURES(X)
#undef X
};

class FeatureSet {
  public:
    bool has(Feature f) const { return bits_[static_cast<unsigned>(f)]; }
    void set(Feature f, bool on = true) { bits_[static_cast<unsigned>(f)] = on; }
    static FeatureSet all() {
        FeatureSet s;
        s.bits_.set();
        return s;
    }
    bool operator==(const FeatureSet&) const = default;

  private:
    std::bitset<static_cast<unsigned>(Feature::count)> bits_;
};

} // namespace calque::cpu
