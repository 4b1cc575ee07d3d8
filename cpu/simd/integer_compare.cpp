// Packed comparison and logic.
#include "cpu/simd/forms.h"
#include "cpu/simd/rows.h"

namespace calque::cpu::simd {

#define LANEWISE(name, T, expression)                                                                                  \
    struct name {                                                                                                      \
        template <class V> static V apply(const V& a, const V& b, u8) {                                                \
            return map<T>(a, b, [](T x, T y) { return expression; });                                                  \
        }                                                                                                              \
    };

LANEWISE(CmpEqB, u8, x == y ? ~u64{0} : 0)
LANEWISE(CmpEqW, u16, x == y ? ~u64{0} : 0)
LANEWISE(CmpEqD, u32, x == y ? ~u64{0} : 0)
LANEWISE(CmpEqQ, u64, x == y ? ~u64{0} : 0)
LANEWISE(CmpGtB, i8, x > y ? -1 : 0)
LANEWISE(CmpGtW, i16, x > y ? -1 : 0)
LANEWISE(CmpGtD, i32, x > y ? -1 : 0)
LANEWISE(CmpGtQ, i64, x > y ? -1 : 0)
LANEWISE(And, u64, x& y)
LANEWISE(AndN, u64, ~x& y)
LANEWISE(Or, u64, x | y)
LANEWISE(Xor, u64, x ^ y)

#define MAKE(op) template Handler binary<op>(const Form&);
CALQUE_SIMD_COMPARE(MAKE)

} // namespace calque::cpu::simd
