#include "cpu/integer/alu.h"
#include "cpu/integer/rows.h"

namespace calque::cpu {

Handler select_add(const Form& f) { return select_alu<Add, true>(f); }
Handler select_adc(const Form& f) { return select_alu<Adc, true>(f); }
Handler select_sub(const Form& f) { return select_alu<Sub, true>(f); }
Handler select_sbb(const Form& f) { return select_alu<Sbb, true>(f); }

} // namespace calque::cpu
