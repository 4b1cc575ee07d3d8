#include "frontend/backends/chardev.h"
#include "frontend/backends/stream_chardev.h"
#include "tests/backends/helpers.h"

#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

namespace calque::backends {
namespace {

using test::bytes;
using test::Sink;

class ChardevTest : public testing::Test {
  protected:
    ChardevTest() {
        char name[] = "/tmp/calque-chardev-XXXXXX";
        directory = ::mkdtemp(name);
    }
    ~ChardevTest() override { std::filesystem::remove_all(directory); }
    std::unique_ptr<Chardev> open(const std::string& text) {
        auto options = parse_short_chardev(text);
        EXPECT_TRUE(options.ok()) << options.error().message;
        auto opened = open_chardev(loop, log, *options);
        EXPECT_TRUE(opened.ok()) << opened.error().message;
        return std::move(*opened);
    }
    std::string contents(const std::string& path) {
        std::ifstream in(path);
        return {std::istreambuf_iterator<char>(in), {}};
    }
    int connect_to(const std::string& path) {
        const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        path.copy(address.sun_path, sizeof address.sun_path - 1);
        EXPECT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
        return fd;
    }

    std::string directory;
    Log log;
    IoLoop loop;
};

TEST_F(ChardevTest, FileTakesAllOutputBeforeItCloses) {
    std::string expected;
    {
        auto file = open("file:" + directory + "/out");
        for (int i = 0; i < 5000; ++i) {
            const std::string line = "line " + std::to_string(i) + "\n";
            file->transmit(bytes(line));
            expected += line;
        }
    }
    EXPECT_EQ(contents(directory + "/out"), expected);
}

TEST_F(ChardevTest, FileIsTruncatedUnlessAppended) {
    open("file:" + directory + "/out")->transmit(bytes("one"));
    open("file:" + directory + "/out")->transmit(bytes("two"));
    EXPECT_EQ(contents(directory + "/out"), "two");
    ChardevOptions options;
    options.kind = ChardevOptions::Kind::file;
    options.path = directory + "/out";
    options.append = true;
    (*open_chardev(loop, log, options))->transmit(bytes("three"));
    EXPECT_EQ(contents(directory + "/out"), "twothree");
}

TEST_F(ChardevTest, AFileThatCannotBeWrittenIsAnError) {
    const auto opened = open_chardev(loop, log, *parse_short_chardev("file:" + directory + "/no/such"));
    ASSERT_FALSE(opened.ok());
    EXPECT_NE(opened.error().message.find("/no/such"), std::string::npos);
}

TEST_F(ChardevTest, NullTakesEverything) { open("null")->transmit(bytes("gone")); }

TEST_F(ChardevTest, PtyCarriesBothWays) {
    auto pty = open("pty");
    Sink sink;
    pty->set_receiver(sink.receiver());
    const int fd = ::open(pty->address().c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC);
    ASSERT_GE(fd, 0) << pty->address();
    pty->transmit(bytes("login: \r\n"));
    EXPECT_EQ(test::read_bytes(fd, 9), "login: \r\n");
    ASSERT_EQ(::write(fd, "root\r\x03", 6), 6);
    EXPECT_TRUE(sink.wait_for("root\r\x03")) << "raw: nothing translated, no signals";
    ::close(fd);
    pty->transmit(bytes("again"));
    const int second = ::open(pty->address().c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC);
    EXPECT_EQ(test::read_bytes(second, 5), "again") << "it can be opened again";
    ::close(second);
    pty->set_receiver({});
}

TEST_F(ChardevTest, SocketServerTakesOneClientAfterAnother) {
    const std::string path = directory + "/socket";
    auto server = open("unix:" + path + ",server,nowait");
    Sink sink;
    server->set_receiver(sink.receiver());
    server->transmit(bytes("nobody hears this"));
    for (const std::string text : {"first", "firstsecond"}) {
        const int client = connect_to(path);
        const std::string part = text == "first" ? "first" : "second";
        ASSERT_EQ(::write(client, part.data(), part.size()), static_cast<ssize_t>(part.size()));
        EXPECT_TRUE(sink.wait_for(text));
        server->transmit(bytes("ack"));
        EXPECT_EQ(test::read_bytes(client, 3), "ack");
        ::close(client);
    }
    server.reset();
    EXPECT_FALSE(std::filesystem::exists(path)) << "the socket is removed";
}

// A monitor that greeted at its start greeted nobody, or answered the first command before it greeted.
TEST_F(ChardevTest, EachClientIsAnnouncedBeforeItsInput) {
    const std::string path = directory + "/socket";
    auto server = open("unix:" + path + ",server,nowait");
    const int first = connect_to(path);
    ASSERT_EQ(::write(first, "one", 3), 3);
    Sink sink;
    sink.tell_opened = true;
    server->set_receiver(sink.receiver());
    EXPECT_TRUE(sink.wait_for("<opened>one"));
    ::close(first);
    const int second = connect_to(path);
    ASSERT_EQ(::write(second, "two", 3), 3);
    EXPECT_TRUE(sink.wait_for("<opened>one<opened>two"));
    ::close(second);
    server.reset();
}

TEST_F(ChardevTest, SocketServerTakesOverAnAbandonedSocketButNoFile) {
    const std::string path = directory + "/socket";
    { std::ofstream(path) << "precious"; }
    const auto refused = open_chardev(loop, log, *parse_short_chardev("unix:" + path + ",server,nowait"));
    EXPECT_FALSE(refused.ok());
    EXPECT_EQ(contents(path), "precious");
    std::filesystem::remove(path);
    const int abandoned = ::socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    ASSERT_EQ(::bind(abandoned, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    ::close(abandoned);
    auto server = open("unix:" + path + ",server,nowait");
    ::close(connect_to(path));
}

TEST_F(ChardevTest, SocketClientNeedsAServer) {
    const auto opened = open_chardev(loop, log, *parse_short_chardev("unix:" + directory + "/none"));
    ASSERT_FALSE(opened.ok());
    const auto too_long = open_chardev(loop, log, *parse_short_chardev("unix:/" + std::string(200, 'x')));
    ASSERT_FALSE(too_long.ok());
}

// What a listener on this host's own address has for a port.
std::pair<int, u16> listen_on_loopback() {
    const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    EXPECT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(::listen(fd, 1), 0);
    ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
    return {fd, ntohs(address.sin_port)};
}

TEST_F(ChardevTest, TcpConnectsAndCarriesBothWays) {
    const auto [listener, port] = listen_on_loopback();
    auto client = open("tcp:localhost:" + std::to_string(port));
    Sink sink;
    client->set_receiver(sink.receiver());
    const int peer = ::accept(listener, nullptr, nullptr);
    ASSERT_EQ(::write(peer, "hello", 5), 5);
    EXPECT_TRUE(sink.wait_for("hello"));
    client->transmit(bytes("answer"));
    EXPECT_EQ(test::read_bytes(peer, 6), "answer");
    client.reset();
    ::close(peer);
    ::close(listener);
}

TEST_F(ChardevTest, ASocketThatTheProcessWasGivenListens) {
    const auto [listener, port] = listen_on_loopback();
    ChardevOptions options;
    options.kind = ChardevOptions::Kind::socket;
    options.descriptor = listener;
    EXPECT_FALSE(open_chardev(loop, log, options).ok()) << "it listens, and server=on is missing";
    options.server = true;
    options.wait = false;
    auto server = open_chardev(loop, log, options);
    ASSERT_TRUE(server.ok()) << server.error().message;
    Sink sink;
    (*server)->set_receiver(sink.receiver());
    auto client = open("tcp::" + std::to_string(port));
    client->transmit(bytes("through"));
    EXPECT_TRUE(sink.wait_for("through"));
    client.reset();
    (*server)->set_receiver({});
    options.descriptor = 9999;
    EXPECT_FALSE(open_chardev(loop, log, options).ok());
}

// Over pipes, as with stdin and stdout redirected.
class PipeChardevTest : public testing::Test {
  protected:
    PipeChardevTest() {
        EXPECT_EQ(::pipe2(input, O_CLOEXEC), 0);
        EXPECT_EQ(::pipe2(output, O_CLOEXEC), 0);
        stream.connect(UniqueFd(input[0]), UniqueFd(output[1]));
        stream.start();
        stream.set_receiver(sink.receiver());
    }
    ~PipeChardevTest() override {
        stream.set_receiver({});
        if (input[1] >= 0) ::close(input[1]);
        if (output[0] >= 0) ::close(output[0]);
    }
    int input[2], output[2];
    Log log;
    IoLoop loop;
    Sink sink;
    StreamChardev stream{loop, log, "pipes", 1 << 20};
};

TEST_F(PipeChardevTest, InputWaitsForRoom) {
    sink.set_room(3);
    ASSERT_EQ(::write(input[1], "abcdef", 6), 6);
    EXPECT_TRUE(sink.wait_for("abc"));
    sink.set_room(2);
    stream.resume();
    EXPECT_TRUE(sink.wait_for("abcde"));
    sink.set_room(9);
    stream.resume();
    EXPECT_TRUE(sink.wait_for("abcdef"));
}

TEST_F(PipeChardevTest, TheEndOfInputLeavesTheOutputWorking) {
    ::close(std::exchange(input[1], -1));
    stream.transmit(bytes("still here"));
    EXPECT_EQ(test::read_bytes(output[0], 10), "still here");
}

TEST_F(PipeChardevTest, AReaderThatLeavesEndsTheOutputOnly) {
    std::signal(SIGPIPE, SIG_IGN); // As the program does: what is left is written by this thread at the end.

    ::close(std::exchange(output[0], -1));
    stream.transmit(bytes("into the void")); // SIGPIPE would end the process here.
    ASSERT_EQ(::write(input[1], "x", 1), 1);
    EXPECT_TRUE(sink.wait_for("x"));
    stream.transmit(bytes("more"));
}

TEST_F(PipeChardevTest, ASlowReaderDoesNotBlockAndLosesTheNewest) {
    const std::string block(1 << 16, 'x');
    for (int i = 0; i < 40; ++i)
        stream.transmit(bytes(block));
    EXPECT_GT(stream.dropped_bytes(), 0u);
    const std::size_t kept = 40 * block.size() - stream.dropped_bytes();
    EXPECT_EQ(test::read_bytes(output[0], kept).size(), kept);
}

TEST(IoLoopTest, IdlesWithoutSources) {
    IoLoop loop;
    loop.wake();
}

} // namespace
} // namespace calque::backends
