// qcow2 files that QEMU's tools made, read here; files written here, judged by QEMU's tools; and files of a process
// that was killed.
#include "frontend/backends/block/qcow2_create.h"
#include "frontend/backends/block/qcow2_image.h"
#include "frontend/backends/block/raw_image.h"
#include "tests/backends/block_helpers.h"
#include "tests/backends/qemu_tools.h"

#include <array>
#include <atomic>
#include <csignal>
#include <cstring>
#include <random>
#include <sys/mman.h>
#include <thread>

namespace calque::backends {
namespace {

using test::file_bytes;
using test::run;
using test::TemporaryFolder;

constexpr u64 KiB = 1024, MiB = 1024 * KiB;

std::unique_ptr<Qcow2Image> open_file(const std::string& path, bool read_only = false) {
    RawOptions raw;
    raw.read_only = read_only;
    auto file = RawImage::open(path, raw);
    EXPECT_TRUE(file.ok()) << file.error().message;
    if (!file) return nullptr;
    Qcow2Image::Options options;
    options.read_only = read_only;
    options.report = [](const std::string& text) { ADD_FAILURE() << text; };
    auto image = Qcow2Image::open(std::move(*file), nullptr, options);
    EXPECT_TRUE(image.ok()) << image.error().message;
    return image.ok() ? std::move(*image) : nullptr;
}

void create_file(const std::string& path, const Qcow2CreateOptions& options) {
    test::write_file(path, {});
    auto file = RawImage::open(path, {});
    ASSERT_TRUE(file.ok());
    const auto made = create_qcow2(**file, options);
    ASSERT_TRUE(made.ok()) << made.error().message;
}

std::vector<u8> contents(BlockImage& image) {
    std::vector<u8> data(image.size());
    EXPECT_EQ(image.read(0, data), 0);
    return data;
}

// What QEMU reads there.
std::vector<u8> qemu_contents(const TemporaryFolder& folder, const std::string& path) {
    const std::string raw = folder.file("contents.raw");
    const auto converted = run("qemu-img convert -t unsafe -O raw " + path + " " + raw);
    EXPECT_EQ(converted.status, 0) << converted.output;
    return file_bytes(raw);
}

void expect_checked(const std::string& path) {
    const auto checked = run("qemu-img check " + path);
    EXPECT_EQ(checked.status, 0) << checked.output;
    EXPECT_NE(checked.output.find("No errors were found"), std::string::npos) << checked.output;
}

struct Made {
    const char* label;
    const char* options; // Of qemu-img create.
};
class QemuImages : public testing::TestWithParam<Made> {};
const Made made[] = {
    {"Default", ""},
    {"Version2", "-o compat=0.10"},
    {"512", "-o cluster_size=512"},
    {"4K", "-o cluster_size=4k"},
    {"2M", "-o cluster_size=2M"},
    {"Version2Of4K", "-o compat=0.10,cluster_size=4k"},
    {"Lazy", "-o lazy_refcounts=on"},
    {"Refcount1", "-o refcount_bits=1"},
    {"Refcount4", "-o refcount_bits=4,cluster_size=1k"},
    {"Refcount64", "-o refcount_bits=64,cluster_size=512"},
    {"Metadata", "-o preallocation=metadata"},
    {"Falloc", "-o preallocation=falloc,cluster_size=8k"},
};
INSTANTIATE_TEST_SUITE_P(Made, QemuImages, testing::ValuesIn(made),
                         [](const auto& one) { return std::string(one.param.label); });

TEST_P(QemuImages, AreReadAndWrittenAsQemuDoes) {
    NEEDS_QEMU_TOOLS();
    const TemporaryFolder folder;
    const std::string path = folder.file("disk.qcow2");
    ASSERT_EQ(run(std::string("qemu-img create -f qcow2 ") + GetParam().options + " " + path + " 20M").status, 0);
    const std::string filled =
        run("qemu-io -t unsafe -f qcow2 -c 'write -P 1 0 3M' -c 'write -P 2 5000k 100k' -c 'write -P 3 700 512'"
            " -c 'write -z 1M 300k' -c 'discard 2M 512k' -c 'write -P 4 19M 1M' "
            + path)
            .output;
    EXPECT_EQ(filled.find("failed"), std::string::npos) << filled;
    const std::vector<u8> expected = qemu_contents(folder, path);
    std::vector<u8> plain = expected;
    EXPECT_EQ(contents(*open_file(path, true)), expected);

    auto image = open_file(path);
    std::mt19937_64 random(3);
    for (int i = 0; i < 100; ++i) {
        const u64 offset = random() % plain.size() / 512 * 512;
        const u64 length = std::min<u64>(plain.size() - offset, 512 * (1 + random() % (i % 10 == 0 ? 4000 : 100)));
        if (i % 9 == 8) {
            ASSERT_EQ(image->write_zeroes(offset, length, i % 2), 0);
            std::fill_n(plain.begin() + static_cast<i64>(offset), length, u8{0});
        } else {
            const auto data = test::pattern(length, static_cast<u32>(i));
            ASSERT_EQ(image->write(offset, data), 0);
            std::copy(data.begin(), data.end(), plain.begin() + static_cast<i64>(offset));
        }
    }
    EXPECT_EQ(contents(*image), plain);
    EXPECT_EQ(image->close(), 0);
    image.reset();
    expect_checked(path);
    EXPECT_EQ(qemu_contents(folder, path), plain);
}

TEST(Qcow2Qemu, CompressedClustersAreReadAndReplaced) {
    NEEDS_QEMU_TOOLS();
    for (const std::string options : {"-o compat=0.10", "-o compression_type=zlib", "-o compression_type=zstd",
                                      "-o compression_type=zstd,cluster_size=4k", "-o cluster_size=512",
                                      "-o cluster_size=2M", "-o cluster_size=2M,compression_type=zstd"}) {
        SCOPED_TRACE(options);
        const TemporaryFolder folder;
        const std::string raw = folder.file("plain"), path = folder.file("disk.qcow2");
        std::vector<u8> plain = test::pattern(2 * MiB + 512);
        for (u64 i = 0; i < plain.size(); ++i) // Half of it compresses.
            if (i / 10000 % 2 == 0) plain[i] = static_cast<u8>(i / 40000);
        test::write_file(raw, plain);
        const auto converted = run("qemu-img convert -t unsafe -c -O qcow2 " + options + " " + raw + " " + path);
        ASSERT_EQ(converted.status, 0) << converted.output;
        auto image = open_file(path);
        ASSERT_TRUE(image);
        EXPECT_EQ(contents(*image), plain);
        std::mt19937_64 random(5);
        for (int i = 0; i < 60; ++i) {
            const u64 offset = random() % (plain.size() / 512 - 64) * 512;
            const auto data = test::pattern(512 * (1 + random() % 64), static_cast<u32>(i));
            ASSERT_EQ(image->write(offset, data), 0);
            std::copy(data.begin(), data.end(), plain.begin() + static_cast<i64>(offset));
        }
        EXPECT_EQ(contents(*image), plain);
        EXPECT_EQ(image->close(), 0);
        image.reset();
        expect_checked(path);
        EXPECT_EQ(qemu_contents(folder, path), plain);
    }
}

TEST(Qcow2Qemu, CreatedImagesPassItsCheck) {
    NEEDS_QEMU_TOOLS();
    const TemporaryFolder folder;
    const std::string path = folder.file("disk.qcow2");
    u32 which = 0;
    for (const u64 size : {u64{0}, u64{512}, 100 * MiB, u64{64} << 30}) {
        for (const u64 cluster_size : {u64{512}, u64{4096}, u64{65536}, 2 * MiB}) {
            Qcow2CreateOptions options;
            options.size = size;
            options.cluster_size = cluster_size;
            options.refcount_bits = std::array{1u, 4u, 16u, 64u, 8u, 16u, 2u}[which++ % 7];
            options.lazy_refcounts = options.refcount_bits == 4;
            options.version = options.refcount_bits == 16 ? 2 : 3;
            create_file(path, options);
            const auto info = run("qemu-img info " + path);
            EXPECT_NE(info.output.find("cluster_size: " + std::to_string(cluster_size)), std::string::npos);
            EXPECT_NE(info.output.find("(" + std::to_string(size) + " bytes)"), std::string::npos) << info.output;
            expect_checked(path);
        }
    }
}

TEST(Qcow2Qemu, SnapshotsGoBothWays) {
    NEEDS_QEMU_TOOLS();
    const TemporaryFolder folder;
    const std::string path = folder.file("disk.qcow2");
    ASSERT_EQ(run("qemu-img create -f qcow2 " + path + " 10M").status, 0);
    const auto first = test::pattern(3 * MiB, 1), second = test::pattern(4 * MiB, 2), third = test::pattern(MiB, 3);
    {
        auto image = open_file(path);
        ASSERT_EQ(image->write(MiB, first), 0);
        ASSERT_TRUE(image->create_snapshot("here", 1'700'000'000, 0).ok());
        ASSERT_EQ(image->write(2 * MiB, second), 0);
        ASSERT_EQ(image->close(), 0);
    }
    expect_checked(path);
    const auto listed = run("qemu-img snapshot -l " + path);
    EXPECT_NE(listed.output.find("here"), std::string::npos) << listed.output;
    const auto now = qemu_contents(folder, path);
    ASSERT_EQ(run("qemu-img snapshot -c there " + path).status, 0);
    ASSERT_EQ(run("qemu-img resize -q -f qcow2 " + path + " 12M").status, 0);
    {
        auto image = open_file(path);
        ASSERT_EQ(image->write(11 * MiB, third), 0);
        const auto list = image->snapshots();
        ASSERT_TRUE(list.ok());
        ASSERT_EQ(list->size(), 2u);
        EXPECT_EQ((*list)[1].name, "there");
        EXPECT_EQ((*list)[1].disk_size, 10 * MiB);
        const auto applied = image->apply_snapshot("here");
        ASSERT_TRUE(applied.ok()) << applied.error().message;
        EXPECT_EQ(image->size(), 10 * MiB);
        std::vector<u8> data(first.size());
        ASSERT_EQ(image->read(MiB, data), 0);
        EXPECT_EQ(data, first);
        ASSERT_EQ(image->write(0, third), 0);
        ASSERT_EQ(image->close(), 0);
    }
    expect_checked(path);
    ASSERT_EQ(run("qemu-img snapshot -a there " + path).status, 0);
    EXPECT_EQ(qemu_contents(folder, path), now);
    {
        auto image = open_file(path);
        ASSERT_TRUE(image->delete_snapshot("here").ok());
        EXPECT_EQ(contents(*image), now);
    }
    expect_checked(path);
    ASSERT_EQ(run("qemu-img snapshot -d there " + path).status, 0);
    EXPECT_EQ(contents(*open_file(path, true)), now);
}

// A machine beside the disk: QEMU's tools find it whole, and give its room back.
TEST(Qcow2Qemu, MachinesInSnapshotsAreWhole) {
    NEEDS_QEMU_TOOLS();
    const TemporaryFolder folder;
    const std::string path = folder.file("disk.qcow2");
    ASSERT_EQ(run("qemu-img create -f qcow2 " + path + " 10M").status, 0);
    const auto disk = test::pattern(3 * MiB, 1), machine = test::pattern(5 * MiB + 12345, 2);
    const auto machine_of = [](Qcow2Image& image, const std::string& name) {
        const auto state = image.find_state(name);
        EXPECT_TRUE(state.ok()) << state.error().message;
        std::vector<u8> bytes(state ? state->bytes : 0);
        EXPECT_TRUE(state && image.read_state(*state, 0, bytes) == 0);
        return bytes;
    };
    {
        auto image = open_file(path);
        ASSERT_EQ(image->write(MiB, disk), 0);
        qcow2::StateDraft draft, other;
        for (std::size_t at = 0; at < machine.size(); at += 777'777) {
            const std::size_t part = std::min<std::size_t>(777'777, machine.size() - at);
            ASSERT_TRUE(image->append_state(draft, std::span(machine).subspan(at, part)).ok());
            ASSERT_EQ(image->write(MiB + at, std::span(disk).first(4096)), 0); // The guest goes on.
        }
        ASSERT_TRUE(image->append_state(other, disk).ok());
        image->drop_state(other);
        const auto taken = image->create_snapshot({"whole", 1'700'000'000, 0, 5'000'000'000}, &draft);
        ASSERT_TRUE(taken.ok()) << taken.error().message;
        EXPECT_EQ(machine_of(*image, "whole"), machine);
        ASSERT_TRUE(image->create_snapshot("disk", 1'700'000'001, 0).ok());
        EXPECT_FALSE(image->find_state("disk").ok());
        ASSERT_EQ(image->write(2 * MiB, disk), 0);
        ASSERT_EQ(image->close(), 0);
    }
    expect_checked(path);
    const auto listed = run("qemu-img snapshot -l " + path);
    EXPECT_NE(listed.output.find("5.01 MiB"), std::string::npos) << listed.output;
    ASSERT_EQ(run("qemu-img snapshot -a whole " + path).status, 0); // Which leaves the machine in the active table too.
    expect_checked(path);
    {
        auto image = open_file(path);
        EXPECT_EQ(machine_of(*image, "whole"), machine);
        qcow2::StateDraft draft;
        ASSERT_TRUE(image->append_state(draft, disk).ok());
        ASSERT_TRUE(image->create_snapshot({"second", 1'700'000'002, 0, 0}, &draft).ok());
        ASSERT_TRUE(image->apply_snapshot("whole").ok());
        ASSERT_EQ(image->close(), 0);
    }
    expect_checked(path);
    for (const char* name : {"whole", "second", "disk"})
        ASSERT_EQ(run(std::string("qemu-img snapshot -d ") + name + " " + path).status, 0);
    expect_checked(path);
}

// What a child that is killed and its judge both see.
constexpr u64 kill_sectors = 16 * MiB / 512;
struct Shared {
    std::atomic<u64> started;
    std::array<std::atomic<u64>, kill_sectors> issued, written, flushed;
};

void fill_sector(u8* sector, u64 value) {
    for (int i = 0; i < 512; i += 8)
        std::memcpy(sector + i, &value, 8);
}

// Writes numbers that grow, each thread into sectors of its own, and notes what was flushed. Never ends.
[[noreturn]] void write_until_killed(const std::string& path, Shared& shared, u64 seed) {
    auto file = RawImage::open(path, {});
    if (!file) std::_Exit(3);
    auto image = Qcow2Image::open(std::move(*file), nullptr, {});
    if (!image) std::_Exit(4);
    const auto work = [&](u64 thread) {
        std::mt19937_64 random(seed * 2 + thread);
        std::vector<u64> before(kill_sectors);
        for (;;) {
            const u64 count = 1 + random() % (random() % 4 == 0 ? 600 : 16);
            const u64 first = random() % (kill_sectors / 2 - count) * 2;
            if (random() % 10 == 0) {
                for (u64 i = thread; i < kill_sectors; i += 2)
                    before[i] = shared.written[i];
                if ((*image)->flush() != 0) std::_Exit(5);
                for (u64 i = thread; i < kill_sectors; i += 2)
                    shared.flushed[i] = before[i];
                continue;
            }
            for (u64 i = first + thread; i < first + thread + 2 * count; i += 2) {
                std::array<u8, 512> data;
                const u64 value = shared.issued[i] + 1;
                fill_sector(data.data(), value);
                shared.issued[i] = value;
                if ((*image)->write(i * 512, data) != 0) std::_Exit(6);
                shared.written[i] = value;
            }
            shared.started = 1;
        }
    };
    std::thread other(work, 1);
    work(0);
    std::_Exit(7);
}

// Each sector has a value between the one that was flushed and the one that was written last.
void judge(const std::string& path, Shared& shared) {
    auto image = open_file(path, true);
    ASSERT_TRUE(image);
    const auto data = contents(*image);
    for (u64 i = 0; i < kill_sectors; ++i) {
        u64 value;
        std::memcpy(&value, &data[i * 512], 8);
        std::array<u8, 512> whole;
        fill_sector(whole.data(), value);
        ASSERT_EQ(std::memcmp(whole.data(), &data[i * 512], 512), 0) << "sector " << i << " is torn";
        ASSERT_GE(value, shared.flushed[i]) << "sector " << i << " lost what was flushed";
        ASSERT_LE(value, shared.issued[i]) << "sector " << i;
        shared.issued[i] = shared.written[i] = shared.flushed[i] = value; // From here the next one goes on.
    }
}

TEST(Qcow2Qemu, AKilledProcessLosesNothingThatWasFlushed) {
    NEEDS_QEMU_TOOLS();
    const char* const wanted = std::getenv("CALQUE_KILLS");
    const int kills = wanted ? std::atoi(wanted) : 24;
    const TemporaryFolder folder;
    auto* const memory = ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(memory, MAP_FAILED);
    Shared* shared = nullptr;
    std::mt19937_64 random(std::random_device{}());
    const std::string path = folder.file("disk.qcow2");
    for (int kill = 0; kill < kills; ++kill) {
        if (kill % 8 == 0) { // A new image now and then, of another shape.
            std::memset(memory, 0, sizeof(Shared));
            shared = new (memory) Shared;
            Qcow2CreateOptions options;
            options.size = kill_sectors * 512;
            options.cluster_size = std::array<u64, 3>{65536, 4096, 512}[static_cast<u64>(kill / 8 % 3)];
            create_file(path, options);
        }
        shared->started = 0;
        const u64 seed = random();
        const pid_t child = ::fork();
        ASSERT_GE(child, 0);
        if (child == 0) write_until_killed(path, *shared, seed);
        while (shared->started == 0) {
            int status;
            ASSERT_EQ(::waitpid(child, &status, WNOHANG), 0) << "the child ended with " << WEXITSTATUS(status);
            std::this_thread::sleep_for(std::chrono::microseconds(100));
        }
        std::this_thread::sleep_for(std::chrono::microseconds(random() % 30000));
        ::kill(child, SIGKILL);
        int status;
        ASSERT_EQ(::waitpid(child, &status, 0), child);
        ASSERT_TRUE(WIFSIGNALED(status)) << WEXITSTATUS(status);
        const auto checked = run("qemu-img check " + path);
        ASSERT_TRUE(checked.status == 0 || checked.status == 3) << checked.output; // 3: leaks alone.
        judge(path, *shared);
        if (HasFatalFailure()) return;
    }
    ::munmap(memory, sizeof(Shared));
}

} // namespace
} // namespace calque::backends
