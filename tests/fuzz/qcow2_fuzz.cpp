// A qcow2 file of any bytes, opened, read, checked and worked on. The first byte of the input chooses the work; the
// rest is the file. make_qcow2_seeds.sh makes the seeds.

#include "frontend/backends/block/qcow2_check.h"
#include "frontend/backends/block/qcow2_image.h"
#include "tests/backends/memory_image.h"

#include <cstdlib>
#include <random>

namespace {

using namespace calque;
using namespace calque::backends;
using test::MemoryDisk;
using test::MemoryImage;

constexpr u64 largest_file = 256 << 10;
constexpr int operations = 24;

void require(bool condition) {
    if (!condition) std::abort();
}

std::unique_ptr<Qcow2Image> open(const std::shared_ptr<MemoryDisk>& disk, bool read_only) {
    Qcow2Image::Options options;
    options.read_only = read_only;
    options.report = [](const std::string& text) { require(!text.empty()); };
    auto image = Qcow2Image::open(std::make_unique<MemoryImage>(disk, read_only), nullptr, options);
    require(image.ok() || !image.error().message.empty());
    return image ? std::move(*image) : nullptr;
}

// An error is a sentence.
void tell(const Error& error) { require(!error.message.empty()); }
void tell(const Result<void>& result) {
    if (!result) tell(result.error());
}

bool is_clean(const std::shared_ptr<MemoryDisk>& disk) {
    const auto result = qcow2::check_image(std::make_unique<MemoryImage>(disk, true));
    return result && result->errors == 0;
}

void look(Qcow2Image& image) {
    std::vector<u8> data(4096);
    for (u64 at = 0; at < image.size() && at < 64 * data.size(); at += data.size())
        image.read(at, std::span(data).first(std::min<u64>(data.size(), image.size() - at)));
    for (u64 at = 0, steps = 0; at < image.size() && steps < 64; ++steps) {
        Qcow2Image::Status status;
        if (image.status(at, image.size() - at, status) != 0) break;
        require(status.length != 0 && status.length <= image.size() - at);
        at += status.length;
    }
    if (const auto list = image.snapshots(); !list) tell(list.error());
}

// What was written is read back, unless the image gave an error.
void write_and_read(Qcow2Image& image, std::mt19937_64& random, u64 offset, u64 length) {
    const std::vector<u8> data(length, static_cast<u8>(random()));
    if (image.write(offset, data) != 0) return;
    std::vector<u8> back(length);
    require(image.read(offset, back) != 0 || back == data);
}

void work(Qcow2Image& image, std::mt19937_64& random) {
    for (int i = 0; i < operations; ++i) {
        const u64 size = image.size();
        const u64 offset = size == 0 ? 0 : (random() % 4 == 0 ? random() : random() % (64 << 10)) % size;
        const u64 length = std::min<u64>(1 + random() % 3000, size - offset);
        switch (random() % 12) {
        case 0: image.flush(); break;
        case 1: image.discard(offset, std::min<u64>(size - offset, random() % (1 << 20))); break;
        case 2: image.write_zeroes(offset, std::min<u64>(size - offset, random() % 20000), random() % 2); break;
        case 3: tell(image.create_snapshot("s", 0, 0)); break;
        case 4: tell(image.apply_snapshot(random() % 2 ? "1" : "s")); break;
        case 5: tell(image.delete_snapshot(random() % 2 ? "1" : "2")); break;
        case 6:
            image.resize(random() % 2 ? size + random() % 5000 : size - std::min<u64>(size, random() % 5000));
            break;
        default: write_and_read(image, random, offset, length);
        }
    }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size == 0) return 0;
    auto disk = std::make_shared<MemoryDisk>();
    disk->limit = largest_file;
    disk->bytes.assign(data + 1, data + size);
    if (auto image = open(disk, true)) look(*image);
    const bool clean = is_clean(disk);
    std::mt19937_64 random(data[0]);
    if (auto image = open(disk, false)) {
        work(*image, random);
        image.reset();
        // An image that was whole stays whole.
        require(!clean || is_clean(disk));
        if (auto again = open(disk, true)) look(*again);
    }
    return 0;
}
