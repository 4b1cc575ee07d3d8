#include "base/byte_order.h"
#include "frontend/backends/net/open.h"
#include "frontend/backends/net/segment_merger.h"
#include "frontend/backends/net/tcp_connections.h"
#include "frontend/backends/unique_fd.h"
#include "tests/devices/net_test_support.h"

#include <condition_variable>
#include <cstdlib>
#include <fstream>
#include <gtest/gtest.h>
#include <iterator>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace calque::backends {
namespace {

using devices::FrameOffload;
using devices::test::frame_to;
using devices::test::sound;
using devices::test::tcp_frame;

// --- Options

TEST(NetOptions, HostForwards) {
    const auto full = parse_host_forward("udp:127.0.0.1:2222-10.0.2.16:22");
    ASSERT_TRUE(full.ok());
    EXPECT_TRUE(full->udp);
    EXPECT_EQ(full->host_address, "127.0.0.1");
    EXPECT_EQ(full->host_port, 2222);
    EXPECT_EQ(full->guest_address, "10.0.2.16");
    EXPECT_EQ(full->guest_port, 22);
    EXPECT_TRUE(parse_host_forward("tcp::2222-:22").ok());
    EXPECT_TRUE(parse_host_forward("::2222-:22").ok());
    EXPECT_TRUE(parse_host_forward("tcp::2222", false).ok());
    for (const char* wrong : {"", "tcp", "icmp::1-:2", "tcp::2222", "tcp::0-:22", "tcp::99999-:22", "tcp:host:1-:2",
                              "tcp::22-", "tcp:-:22", "tcp::1-:2-:3"})
        EXPECT_FALSE(parse_host_forward(wrong).ok()) << wrong;
}

TEST(NetOptions, WhatIsNotThereIsRefusedByName) {
    const auto refused = [](std::string_view kind, std::string key, std::string value) {
        const auto parsed = parse_net(kind, {{key, value}});
        return parsed ? std::string() : parsed.error().message;
    };
    EXPECT_NE(refused("user", "guestfwd", "tcp:10.0.2.100:80-cmd:x").find("guestfwd"), std::string::npos);
    EXPECT_NE(refused("user", "colour", "red").find("colour"), std::string::npos);
    EXPECT_NE(refused("user", "dns", "one").find("one"), std::string::npos);
    EXPECT_NE(refused("socket", "mcast", "230.0.0.1:1234").find("mcast"), std::string::npos);
    EXPECT_NE(refused("tap", "script", "/etc/qemu-ifup").find("script"), std::string::npos);
    EXPECT_NE(refused("vde", "id", "x").find("vde"), std::string::npos);
    EXPECT_FALSE(parse_net("socket", {}).ok());
    EXPECT_FALSE(parse_net("socket", {{"listen", ":1"}, {"connect", "127.0.0.1:2"}}).ok());
}

TEST(NetOptions, AddressesLieInTheNetwork) {
    Log log;
    NetOptions options;
    options.id = "n";
    options.dns = "192.168.1.1";
    EXPECT_FALSE(open_net(log, options).ok());
    options.dns = "10.0.2.9";
    EXPECT_TRUE(open_net(log, options).ok());
    options.network = "10.0.2.0/40";
    EXPECT_FALSE(open_net(log, options).ok());
}

// --- Merging segments

struct Merged {
    std::vector<u8> frame;
    FrameOffload offload;
};

class SegmentMergerTest : public testing::Test {
  protected:
    std::vector<Merged> out;
    SegmentMerger merger{[this](std::span<const u8> frame, const FrameOffload& offload) {
        out.push_back({{frame.begin(), frame.end()}, offload});
    }};
};

TEST_F(SegmentMergerTest, SegmentsThatFollowEachOtherBecomeOne) {
    for (u32 i = 0; i < 5; ++i)
        merger.add(tcp_frame(1000 + 1460 * i, 1460), true);
    EXPECT_TRUE(out.empty());
    merger.add(tcp_frame(1000 + 1460 * 5, 100, 0x18), true); // Shorter, and to be passed on: the last.
    ASSERT_EQ(out.size(), 1u);
    EXPECT_EQ(out[0].offload.segments, FrameOffload::Segments::tcp4);
    EXPECT_EQ(out[0].offload.segment_size, 1460);
    EXPECT_TRUE(out[0].offload.needs_checksum);
    std::vector<u8> whole = out[0].frame;
    EXPECT_TRUE(devices::complete_checksum(whole, out[0].offload));
    EXPECT_EQ(whole, tcp_frame(1000, 1460 * 5 + 100, 0x18));
}

TEST_F(SegmentMergerTest, GapsFlagsAndOthersEndIt) {
    merger.add(tcp_frame(1000, 100), true);
    merger.add(tcp_frame(1101, 100), true);       // A byte is missing.
    merger.add(tcp_frame(1201, 100, 0x11), true); // FIN.
    merger.add(frame_to({}), true);
    ASSERT_EQ(out.size(), 4u);
    for (std::size_t i = 0; i < 3; ++i) {
        EXPECT_EQ(out[i].offload.segments, FrameOffload::Segments::none);
        EXPECT_TRUE(sound(out[i].frame));
    }
}

TEST_F(SegmentMergerTest, NothingIsMergedForACardThatDoesNotTakeIt) {
    merger.add(tcp_frame(1000, 100), false);
    merger.add(tcp_frame(1100, 100), false);
    EXPECT_EQ(out.size(), 2u);
}

TEST_F(SegmentMergerTest, ASegmentIsNeverLongerThanAPacketCanBe) {
    for (u32 i = 0; i < 100; ++i)
        merger.add(tcp_frame(1460 * i, 1460), true);
    merger.flush();
    for (const Merged& merged : out)
        EXPECT_LE(merged.frame.size(), 65535u);
    EXPECT_EQ(out.size(), 3u);
}

// --- Connections

// The other direction of a frame.
std::vector<u8> answer_to(std::vector<u8> frame) {
    std::swap_ranges(frame.begin(), frame.begin() + 6, frame.begin() + 6);
    std::swap_ranges(frame.begin() + 26, frame.begin() + 30, frame.begin() + 30);
    std::swap_ranges(frame.begin() + 34, frame.begin() + 36, frame.begin() + 36);
    devices::finish_tcp(frame, *devices::find_tcp(frame));
    return frame;
}
constexpr u8 fin = 0x11, syn = 2, rst = 4, ack = 0x10;

// A guest that only waited for data waited for ever when its saved state was loaded.
TEST(TcpConnections, WhatIsOpenIsReset) {
    TcpConnections connections;
    std::vector<u8> frame = tcp_frame(1000, 100, ack);
    store_big(frame, 42, 0x1234'5678, 4); // What the guest has got.
    connections.from_guest(frame);
    const auto resets = TcpConnections::resets_of(connections.save());
    ASSERT_EQ(resets.size(), 1u);
    std::vector<u8> expected = answer_to(tcp_frame(0x1234'5678, 0, rst));
    expected[48] = frame[48];
    EXPECT_TRUE(sound(resets[0]));
    EXPECT_EQ(big32(resets[0], 38), 0x1234'5678u);
    EXPECT_EQ(resets[0][47], rst);
    for (const auto& [at, size] : {std::pair{0, 12}, {26, 12}}) // MAC and IP addresses, ports.
        EXPECT_TRUE(std::equal(expected.begin() + at, expected.begin() + at + size, resets[0].begin() + at));
}

TEST(TcpConnections, WhatHasEndedIsNot) {
    TcpConnections connections;
    connections.from_guest(tcp_frame(1000, 0, ack));
    connections.to_guest(answer_to(tcp_frame(1, 0, fin)));
    EXPECT_FALSE(connections.save().empty()) << "half of it is open";
    connections.from_guest(tcp_frame(1000, 0, fin));
    EXPECT_TRUE(connections.save().empty());
    connections.from_guest(tcp_frame(1001, 0, ack)); // The last acknowledgement opens nothing.
    EXPECT_TRUE(connections.save().empty());
    connections.from_guest(tcp_frame(1, 0, syn)); // The same addresses again.
    connections.from_guest(tcp_frame(2, 0, ack));
    EXPECT_FALSE(connections.save().empty());
    connections.to_guest(answer_to(tcp_frame(1, 0, rst)));
    EXPECT_EQ(connections.count(), 0u);
    connections.from_guest(frame_to({}));
    connections.from_guest({});
    EXPECT_EQ(connections.count(), 0u);
}

TEST(TcpConnections, AreNotKeptForEver) {
    TcpConnections connections;
    for (unsigned i = 0; i < TcpConnections::most + 10; ++i) {
        std::vector<u8> frame = tcp_frame(i, 0, ack);
        store_big(frame, 34, i, 2);
        connections.from_guest(frame);
    }
    EXPECT_EQ(connections.count(), TcpConnections::most);
    const auto resets = TcpConnections::resets_of(connections.save());
    ASSERT_EQ(resets.size(), TcpConnections::most);
    EXPECT_EQ(big16(resets[0], 36), 10) << "those that were silent longest are gone";
}

TEST(TcpConnections, SavedOnesThatAreDamagedEndIt) {
    TcpConnections connections;
    connections.from_guest(tcp_frame(1000, 0, ack));
    std::vector<u8> saved = connections.save();
    const std::size_t one = saved.size();
    saved.insert(saved.end(), saved.begin(), saved.end());
    EXPECT_EQ(TcpConnections::resets_of(saved).size(), 2u);
    EXPECT_EQ(TcpConnections::resets_of(std::span(saved).first(2 * one - 1)).size(), 1u);
    saved[one + 12] = 0x77;
    EXPECT_EQ(TcpConnections::resets_of(saved).size(), 1u);
    EXPECT_TRUE(TcpConnections::resets_of({}).empty());
}

// --- Networks with cards at their ends

class Card final : public devices::NetClient {
  public:
    explicit Card(NetPort& port) : port_(port), task_(port.worker().make_task([this] { send_all(); })) {
        port_.set_client(this);
    }
    ~Card() override { port_.set_client(nullptr); }
    void set_link(bool) override {}
    bool receive(std::span<const u8> frame, const FrameOffload&) override {
        std::lock_guard lock(mutex_);
        if (room_ == 0) return false;
        --room_;
        frames_.emplace_back(frame.begin(), frame.end());
        changed_.notify_all();
        return true;
    }
    void send(std::vector<u8> frame, FrameOffload offload = {}) {
        {
            std::lock_guard lock(mutex_);
            to_send_.push_back({std::move(frame), offload});
        }
        task_->schedule();
    }
    void set_room(unsigned room) {
        {
            std::lock_guard lock(mutex_);
            room_ = room;
        }
        port_.resume();
    }
    std::vector<std::vector<u8>> wait_for(std::size_t count) {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return frames_.size() >= count; });
        return frames_;
    }

  private:
    void send_all() {
        std::vector<Merged> batch;
        {
            std::lock_guard lock(mutex_);
            batch.swap(to_send_);
        }
        for (const Merged& item : batch)
            port_.send(item.frame, item.offload);
    }

    NetPort& port_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<std::vector<u8>> frames_;
    std::vector<Merged> to_send_;
    unsigned room_ = 1000;
    std::unique_ptr<devices::Task> task_;
};

u16 free_port() {
    const UniqueFd fd(::socket(AF_INET, SOCK_STREAM, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    socklen_t size = sizeof address;
    ::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), size);
    ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size);
    return ntohs(address.sin_port);
}

std::unique_ptr<NetPort> open(Log& log, std::string_view kind, std::vector<std::pair<std::string, std::string>> keys) {
    auto options = parse_net(kind, keys);
    EXPECT_TRUE(options.ok()) << options.error().message;
    auto port = open_net(log, *options);
    EXPECT_TRUE(port.ok()) << port.error().message;
    return std::move(*port);
}

TEST(NetPorts, TwoJoinedByTcp) {
    Log log;
    const std::string where = fmt::format("127.0.0.1:{}", free_port());
    const auto first = open(log, "socket", {{"listen", where}}), second = open(log, "socket", {{"connect", where}});
    Card a(*first), b(*second);
    std::vector<std::vector<u8>> frames;
    for (std::size_t i = 0; i < 200; ++i) {
        frames.push_back(frame_to({2, 0, 0, 0, 0, static_cast<u8>(i)}, 60 + 7 * i));
        b.send(frames.back());
    }
    EXPECT_EQ(a.wait_for(frames.size()), frames);
    a.send(frames[0]);
    EXPECT_EQ(b.wait_for(1)[0], frames[0]);
}

TEST(NetPorts, WhatIsLeftToDoIsDoneBeforeTheCable) {
    Log log;
    const std::string where = fmt::format("127.0.0.1:{}", free_port());
    const auto first = open(log, "socket", {{"listen", where}}), second = open(log, "socket", {{"connect", where}});
    Card a(*first), b(*second);
    FrameOffload offload;
    offload.segments = FrameOffload::Segments::tcp4;
    offload.segment_size = 1000;
    b.send(tcp_frame(7, 2500), offload);
    const auto frames = a.wait_for(3);
    EXPECT_EQ(frames[2].size(), 554u);
    for (const auto& frame : frames)
        EXPECT_TRUE(sound(frame));
}

TEST(NetPorts, TwoJoinedByUdp) {
    Log log;
    const std::string one = fmt::format("127.0.0.1:{}", free_port()), two = fmt::format("127.0.0.1:{}", free_port());
    const auto first = open(log, "socket", {{"udp", two}, {"localaddr", one}});
    const auto second = open(log, "socket", {{"udp", one}, {"localaddr", two}});
    Card a(*first), b(*second);
    const auto frame = frame_to({2, 0, 0, 0, 0, 1}, 500);
    a.send(frame);
    EXPECT_EQ(b.wait_for(1)[0], frame);
}

TEST(NetPorts, FramesWaitForACardWithoutRoom) {
    Log log;
    const std::string where = fmt::format("127.0.0.1:{}", free_port());
    const auto first = open(log, "socket", {{"listen", where}}), second = open(log, "socket", {{"connect", where}});
    Card a(*first), b(*second);
    a.set_room(1);
    for (u8 i = 0; i < 100; ++i)
        b.send(frame_to({2, 0, 0, 0, 0, i}));
    a.wait_for(1);
    a.set_room(1000);
    const auto frames = a.wait_for(100);
    for (u8 i = 0; i < 100; ++i)
        EXPECT_EQ(frames[i][5], i);
}

TEST(NetPorts, NobodyToConnectTo) {
    Log log;
    auto options = parse_net("socket", {{"connect", fmt::format("127.0.0.1:{}", free_port())}});
    ASSERT_TRUE(options.ok());
    EXPECT_FALSE(open_net(log, *options).ok());
}

std::vector<u8> arp_request(u8 last) {
    std::vector<u8> frame{0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x52, 0x54, 0,    0x12, 0x34, 0x56, 8,    6,
                          0,    1,    8,    0,    6,    4,    0,    1,    0x52, 0x54, 0,    0x12, 0x34, 0x56,
                          10,   0,    2,    15,   0,    0,    0,    0,    0,    0,    10,   0,    2,    last};
    frame.resize(60);
    return frame;
}

TEST(NetPorts, TheUserNetworkAnswersArp) {
    Log log;
    const auto port = open(log, "user", {{"ipv6", "off"}});
    Card card(*port);
    card.send(arp_request(2));
    const auto answer = card.wait_for(1)[0];
    EXPECT_EQ(answer[21], 2); // A reply,
    EXPECT_EQ(answer[31], 2); // from 10.0.2.2.
    EXPECT_TRUE(std::equal(answer.begin(), answer.begin() + 6, arp_request(2).begin() + 6));
}

TEST(NetPorts, AConnectionOfALoadedGuestIsReset) {
    Log log;
    const auto port = open(log, "user", {{"ipv6", "off"}});
    Card card(*port);
    TcpConnections connections;
    connections.from_guest(answer_to(tcp_frame(1000, 0, ack)));
    {
        const auto held = port->hold();
        std::vector<u8> state = port->save_state();
        const std::vector<u8> open = connections.save();
        state.insert(state.end(), open.begin(), open.end());
        ASSERT_TRUE(port->load_state(state).ok());
    }
    const auto reset = card.wait_for(1)[0];
    EXPECT_EQ(reset[47], rst);
    EXPECT_TRUE(sound(reset));
}

TEST(NetPorts, HostPortsAreForwardedAndNoLonger) {
    Log log;
    const auto port = open(log, "user", {});
    const auto forward = parse_host_forward(fmt::format("tcp:127.0.0.1:{}-:22", free_port()));
    EXPECT_TRUE(add_host_forward(*port, *forward).ok());
    EXPECT_FALSE(add_host_forward(*port, *forward).ok());
    EXPECT_NE(port->describe().find("HOST_FORWARD"), std::string::npos);
    EXPECT_TRUE(remove_host_forward(*port, *forward).ok());
    EXPECT_FALSE(remove_host_forward(*port, *forward).ok());
    const auto socket = open(log, "socket", {{"listen", fmt::format("127.0.0.1:{}", free_port())}});
    EXPECT_FALSE(add_host_forward(*socket, *forward).ok());
}

TEST(NetPorts, ACaptureHoldsEveryFrame) {
    Log log;
    char path[] = "/tmp/calque-capture-XXXXXX";
    const UniqueFd file(::mkstemp(path));
    {
        auto options = parse_net("user", {{"ipv6", "off"}, {"dump", path}});
        ASSERT_TRUE(options.ok());
        options->capture_length = 50;
        const auto port = open_net(log, *options);
        ASSERT_TRUE(port.ok());
        Card card(**port);
        card.send(arp_request(2));
        card.wait_for(1);
    }
    std::ifstream in(path, std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(in), {}};
    ::unlink(path);
    ASSERT_GE(bytes.size(), 24u + 16 + 50);
    EXPECT_EQ(bytes.substr(0, 4), "\xD4\xC3\xB2\xA1");
    EXPECT_EQ(bytes[24 + 8], 50);  // Kept,
    EXPECT_EQ(bytes[24 + 12], 60); // of so many.
    EXPECT_EQ(bytes.substr(24 + 16 + 12, 2), std::string("\x08\x06"));
}

} // namespace
} // namespace calque::backends
