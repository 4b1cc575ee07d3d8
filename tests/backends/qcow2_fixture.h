// qcow2 images in memory, and what their contents may be.
#pragma once

#include "frontend/backends/block/qcow2_check.h"
#include "frontend/backends/block/qcow2_create.h"
#include "frontend/backends/block/qcow2_image.h"
#include "tests/backends/memory_image.h"

#include <gtest/gtest.h>
#include <ostream>

namespace calque::backends::test {

struct Shape {
    const char* label = "";
    Qcow2CreateOptions create;
    u64 backing_size = 0; // 0: no backing file.
    friend std::ostream& operator<<(std::ostream& out, const Shape& shape) { return out << shape.label; }
};

inline Qcow2CreateOptions shape_of(u64 cluster_size, u32 version = 3, u32 refcount_bits = 16, bool lazy = false) {
    Qcow2CreateOptions options;
    options.cluster_size = cluster_size;
    options.version = version;
    options.refcount_bits = refcount_bits;
    options.lazy_refcounts = lazy;
    return options;
}

// Per sector: the values that it may have. A sector's value is a number that fills it.
class Sectors {
  public:
    explicit Sectors(u64 count) : may_be_(count, {0}) {}

    static std::vector<u8> bytes(u64 value, u64 sectors = 1) {
        std::vector<u8> data(sectors * 512);
        for (u64 i = 0; i < data.size(); i += 8)
            std::memcpy(&data[i], &value, 8);
        return data;
    }
    u64 count() const { return may_be_.size(); }
    // It has this value now, whatever the file lost.
    void set(u64 sector, u64 value) { may_be_[sector] = {value}; }
    // It has this value now; after a loss it may have an earlier one.
    void add(u64 sector, u64 value) { may_be_[sector].push_back(value); }
    // What it has now is safe.
    void settle() {
        unsettled_ = may_be_;
        for (auto& values : may_be_)
            values = {values.back()};
    }
    // It was not safe: as before the last settle().
    void unsettle() {
        if (!unsettled_.empty()) may_be_ = std::move(unsettled_);
    }
    void forget_unsettled() { unsettled_.clear(); }
    u64 now(u64 sector) const { return may_be_[sector].back(); }
    // The number of sectors that are not what they may be; with `latest`, not what they are now.
    u64 wrong(BlockImage& image, bool latest) {
        u64 wrong = 0;
        std::vector<u8> data(512);
        for (u64 sector = 0; sector < count(); ++sector) {
            if (image.read(sector * 512, data) != 0) {
                ++wrong;
                continue;
            }
            u64 value;
            std::memcpy(&value, data.data(), 8);
            const auto& values = may_be_[sector];
            const bool good =
                data == bytes(value)
                && (latest ? value == values.back() : std::find(values.begin(), values.end(), value) != values.end());
            if (!good && ++wrong == 1) ADD_FAILURE() << "sector " << sector << " has " << value;
            if (good && !latest) set(sector, value);
        }
        return wrong;
    }

  private:
    std::vector<std::vector<u64>> may_be_;
    std::vector<std::vector<u64>> unsettled_;
};

class Qcow2Fixture {
  public:
    explicit Qcow2Fixture(const Shape& shape, u64 size) : disk(std::make_shared<MemoryDisk>()), sectors(size / 512) {
        Qcow2CreateOptions options = shape.create;
        options.size = size;
        if (shape.backing_size != 0) {
            backing = std::make_shared<MemoryDisk>();
            backing->bytes.resize(shape.backing_size);
            for (u64 i = 0; i < shape.backing_size / 512; ++i) {
                const auto data = Sectors::bytes(1'000'000'000 + i);
                std::copy(data.begin(), data.end(), backing->bytes.begin() + static_cast<i64>(i) * 512);
                if (i < sectors.count()) sectors.set(i, 1'000'000'000 + i);
            }
            options.backing_name = "backing";
        }
        MemoryImage file(disk);
        const auto made = create_qcow2(file, options);
        EXPECT_TRUE(made.ok()) << made.error().message;
        disk->track = true;
        disk->durable = disk->bytes;
    }

    std::unique_ptr<Qcow2Image> open(bool read_only = false) {
        std::unique_ptr<BlockImage> below;
        if (backing) below = std::make_unique<MemoryImage>(backing, true);
        Qcow2Image::Options options;
        options.read_only = read_only;
        options.report = [this](const std::string& text) { reports.push_back(text); };
        auto opened = Qcow2Image::open(std::make_unique<MemoryImage>(disk, read_only), std::move(below), options);
        EXPECT_TRUE(opened.ok()) << opened.error().message;
        return opened.ok() ? std::move(*opened) : nullptr;
    }
    qcow2::CheckResult check() {
        auto result = qcow2::check_image(std::make_unique<MemoryImage>(disk, true));
        EXPECT_TRUE(result.ok()) << result.error().message;
        return result.ok() ? *result : qcow2::CheckResult{};
    }
    // No errors; no leaks either where nothing went wrong.
    void expect_clean(bool leaks_allowed = false) {
        const auto result = check();
        EXPECT_EQ(result.errors, 0u);
        if (!leaks_allowed) {
            EXPECT_EQ(result.leaks, 0u);
        }
        if (result.errors != 0 || (!leaks_allowed && result.leaks != 0)) {
            for (std::size_t i = 0; i < std::min<std::size_t>(5, result.messages.size()); ++i)
                ADD_FAILURE() << result.messages[i];
        }
    }

    std::shared_ptr<MemoryDisk> disk;
    std::shared_ptr<MemoryDisk> backing;
    Sectors sectors;
    std::vector<std::string> reports;
};

} // namespace calque::backends::test
