// Packed integer addition, subtraction, averages, minima, maxima, signs.
#include "cpu/simd/forms.h"
#include "cpu/simd/rows.h"

namespace calque::cpu::simd {

#define LANEWISE(name, T, expression)                                                                                  \
    struct name {                                                                                                      \
        template <class V> static V apply(const V& a, const V& b, u8) {                                                \
            return map<T>(a, b, [](T x, T y) { return expression; });                                                  \
        }                                                                                                              \
    };

LANEWISE(AddB, u8, x + y)
LANEWISE(AddW, u16, x + y)
LANEWISE(AddD, u32, x + y)
LANEWISE(AddQ, u64, x + y)
LANEWISE(SubB, u8, x - y)
LANEWISE(SubW, u16, x - y)
LANEWISE(SubD, u32, x - y)
LANEWISE(SubQ, u64, x - y)
LANEWISE(AddSB, i8, saturate<i8>(x + y))
LANEWISE(AddSW, i16, saturate<i16>(x + y))
LANEWISE(AddUB, u8, saturate<u8>(x + y))
LANEWISE(AddUW, u16, saturate<u16>(x + y))
LANEWISE(SubSB, i8, saturate<i8>(x - y))
LANEWISE(SubSW, i16, saturate<i16>(x - y))
LANEWISE(SubUB, u8, saturate<u8>(x - y))
LANEWISE(SubUW, u16, saturate<u16>(x - y))
LANEWISE(AvgB, u8, (x + y + 1) >> 1)
LANEWISE(AvgW, u16, (x + y + 1) >> 1)
LANEWISE(MinSB, i8, x < y ? x : y)
LANEWISE(MinSW, i16, x < y ? x : y)
LANEWISE(MinSD, i32, x < y ? x : y)
LANEWISE(MinUB, u8, x < y ? x : y)
LANEWISE(MinUW, u16, x < y ? x : y)
LANEWISE(MinUD, u32, x < y ? x : y)
LANEWISE(MaxSB, i8, x > y ? x : y)
LANEWISE(MaxSW, i16, x > y ? x : y)
LANEWISE(MaxSD, i32, x > y ? x : y)
LANEWISE(MaxUB, u8, x > y ? x : y)
LANEWISE(MaxUW, u16, x > y ? x : y)
LANEWISE(MaxUD, u32, x > y ? x : y)
// Negation of the most negative value wraps, as the instruction does: through the unsigned type.
LANEWISE(SignB, i8, y < 0 ? static_cast<i8>(0u - static_cast<u8>(x)) : y == 0 ? i8{0} : x)
LANEWISE(SignW, i16, y < 0 ? static_cast<i16>(0u - static_cast<u16>(x)) : y == 0 ? i16{0} : x)
LANEWISE(SignD, i32, y < 0 ? static_cast<i32>(0u - static_cast<u32>(x)) : y == 0 ? i32{0} : x)

#define MAKE(op) template Handler binary<op>(const Form&);
CALQUE_SIMD_ARITHMETIC(MAKE)

} // namespace calque::cpu::simd
