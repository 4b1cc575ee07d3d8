#include "frontend/qmp/commands.h"

#include <gtest/gtest.h>

using namespace calque;
using namespace calque::qmp;

namespace {

using Kind = TypeText::Kind;

Json parse(std::string_view text) {
    auto value = Json::parse(text);
    EXPECT_TRUE(value) << text;
    return value ? *value : Json();
}

const TypeText types[] = {
    {Kind::object, "Empty", ""},
    {Kind::enumeration, "Colour", "red green"},
    {Kind::object, "Point", "x: int, y?: uint"},
    {Kind::object, "Text", "data: str"},
    {Kind::object, "Shape", "kind: Colour", "kind", "red: Point, green: Text"},
    {Kind::alternate, "Either", "str Point"},
};
const MessageText commands[] = {
    {"draw", "at: Point, colour?: Colour, more?: [Shape], either?: Either, yes?: bool, part?: number", "[Point]"},
    {"rest", "", ""},
};

class Schemas : public testing::Test {
  protected:
    std::string wrong(std::string_view text) {
        const auto result = schema.check_arguments(*schema.command("draw"), parse(text));
        return result ? "" : result.error().message;
    }
    Schema schema{types, commands, {}};
};

TEST_F(Schemas, GoodValuesPass) {
    for (const char* text :
         {R"({"at": {"x": -1}})", R"({"at": {"x": 1, "y": 2}, "colour": "red"})",
          R"({"at": {"x": 1}, "more": [{"kind": "red", "x": 1}, {"kind": "green", "data": ""}]})",
          R"({"at": {"x": 1}, "either": "a", "yes": true, "part": 1.5})", R"({"at": {"x": 1}, "either": {"x": 3}})"})
        EXPECT_EQ(wrong(text), "") << text;
    EXPECT_TRUE(schema.check_arguments(*schema.command("rest"), parse("{}")));
}

TEST_F(Schemas, WhatIsWrongIsNamedWithItsPlace) {
    EXPECT_EQ(wrong("{}"), "'at' is missing");
    EXPECT_EQ(wrong(R"({"at": {}})"), "'at.x' is missing");
    EXPECT_EQ(wrong(R"({"at": {"x": "1"}})"), "'at.x' must be a whole number");
    EXPECT_EQ(wrong(R"({"at": {"x": 1, "y": -1}})"), "'at.y' must be a whole number that is not negative");
    EXPECT_EQ(wrong(R"({"at": {"x": 1}, "colour": "blue"})"), "'colour' cannot be 'blue'; there are: red, green");
    EXPECT_EQ(wrong(R"({"at": {"x": 1}, "other": 1})"), "'other' is not known here");
    EXPECT_EQ(wrong(R"({"at": {"x": 1, "x": 2}})"), "'at.x' is given twice");
    EXPECT_EQ(wrong(R"({"at": {"x": 1}, "more": {}})"), "'more' must be an array");
    EXPECT_EQ(wrong(R"({"at": {"x": 1}, "more": [{"kind": "green", "x": 1}]})"), "'more.data' is missing");
    EXPECT_EQ(wrong(R"({"at": {"x": 1}, "either": 5})"), "'either' is of none of the types that it can have");
    EXPECT_NE(wrong("[]"), "");
}

TEST_F(Schemas, ATypeThatNobodyDefinesIsAMistake) {
    const MessageText bad[] = {{"draw", "at: Nowhere, x", ""}};
    const Schema other(types, bad, {});
    EXPECT_EQ(other.mistakes().size(), 2u);
    EXPECT_TRUE(schema.mistakes().empty());
}

// The protocol's own tables.
class Own : public testing::Test {
  protected:
    const Protocol protocol;
    const Json all = protocol.schema().describe();
    const Json* find(std::string_view name) const {
        for (const Json& entry : *all.get_if<Json::Array>())
            if (*entry.find("name")->string() == name) return &entry;
        return nullptr;
    }
    void refers(const Json& entry, std::string_view key) {
        if (const Json* name = entry.find(key)) {
            EXPECT_TRUE(find(*name->string())) << *name->string() << " in " << entry.text();
        }
    }
};

TEST_F(Own, TablesHaveNoMistakes) {
    for (const auto& mistake : protocol.schema().mistakes())
        ADD_FAILURE() << mistake;
}

TEST_F(Own, EveryTypeThatTheSchemaNamesIsInIt) {
    for (const Json& entry : *all.get_if<Json::Array>()) {
        for (const char* key : {"arg-type", "ret-type", "element-type"})
            refers(entry, key);
        for (const char* list : {"members", "variants"})
            if (const Json* members = entry.find(list))
                for (const Json& member : *members->get_if<Json::Array>())
                    refers(member, "type");
    }
}

TEST_F(Own, EveryCommandIsInTheSchemaAndIsFoundByItsName) {
    EXPECT_GT(protocol.commands().size(), 10u);
    for (const Command* command : protocol.commands()) {
        EXPECT_EQ(protocol.find(command->name), command);
        const Json* entry = find(command->name);
        ASSERT_TRUE(entry) << command->name;
        EXPECT_EQ(*entry->find("meta-type")->string(), "command");
    }
    EXPECT_EQ(protocol.find("nothing"), nullptr);
}

} // namespace
