#include "frontend/console/status_line.h"

#include <fmt/format.h>

namespace calque::console {

// MIPS are millions of guest instructions a second. CPU is the share of one host core that the guest's processors take;
// JIT, units translated in a second.
std::string status_text(bool running, u32 width, u32 height, const machine::Activity& activity, u8 leds) {
    const auto lamp = [](bool on, std::string_view name) {
        return on ? std::string(name) : std::string(name.size(), ' ');
    };
    return fmt::format(" {}  {:>11}  {} MIPS  CPU {:3.0f}%  JIT {:5.0f}/s  disk {}{}  net {}{}  {} {} {} ",
                       running ? "running" : "stopped", fmt::format("{} x {}", width, height),
                       activity.instructions ? fmt::format("{:5.0f}", *activity.instructions / 1e6) : "    -",
                       100 * activity.processors, activity.translated, lamp(activity.disk_read, "R"),
                       lamp(activity.disk_written, "W"), lamp(activity.network_in, "I"),
                       lamp(activity.network_out, "O"), lamp(leds & 2, "Num"), lamp(leds & 4, "Caps"),
                       lamp(leds & 1, "Scroll"));
}

} // namespace calque::console
