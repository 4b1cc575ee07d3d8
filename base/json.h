// JSON values (RFC 8259), read and written.
#pragma once

#include "base/result.h"
#include "base/types.h"

#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace calque {

class Json {
  public:
    using Array = std::vector<Json>;
    using Member = std::pair<std::string, Json>;
    using Object = std::vector<Member>; // In the order of the text.

    Json() = default;
    explicit Json(bool value) : value_(value) {}
    explicit Json(i64 value) : value_(value) {}
    explicit Json(double value) : value_(value) {}
    explicit Json(std::string value) : value_(std::move(value)) {}
    explicit Json(Array value) : value_(std::move(value)) {}
    explicit Json(Object value) : value_(std::move(value)) {}

    // The whole text is one value. Error: where and what, in a sentence.
    static Result<Json> parse(std::string_view text);
    // In one line, in ASCII. What is no UTF-8 in a string becomes U+FFFD; an infinity, which JSON lacks, null.
    std::string text() const;

    template <class T> const T* get_if() const { return std::get_if<T>(&value_); }
    template <class T> T* get_if() { return std::get_if<T>(&value_); }
    const std::string* string() const { return get_if<std::string>(); }
    const Object* object() const { return get_if<Object>(); }
    // A member of an object, null where it is not one or has none.
    const Json* find(std::string_view key) const;

  private:
    std::variant<std::monostate, bool, i64, double, std::string, Array, Object> value_;
};

} // namespace calque
