#include "frontend/monitor/human_monitor.h"

#include <algorithm>

namespace calque::monitor {

namespace {
constexpr std::size_t longest_line = 4096;
constexpr std::size_t longest_history = 100;
} // namespace

HumanMonitor::HumanMonitor(machine::Machine& machine, devices::CharBackend& backend)
    : backend_(backend), commands_(machine, {[this](std::string_view text) { print(text); }, [this] { prompt(); }}) {
    backend_.set_receiver({[] { return std::size_t{256}; },
                           [this](std::span<const u8> bytes) { receive(bytes); },
                           {},
                           [this] { welcome(); }});
}

HumanMonitor::~HumanMonitor() { backend_.set_receiver({}); }

void HumanMonitor::greet() {
    if (greeted_.exchange(true))
        print("\n");
    else
        print("Calque 0.1.0 monitor - type 'help' for more information\n");
    prompt();
}

// Somebody new has come: nothing is left of whoever was there before.
void HumanMonitor::welcome() {
    line_.clear();
    escape_ = 0;
    greeted_ = false;
    greet();
}

void HumanMonitor::print(std::string_view text) {
    std::string out;
    for (char c : text) {
        if (c == '\n') out += '\r';
        out += c;
    }
    std::lock_guard lock(output_);
    backend_.transmit({reinterpret_cast<const u8*>(out.data()), out.size()});
}

void HumanMonitor::receive(std::span<const u8> bytes) {
    for (u8 byte : bytes)
        key(byte);
}

void HumanMonitor::replace_line(std::string text) {
    print(fmt::format("\r\x1b[K(calque) {}", text));
    line_ = std::move(text);
}

// As far as all commands that begin so agree; when they do not agree on more, they are shown.
void HumanMonitor::complete() {
    const std::vector<std::string> found = Commands::completions(line_);
    if (found.empty()) return;
    std::string common = found.front();
    for (const std::string& command : found)
        common.erase(std::mismatch(common.begin(), common.end(), command.begin(), command.end()).first, common.end());
    if (found.size() == 1) common += ' ';
    if (common.size() > line_.size()) return replace_line(common);
    std::string list = "\n";
    for (const std::string& command : found)
        list += command + "\n";
    print(list);
    replace_line(line_);
}

// Line editing as people expect it of a prompt: backspace, Ctrl-U, Tab to complete, and the arrows for history.
void HumanMonitor::key(u8 c) {
    if (escape_ == 1) {
        escape_ = c == '[' ? 2 : 0;
        return;
    }
    if (escape_ == 2) {
        escape_ = 0;
        if (c == 'A' && history_at_ > 0) replace_line(history_[--history_at_]);
        if (c == 'B' && history_at_ < history_.size())
            replace_line(++history_at_ < history_.size() ? history_[history_at_] : std::string());
        return;
    }
    switch (c) {
    case 0x1B: escape_ = 1; return;
    case '\t': return complete();
    case 0x7F:
    case 0x08:
        if (line_.empty()) return;
        line_.pop_back();
        return print("\b \b");
    case 0x15: return replace_line({});
    case '\r':
    case '\n': {
        print("\n");
        const std::string line = std::move(line_);
        line_.clear();
        if (!line.empty()) history_.push_back(line);
        if (history_.size() > longest_history) history_.erase(history_.begin());
        history_at_ = history_.size();
        return commands_.execute(line);
    }
    default:
        if (c < 0x20 || line_.size() >= longest_line) return;
        line_ += static_cast<char>(c);
        print(std::string_view(reinterpret_cast<const char*>(&c), 1));
    }
}

} // namespace calque::monitor
