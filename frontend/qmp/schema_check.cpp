// Whether a value is of a type.
#include "frontend/qmp/schema_types.h"

#include <algorithm>

namespace calque::qmp {

namespace {

bool is_builtin(std::string_view type, const Json& value) {
    if (type == "any") return true;
    if (type == "str") return value.string() != nullptr;
    if (type == "bool") return value.get_if<bool>() != nullptr;
    if (type == "null") return value.get_if<std::monostate>() != nullptr;
    if (type == "int") return value.get_if<i64>() != nullptr;
    if (type == "uint") return value.get_if<i64>() && *value.get_if<i64>() >= 0;
    return value.get_if<i64>() || value.get_if<double>(); // number
}

std::string_view words_for(std::string_view type) {
    if (type == "str") return "a string";
    if (type == "bool") return "true or false";
    if (type == "null") return "null";
    if (type == "int") return "a whole number";
    if (type == "uint") return "a whole number that is not negative";
    return "a number";
}

std::string inside(const std::string& where, std::string_view name) {
    return where.empty() ? std::string(name) : fmt::format("{}.{}", where, name);
}

} // namespace

Result<void> Schema::check_arguments(const Message& message, const Json& value) const {
    return check(*message.arguments, value, {});
}

Result<void> Schema::check_returned(const Message& message, const Json& value) const {
    return check(*message.returns, value, {});
}

Result<void> Schema::check(const Type& type, const Json& value, const std::string& where) const {
    switch (type.kind) {
    case Type::Kind::builtin:
        if (is_builtin(type.name, value)) return {};
        return error("'{}' must be {}", where, words_for(type.name));
    case Type::Kind::enumeration: {
        const std::string* text = value.string();
        if (!text) return error("'{}' must be a string", where);
        if (std::find(type.values.begin(), type.values.end(), *text) != type.values.end()) return {};
        std::string all;
        for (const auto& known : type.values)
            all += (all.empty() ? "" : ", ") + known;
        return error("'{}' cannot be '{}'; there are: {}", where, *text, all.substr(0, 400));
    }
    case Type::Kind::array: {
        const auto* array = value.get_if<Json::Array>();
        if (!array) return error("'{}' must be an array", where);
        for (const Json& element : *array)
            if (auto good = check(*type.element, element, where); !good) return good;
        return {};
    }
    case Type::Kind::alternate:
        for (const Member& member : type.members)
            if (check(*member.type, value, where)) return {};
        return error("'{}' is of none of the types that it can have", where);
    case Type::Kind::object: break;
    }
    if (!value.object()) return error("'{}' must be an object", where.empty() ? "arguments" : where);
    return check_object(type, *value.object(), where);
}

Result<void> Schema::check_object(const Type& type, const Json::Object& object, const std::string& where) const {
    std::vector<const Member*> known;
    for (const Member& member : type.members)
        known.push_back(&member);
    if (!type.tag.empty()) {
        const auto tag = std::find_if(object.begin(), object.end(), [&](const auto& m) { return m.first == type.tag; });
        for (const Case& one : type.cases)
            if (tag != object.end() && tag->second.string() && *tag->second.string() == one.value)
                for (const Member& member : one.type->members)
                    known.push_back(&member);
    }
    for (const Member* member : known) {
        const auto given =
            std::count_if(object.begin(), object.end(), [&](const auto& m) { return m.first == member->name; });
        if (given > 1) return error("'{}' is given twice", inside(where, member->name));
        if (given == 0 && !member->optional) return error("'{}' is missing", inside(where, member->name));
    }
    for (const Json::Member& given : object) {
        const std::string& name = given.first;
        const auto member = std::find_if(known.begin(), known.end(), [&](const Member* m) { return m->name == name; });
        if (member == known.end() && type.open) continue;
        if (member == known.end()) return error("'{}' is not known here", inside(where, name));
        if (auto good = check(*(*member)->type, given.second, inside(where, name)); !good) return good;
    }
    return {};
}

} // namespace calque::qmp
