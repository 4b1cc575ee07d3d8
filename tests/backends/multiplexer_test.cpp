#include "frontend/backends/multiplexer.h"
#include "tests/backends/helpers.h"

#include <atomic>

namespace calque::backends {
namespace {

using test::bytes;
using test::Sink;

// A terminal that the test types at, on the test's own thread.
class FakeTerminal final : public Chardev {
  public:
    explicit FakeTerminal(bool interactive) : interactive_(interactive) {}
    void transmit(std::span<const u8> data) override {
        std::lock_guard lock(mutex_);
        shown_.append(data.begin(), data.end());
    }
    void set_receiver(Receiver receiver) override {
        std::lock_guard lock(mutex_);
        receiver_ = std::move(receiver);
    }
    void resume() override { ++resumed; }
    bool interactive() const override { return interactive_; }

    std::size_t room() { return receiver_.room(); }
    void type(std::string_view text) { receiver_.deliver(bytes(text)); }
    std::string shown() {
        std::lock_guard lock(mutex_);
        return std::exchange(shown_, {});
    }
    std::atomic<unsigned> resumed{0};

  private:
    bool interactive_;
    std::mutex mutex_;
    Receiver receiver_;
    std::string shown_;
};

class MultiplexerTest : public testing::Test {
  protected:
    explicit MultiplexerTest(bool interactive = true) {
        auto owned = std::make_unique<FakeTerminal>(interactive);
        terminal = owned.get();
        mux = std::make_unique<Multiplexer>(loop, std::move(owned),
                                            Multiplexer::Commands{[this] { ++quits; }, [this] { ++saves; },
                                                                  [this](bool monitor) { in_monitor = monitor; },
                                                                  [] { return u64{12'345}; }});
        serial = &mux->add_channel(false);
        monitor = &mux->add_channel(true);
        serial->set_receiver(serial_sink.receiver());
        monitor->set_receiver(monitor_sink.receiver());
    }
    ~MultiplexerTest() override {
        serial->set_receiver({});
        monitor->set_receiver({});
    }
    IoLoop loop;
    FakeTerminal* terminal = nullptr;
    int quits = 0, saves = 0;
    bool in_monitor = false;
    Sink serial_sink, monitor_sink;
    std::unique_ptr<Multiplexer> mux;
    devices::CharBackend* serial = nullptr;
    devices::CharBackend* monitor = nullptr;
};

class PipedMultiplexerTest : public MultiplexerTest {
  protected:
    PipedMultiplexerTest() : MultiplexerTest(false) {}
};

TEST_F(MultiplexerTest, InputGoesToTheUserInFocus) {
    terminal->type("ls\r");
    EXPECT_TRUE(serial_sink.wait_for("ls\r"));
    terminal->type("\x01"
                   "cinfo\r");
    EXPECT_TRUE(in_monitor);
    EXPECT_TRUE(monitor_sink.wait_for("info\r"));
    terminal->type("\x01"
                   "cx");
    EXPECT_FALSE(in_monitor);
    EXPECT_TRUE(serial_sink.wait_for("ls\rx"));
}

TEST_F(MultiplexerTest, OutputOfEveryUserIsShown) {
    serial->transmit(bytes("guest "));
    monitor->transmit(bytes("monitor"));
    EXPECT_EQ(terminal->shown(), "guest monitor");
}

TEST_F(MultiplexerTest, PrefixCommands) {
    terminal->type("\x01");
    EXPECT_EQ(quits, 0);
    terminal->type("x");
    EXPECT_EQ(quits, 1);
    terminal->type("\x01s");
    EXPECT_EQ(saves, 1);
    terminal->type("\x01"
                   "b");
    EXPECT_TRUE(serial_sink.wait_for("<break>"));
    terminal->type("\x01\x01");
    EXPECT_TRUE(serial_sink.wait_for("<break>\x01"));
    terminal->shown();
    terminal->type("\x01h");
    EXPECT_NE(terminal->shown().find("Ctrl-A x"), std::string::npos);
    terminal->type("\x01qy");
    EXPECT_TRUE(serial_sink.wait_for("<break>\x01y")) << "an unknown key is swallowed";
}

TEST_F(MultiplexerTest, TimestampsStandAtTheStartOfLines) {
    terminal->type("\x01t");
    serial->transmit(bytes("a\nb"));
    serial->transmit(bytes("c\n"));
    EXPECT_EQ(terminal->shown(), "[   12.345] a\n[   12.345] bc\n");
    terminal->type("\x01t");
    serial->transmit(bytes("d"));
    EXPECT_EQ(terminal->shown(), "d");
}

// A guest that hangs must not keep Ctrl-A x from being seen.
TEST_F(MultiplexerTest, PrefixIsSeenWhenTheGuestTakesNothing) {
    serial_sink.set_room(0);
    terminal->type(std::string(10'000, 'k'));
    EXPECT_GE(terminal->room(), 1u);
    terminal->type("\x01x");
    EXPECT_EQ(quits, 1);
}

// What was typed between the terminal's start and the first serial port's was read and thrown away.
TEST(MultiplexerStart, NothingIsReadBeforeThereIsAUser) {
    IoLoop loop;
    auto owned = std::make_unique<FakeTerminal>(true);
    FakeTerminal& terminal = *owned;
    Multiplexer mux(loop, std::move(owned), {});
    EXPECT_EQ(terminal.room(), 0u);
    Sink sink;
    devices::CharBackend& serial = mux.add_channel(false);
    EXPECT_GT(terminal.room(), 0u);
    terminal.type("two");
    serial.set_receiver(sink.receiver());
    EXPECT_TRUE(sink.wait_for("two"));
    serial.set_receiver({});
}

TEST_F(PipedMultiplexerTest, APipeIsHeldBackInsteadOfLosingInput) {
    serial_sink.set_room(0);
    const std::size_t room = terminal->room();
    terminal->type(std::string(room, 'k'));
    EXPECT_EQ(terminal->room(), 0u);
    serial_sink.set_room(room);
    serial->resume();
    EXPECT_TRUE(serial_sink.wait_for(std::string(room, 'k')));
    EXPECT_EQ(terminal->room(), room);
}

} // namespace
} // namespace calque::backends
