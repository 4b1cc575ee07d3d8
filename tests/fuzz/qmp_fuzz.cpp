// A client of the machine protocol, over a machine that stands still. What comes out is JSON whatever goes in, and an
// answer is what the schema says.
#include "frontend/qmp/session.h"
#include "tests/machine/state_in_memory.h"

#include <array>
#include <cstdlib>

using namespace calque;

namespace {

// These write files of the host, start programs or end the machine.
constexpr std::array left_out{
    "screendump", "memsave",          "pmemsave", "human-monitor-command", "blockdev-change-medium",
    "migrate",    "migrate-incoming", "quit"};

struct Fixture : machine::testing::SmallMachine {
    qmp::Protocol protocol;
    qmp::Surroundings surroundings;
    qmp::Control control{*machine, protocol, surroundings};
};

qmp::Answer run(Fixture& fixture, const qmp::Command& command, const qmp::Arguments& arguments) {
    for (const char* name : left_out)
        if (command.name == name) return {};
    const auto answer = command.run(fixture.control, arguments);
    const auto done = answer.take();
    const auto* value = std::get_if<Json>(&done);
    const auto& schema = fixture.protocol.schema();
    if (value && !schema.check_returned(*schema.command(command.name), *value)) std::abort();
    return answer;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
    static Fixture fixture;
    std::string said;
    qmp::Session::Services services;
    services.post = [](std::function<void()> task) { fixture.machine->post(std::move(task)); };
    services.run = [](const qmp::Command& command, const qmp::Arguments& arguments) {
        return run(fixture, command, arguments);
    };
    services.room = [] { return ~std::size_t{0}; };
    services.transmit = [&](std::span<const u8> bytes) { said.append(bytes.begin(), bytes.end()); };
    services.ready = [] {};
    services.microseconds = [] { return u64{0}; };
    qmp::Session session(fixture.protocol, std::move(services));
    fixture.machine->set_observer([&](const machine::Event& event) { session.send(event); });
    session.opened();
    // A first byte that is even: the negotiation is behind us.
    constexpr std::string_view negotiation = R"({"execute": "qmp_capabilities"})";
    if (size && data[0] % 2 == 0) {
        session.receive({reinterpret_cast<const u8*>(negotiation.data()), negotiation.size()});
    }
    for (std::size_t at = 1; at < size; at += qmp::Session::read_limit) {
        if (session.room()) session.receive({data + at, std::min(size - at, qmp::Session::read_limit)});
        fixture.machine->serve_requests();
    }
    session.closed();
    fixture.machine->serve_requests();
    fixture.machine->set_observer({});
    for (std::size_t at = 0; at < said.size();) {
        const std::size_t end = said.find("\r\n", at);
        if (end == said.npos || !Json::parse(std::string_view(said).substr(at, end - at))) std::abort();
        at = end + 2;
    }
    return 0;
}
