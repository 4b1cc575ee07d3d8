// The protocol's types: read from the tables of commands, events and types, checked against what clients send, and told
// to clients that ask (query-qmp-schema).
//
// A table says what an object has in one line: "name: type, name?: type, ...". A '?' marks what may be missing, [type]
// is an array, and "..." at the end lets further members pass unlooked at. The built-in types are str, int, uint (an
// int that is not negative), number, bool, null and any.
#pragma once

#include "base/json.h"
#include "base/result.h"

#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace calque::qmp {

// A named type, as its table has it.
struct TypeText {
    enum class Kind : u8 {
        enumeration, // text: the values, with spaces between them.
        object,      // text: the members; cases: "value: type, ..." of the member `tag`, whose members come on top.
        alternate,   // text: the types, with spaces between them.
    };
    Kind kind;
    std::string_view name;
    std::string_view text;
    std::string_view tag{}, cases{};
};
// A command or an event.
struct MessageText {
    std::string_view name;
    std::string_view members; // Its arguments, its data.
    std::string_view returns; // A type; empty: an object without members.
};

class Schema {
  public:
    // The texts are the program's own: a mistake in them is reported by mistakes(), for a test.
    Schema(std::span<const TypeText> types, std::span<const MessageText> commands, std::span<const MessageText> events);
    ~Schema();

    // Null when there is none of that name.
    struct Message;
    const Message* command(std::string_view name) const;
    const Message* event(std::string_view name) const;

    Result<void> check_arguments(const Message& message, const Json& value) const;
    Result<void> check_returned(const Message& message, const Json& value) const;
    Json describe() const;
    const std::vector<std::string>& mistakes() const { return mistakes_; }

  private:
    struct Type;
    struct Member;
    struct Case;
    const Type* type(std::string_view name);
    Type& add(std::string_view name);
    std::vector<Member> members(std::string_view text);
    void fill_object(Type& type, std::string_view text);
    void fill(const TypeText& text);
    void add_messages(std::span<const MessageText> texts, std::map<std::string, Message, std::less<>>& into);
    Result<void> check(const Type& type, const Json& value, const std::string& where) const;
    Result<void> check_object(const Type& type, const Json::Object& object, const std::string& where) const;
    static Json describe(const Type& type);

    std::map<std::string, std::unique_ptr<Type>, std::less<>> types_;
    std::map<std::string, Message, std::less<>> commands_, events_;
    std::vector<std::string> mistakes_;
};

} // namespace calque::qmp
