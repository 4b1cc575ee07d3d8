// Somebody at the human monitor, over a machine that stands still. The first byte chooses: keys, which edit a line and
// complete it; or lines, which are executed.
#include "frontend/monitor/human_monitor.h"
#include "tests/machine/state_in_memory.h"

#include <algorithm>
#include <array>
#include <cstdlib>

using namespace calque;

namespace {

// These write or open files of the host, start programs or end the machine.
constexpr std::array<std::string_view, 16> left_out{
    "screendump", "memsave", "pmemsave",  "logfile",   "migrate", "migrate_",   "change",    "savevm",
    "loadvm",     "delvm",   "drive_add", "drive_del", "commit",  "netdev_add", "savestate", "quit"};

class Terminal final : public devices::CharBackend {
  public:
    void transmit(std::span<const u8> bytes) override { said += bytes.size(); }
    void set_receiver(Receiver receiver) override { receiver_ = std::move(receiver); }
    void resume() override {}
    void type(std::span<const u8> bytes) { receiver_.deliver(bytes); }
    std::size_t said = 0;

  private:
    Receiver receiver_;
};

struct Fixture : machine::testing::SmallMachine {
    // Some commands are done only later: what they left is done with the next input.
    monitor::Commands commands{*machine, {[](std::string_view) {}, [] {}}};
};

bool harmless(std::string_view line) {
    const std::size_t from = std::min(line.find_first_not_of(" \t"), line.size());
    line = line.substr(from);
    const std::string_view word = line.substr(0, line.find_first_of(" \t"));
    return word != "q" && std::none_of(left_out.begin(), left_out.end(), [&](std::string_view other) {
               return word.starts_with(other) || (!word.empty() && other.starts_with(word));
           });
}

void keys(Fixture& fixture, std::vector<u8> bytes) {
    std::erase_if(bytes, [](u8 byte) { return byte == '\r' || byte == '\n'; });
    Terminal terminal;
    monitor::HumanMonitor monitor(*fixture.machine, terminal);
    monitor.greet();
    terminal.type(bytes);
    if (terminal.said == 0) std::abort();
}

// False: the machine has ended.
bool lines(Fixture& fixture, std::string_view text) {
    while (!text.empty()) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        const std::string line(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
        if (!harmless(line)) continue;
        fixture.commands.execute(line);
        if (fixture.machine->serve_requests()) return false;
    }
    return true;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
    static auto fixture = std::make_unique<Fixture>();
    if (size == 0) return 0;
    if (data[0] % 2 == 0)
        keys(*fixture, {data + 1, data + size});
    else if (!lines(*fixture, {reinterpret_cast<const char*>(data + 1), size - 1}))
        fixture = std::make_unique<Fixture>();
    return 0;
}
