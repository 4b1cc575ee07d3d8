// A machine's state: what comes back, and what is left of a machine that is given a bad one.
#include "tests/machine/state_in_memory.h"

#include <gtest/gtest.h>

namespace calque::machine {
namespace {

using testing::SmallMachine;

TEST(MachineState, RamAndDevicesComeBack) {
    SmallMachine from, to;
    from.ram()[0x5000] = 7;
    from.ram()[0x3F'FFFF] = 9;
    to.ram()[0x9000] = 1; // Not in the state: zero there.
    from.machine->vcpus()[0]->cpu().state.gpr[3] = 0x1234;
    from.machine->chipset().ports().write(0x70, 0x0F, 1);
    from.machine->chipset().ports().write(0x71, 0x5A, 1);
    const auto state = from.save();
    const auto restored = to.restore(state);
    ASSERT_TRUE(restored.ok()) << restored.error().message;
    EXPECT_EQ(to.ram()[0x5000], 7);
    EXPECT_EQ(to.ram()[0x3F'FFFF], 9);
    EXPECT_EQ(to.ram()[0x9000], 0);
    EXPECT_EQ(to.machine->vcpus()[0]->cpu().state.gpr[3], 0x1234u);
    EXPECT_EQ(to.devices(), from.devices());
}

TEST(MachineState, ADamagedStateLeavesTheMachineAsItIs) {
    SmallMachine from, to;
    from.ram()[0x5000] = 7;
    to.ram()[0x6000] = 8;
    const auto state = from.save();
    const auto before = to.devices();
    const auto is_refused = [&](const std::vector<u8>& bad) {
        const auto restored = to.restore(bad);
        ASSERT_FALSE(restored.ok());
        EXPECT_NE(restored.error().message.find("state"), std::string::npos) << restored.error().message;
        EXPECT_EQ(to.ram()[0x5000], 0);
        EXPECT_EQ(to.ram()[0x6000], 8);
    };
    for (std::size_t size = 0; size < state.size(); size += state.size() / 97 + 1) {
        SCOPED_TRACE(size);
        is_refused({state.begin(), state.begin() + static_cast<std::ptrdiff_t>(size)});
    }
    for (std::size_t at = 0; at < state.size(); at += state.size() / 101 + 1) {
        SCOPED_TRACE(at);
        auto flipped = state;
        flipped[at] ^= 0x10;
        is_refused(flipped);
    }
    EXPECT_EQ(to.devices(), before);
}

TEST(MachineState, AnotherMachinesStateIsRefusedByName) {
    SmallMachine from(8), to(4);
    const auto restored = to.restore(from.save());
    ASSERT_FALSE(restored.ok());
    EXPECT_NE(restored.error().message.find("start with the same -m"), std::string::npos) << restored.error().message;
}

// The state of devices passes its checksum and turns out wrong half-way: those that were loaded go back.
TEST(MachineState, DevicesThatDoNotFitAreUndone) {
    SmallMachine from, to;
    from.machine->vcpus()[0]->cpu().state.gpr[3] = 0x1234;
    to.machine->vcpus()[0]->cpu().state.gpr[3] = 0x77;
    Archive archive = Archive::saver();
    archive.section("clock", 1, [&](u32) {
        u64 now = 5;
        archive.field("now", now);
    });
    testing::MemorySink sink;
    backends::StateWriter writer(sink);
    ASSERT_TRUE(writer.begin().ok());
    ASSERT_TRUE(writer.record(backends::RecordKind::machine, from.machine->state_identity()).ok());
    ASSERT_TRUE(writer.record(backends::RecordKind::devices, backends::compress_state(archive.take())).ok());
    ASSERT_TRUE(writer.end().ok());
    const auto before = to.devices();
    EXPECT_FALSE(to.restore(sink.all).ok());
    EXPECT_EQ(to.devices(), before);
    EXPECT_EQ(to.machine->vcpus()[0]->cpu().state.gpr[3], 0x77u);
}

TEST(MachineState, DisksThatCannotChangeLeaveTheMachineAsItIs) {
    SmallMachine from, to;
    const auto state = from.save();
    to.ram()[0x6000] = 8;
    const auto before = to.devices();
    const auto open = [&]() -> Result<std::unique_ptr<backends::StateSource>> {
        return std::unique_ptr<backends::StateSource>(std::make_unique<testing::MemorySource>(state));
    };
    const auto restored = to.machine->restore(open, []() -> Result<void> { return error("the disk says no"); });
    ASSERT_FALSE(restored.ok());
    EXPECT_EQ(restored.error().message, "the disk says no");
    EXPECT_EQ(to.ram()[0x6000], 8);
    EXPECT_EQ(to.devices(), before);
}

} // namespace
} // namespace calque::machine
