#include "frontend/backends/vc_chardev.h"
#include "tests/backends/helpers.h"

namespace calque::backends {
namespace {

using test::bytes;
using test::Sink;

TEST(VcChardev, TellsTheReceiverThatSomebodyIsThereAndDeliversWhatIsTyped) {
    IoLoop loop;
    Sink sink;
    sink.tell_opened = true;
    VcChardev vc(loop);
    vc.set_receiver(sink.receiver());
    vc.type(bytes("ab"));
    EXPECT_TRUE(sink.wait_for("<opened>ab"));
    vc.set_receiver({});
}

TEST(VcChardev, InputWaitsForRoom) {
    IoLoop loop;
    Sink sink;
    sink.set_room(0);
    VcChardev vc(loop);
    vc.set_receiver(sink.receiver());
    vc.type(bytes("abc"));
    sink.set_room(2);
    vc.resume();
    loop.wake(); // Whether or not it had asked before there was room.
    EXPECT_TRUE(sink.wait_for("ab"));
    sink.set_room(1);
    loop.wake();
    EXPECT_TRUE(sink.wait_for("abc"));
    vc.set_receiver({});
}

TEST(VcChardev, OfTooMuchOutputTheOldestIsDropped) {
    IoLoop loop;
    VcChardev vc(loop);
    const std::string block(VcChardev::output_limit, 'x');
    vc.transmit(bytes("first"));
    vc.transmit(bytes(block));
    vc.transmit(bytes(block));
    vc.transmit(bytes("last"));
    const auto output = vc.take_output();
    EXPECT_LE(output.size(), 2 * VcChardev::output_limit);
    EXPECT_GT(vc.dropped_bytes(), 0u);
    EXPECT_EQ(std::string(output.end() - 4, output.end()), "last");
    EXPECT_TRUE(vc.take_output().empty());
}

} // namespace
} // namespace calque::backends
