#include "frontend/monitor/examine.h"

#include "base/text.h"

#include <algorithm>
#include <charconv>
#include <fmt/format.h>
#include <vector>

namespace calque::monitor {

namespace {

std::optional<u64> number(std::string_view text) {
    int base = 10;
    if (text.starts_with("0x") || text.starts_with("0X")) {
        base = 16;
        text.remove_prefix(2);
    }
    u64 value = 0;
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value, base);
    if (problem != std::errc() || end != text.data() + text.size()) return {};
    return value;
}

Result<u64> term(std::string_view text, const RegisterLookup& registers) {
    if (text.starts_with('$')) {
        if (const auto value = registers(text.substr(1))) return *value;
        return error("there is no register '{}'; for example $pc, $rsp, $cr3", text);
    }
    if (const auto value = number(text)) return *value;
    return error("'{}' is not an address; give a number (0x.. or decimal), a $register, or a sum of them", text);
}

Result<u64> sum(std::string_view text, const RegisterLookup& registers) {
    u64 total = 0;
    bool minus = false;
    for (;;) {
        const std::size_t end = text.find_first_of("+-");
        const auto value = term(trim(text.substr(0, end)), registers);
        if (!value) return value.error();
        total = minus ? total - *value : total + *value;
        if (end == std::string_view::npos) return total;
        minus = text[end] == '-';
        text.remove_prefix(end + 1);
    }
}

Result<void> parse_format(std::string_view text, Examine& out) {
    const std::size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
    if (digits > 0) {
        const auto count = number(text.substr(0, digits));
        if (!count || *count < 1 || *count > Examine::most)
            return error("1 to {} can be shown at once, not {}", Examine::most, text.substr(0, digits));
        out.count = static_cast<unsigned>(*count);
    }
    for (const char letter : text.substr(digits)) {
        switch (letter) {
        case 'b': out.size = 1; break;
        case 'h': out.size = 2; break;
        case 'w': out.size = 4; break;
        case 'g': out.size = 8; break;
        case 'x':
        case 'd':
        case 'u':
        case 'o':
        case 'c':
        case 'i': out.format = letter; break;
        default: return error("'{}' is no format; there are x d u o c i, and the sizes b h w g", letter);
        }
    }
    return {};
}

std::string shown(u64 value, const Examine& what) {
    const unsigned unused = 64 - 8 * what.size;
    switch (what.format) {
    case 'd': return fmt::format("{:>{}}", static_cast<i64>(value << unused) >> unused, what.size * 5 / 2 + 1);
    case 'u': return fmt::format("{:>{}}", value, what.size * 5 / 2 + 1);
    case 'o': return fmt::format("0{:0{}o}", value, (what.size * 8 + 2) / 3);
    case 'c': {
        const u8 c = static_cast<u8>(value);
        return c >= 0x20 && c < 0x7F ? fmt::format("'{}'", static_cast<char>(c)) : fmt::format("'\\x{:02x}'", c);
    }
    default: return fmt::format("0x{:0{}x}", value, what.size * 2);
    }
}

} // namespace

Result<Examine> parse_examine(std::string_view text, const RegisterLookup& registers) {
    Examine out;
    text = trim(text);
    if (text == "/") return error("a count or format is missing after the slash");
    if (text.starts_with('/')) {
        const std::size_t end = std::min(text.find(' '), text.size());
        if (const auto format = parse_format(text.substr(1, end - 1), out); !format) return format.error();
        text = trim(text.substr(end));
    }
    if (text.empty()) return error("an address is missing; for example x /10i $pc");
    const auto address = sum(text, registers);
    if (!address) return address.error();
    out.address = *address;
    return out;
}

std::string print_value(std::string_view text, const RegisterLookup& registers) {
    auto what = parse_examine(text, registers);
    if (what && what->format == 'i') what = error("there are no instructions in a number");
    if (!what) return fmt::format("print takes /F VALUE: {}\n", what.error().message);
    what->size = 8;
    return fmt::format("{}\n", trim(shown(what->address, *what)));
}

std::string examine(const Examine& what, machine::AddressSpace space, const cpu::Cpu& cpu, mmu::PhysicalMap& map) {
    std::string text;
    if (what.format == 'i') {
        const auto lines = machine::disassemble(cpu, map, space, what.address, what.count);
        for (const std::string& line : lines)
            text += line + "\n";
        if (lines.empty()) text = fmt::format("{:016x}: (no memory)\n", what.address);
        return text;
    }
    const unsigned in_line = what.format == 'c' ? 8 : what.size == 1 ? 8 : 16 / what.size;
    for (unsigned i = 0; i < what.count; ++i) {
        const u64 at = what.address + u64{i} * what.size;
        if (i % in_line == 0) text += fmt::format("{}{:016x}:", i ? "\n" : "", at);
        u8 bytes[8] = {};
        if (machine::peek(cpu, map, space, at, std::span(bytes).first(what.size)) != what.size)
            return text + " (no memory)\n";
        u64 value = 0;
        for (unsigned b = what.size; b-- > 0;)
            value = value << 8 | bytes[b];
        text += " " + shown(value, what);
    }
    return text + "\n";
}

} // namespace calque::monitor
