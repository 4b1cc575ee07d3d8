// State streams: records, the ways they take, and what is wrong with damaged ones.
#include "frontend/backends/state/address.h"
#include "tests/backends/helpers.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sys/socket.h>
#include <thread>

namespace calque::backends {
namespace {

struct Bytes final : StateSink, StateSource {
    Result<void> write(std::span<const u8> bytes) override {
        all.insert(all.end(), bytes.begin(), bytes.end());
        return {};
    }
    Result<void> read(std::span<u8> bytes) override {
        if (bytes.size() > all.size() - at) return error("the saved state ends too early");
        std::copy_n(all.begin() + static_cast<std::ptrdiff_t>(at), bytes.size(), bytes.begin());
        at += bytes.size();
        return {};
    }
    std::vector<u8> all;
    std::size_t at = 0;
};

Result<void> write_sample(StateSink& sink) {
    StateWriter writer(sink);
    if (auto done = writer.begin(); !done) return done;
    if (auto done = writer.record(RecordKind::machine, std::vector<u8>{1, 2, 3}); !done) return done;
    if (auto done = writer.record(RecordKind::ram, std::vector<u8>(300'000, 7)); !done) return done;
    return writer.end();
}

// The payloads' lengths, up to the end.
Result<std::vector<std::size_t>> read_all(StateSource& source) {
    StateReader reader(source);
    if (auto begun = reader.begin(); !begun) return begun.error();
    std::vector<std::size_t> lengths;
    for (;;) {
        const auto record = reader.next();
        if (!record) return record.error();
        if (record->kind == RecordKind::end) return lengths;
        lengths.push_back(record->payload.size());
    }
}

const std::vector<std::size_t> sample{3, 300'000};

TEST(StateStream, RecordsComeBack) {
    Bytes bytes;
    ASSERT_TRUE(write_sample(bytes).ok());
    const auto read = read_all(bytes);
    ASSERT_TRUE(read.ok()) << read.error().message;
    EXPECT_EQ(*read, sample);
}

TEST(StateStream, EveryFlippedBitAndEveryCutIsFound) {
    Bytes whole;
    ASSERT_TRUE(write_sample(whole).ok());
    for (std::size_t at = 0; at < whole.all.size(); at = at < 200 ? at + 1 : at + 4999) {
        Bytes flipped, cut;
        flipped.all = cut.all = whole.all;
        flipped.all[at] ^= 1;
        cut.all.resize(at);
        const auto read = read_all(flipped);
        ASSERT_FALSE(read.ok()) << at;
        EXPECT_NE(read.error().message.find("state"), std::string::npos) << read.error().message;
        EXPECT_FALSE(read_all(cut).ok()) << at;
    }
}

TEST(StateStream, RecordsThatAreLostAreMissed) {
    Bytes whole;
    ASSERT_TRUE(write_sample(whole).ok());
    whole.all.erase(whole.all.begin() + 16, whole.all.begin() + 16 + 24 + 3);
    EXPECT_FALSE(read_all(whole).ok());
}

TEST(StateStream, WhatWasCompressedIsBounded) {
    const std::vector<u8> zeros(1 << 20);
    const auto packed = compress_state(zeros);
    EXPECT_LT(packed.size(), 1000u);
    EXPECT_FALSE(decompress_state(packed, zeros.size() - 1).ok());
    EXPECT_FALSE(decompress_state(std::vector<u8>{1, 2, 3}, zeros.size()).ok());
    EXPECT_EQ(decompress_state(packed, zeros.size()).value(), zeros);
}

struct StateAddresses : testing::Test {
    StateAddresses() {
        char name[] = "/tmp/calque-state-XXXXXX";
        folder = ::mkdtemp(name);
    }
    ~StateAddresses() override { std::filesystem::remove_all(folder); }
    static StateAddress parse(const std::string& uri) {
        auto address = parse_state_address(uri, {});
        EXPECT_TRUE(address.ok()) << address.error().message;
        return address ? *address : StateAddress{};
    }
    static void send(const std::string& uri) {
        const std::atomic<bool> cancelled{false};
        auto output = StateOutput::open(parse(uri), cancelled);
        ASSERT_TRUE(output.ok()) << output.error().message;
        ASSERT_TRUE(write_sample(**output).ok());
        const auto finished = (*output)->finish();
        ASSERT_TRUE(finished.ok()) << finished.error().message;
    }
    void go_by(const std::string& out, const std::string& in) {
        const std::atomic<bool> cancelled{false};
        const bool listens = in.starts_with("unix:") || in.starts_with("tcp:");
        if (!listens) send(out);
        auto input = StateInput::open(parse(in));
        ASSERT_TRUE(input.ok()) << input.error().message;
        std::thread sender([&] {
            if (listens) send(out);
        });
        EXPECT_TRUE((*input)->accept(cancelled).ok());
        const auto read = read_all(**input);
        sender.join();
        ASSERT_TRUE(read.ok()) << read.error().message;
        EXPECT_EQ(*read, sample);
    }
    std::string folder;
};

TEST_F(StateAddresses, FilesAndCommandsAndSockets) {
    go_by("file:" + folder + "/a", "file:" + folder + "/a");
    go_by("exec:cat > " + folder + "/b", "exec:cat " + folder + "/b");
    go_by("exec:gzip > " + folder + "/c", "exec:gunzip < " + folder + "/c");
    go_by("unix:" + folder + "/d", "unix:" + folder + "/d");
    EXPECT_FALSE(std::filesystem::exists(folder + "/d"));
}

TEST_F(StateAddresses, DescriptorsAreTakenOver) {
    int ends[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    std::thread sender([&] { send("fd:" + std::to_string(ends[0])); });
    DescriptorSource source(UniqueFd(ends[1]), "test");
    const auto read = read_all(source);
    sender.join();
    ASSERT_TRUE(read.ok()) << read.error().message;
    u8 more;
    EXPECT_FALSE(source.read({&more, 1}).ok()); // Closed.
}

TEST_F(StateAddresses, AFileIsReplacedOnlyByAWholeState) {
    std::ofstream(folder + "/a") << "before";
    {
        const std::atomic<bool> cancelled{false};
        auto output = StateOutput::open(parse("file:" + folder + "/a"), cancelled);
        ASSERT_TRUE(output.ok());
        ASSERT_TRUE((*output)->write(std::vector<u8>{1, 2, 3}).ok());
    }
    std::string text;
    std::ifstream(folder + "/a") >> text;
    EXPECT_EQ(text, "before");
    EXPECT_FALSE(std::filesystem::exists(folder + "/a.part"));
}

TEST_F(StateAddresses, ACommandThatFailsIsAnError) {
    const std::atomic<bool> cancelled{false};
    auto output = StateOutput::open(parse("exec:cat > /dev/null; exit 3"), cancelled);
    ASSERT_TRUE(output.ok());
    ASSERT_TRUE(write_sample(**output).ok());
    const auto finished = (*output)->finish();
    ASSERT_FALSE(finished.ok());
    EXPECT_NE(finished.error().message.find("status 3"), std::string::npos) << finished.error().message;
}

TEST_F(StateAddresses, WritingToSomebodyWhoDoesNotReadCanBeCancelled) {
    int ends[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    const UniqueFd other(ends[1]);
    std::atomic<bool> cancelled{false};
    DescriptorSink sink(UniqueFd(ends[0]), "test", &cancelled);
    std::thread canceller([&] { cancelled = true; });
    const std::vector<u8> much(1 << 20);
    Result<void> written;
    while (written)
        written = sink.write(much);
    canceller.join();
    EXPECT_NE(written.error().message.find("cancelled"), std::string::npos) << written.error().message;
}

TEST(StateAddress, WordsThatAreNoneAreRefused) {
    for (const char* uri : {"", "nonsense", "tcp:", "tcp:host", "tcp:host:", "tcp:h:1,to=2", "fd:name", "fd:1", "fd:-4",
                            "rdma:host:1", "exec:", "unix:"}) {
        const auto address = parse_state_address(uri, {});
        EXPECT_FALSE(address.ok()) << uri;
    }
    EXPECT_EQ(parse_state_address("tcp:[::1]:4444", {}).value().text, "::1");
    EXPECT_EQ(parse_state_address("fd:name", [](const std::string&) { return 9; }).value().descriptor, 9);
}

} // namespace
} // namespace calque::backends
