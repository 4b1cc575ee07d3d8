#include "base/json.h"

#include <cmath>

namespace calque {

namespace {

constexpr u32 replacement = 0xFFFD;

// The code point at the start of `text`, and how many bytes it has; for what is none, U+FFFD and one byte.
std::pair<u32, std::size_t> code_point(std::string_view text) {
    const u8 first = static_cast<u8>(text[0]);
    if (first < 0x80) return {first, 1};
    const std::size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
    constexpr u32 least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (first < 0xC0 || first > 0xF7 || text.size() < length) return {replacement, 1};
    u32 code = first & (0x7F >> length);
    for (std::size_t i = 1; i < length; ++i) {
        const u8 next = static_cast<u8>(text[i]);
        if ((next & 0xC0) != 0x80) return {replacement, 1};
        code = code << 6 | (next & 0x3F);
    }
    if (code < least[length] || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) return {replacement, 1};
    return {code, length};
}

void put_unit(std::string& out, u32 unit) { out += fmt::format("\\u{:04x}", unit); }

void put_string(std::string& out, std::string_view text) {
    out += '"';
    while (!text.empty()) {
        const auto [code, length] = code_point(text);
        text.remove_prefix(length);
        if (code == '"' || code == '\\') {
            out += '\\';
            out += static_cast<char>(code);
        } else if (code == '\n') {
            out += "\\n";
        } else if (code >= 0x20 && code < 0x7F) {
            out += static_cast<char>(code);
        } else if (code < 0x10000) {
            put_unit(out, code);
        } else {
            put_unit(out, 0xD800 + ((code - 0x10000) >> 10));
            put_unit(out, 0xDC00 + ((code - 0x10000) & 0x3FF));
        }
    }
    out += '"';
}

void put(std::string& out, const Json& value) {
    if (const auto* truth = value.get_if<bool>()) {
        out += *truth ? "true" : "false";
    } else if (const auto* integer = value.get_if<i64>()) {
        out += fmt::format("{}", *integer);
    } else if (const auto* real = value.get_if<double>()) {
        out += std::isfinite(*real) ? fmt::format("{}", *real) : "null";
    } else if (const auto* string = value.string()) {
        put_string(out, *string);
    } else if (const auto* array = value.get_if<Json::Array>()) {
        out += '[';
        for (std::size_t i = 0; i < array->size(); ++i) {
            if (i) out += ", ";
            put(out, (*array)[i]);
        }
        out += ']';
    } else if (const auto* object = value.object()) {
        out += '{';
        for (std::size_t i = 0; i < object->size(); ++i) {
            if (i) out += ", ";
            put_string(out, (*object)[i].first);
            out += ": ";
            put(out, (*object)[i].second);
        }
        out += '}';
    } else {
        out += "null";
    }
}

} // namespace

std::string Json::text() const {
    std::string out;
    put(out, *this);
    return out;
}

} // namespace calque
