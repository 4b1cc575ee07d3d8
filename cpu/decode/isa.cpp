#include "cpu/decode/isa.h"

namespace calque::cpu {

IsaSets isa_sets(const FeatureSet& features) {
    IsaSets allowed{};
    for (const ZydisISASet baseline :
         {ZYDIS_ISA_SET_I86, ZYDIS_ISA_SET_I186, ZYDIS_ISA_SET_I286PROTECTED, ZYDIS_ISA_SET_I286REAL,
          ZYDIS_ISA_SET_I386, ZYDIS_ISA_SET_I486, ZYDIS_ISA_SET_I486REAL, ZYDIS_ISA_SET_PENTIUMREAL, ZYDIS_ISA_SET_PPRO,
          ZYDIS_ISA_SET_FAT_NOP, ZYDIS_ISA_SET_PREFETCH_NOP, ZYDIS_ISA_SET_PREFETCHWT1, ZYDIS_ISA_SET_SSE_PREFETCH,
          ZYDIS_ISA_SET_PAUSE, ZYDIS_ISA_SET_RDPMC})
        allowed[baseline] = true;

    struct Gate {
        ZydisISASet set;
        Feature feature;
    };
    static constexpr Gate gates[] = {
        {ZYDIS_ISA_SET_ADOX_ADCX, Feature::adx},
        {ZYDIS_ISA_SET_AES, Feature::aes},
        {ZYDIS_ISA_SET_AMD, Feature::syscall},
        {ZYDIS_ISA_SET_AVX, Feature::avx},
        {ZYDIS_ISA_SET_AVX2, Feature::avx2},
        {ZYDIS_ISA_SET_AVX2GATHER, Feature::avx2},
        {ZYDIS_ISA_SET_BMI1, Feature::bmi1},
        {ZYDIS_ISA_SET_BMI2, Feature::bmi2},
        {ZYDIS_ISA_SET_CLFLUSHOPT, Feature::clflushopt},
        {ZYDIS_ISA_SET_CLFSH, Feature::clflush},
        {ZYDIS_ISA_SET_CLWB, Feature::clwb},
        {ZYDIS_ISA_SET_CMOV, Feature::cmov},
        {ZYDIS_ISA_SET_CMPXCHG16B, Feature::cx16},
        {ZYDIS_ISA_SET_F16C, Feature::f16c},
        {ZYDIS_ISA_SET_FMA, Feature::fma},
        {ZYDIS_ISA_SET_FXSAVE, Feature::fxsr},
        {ZYDIS_ISA_SET_FXSAVE64, Feature::fxsr},
        {ZYDIS_ISA_SET_INVPCID, Feature::invpcid},
        {ZYDIS_ISA_SET_LONGMODE, Feature::lm},
        {ZYDIS_ISA_SET_LZCNT, Feature::abm},
        {ZYDIS_ISA_SET_MONITOR, Feature::monitor},
        {ZYDIS_ISA_SET_MOVBE, Feature::movbe},
        {ZYDIS_ISA_SET_PCLMULQDQ, Feature::pclmulqdq},
        {ZYDIS_ISA_SET_PENTIUMMMX, Feature::mmx},
        {ZYDIS_ISA_SET_PKU, Feature::pku},
        {ZYDIS_ISA_SET_POPCNT, Feature::popcnt},
        {ZYDIS_ISA_SET_RDPID, Feature::rdpid},
        {ZYDIS_ISA_SET_RDRAND, Feature::rdrand},
        {ZYDIS_ISA_SET_RDSEED, Feature::rdseed},
        {ZYDIS_ISA_SET_RDTSCP, Feature::rdtscp},
        {ZYDIS_ISA_SET_RDWRFSGS, Feature::fsgsbase},
        {ZYDIS_ISA_SET_SHA, Feature::sha},
        {ZYDIS_ISA_SET_SMAP, Feature::smap},
        {ZYDIS_ISA_SET_SSE, Feature::sse},
        {ZYDIS_ISA_SET_SSE2, Feature::sse2},
        {ZYDIS_ISA_SET_SSE2MMX, Feature::sse2},
        {ZYDIS_ISA_SET_SSE3, Feature::sse3},
        {ZYDIS_ISA_SET_SSE4, Feature::sse4_1},
        {ZYDIS_ISA_SET_SSE42, Feature::sse4_2},
        {ZYDIS_ISA_SET_SSEMXCSR, Feature::sse},
        {ZYDIS_ISA_SET_SSSE3, Feature::ssse3},
        {ZYDIS_ISA_SET_SSSE3MMX, Feature::ssse3},
        {ZYDIS_ISA_SET_X87, Feature::fpu},
        {ZYDIS_ISA_SET_XSAVE, Feature::xsave},
        {ZYDIS_ISA_SET_XSAVEC, Feature::xsavec},
        {ZYDIS_ISA_SET_XSAVEOPT, Feature::xsaveopt},
    };
    for (const Gate& gate : gates)
        allowed[gate.set] = features.has(gate.feature);
    allowed[ZYDIS_ISA_SET_AVXAES] = features.has(Feature::aes) && features.has(Feature::avx);
    allowed[ZYDIS_ISA_SET_FCMOV] = features.has(Feature::cmov) && features.has(Feature::fpu);
    allowed[ZYDIS_ISA_SET_SSE3X87] = features.has(Feature::sse3) && features.has(Feature::fpu);
    // LAHF and SAHF in 64-bit mode; elsewhere every CPU has them (the decoder looks).
    allowed[ZYDIS_ISA_SET_LAHF] = true;
    return allowed;
}

} // namespace calque::cpu
