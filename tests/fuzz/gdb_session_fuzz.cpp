// Whatever a debugger's socket brings: every byte goes through the packet reader and a session on a real processor,
// which runs when it is let go on.
#include "frontend/gdb/packet.h"
#include "tests/gdb/session_harness.h"

#include <cstdlib>

using namespace calque;

namespace {
constexpr unsigned most_runs = 8; // Of the guest, to keep an input short.
}

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
    using gdb::PacketReader;
    gdb::testing::Debugged debugged;
    // Loops over a counter in memory: something to stop at and to watch.
    const std::array<u8, 8> program{0x48, 0xFF, 0x07, 0x48, 0xFF, 0xC0, 0xEB, 0xF8}; // INC [RDI]; INC RAX; JMP
    debugged.guest.memory.write(PhysicalAddress(cpu::testing::code_base), program);
    debugged.guest.state().gpr[cpu::rdi] = cpu::testing::data_base;
    PacketReader reader;
    for (std::size_t at = 0; at < size && debugged.resumed < most_runs; ++at) {
        switch (reader.take(data[at])) {
        case PacketReader::Event::packet: debugged.session.take(reader.packet()); break;
        case PacketReader::Event::interrupt: debugged.session.interrupt(); break;
        case PacketReader::Event::refused: debugged.session.send_again(); break;
        default: break;
        }
        if (debugged.commands.size() != 0) debugged.session.command_done(debugged.commands.back());
        debugged.commands.clear();
        debugged.run();
    }
    debugged.session.leave();
    // All that was sent are whole packets.
    for (std::size_t at = 0; at < debugged.sent.size();) {
        const std::size_t end = debugged.sent.find('#', at);
        if (debugged.sent[at] != '$' || end == std::string::npos || end + 3 > debugged.sent.size()) std::abort();
        at = end + 3;
    }
    return 0;
}
