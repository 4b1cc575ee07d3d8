#include "frontend/gdb/target_types.h"

#include "frontend/gdb/registers.h"

#include <fmt/core.h>
#include <initializer_list>

namespace calque::gdb {

namespace {

struct Field {
    const char* name;
    unsigned first, last;
};
constexpr Field bit(const char* name, unsigned number) { return {name, number, number}; }

std::string flags(std::string_view id, unsigned bytes, std::initializer_list<Field> fields) {
    std::string text = fmt::format("<flags id=\"{}\" size=\"{}\">\n", id, bytes);
    for (const Field& field : fields)
        text += fmt::format("<field name=\"{}\" start=\"{}\" end=\"{}\"/>\n", field.name, field.first, field.last);
    return text + "</flags>\n";
}

// SDM volume 1, 3.4.3.
std::string core_types() {
    return flags("i386_eflags", 4,
                 {bit("CF", 0),
                  bit("", 1),
                  bit("PF", 2),
                  bit("AF", 4),
                  bit("ZF", 6),
                  bit("SF", 7),
                  bit("TF", 8),
                  bit("IF", 9),
                  bit("DF", 10),
                  bit("OF", 11),
                  {"IOPL", 12, 13},
                  bit("NT", 14),
                  bit("RF", 16),
                  bit("VM", 17),
                  bit("AC", 18),
                  bit("VIF", 19),
                  bit("VIP", 20),
                  bit("ID", 21)});
}

std::string sse_types() {
    std::string text, fields;
    const auto add = [&](const char* id, const char* element, unsigned count, const char* name) {
        text += fmt::format("<vector id=\"{}\" type=\"{}\" count=\"{}\"/>\n", id, element, count);
        fields += fmt::format("<field name=\"{}\" type=\"{}\"/>\n", name, id);
    };
    add("v4f", "ieee_single", 4, "v4_float");
    add("v2d", "ieee_double", 2, "v2_double");
    add("v16i8", "int8", 16, "v16_int8");
    add("v8i16", "int16", 8, "v8_int16");
    add("v4i32", "int32", 4, "v4_int32");
    add("v2i64", "int64", 2, "v2_int64");
    text += "<union id=\"vec128\">\n" + fields + "<field name=\"uint128\" type=\"uint128\"/>\n</union>\n";
    return text
           + flags("i386_mxcsr", 4,
                   {bit("IE", 0),
                    bit("DE", 1),
                    bit("ZE", 2),
                    bit("OE", 3),
                    bit("UE", 4),
                    bit("PE", 5),
                    bit("DAZ", 6),
                    bit("IM", 7),
                    bit("DM", 8),
                    bit("ZM", 9),
                    bit("OM", 10),
                    bit("UM", 11),
                    bit("PM", 12),
                    {"RC", 13, 14},
                    bit("FZ", 15)});
}

// SDM volume 3, 2.5; IA32_EFER: 2.2.1.
std::string system_types() {
    return flags("cr0_bits", 8,
                 {bit("PE", 0), bit("MP", 1), bit("EM", 2), bit("TS", 3), bit("ET", 4), bit("NE", 5), bit("WP", 16),
                  bit("AM", 18), bit("NW", 29), bit("CD", 30), bit("PG", 31)})
           + flags("cr3_bits", 8, {{"PCID", 0, 11}, {"BASE", 12, 63}})
           + flags("cr4_bits", 8,
                   {bit("VME", 0), bit("PVI", 1), bit("TSD", 2), bit("DE", 3), bit("PSE", 4), bit("PAE", 5),
                    bit("MCE", 6), bit("PGE", 7), bit("PCE", 8), bit("OSFXSR", 9), bit("OSXMMEXCPT", 10),
                    bit("UMIP", 11), bit("FSGSBASE", 16), bit("PCIDE", 17), bit("OSXSAVE", 18), bit("SMEP", 20),
                    bit("SMAP", 21), bit("PKE", 22)})
           + flags("efer_bits", 8, {bit("SCE", 0), bit("LME", 8), bit("LMA", 10), bit("NXE", 11)});
}

} // namespace

std::string types_of(std::string_view feature) {
    if (feature == features::core) return core_types();
    if (feature == features::sse) return sse_types();
    if (feature == features::system) return system_types();
    return {};
}

} // namespace calque::gdb
