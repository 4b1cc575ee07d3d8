// disk_images FOLDER [MIB]: how fast a qcow2 image is beside a raw one in the same folder, both through the host's page
// cache and with all clusters allocated. Prints milliseconds (the best of five) and the ratio, by kind of access.
#include "frontend/backends/block/qcow2_create.h"
#include "frontend/backends/block/qcow2_image.h"
#include "frontend/backends/block/raw_image.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <functional>
#include <random>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

namespace {

using namespace calque;
using namespace calque::backends;
using Clock = std::chrono::steady_clock;

constexpr u64 MiB = 1 << 20;
constexpr int rounds = 5;
constexpr u64 random_accesses = 20000;

[[noreturn]] void fail(const std::string& message) {
    fmt::print(stderr, "disk_images: {}\n", message);
    std::exit(1);
}
void check(int error) {
    if (error != 0) fail(fmt::format("an access failed with {}", error));
}

std::unique_ptr<RawImage> open_raw(const std::string& path) {
    ::close(::open(path.c_str(), O_CREAT | O_TRUNC | O_RDWR, 0600));
    auto raw = RawImage::open(path, {});
    if (!raw) fail(raw.error().message);
    return std::move(*raw);
}

std::unique_ptr<BlockImage> open_qcow2(const std::string& path, u64 size) {
    auto file = open_raw(path);
    Qcow2CreateOptions create;
    create.size = size;
    if (auto made = create_qcow2(*file, create); !made) fail(made.error().message);
    auto image = Qcow2Image::open(std::move(file), nullptr, {});
    if (!image) fail(image.error().message);
    return std::move(*image);
}

void sequential(BlockImage& image, u64 step, bool write) {
    std::vector<u8> data(step, 0x5a);
    for (u64 at = 0; at < image.size(); at += step)
        check(write ? image.write(at, data) : image.read(at, data));
}

void at_random(BlockImage& image, bool write, unsigned threads) {
    const auto work = [&](unsigned thread) {
        std::mt19937_64 random(thread);
        std::vector<u8> data(4096, 0xa5);
        for (u64 i = 0; i < random_accesses / threads; ++i) {
            const u64 at = random() % (image.size() / 4096) * 4096;
            check(write ? image.write(at, data) : image.read(at, data));
        }
    };
    std::vector<std::thread> running;
    for (unsigned thread = 1; thread < threads; ++thread)
        running.emplace_back(work, thread);
    work(0);
    for (std::thread& thread : running)
        thread.join();
}

double milliseconds(const std::function<void()>& work) {
    const auto start = Clock::now();
    work();
    return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

} // namespace

int main(int argc, char** argv) {
    if (argc < 2) fail("disk_images FOLDER [MIB]");
    const std::string folder = argv[1];
    const u64 size = (argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 512) * MiB;
    const std::string raw_path = folder + "/bench.raw", qcow2_path = folder + "/bench.qcow2";
    std::unique_ptr<BlockImage> raw = open_raw(raw_path);
    check(raw->resize(size));
    std::unique_ptr<BlockImage> qcow2 = open_qcow2(qcow2_path, size);

    const auto compare = [&](const char* what, int times, const std::function<void(BlockImage&)>& work) {
        double raw_best = 1e30, qcow2_best = 1e30;
        for (int i = 0; i < times; ++i) {
            raw_best = std::min(raw_best, milliseconds([&] { work(*raw); }));
            qcow2_best = std::min(qcow2_best, milliseconds([&] { work(*qcow2); }));
        }
        fmt::print("{:28} raw {:9.1f} ms  qcow2 {:9.1f} ms  ratio {:.2f}\n", what, raw_best, qcow2_best,
                   qcow2_best / raw_best);
    };
    // Into new files; the host writes back what the one before left.
    for (int i = 0; i < 3; ++i) {
        check(raw->flush());
        check(qcow2->flush());
        raw.reset(); // Its lock too.
        raw = open_raw(raw_path);
        check(raw->resize(size));
        qcow2.reset();
        qcow2 = open_qcow2(qcow2_path, size);
        compare("first write, 64 KiB", 1, [](BlockImage& image) { sequential(image, 65536, true); });
    }
    compare("flush", 1, [](BlockImage& image) { check(image.flush()); });
    compare("sequential write, 64 KiB", rounds, [](BlockImage& image) { sequential(image, 65536, true); });
    compare("sequential write, 4 KiB", rounds, [](BlockImage& image) { sequential(image, 4096, true); });
    compare("sequential read, 64 KiB", rounds, [](BlockImage& image) { sequential(image, 65536, false); });
    compare("sequential read, 1 MiB", rounds, [](BlockImage& image) { sequential(image, MiB, false); });
    compare("random 4 KiB read", rounds, [](BlockImage& image) { at_random(image, false, 1); });
    compare("random 4 KiB read, 2 threads", rounds, [](BlockImage& image) { at_random(image, false, 2); });
    compare("random 4 KiB write", rounds, [](BlockImage& image) { at_random(image, true, 1); });
    compare("random 4 KiB write, 2 threads", rounds, [](BlockImage& image) { at_random(image, true, 2); });
    compare("4 KiB write and flush, 50", rounds, [](BlockImage& image) {
        const std::vector<u8> data(4096, 1);
        for (u64 i = 0; i < 50; ++i) {
            check(image.write(i * 65536, data));
            check(image.flush());
        }
    });
    qcow2.reset();
    ::unlink(raw_path.c_str());
    ::unlink(qcow2_path.c_str());
    return 0;
}
