// query-qmp-schema: the types as their clients read them.
#include "frontend/qmp/schema_types.h"
#include "frontend/qmp/value.h"

namespace calque::qmp {

namespace {

// As the protocol knows it: it has no type for numbers that are not negative.
std::string_view shown(std::string_view name) {
    if (name == "uint") return "int";
    if (name == "[uint]") return "[int]";
    return name;
}

std::string_view json_type(std::string_view builtin) {
    if (builtin == "str") return "string";
    if (builtin == "bool") return "boolean";
    if (builtin == "any") return "value";
    return builtin; // int, number, null.
}

} // namespace

Json Schema::describe(const Type& type) {
    Object entry{{"name", shown(type.name)}};
    Json::Array members, cases;
    switch (type.kind) {
    case Type::Kind::builtin: entry.add("meta-type", "builtin").add("json-type", json_type(type.name)); return entry;
    case Type::Kind::array:
        entry.add("meta-type", "array").add("element-type", shown(type.element->name));
        return entry;
    case Type::Kind::enumeration: {
        Json::Array values;
        for (const auto& value : type.values) {
            values.push_back(Json(value));
            members.push_back(Object{{"name", value}});
        }
        entry.add("meta-type", "enum").add("values", values).add("members", members);
        return entry;
    }
    case Type::Kind::alternate:
        for (const Member& member : type.members)
            members.push_back(Object{{"type", shown(member.type->name)}});
        entry.add("meta-type", "alternate").add("members", members);
        return entry;
    case Type::Kind::object: break;
    }
    for (const Member& member : type.members) {
        Object one{{"name", member.name}, {"type", shown(member.type->name)}};
        if (member.optional) one.add("default", Json());
        members.push_back(one);
    }
    entry.add("meta-type", "object").add("members", members);
    if (type.tag.empty()) return entry;
    for (const Case& one : type.cases)
        cases.push_back(Object{{"case", one.value}, {"type", shown(one.type->name)}});
    entry.add("tag", type.tag).add("variants", cases);
    return entry;
}

Json Schema::describe() const {
    Json::Array all;
    for (const auto& [name, command] : commands_)
        all.push_back(Object{{"name", name},
                             {"meta-type", "command"},
                             {"arg-type", command.arguments->name},
                             {"ret-type", shown(command.returns->name)},
                             {"allow-oob", false}});
    for (const auto& [name, event] : events_)
        all.push_back(Object{{"name", name}, {"meta-type", "event"}, {"arg-type", event.arguments->name}});
    for (const auto& [name, type] : types_)
        if (shown(name) == name) all.push_back(describe(*type));
    return Json(std::move(all));
}

} // namespace calque::qmp
