#include "frontend/gdb/session.h"
#include "tests/cpu/harness.h"

#include <gtest/gtest.h>

namespace calque::gdb {
namespace {

using cpu::DebugStop;

// Two processors that never run: what is planned for them is what counts.
class TwoProcessors final : public Control {
  public:
    void send(std::string_view bytes) override { sent += bytes; }
    void pause() override {}
    void resume(std::vector<VcpuPlan> wanted) override { plans = std::move(wanted); }
    void kill() override {}
    void run_command(const std::string&) override {}

    // What is sent after the packet.
    std::string ask(std::string_view packet) {
        sent.clear();
        plans.clear();
        session.take(packet);
        return sent;
    }
    std::string stop() {
        sent.clear();
        session.stopped();
        return sent;
    }
    // h: held, c: goes on, s: steps.
    std::string planned() const {
        std::string text;
        for (const VcpuPlan& plan : plans)
            text += plan.held ? 'h' : plan.stops.step ? 's' : 'c';
        return text;
    }

    cpu::testing::Machine first{cpu::testing::Machine::Kind::long64}, second{cpu::testing::Machine::Kind::long64};
    std::string sent;
    std::vector<VcpuPlan> plans;
    Session session{*this, {&first.cpu(), &second.cpu()}, first.memory};
};

TEST(GdbThreads, EachDoesAsItsActionSays) {
    TwoProcessors t;
    for (const auto& [packet, planned] : {std::pair{"vCont;c", "cc"},
                                          {"vCont;s:1", "sh"},
                                          {"vCont;s:2;c", "cs"},
                                          {"vCont;c:1;s:1", "ch"},
                                          {"vCont;s:-1", "ss"},
                                          {"vCont;C05:2", "hc"},
                                          {"c", "cc"},
                                          {"s", "sc"}}) {
        t.ask(packet);
        EXPECT_EQ(t.planned(), planned) << packet;
        t.stop();
    }
    t.ask("Hg2");
    t.ask("s");
    EXPECT_EQ(t.planned(), "cs");
    t.stop();
    EXPECT_EQ(t.ask("vCont;"), make_packet("E01"));
}

TEST(GdbThreads, WhatHappenedToAnotherIsReportedInsteadOfGoingOn) {
    TwoProcessors t;
    t.ask("Z2,1000,4");
    t.ask("vCont;c");
    t.first.cpu().debug.stop = {DebugStop::Reason::breakpoint, 0x2000};
    t.second.cpu().debug.stop = {DebugStop::Reason::watchpoint, 0x1000, true};
    EXPECT_EQ(t.stop(), make_packet("T05thread:1;"));
    EXPECT_EQ(t.ask("vCont;c"), make_packet("T05thread:2;watch:1000;"));
    EXPECT_TRUE(t.plans.empty());
    t.ask("vCont;c");
    EXPECT_EQ(t.planned(), "cc");
}

TEST(GdbThreads, BreakpointsThatAnotherCameToAreMetAgain) {
    TwoProcessors t;
    t.ask("Z0,2000,1");
    t.ask("vCont;c");
    t.first.cpu().debug.stop = t.second.cpu().debug.stop = {DebugStop::Reason::breakpoint, 0x2000};
    t.first.state().rip() = t.second.state().rip() = 0x2000;
    t.stop();
    t.ask("vCont;c");
    ASSERT_EQ(t.planned(), "cc");
    EXPECT_EQ(t.plans[0].stops.pass, 0x2000u);
    EXPECT_EQ(t.plans[1].stops.pass, std::nullopt);
    EXPECT_EQ(t.second.cpu().debug.stop.reason, DebugStop::Reason::none);
}

TEST(GdbThreads, TranslationsOutlastABreakpointThatIsSteppedOver) {
    TwoProcessors t;
    t.ask("Z0,2345,1");
    t.ask("vCont;c");
    t.stop();
    t.ask("z0,2345,1");
    t.ask("vCont;s:1");
    EXPECT_TRUE(t.plans[0].stops.offsets[0x345]) << "it will be there again";
    EXPECT_TRUE(t.plans[0].stops.breakpoints.empty());
    t.stop();
    t.ask("vCont;c");
    EXPECT_TRUE(t.plans[0].stops.offsets.none()) << "full speed again";
}

} // namespace
} // namespace calque::gdb
