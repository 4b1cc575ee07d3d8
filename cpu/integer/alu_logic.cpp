#include "cpu/integer/alu.h"
#include "cpu/integer/rows.h"

namespace calque::cpu {

Handler select_and(const Form& f) { return select_alu<And, true>(f); }
Handler select_or(const Form& f) { return select_alu<Or, true>(f); }
Handler select_xor(const Form& f) { return select_alu<Xor, true>(f); }
Handler select_cmp(const Form& f) { return select_alu<Sub, false>(f); }
Handler select_test(const Form& f) { return select_alu<And, false>(f); }

} // namespace calque::cpu
