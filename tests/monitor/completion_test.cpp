#include "frontend/monitor/commands.h"

#include <gtest/gtest.h>

using calque::monitor::Commands;

namespace {

using Words = std::vector<std::string>;

TEST(Completions, AreWhatIsTypedAsItStands) {
    EXPECT_EQ(Commands::completions("mouse_s"), Words{"mouse_set"});
    EXPECT_EQ(Commands::completions("co"), Words{"cont"}) << "the second of its line in the help";
    EXPECT_EQ(Commands::completions("hostfwd_"), (Words{"hostfwd_add", "hostfwd_remove"}));
    EXPECT_EQ(Commands::completions("screend"), Words{"screendump"});
    EXPECT_EQ(Commands::completions("xp"), Words{"xp"});
}

TEST(Completions, KnowWhatInfoShows) {
    EXPECT_EQ(Commands::completions("info me"), Words{"info mem"});
    EXPECT_EQ(Commands::completions("info st"), (Words{"info stats", "info status"}));
    EXPECT_TRUE(Commands::completions("info nothing").empty());
}

TEST(Completions, OfNothingAreAllCommands) {
    const Words all = Commands::completions("");
    EXPECT_GT(all.size(), 20u);
    for (const std::string& command : all) {
        EXPECT_FALSE(command.empty());
        EXPECT_EQ(command.find_first_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ[|/"), command.npos) << command;
    }
}

} // namespace
