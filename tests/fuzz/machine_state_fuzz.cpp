// A saved state of any bytes, offered to a machine. The first byte chooses: the bytes as they are; as records with good
// checksums; or as changes of the machine's own saved devices, with good checksums around them. What is refused leaves
// the machine as it was.
#include "frontend/backends/state/stream.h"
#include "frontend/machine/machine.h"
#include "tests/machine/state_in_memory.h"

#include <cstdlib>
#include <cstring>

using namespace calque;
using machine::testing::MemorySink;
using machine::testing::SmallMachine;

namespace {

void require(bool condition) {
    if (!condition) std::abort();
}

void good(const Result<void>& result) { require(result.ok()); }

// Each record: a byte for its kind, two for its length, its payload.
std::vector<u8> records(std::span<const u8> input, const std::vector<u8>& identity, bool identified) {
    MemorySink sink;
    backends::StateWriter writer(sink);
    good(writer.begin());
    if (identified) good(writer.record(backends::RecordKind::machine, identity));
    while (input.size() >= 3) {
        const auto kind = static_cast<backends::RecordKind>(input[0] % 6);
        const std::size_t length = std::min<std::size_t>(input[1] | input[2] << 8, input.size() - 3);
        good(writer.record(kind, input.subspan(3, length)));
        input = input.subspan(3 + length);
    }
    good(writer.end());
    return sink.all;
}

// Each change: four bytes of where, one of what.
std::vector<u8> changed_devices(std::span<const u8> input, std::vector<u8> devices, const std::vector<u8>& identity) {
    constexpr std::size_t header = 24; // Magic and checksum, FNV-1a of what follows (base/archive.cpp).
    for (; input.size() >= 5; input = input.subspan(5)) {
        u32 at;
        std::memcpy(&at, input.data(), 4);
        devices[header + at % (devices.size() - header)] = input[4];
    }
    u64 sum = 0xcbf29ce484222325;
    for (std::size_t i = header; i < devices.size(); ++i)
        sum = (sum ^ devices[i]) * 0x100000001b3;
    std::memcpy(devices.data() + header - 8, &sum, 8);
    MemorySink sink;
    backends::StateWriter writer(sink);
    good(writer.begin());
    good(writer.record(backends::RecordKind::machine, identity));
    good(writer.record(backends::RecordKind::devices, backends::compress_state(devices)));
    good(writer.end());
    return sink.all;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
    static SmallMachine fixture(2);
    static const std::vector<u8> identity = fixture.machine->state_identity(), saved = fixture.devices();
    if (size == 0) return 0;
    const std::span<const u8> input(data + 1, size - 1);
    const std::vector<u8> state = data[0] % 4 == 0   ? std::vector<u8>(input.begin(), input.end())
                                  : data[0] % 4 == 3 ? changed_devices(input, saved, identity)
                                                     : records(input, identity, data[0] % 4 == 1);
    fixture.ram()[0x1000] = 0x42;
    const auto before = fixture.devices();
    if (const auto restored = fixture.restore(state); !restored) {
        require(!restored.error().message.empty());
        require(fixture.ram()[0x1000] == 0x42);
        require(fixture.devices() == before);
    }
    return 0;
}
