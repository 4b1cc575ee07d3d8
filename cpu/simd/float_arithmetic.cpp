// Floating-point arithmetic: one operation a lane.
#include "cpu/fp/approx.h"
#include "cpu/simd/float_forms.h"
#include "cpu/simd/rows.h"

namespace calque::cpu::simd {

#define FLOAT_BINARY(name, function)                                                                                   \
    struct name {                                                                                                      \
        template <class T> static T apply(T a, T b, u8, fp::Status& s) { return fp::function(a, b, s); }               \
    };
FLOAT_BINARY(FAdd, add)
FLOAT_BINARY(FSub, sub)
FLOAT_BINARY(FMul, mul)
FLOAT_BINARY(FDiv, div)
FLOAT_BINARY(FMin, min)
FLOAT_BINARY(FMax, max)

struct FSqrt {
    static constexpr bool unary = true;
    template <class T> static T apply(T, T b, u8, fp::Status& s) { return fp::sqrt(b, s); }
};
// ROUNDPS: immediate bit 2 takes the rounding from MXCSR, bit 3 hides inexactness.
struct FRound {
    static constexpr bool unary = true;
    template <class T> static T apply(T, T b, u8 imm, fp::Status& s) {
        const auto rounding = imm & 4 ? s.rounding : static_cast<fp::Rounding>(imm & 3);
        return fp::round_to_integral(b, rounding, imm & 8, s);
    }
};
struct FReciprocal {
    static constexpr bool unary = true;
    template <class T> static T apply(T, T b, u8, fp::Status&) { return fp::reciprocal_approximation(b); }
};
struct FReciprocalSqrt {
    static constexpr bool unary = true;
    template <class T> static T apply(T, T b, u8, fp::Status&) { return fp::reciprocal_sqrt_approximation(b); }
};
// CMPPS and VCMPPS: the legacy encodings look at three bits of the predicate, VEX at five. The decoder's immediate has
// what was encoded; legacy selectors use FCompare3.
template <unsigned Mask> struct Compare {
    template <class T> static T apply(T a, T b, u8 imm, fp::Status& s) {
        return T{fp::compare_predicate(a, b, imm & Mask, s) ? static_cast<FloatBits<T>>(~FloatBits<T>{0})
                                                            : FloatBits<T>{0}};
    }
};
struct FCompare3 : Compare<7> {};
struct FCompare5 : Compare<31> {};

#define MAKE_ALL(op)                                                                                                   \
    template Handler ps<op>(const Form&);                                                                              \
    template Handler pd<op>(const Form&);                                                                              \
    template Handler scalar_ss<op>(const Form&);                                                                       \
    template Handler scalar_sd<op>(const Form&);
CALQUE_SIMD_FLOAT(MAKE_ALL)
template Handler ps<FReciprocal>(const Form&);
template Handler scalar_ss<FReciprocal>(const Form&);
template Handler ps<FReciprocalSqrt>(const Form&);
template Handler scalar_ss<FReciprocalSqrt>(const Form&);

} // namespace calque::cpu::simd
