#include "tests/qmp/client.h"

using namespace calque;
using namespace calque::qmp;

namespace {

class Sessions : public testing::Test {
  protected:
    Client client;
};

TEST_F(Sessions, GreetsAndWaitsForTheNegotiation) {
    client.connect();
    EXPECT_NE(client.take().find(R"("QMP")"), std::string::npos);
    EXPECT_EQ(client.ask(R"({"execute": "query-status"})"), "CommandNotFound");
    EXPECT_EQ(client.ask(R"({"execute": "qmp_capabilities", "arguments": {"enable": ["oob"]}})"), "GenericError");
    EXPECT_EQ(client.ask(R"({"execute": "qmp_capabilities", "arguments": {"enable": ["magic"]}})"), "GenericError");
    EXPECT_EQ(client.ask(R"({"execute": "qmp_capabilities"})"), "");
    EXPECT_EQ(client.ask(R"({"execute": "query-status"})"), "");
    EXPECT_EQ(client.ask(R"({"execute": "qmp_capabilities"})"), "CommandNotFound");
}

TEST_F(Sessions, AnIdComesBackAsItWas) {
    client.negotiate();
    client.type(R"({"execute": "stop", "id": {"a": [1, "\u20ac", null]}})");
    EXPECT_NE(client.take().find(R"("id": {"a": [1, "\u20ac", null]})"), std::string::npos);
    client.type(R"({"execute": "nothing", "id": 5})");
    EXPECT_NE(client.take().find(R"("id": 5)"), std::string::npos);
}

TEST_F(Sessions, ClassesOfErrors) {
    client.negotiate();
    EXPECT_EQ(client.ask(R"({"execute": "nothing"})"), "CommandNotFound");
    EXPECT_EQ(client.ask(R"({"execute": "stop", "arguments": {"x": 1}})"), "GenericError");
    EXPECT_EQ(client.ask(R"({"execute": "stop", "arguments": []})"), "GenericError");
    EXPECT_EQ(client.ask(R"({"execute": 5})"), "GenericError");
    EXPECT_EQ(client.ask(R"({"id": 5})"), "GenericError");
    EXPECT_EQ(client.ask(R"({"execute": "stop", "further": 1})"), "GenericError");
    EXPECT_EQ(client.ask(R"({"exec-oob": "stop"})"), "GenericError");
    EXPECT_EQ(client.ask(R"(["stop"])"), "GenericError");
}

TEST_F(Sessions, GarbageIsToldOncePerLineAndTheNextCommandWorks) {
    client.negotiate();
    for (const std::string& garbage :
         {std::string("hello, is anybody there?\n"), std::string("{\"execute\": \"st\top\"}\n"),
          std::string("{\"execute\" \"stop\"}\n"), std::string(200, '[') + "\n", std::string("\xff\x00\x01\n", 4)})
        EXPECT_EQ(client.ask(garbage), "GenericError") << garbage;
    EXPECT_EQ(client.ask(R"({"execute": "query-status"})"), "");
}

TEST_F(Sessions, ACommandMayComeInPiecesAndWithoutLineEnds) {
    client.negotiate();
    client.type(R"({"execute": "query-st)");
    EXPECT_EQ(client.take(), "");
    client.type(R"(atus"}{"execute": "query-version"} )");
    const std::string said = client.take();
    EXPECT_NE(said.find("running"), std::string::npos);
    EXPECT_NE(said.find("package"), std::string::npos);
}

TEST_F(Sessions, WhatNeverEndsIsGivenUp) {
    client.negotiate();
    const std::string some(4096, 'a');
    client.type("{\"execute\": \"");
    for (unsigned i = 0; i < 300; ++i)
        client.type(some);
    EXPECT_NE(client.take().find("over a megabyte"), std::string::npos);
    client.type("\n");
    EXPECT_EQ(client.ask(R"({"execute": "query-status"})"), "");
}

TEST_F(Sessions, EventsGoToWhoHasNegotiated) {
    client.connect();
    client.take();
    client.session().send(machine::event::Stopped{});
    EXPECT_EQ(client.take(), "");
    EXPECT_EQ(client.ask(R"({"execute": "qmp_capabilities"})"), "");
    client.session().send(machine::event::Shutdown{machine::Cause::guest_shutdown});
    EXPECT_EQ(client.take(), R"({"timestamp": {"seconds": 3, "microseconds": 5}, "event": "SHUTDOWN", )"
                             R"("data": {"guest": true, "reason": "guest-shutdown"}})"
                             "\r\n");
}

TEST_F(Sessions, WhoDoesNotReadIsNotReadFromAndCostsLittle) {
    client.negotiate();
    client.room = 100;
    client.type(R"({"execute": "query-qmp-schema"})");
    for (unsigned i = 0; i < 20; ++i)
        client.type(R"({"execute": "query-status"})");
    EXPECT_EQ(client.session().room(), 0u);
    for (unsigned i = 0; i < 100'000; ++i)
        client.session().send(machine::event::Stopped{});
    EXPECT_EQ(client.take().size(), 100u);
    client.room = ~std::size_t{0};
    client.session().drained();
    const std::string rest = client.take();
    EXPECT_LT(rest.size(), Session::event_limit + (1 << 20));
    unsigned answers = 0;
    for (std::size_t at = 0; (at = rest.find(R"("running")", at)) != rest.npos; ++at)
        ++answers;
    EXPECT_GE(answers, 20u);
    EXPECT_GT(client.session().room(), 0u);
}

TEST_F(Sessions, TheNextClientStartsAnewAndHearsNothingOfTheOneBefore) {
    client.negotiate();
    client.later = true;
    client.type(R"({"execute": "stop", "id": "before"}{"execute": )");
    client.session().closed();
    client.connect();
    client.later = false;
    client.perform();
    const std::string said = client.take();
    EXPECT_NE(said.find(R"("QMP")"), std::string::npos);
    EXPECT_EQ(said.find("before"), std::string::npos);
    EXPECT_EQ(client.ran, std::vector<std::string>{"stop"});
    EXPECT_EQ(client.ask(R"({"execute": "query-status"})"), "CommandNotFound");
}

TEST_F(Sessions, WhatACommandRequestedIsDoneBeforeItsAnswer) {
    client.negotiate();
    client.later = true;
    client.type(R"({"execute": "stop"})");
    client.perform_one(); // The command.
    EXPECT_EQ(client.take(), "");
    client.perform_one();
    EXPECT_NE(client.take().find("return"), std::string::npos);
}

TEST_F(Sessions, QuitIsAnsweredBeforeItHappens) {
    client.negotiate();
    client.later = true;
    client.type(R"({"execute": "quit"})");
    client.perform_one();
    EXPECT_NE(client.take().find("return"), std::string::npos);
}

} // namespace
