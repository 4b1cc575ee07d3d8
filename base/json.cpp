#include "base/json.h"

#include <charconv>

namespace calque {

namespace {

constexpr int max_depth = 64;

class Parser {
  public:
    explicit Parser(std::string_view text) : text_(text) {}

    Result<Json> parse() {
        Json value;
        if (!read_value(value, 0)) return failure();
        skip_space();
        if (at_ != text_.size()) return error("there is more after the value, at byte {}", at_);
        return value;
    }

  private:
    Error failure() const { return error("{} at byte {}", what_, at_); }
    bool fail(const char* what) {
        what_ = what;
        return false;
    }
    void skip_space() {
        while (at_ < text_.size() && std::string_view(" \t\r\n").find(text_[at_]) != std::string_view::npos)
            ++at_;
    }
    bool take(char wanted) {
        skip_space();
        if (at_ >= text_.size() || text_[at_] != wanted) return false;
        ++at_;
        return true;
    }
    bool take_word(std::string_view word) {
        if (text_.substr(at_, word.size()) != word) return false;
        at_ += word.size();
        return true;
    }
    bool read_value(Json& value, int depth);
    bool read_object(Json& value, int depth);
    bool read_array(Json& value, int depth);
    bool read_string(std::string& string);
    bool read_escape(std::string& string);
    bool read_unit(u32& unit);
    bool read_number(Json& value);

    std::string_view text_;
    std::size_t at_ = 0;
    const char* what_ = "";
};

bool Parser::read_value(Json& value, int depth) {
    if (depth > max_depth) return fail("values are nested too deep");
    skip_space();
    if (at_ >= text_.size()) return fail("a value is missing");
    switch (text_[at_]) {
    case '{': return read_object(value, depth);
    case '[': return read_array(value, depth);
    case '"': {
        std::string string;
        if (!read_string(string)) return false;
        value = Json(std::move(string));
        return true;
    }
    default: break;
    }
    if (take_word("true")) {
        value = Json(true);
        return true;
    }
    if (take_word("false")) {
        value = Json(false);
        return true;
    }
    if (take_word("null")) {
        value = Json();
        return true;
    }
    return read_number(value);
}

bool Parser::read_object(Json& value, int depth) {
    Json::Object object;
    ++at_;
    if (!take('}')) {
        do {
            Json::Member member;
            skip_space();
            if (at_ >= text_.size() || text_[at_] != '"') return fail("a member's name is missing");
            if (!read_string(member.first)) return false;
            if (!take(':')) return fail("a ':' is missing");
            if (!read_value(member.second, depth + 1)) return false;
            object.push_back(std::move(member));
        } while (take(','));
        if (!take('}')) return fail("a '}' is missing");
    }
    value = Json(std::move(object));
    return true;
}

bool Parser::read_array(Json& value, int depth) {
    Json::Array array;
    ++at_;
    if (!take(']')) {
        do {
            if (!read_value(array.emplace_back(), depth + 1)) return false;
        } while (take(','));
        if (!take(']')) return fail("a ']' is missing");
    }
    value = Json(std::move(array));
    return true;
}

bool Parser::read_unit(u32& unit) {
    const std::string_view digits = text_.substr(std::min(at_, text_.size()), 4);
    const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), unit, 16);
    if (digits.size() != 4 || read.ec != std::errc() || read.ptr != digits.data() + 4)
        return fail("a \\u needs four hexadecimal digits");
    at_ += 4;
    return true;
}

bool Parser::read_escape(std::string& string) {
    if (at_ >= text_.size()) return fail("a string does not end");
    const char c = text_[at_++];
    constexpr std::string_view from = "\"\\/bfnrt", to = "\"\\/\b\f\n\r\t";
    if (const auto index = from.find(c); index != std::string_view::npos) {
        string += to[index];
        return true;
    }
    if (c != 'u') return fail("an escape that JSON does not have");
    u32 code;
    if (!read_unit(code)) return false;
    if (code >= 0xd800 && code < 0xdc00) { // The first of a surrogate pair.
        u32 second;
        if (!take_word("\\u") || !read_unit(second) || second < 0xdc00 || second > 0xdfff)
            return fail("half a surrogate pair");
        code = 0x10000 + ((code - 0xd800) << 10) + (second - 0xdc00);
    } else if (code >= 0xdc00 && code < 0xe000) {
        return fail("half a surrogate pair");
    }
    const auto put = [&](u32 byte) { string += static_cast<char>(byte); };
    if (code < 0x80) {
        put(code);
    } else if (code < 0x800) {
        put(0xc0 | code >> 6);
        put(0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
        put(0xe0 | code >> 12);
        put(0x80 | (code >> 6 & 0x3f));
        put(0x80 | (code & 0x3f));
    } else {
        put(0xf0 | code >> 18);
        put(0x80 | (code >> 12 & 0x3f));
        put(0x80 | (code >> 6 & 0x3f));
        put(0x80 | (code & 0x3f));
    }
    return true;
}

bool Parser::read_string(std::string& string) {
    for (++at_; at_ < text_.size();) {
        const char c = text_[at_++];
        if (c == '"') return true;
        if (static_cast<unsigned char>(c) < 0x20) return fail("a control character in a string");
        if (c != '\\')
            string += c;
        else if (!read_escape(string))
            return false;
    }
    return fail("a string does not end");
}

bool Parser::read_number(Json& value) {
    const std::size_t start = at_;
    while (at_ < text_.size() && std::string_view("+-.eE0123456789").find(text_[at_]) != std::string_view::npos)
        ++at_;
    const std::string_view digits = text_.substr(start, at_ - start);
    const char* const end = digits.data() + digits.size();
    const std::string_view magnitude = digits.substr(digits.starts_with('-') ? 1 : 0);
    if (magnitude.empty() || magnitude[0] < '0' || magnitude[0] > '9'
        || (magnitude.size() > 1 && magnitude[0] == '0' && magnitude[1] >= '0' && magnitude[1] <= '9'))
        return fail("what is no value");
    i64 integer;
    if (const auto read = std::from_chars(digits.data(), end, integer); read.ec == std::errc() && read.ptr == end) {
        value = Json(integer);
        return true;
    }
    double real;
    if (const auto read = std::from_chars(digits.data(), end, real); read.ec == std::errc() && read.ptr == end) {
        value = Json(real);
        return true;
    }
    return fail("a number that cannot be read");
}

} // namespace

Result<Json> Json::parse(std::string_view text) { return Parser(text).parse(); }

const Json* Json::find(std::string_view key) const {
    const Object* const members = object();
    if (!members) return nullptr;
    for (const Member& member : *members)
        if (member.first == key) return &member.second;
    return nullptr;
}

} // namespace calque
