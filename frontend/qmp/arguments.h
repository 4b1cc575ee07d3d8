// The arguments of a command, after the schema has found them good.
#pragma once

#include "base/json.h"

#include <string>
#include <string_view>

namespace calque::qmp {

class Arguments {
  public:
    explicit Arguments(const Json& object) : object_(object) {}

    const Json* find(std::string_view name) const { return object_.find(name); }
    bool has(std::string_view name) const { return find(name) != nullptr; }
    std::string text(std::string_view name, std::string_view fallback = {}) const {
        const Json* value = find(name);
        return value && value->string() ? *value->string() : std::string(fallback);
    }
    i64 number(std::string_view name, i64 fallback = 0) const { return get(name, fallback); }
    bool flag(std::string_view name, bool fallback = false) const { return get(name, fallback); }
    const Json::Array& list(std::string_view name) const {
        static const Json::Array none;
        const Json* value = find(name);
        const auto* array = value ? value->get_if<Json::Array>() : nullptr;
        return array ? *array : none;
    }
    const Json& json() const { return object_; }

  private:
    template <class T> T get(std::string_view name, T fallback) const {
        const Json* value = find(name);
        const T* found = value ? value->get_if<T>() : nullptr;
        return found ? *found : fallback;
    }
    const Json& object_;
};

} // namespace calque::qmp
