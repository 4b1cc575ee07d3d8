// How a Schema keeps its types.
#pragma once

#include "frontend/qmp/schema.h"

namespace calque::qmp {

struct Schema::Member {
    std::string name;
    const Type* type;
    bool optional;
};
struct Schema::Case {
    std::string value;
    const Type* type;
};
struct Schema::Type {
    enum class Kind : u8 { builtin, enumeration, array, object, alternate };
    std::string name;
    Kind kind = Kind::object;
    bool known = false;              // Not only named.
    std::vector<std::string> values; // Of an enumeration.
    const Type* element = nullptr;   // Of an array.
    std::vector<Member> members;     // Of an object; of an alternate, without names.
    bool open = false;               // Has further members.
    std::string tag;                 // The member that says which case holds; empty: there are no cases.
    std::vector<Case> cases;
};
struct Schema::Message {
    std::string name;
    const Type* arguments;
    const Type* returns;
};

} // namespace calque::qmp
