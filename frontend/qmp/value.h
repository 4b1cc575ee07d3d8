// Short forms for building JSON.
#pragma once

#include "base/json.h"

#include <concepts>
#include <initializer_list>
#include <string>
#include <string_view>

namespace calque::qmp {

// What a member of an object can be made of.
struct Value {
    Value(std::same_as<bool> auto truth) : json(static_cast<bool>(truth)) {}
    template <std::integral T>
    requires(!std::same_as<T, bool>) Value(T number) : json(static_cast<i64>(number)) {}
    Value(std::string_view text) : json(std::string(text)) {}
    Value(const char* text) : json(std::string(text)) {}
    Value(const std::string& text) : json(text) {}
    Value(Json value) : json(std::move(value)) {}
    Value(Json::Array array) : json(std::move(array)) {}

    Json json;
};

// An object whose members are added one by one.
class Object {
  public:
    Object() = default;
    Object(std::initializer_list<std::pair<std::string_view, Value>> members) {
        for (const auto& [name, value] : members)
            add(name, value);
    }
    Object& add(std::string_view name, Value value) {
        members_.emplace_back(std::string(name), std::move(value.json));
        return *this;
    }
    operator Json() && { return Json(std::move(members_)); }
    operator Json() const& { return Json(members_); }
    operator Value() && { return Value(Json(std::move(members_))); }
    operator Value() const& { return Value(Json(members_)); }

  private:
    Json::Object members_;
};

} // namespace calque::qmp
