// NBD against qemu-nbd.
#include "frontend/backends/block/nbd_image.h"
#include "frontend/backends/block/open_image.h"
#include "frontend/backends/unique_fd.h"
#include "tests/backends/block_helpers.h"
#include "tests/backends/qemu_tools.h"

#include <cerrno>
#include <csignal>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <thread>

extern char** environ;

namespace calque::backends {
namespace {

using test::file_bytes;
using test::TemporaryFolder;

constexpr u64 MiB = 1 << 20;

// A qemu-nbd, from when it takes connections until it is killed.
class Server {
  public:
    Server(const std::string& socket, std::vector<std::string> arguments) : socket_(socket) {
        arguments.insert(arguments.begin(), {"qemu-nbd", "-t", "-k", socket, "-f", "raw"});
        std::vector<char*> pointers;
        for (std::string& argument : arguments)
            pointers.push_back(argument.data());
        pointers.push_back(nullptr);
        EXPECT_EQ(::posix_spawnp(&pid_, "qemu-nbd", nullptr, nullptr, pointers.data(), environ), 0);
        for (int i = 0; i < 2000 && !answers(); ++i)
            std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    ~Server() { kill(); }
    void kill() {
        if (pid_ <= 0) return;
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
        pid_ = 0;
        std::filesystem::remove(socket_);
    }

  private:
    bool answers() const {
        const UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        socket_.copy(address.sun_path, sizeof address.sun_path - 1);
        return ::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
    }

    std::string socket_;
    pid_t pid_ = 0;
};

TEST(NbdName, FormsAreRead) {
    const auto text = [](const char* name) {
        const auto address = parse_nbd_name(name);
        return address ? address->text() : "error: " + address.error().message;
    };
    EXPECT_EQ(text("nbd:host:10810"), "nbd://host:10810/");
    EXPECT_EQ(text("nbd:host:10810:exportname=a:b"), "nbd://host:10810/a:b");
    EXPECT_EQ(text("nbd:unix:/tmp/s:exportname=x"), "nbd+unix:///x?socket=/tmp/s");
    EXPECT_EQ(text("nbd:[::1]:5"), "nbd://[::1]:5/");
    EXPECT_EQ(text("nbd://host/a%20b"), "nbd://host:10809/a b");
    EXPECT_EQ(text("nbd://[fe80::1]:7"), "nbd://[fe80::1]:7/");
    EXPECT_EQ(text("nbd+unix:///e?socket=/tmp/a%3fb"), "nbd+unix:///e?socket=/tmp/a?b");
    for (const char* name : {"nbd:", "nbd:host", "nbd:host:", "nbd:unix:", "nbd://", "nbd+unix:///x", "nbd://h?x=1",
                             "nbd+unix://h/x?socket=y", "nbd:[::1", "nbd://h/%zz", "nbd:http"})
        EXPECT_FALSE(parse_nbd_name(name).ok()) << name;
}

class Nbd : public testing::Test {
  protected:
    void SetUp() override { NEEDS_QEMU_TOOLS(); }
    Result<std::unique_ptr<NbdImage>> open(bool read_only = false, unsigned seconds = 5) {
        NbdAddress address;
        address.unix_path = socket;
        address.export_name = "e";
        NbdImage::Options options;
        options.read_only = read_only;
        options.reconnect_seconds = seconds;
        return NbdImage::open(address, options);
    }
    TemporaryFolder folder;
    std::string socket = folder.file("socket");
    std::string disk = folder.file("disk");
};

TEST_F(Nbd, IsReadAndWrittenByThreads) {
    test::write_file(disk, test::pattern(8 * MiB, 1));
    Server server(socket, {"-x", "e", "-e", "8", disk});
    auto opened = open();
    ASSERT_TRUE(opened.ok()) << opened.error().message;
    NbdImage& image = **opened;
    EXPECT_EQ(image.size(), 8 * MiB);
    std::vector<std::thread> threads;
    for (u64 t = 0; t < 4; ++t)
        threads.emplace_back([&, t] {
            for (u64 i = 0; i < 50; ++i) {
                const u64 offset = (i * 4 + t) * 4096;
                EXPECT_EQ(image.write(offset, test::pattern(4096, static_cast<u32>(i))), 0);
                std::vector<u8> data(4096);
                EXPECT_EQ(image.read(offset, data), 0);
                EXPECT_EQ(data, test::pattern(4096, static_cast<u32>(i)));
            }
        });
    for (std::thread& thread : threads)
        thread.join();
    std::vector<u8> large(6 * MiB);
    EXPECT_EQ(image.read(2 * MiB, large), 0);
    const auto all = test::pattern(8 * MiB, 1);
    EXPECT_TRUE(std::equal(large.begin(), large.end(), all.begin() + 2 * MiB));
    EXPECT_EQ(image.write_zeroes(3 * MiB, MiB + 512, true), 0);
    EXPECT_EQ(image.discard(5 * MiB, MiB), 0);
    EXPECT_EQ(image.flush(), 0);
    EXPECT_EQ(image.read(3 * MiB, std::span(large).first(MiB + 512)), 0);
    EXPECT_EQ(std::vector<u8>(large.begin(), large.begin() + MiB + 512), std::vector<u8>(MiB + 512));
    EXPECT_EQ(image.read(8 * MiB, std::span(large).first(512)), EINVAL);
    EXPECT_EQ(image.resize(16 * MiB), ENOTSUP);
}

TEST_F(Nbd, AReadOnlyExportIsOpenedForReadingAlone) {
    test::write_file(disk, test::pattern(MiB, 1));
    Server server(socket, {"-x", "e", "-r", disk});
    auto refused = open();
    ASSERT_FALSE(refused.ok());
    EXPECT_NE(refused.error().message.find("readonly=on"), std::string::npos);
    auto image = open(true);
    ASSERT_TRUE(image.ok()) << image.error().message;
    EXPECT_EQ((*image)->write(0, test::pattern(512)), EROFS);
    EXPECT_EQ((*image)->flush(), 0);
}

TEST_F(Nbd, AServerThatIsNotThereIsAnError) {
    const auto image = open();
    ASSERT_FALSE(image.ok());
    EXPECT_NE(image.error().message.find(socket), std::string::npos) << image.error().message;
}

TEST_F(Nbd, ALostConnectionIsMadeAgainAndLostWritesAreToldToTheNextFlush) {
    test::write_file(disk, test::pattern(MiB, 1));
    auto server = std::make_unique<Server>(socket, std::vector<std::string>{"-x", "e", disk});
    auto image = open();
    ASSERT_TRUE(image.ok()) << image.error().message;
    std::vector<u8> data(512);
    server->kill();
    server = std::make_unique<Server>(socket, std::vector<std::string>{"-x", "e", disk});
    EXPECT_EQ((*image)->read(0, data), 0);
    EXPECT_EQ(data, test::pattern(512, 1));
    EXPECT_EQ((*image)->flush(), 0) << "nothing was written";
    EXPECT_EQ((*image)->write(0, test::pattern(512, 2)), 0);
    server->kill();
    server = std::make_unique<Server>(socket, std::vector<std::string>{"-x", "e", disk});
    EXPECT_EQ((*image)->flush(), EIO);
    EXPECT_EQ((*image)->flush(), 0);
}

TEST_F(Nbd, AServerThatStaysAwayGivesErrors) {
    test::write_file(disk, test::pattern(MiB, 1));
    Server server(socket, {"-x", "e", disk});
    auto image = open(false, 0);
    ASSERT_TRUE(image.ok());
    server.kill();
    std::vector<u8> data(512);
    EXPECT_EQ((*image)->read(0, data), EIO);
    EXPECT_EQ((*image)->write(0, data), EIO);
    EXPECT_EQ((*image)->flush(), EIO);
}

TEST_F(Nbd, Qcow2ComesThroughItToo) {
    ASSERT_EQ(test::run("qemu-img create -f qcow2 " + disk + " 4M").status, 0);
    test::write_file(folder.file("raw"), test::pattern(4 * MiB, 1));
    ASSERT_EQ(test::run("qemu-img convert -O qcow2 " + folder.file("raw") + " " + disk).status, 0);
    Server server(socket, {"-x", "e", disk});
    ImageOptions options;
    options.name = "nbd:unix:" + socket + ":exportname=e";
    auto image = open_image(options);
    ASSERT_TRUE(image.ok()) << image.error().message;
    std::vector<u8> data(4 * MiB);
    EXPECT_EQ((*image)->read(0, data), 0);
    EXPECT_EQ(data, test::pattern(4 * MiB, 1));
    EXPECT_EQ((*image)->write(MiB, test::pattern(MiB, 2)), 0);
    EXPECT_EQ((*image)->flush(), 0);
    EXPECT_EQ((*image)->read(MiB, std::span(data).first(MiB)), 0);
    EXPECT_EQ(std::vector<u8>(data.begin(), data.begin() + MiB), test::pattern(MiB, 2));
}

} // namespace
} // namespace calque::backends
