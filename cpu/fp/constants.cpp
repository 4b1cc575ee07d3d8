// FLD1, FLDL2T, FLDL2E, FLDPI, FLDLG2, FLDLN2, FLDZ: SDM volume 1, section 8.3.8.
#include "cpu/fp/transcendental.h"

namespace calque::cpu::fp {

namespace {

struct Entry {
    F80 truncated;
    bool nearest_is_up; // the bits that do not fit are one half or more
    bool exact;
};

constexpr Entry kEntries[] = {
    {{0x8000000000000000, 0x3fff}, false, true},  // 1
    {{0xd49a784bcd1b8afe, 0x4000}, false, false}, // log2(10)
    {{0xb8aa3b295c17f0bb, 0x3fff}, true, false},  // log2(e)
    {{0xc90fdaa22168c234, 0x4000}, true, false},  // pi
    {{0x9a209a84fbcff798, 0x3ffd}, true, false},  // log10(2)
    {{0xb17217f7d1cf79ab, 0x3ffe}, true, false},  // ln(2)
    {{0, 0}, false, true},                        // 0
};

} // namespace

F80 constant(Constant which, Rounding rounding) {
    const Entry& entry = kEntries[static_cast<unsigned>(which)];
    const bool up =
        !entry.exact && (rounding == Rounding::Up || (rounding == Rounding::NearestEven && entry.nearest_is_up));
    return F80{entry.truncated.significand + up, entry.truncated.sign_exponent};
}

} // namespace calque::cpu::fp
