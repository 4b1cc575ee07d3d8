#include "frontend/console/status_line.h"

#include <gtest/gtest.h>

namespace calque::console {
namespace {

TEST(StatusLine, LightsKeepTheirPlaces) {
    machine::Activity busy{
        .processors = 1.984, .instructions = 5.4321e9, .translated = 12, .disk_read = true, .network_out = true};
    const std::string idle = status_text(false, 720, 400, {}, 0), text = status_text(true, 1280, 1024, busy, 4);
    EXPECT_EQ(idle, " stopped    720 x 400      - MIPS  CPU   0%  JIT     0/s  disk     net                     ");
    EXPECT_EQ(text, " running  1280 x 1024   5432 MIPS  CPU 198%  JIT    12/s  disk R   net  O      Caps        ");
    EXPECT_EQ(idle.size(), text.size());
}

} // namespace
} // namespace calque::console
