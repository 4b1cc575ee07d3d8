// The screen's remote viewers.
#include "frontend/monitor/remote.h"
#include "frontend/qmp/commands.h"
#include "frontend/qmp/events.h"
#include "frontend/qmp/names.h"

#include <array>
#include <ctime>

namespace calque::qmp {

namespace {

// Of all screens; there is one.
constexpr std::string_view screen_id = "default";

Json::Array viewers(const machine::RemoteScreen::Status& status) {
    Json::Array list;
    for (const auto& viewer : status.viewers)
        if (viewer.watches) list.push_back(place_object(viewer.place));
    return list;
}

Result<void> check_screen(const Arguments& arguments) {
    if (arguments.text("protocol", "vnc") != "vnc")
        return error("there is no remote screen by {}; there is: vnc", arguments.text("protocol"));
    if (arguments.text("display", screen_id) != screen_id)
        return error("there is no VNC server '{}'; there is: {}", arguments.text("display"), screen_id);
    return {};
}

Answer set_password(Control& control, const Arguments& arguments) {
    if (auto good = check_screen(arguments); !good) return good;
    if (arguments.text("connected", "keep") != "keep")
        return error("viewers that are there stay: connected can be keep alone");
    const auto screen = monitor::remote_screen(control.machine);
    return screen ? Answer((*screen)->set_password(arguments.text("password"))) : Answer(screen.error());
}

Answer change_vnc_password(Control& control, const Arguments& arguments) {
    const auto screen = monitor::remote_screen(control.machine);
    return screen ? Answer((*screen)->set_password(arguments.text("password"))) : Answer(screen.error());
}

Answer expire_password(Control& control, const Arguments& arguments) {
    if (auto good = check_screen(arguments); !good) return good;
    const auto when = monitor::parse_expiry(arguments.text("time"), std::time(nullptr));
    if (!when) return when.error();
    const auto screen = monitor::remote_screen(control.machine);
    return screen ? Answer((*screen)->expire_password(*when)) : Answer(screen.error());
}

Answer query_vnc(Control& control, const Arguments&) {
    const auto* const screen = control.machine.remote_screen();
    if (!screen) return Object{{"enabled", false}};
    const auto status = screen->status();
    return Object{{"enabled", true},
                  {"host", status.place.host},
                  {"service", std::to_string(status.place.port)},
                  {"family", "ipv4"},
                  {"auth", vnc_auth_name(status.wants_password)},
                  {"clients", viewers(status)}};
}

Answer query_vnc_servers(Control& control, const Arguments&) {
    const auto* const screen = control.machine.remote_screen();
    if (!screen) return Json::Array{};
    const auto status = screen->status();
    const auto auth = vnc_auth_name(status.wants_password);
    Object server = place_object(status.place);
    server.add("auth", auth);
    return Json::Array{
        Object{{"id", screen_id}, {"server", Json::Array{server}}, {"clients", viewers(status)}, {"auth", auth}}};
}

constexpr std::array commands{
    Command{"set_password", "protocol: DisplayProtocol, password: str, connected?: SetPasswordAction, display?: str",
            "", set_password},
    Command{"change-vnc-password", "password: str", "", change_vnc_password},
    Command{"expire_password", "protocol: DisplayProtocol, time: str, display?: str", "", expire_password},
    Command{"query-vnc", "", "VncInfo", query_vnc},
    Command{"query-vnc-servers", "", "[VncInfo2]", query_vnc_servers},
};

} // namespace

std::span<const Command> vnc_commands() { return commands; }

} // namespace calque::qmp
