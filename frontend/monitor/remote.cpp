#include "frontend/monitor/remote.h"

#include <charconv>
#include <ctime>
#include <sstream>

namespace calque::monitor {

namespace {

std::vector<std::string> words_of(const std::string& text) {
    std::istringstream stream(text);
    std::vector<std::string> words;
    for (std::string word; stream >> word;)
        words.push_back(word);
    return words;
}

std::string said(const Result<void>& result) { return result ? "" : result.error().message + "\n"; }

std::string place_text(const machine::NetworkPlace& place) {
    return fmt::format("{}:{} (ipv4)", place.host, place.port);
}

// What holds for every protocol's commands: "" when the words name ours.
std::string wrong_protocol(const std::string& protocol) {
    if (protocol == "vnc") return "";
    return fmt::format("there is no remote screen by '{}'; there is: vnc\n", protocol);
}

} // namespace

Result<machine::RemoteScreen*> remote_screen(machine::Machine& machine) {
    if (auto* const screen = machine.remote_screen()) return screen;
    return error("the screen is not shown to remote viewers; start with -vnc [ADDRESS]:N");
}

Result<std::optional<i64>> parse_expiry(const std::string& text, i64 now) {
    if (text == "never") return std::optional<i64>();
    if (text == "now") return std::optional<i64>(now);
    const bool later = text.starts_with('+');
    i64 seconds = 0;
    const char* const last = text.data() + text.size();
    const auto [end, problem] = std::from_chars(text.data() + later, last, seconds);
    constexpr i64 most = i64{1} << 60;
    if (problem != std::errc() || end != last || seconds < 0 || seconds > most)
        return error("'{}' is no time; there are: now, never, +SECONDS from now, SECONDS since 1970", text);
    return std::optional<i64>(seconds + (later ? now : 0));
}

std::string describe_viewers(machine::Machine& machine) {
    const auto* const screen = machine.remote_screen();
    if (!screen) return "None\n";
    const auto status = screen->status();
    std::string text = fmt::format("default:\n  Server: {}\n    Auth: {}\n", place_text(status.place),
                                   status.wants_password ? "vnc" : "none");
    if (status.wants_password && !status.has_password)
        text += "    No password is set: nobody is let in (set_password vnc PASSWORD)\n";
    if (status.expires)
        text += fmt::format("    The password {}\n", *status.expires <= std::time(nullptr)
                                                         ? "has expired: nobody is let in"
                                                         : fmt::format("expires {} s after 1970", *status.expires));
    for (const auto& viewer : status.viewers) {
        text += fmt::format("  Client: {}{}\n", place_text(viewer.place), viewer.watches ? "" : ", not let in yet");
        if (viewer.clipboard)
            text += fmt::format("    Clipboard: {} bytes of text, typed by Ctrl-Alt-V\n", viewer.clipboard);
        if (!viewer.last_paste.empty()) text += fmt::format("    Pasted: {}\n", viewer.last_paste);
    }
    return text;
}

std::string set_password(machine::Machine& machine, const std::string& argument) {
    const auto words = words_of(argument);
    if (words.size() < 2 || words.size() > 3) return "set_password takes a protocol and a password: vnc PASSWORD\n";
    if (auto wrong = wrong_protocol(words[0]); !wrong.empty()) return wrong;
    if (words.size() == 3 && words[2] != "keep") return "viewers that are there stay; leave it out, or say keep\n";
    const auto screen = remote_screen(machine);
    return screen ? said((*screen)->set_password(words[1])) : screen.error().message + "\n";
}

std::string change_password(machine::Machine& machine, const std::string& argument) {
    const auto words = words_of(argument);
    if (words.size() != 3 || words[1] != "password") return "give the new password: change vnc password PASSWORD\n";
    return set_password(machine, words[0] + " " + words[2]);
}

std::string expire_password(machine::Machine& machine, const std::string& argument) {
    const auto words = words_of(argument);
    if (words.size() != 2) return "expire_password takes a protocol and a time: vnc now, vnc +60, vnc never\n";
    if (auto wrong = wrong_protocol(words[0]); !wrong.empty()) return wrong;
    const auto when = parse_expiry(words[1], std::time(nullptr));
    if (!when) return when.error().message + "\n";
    const auto screen = remote_screen(machine);
    return screen ? said((*screen)->expire_password(*when)) : screen.error().message + "\n";
}

} // namespace calque::monitor
