#include "frontend/cli/accel_options.h"

#include "frontend/cli/keyval.h"

#include <utility>

namespace calque::cli {

namespace {

constexpr char accel_help[] = R"(Engines (-accel NAME[,switch=on|off]):
jit       translates hot code to the host's (default)
tcg       means jit
interp    interprets all code
Switches of jit:
check-elimination=on|off  accesses near each other share one check (on)
flag-liveness=on|off      flags that nobody sees are not computed (on)
loop-unrolling=on|off     several rounds of a loop in one unit (on)
loop-heads=on|off         loops go from round to round inside their unit (on)
regions=on|off            hot code is translated again, along the path that it takes (on)
patch-fields=on|off       immediates that the guest patches are read each time (on)
mirror=on|off             hot pages are mapped at places that follow from their addresses (on)
x87=on|off                x87 and MMX instructions on the host's unit (on)
hot-after=N               entries of a block before it is translated (16)
longest-unit=N            guest instructions in a unit (64)
verify=on|off             checks units after each pass (off)
count=on|off|speed        translated code counts for --stats what it does, or only its instructions, which costs next
                          to nothing (speed with a window, whose status line shows it; else off)
perf-map=on|off           names translated code for perf (off)
)";

} // namespace

bool choose_engine(Options& o, const std::string& accel) {
    using Engine = machine::MachineConfig::Engine;
    // The first of several that there is, as in kvm:tcg.
    if (const std::size_t colon = accel.find(':'); colon != accel.npos)
        return choose_engine(o, accel.substr(0, colon)) || choose_engine(o, accel.substr(colon + 1));
    if (accel != "jit" && accel != "tcg" && accel != "interp") return false;
    o.machine.engine = accel == "interp" ? Engine::interpreter : Engine::translator;
    return true;
}

Result<void> accel_option(Options& o, const std::string& text) {
    if (text == "help") {
        o.print = accel_help;
        return {};
    }
    auto kv = KeyValues::parse("-accel", text, "accel");
    if (!kv) return kv.error();
    const std::string accel = kv->take("accel");
    if (accel == "kvm" || accel == "hvf" || accel == "whpx" || accel == "xen")
        return error("-accel {} needs virtualisation hardware, which this emulator does without; use -accel tcg",
                     accel);
    if (!choose_engine(o, accel))
        return error("-accel '{}' does not exist; there are: jit, tcg (which means jit), interp", accel);
    kv->take("thread");  // Guest CPUs always have a thread each.
    kv->take("tb-size"); // The cache is sized by the program.
    constexpr u64 most = 1'000'000;
    for (const auto& [key, value] : {std::pair{"hot-after", &o.machine.translator.hot_after},
                                     std::pair{"longest-unit", &o.machine.translator.longest_unit}}) {
        const auto number = kv->take_number(key, 0);
        if (!number) return number.error();
        if (*number > most) return error("-accel {}={}: at most {}", key, *number, most);
        *value = static_cast<u32>(*number);
    }
    auto& t = o.machine.translator;
    for (const auto& [key, value] :
         {std::pair{"check-elimination", &t.check_elimination}, std::pair{"flag-liveness", &t.flag_liveness},
          std::pair{"loop-unrolling", &t.loop_unrolling}, std::pair{"loop-heads", &t.loop_heads},
          std::pair{"regions", &t.regions}, std::pair{"patch-fields", &t.patch_fields}, std::pair{"mirror", &t.mirror},
          std::pair{"return-stack", &t.return_stack}, std::pair{"x87", &t.x87}, std::pair{"verify", &t.verify},
          std::pair{"perf-map", &t.perf_map}}) {
        const auto on = kv->take_bool(key, *value);
        if (!on) return on.error();
        *value = *on;
    }
    const std::string count = kv->take("count");
    if (count == "speed") {
        t.counting = jit::Counting::speed;
    } else if (!count.empty()) {
        if (count != "on" && count != "off") return error("-accel count='{}': it is on, off or speed", count);
        t.counting = count == "on" ? jit::Counting::all : jit::Counting::none;
    }
    return kv->rest(
        "thread, tb-size, hot-after, longest-unit, check-elimination, flag-liveness, loop-unrolling, loop-heads, "
        "regions, patch-fields, mirror, return-stack, x87, verify, perf-map, count");
}

} // namespace calque::cli
