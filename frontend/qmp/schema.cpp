#include "frontend/qmp/schema.h"

#include "base/text.h"
#include "frontend/qmp/schema_types.h"

#include <algorithm>

namespace calque::qmp {

namespace {

std::vector<std::string_view> split(std::string_view text, char at) {
    std::vector<std::string_view> parts;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find(at), text.size());
        if (const auto part = trim(text.substr(0, end)); !part.empty()) parts.push_back(part);
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return parts;
}

} // namespace

Schema::~Schema() = default;

Schema::Schema(std::span<const TypeText> types, std::span<const MessageText> commands,
               std::span<const MessageText> events) {
    for (const char* name : {"str", "int", "uint", "number", "bool", "null", "any"}) {
        Type& builtin = add(name);
        builtin.kind = Type::Kind::builtin;
        builtin.known = true;
    }
    for (const TypeText& text : types)
        fill(text);
    add_messages(commands, commands_);
    add_messages(events, events_);
    for (const auto& [name, type] : types_)
        if (!type->known) mistakes_.push_back("there is no type '" + name + "'");
}

Schema::Type& Schema::add(std::string_view name) {
    auto& type = types_[std::string(name)];
    if (!type) {
        type = std::make_unique<Type>();
        type->name = name;
    }
    return *type;
}

const Schema::Type* Schema::type(std::string_view name) {
    Type& found = add(name);
    if (name.starts_with('[') && name.ends_with(']') && !found.known) {
        found.known = true;
        found.kind = Type::Kind::array;
        found.element = type(name.substr(1, name.size() - 2));
    }
    return &found;
}

std::vector<Schema::Member> Schema::members(std::string_view text) {
    std::vector<Member> members;
    for (const std::string_view part : split(text, ',')) {
        const std::size_t colon = part.find(':');
        if (colon == part.npos) {
            mistakes_.push_back(fmt::format("'{}' has no type", part));
            continue;
        }
        std::string_view name = trim(part.substr(0, colon));
        const bool optional = name.ends_with('?');
        if (optional) name.remove_suffix(1);
        members.push_back({std::string(name), type(trim(part.substr(colon + 1))), optional});
    }
    return members;
}

void Schema::fill(const TypeText& text) {
    Type& type = add(text.name);
    if (type.known) mistakes_.push_back(fmt::format("there are two types '{}'", text.name));
    type.known = true;
    switch (text.kind) {
    case TypeText::Kind::enumeration:
        type.kind = Type::Kind::enumeration;
        for (const auto value : split(text.text, ' '))
            type.values.emplace_back(value);
        break;
    case TypeText::Kind::alternate:
        type.kind = Type::Kind::alternate;
        for (const auto name : split(text.text, ' '))
            type.members.push_back({{}, this->type(name), false});
        break;
    case TypeText::Kind::object:
        fill_object(type, text.text);
        type.tag = text.tag;
        for (Member& member : members(text.cases))
            type.cases.push_back({std::move(member.name), member.type});
        break;
    }
}

void Schema::fill_object(Type& type, std::string_view text) {
    type.open = text.ends_with(", ...");
    if (type.open) text.remove_suffix(5);
    type.members = members(text);
}

void Schema::add_messages(std::span<const MessageText> texts, std::map<std::string, Message, std::less<>>& into) {
    for (const MessageText& text : texts) {
        // The types of arguments and data have no name of their own.
        const std::string own = fmt::format("{}-arg", text.name);
        if (!text.members.empty()) fill({TypeText::Kind::object, own, text.members});
        const Message message{std::string(text.name), text.members.empty() ? type("Empty") : type(own),
                              type(text.returns.empty() ? "Empty" : text.returns)};
        if (!into.emplace(text.name, message).second)
            mistakes_.push_back(fmt::format("there are two of '{}'", text.name));
    }
}

const Schema::Message* Schema::command(std::string_view name) const {
    const auto found = commands_.find(name);
    return found == commands_.end() ? nullptr : &found->second;
}

const Schema::Message* Schema::event(std::string_view name) const {
    const auto found = events_.find(name);
    return found == events_.end() ? nullptr : &found->second;
}

} // namespace calque::qmp
