#include "cpu/table.h"

#if __has_include("cpu/integer/rows.h")
#include "cpu/integer/rows.h"
#endif
#if __has_include("cpu/system/rows.h")
#include "cpu/system/rows.h"
#endif
#if __has_include("cpu/simd/rows.h")
#include "cpu/simd/rows.h"
#endif
#if __has_include("cpu/x87/rows.h")
#include "cpu/x87/rows.h"
#endif

namespace calque::cpu {

std::span<const Row> instruction_table() {
    using enum Feature;
    // The selector comes last so that it may be a template's instance, commas and all.
    static constexpr Row rows[] = {
#define ROW(mnemonic, reads, writes, undefined, properties, feature, ...)                                              \
    Row{#mnemonic, reads, writes, undefined, properties, feature, __VA_ARGS__},
#include "cpu/instructions.inc"
#undef ROW
        Row{"", "", "", "", p_ends_block, fpu, nullptr}, // What decodes to nothing: #UD.
    };
    return rows;
}

} // namespace calque::cpu
