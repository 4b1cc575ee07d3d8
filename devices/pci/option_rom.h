// The expansion ROM of a PCI function (PCI 3.0, 6.3): what firmware copies and runs.
#pragma once

#include "base/bits.h"
#include "devices/device.h"

#include <algorithm>
#include <bit>
#include <vector>

namespace calque::devices {

class OptionRom final : public IoRegion {
  public:
    static constexpr u64 largest = u64{16} << 20;

    // Padded with ones to the power of two that its BAR decodes.
    explicit OptionRom(std::vector<u8> image) : image_(std::move(image)) {
        image_.resize(std::bit_ceil(std::max<std::size_t>(image_.size(), 2048)), 0xFF);
    }
    u64 size() const { return image_.size(); }

    u64 read(u64 offset, unsigned size) override {
        u64 value = 0;
        for (unsigned i = 0; i < size && offset + i < image_.size(); ++i)
            value |= u64{image_[offset + i]} << (8 * i);
        return value;
    }
    void write(u64, u64, unsigned) override {}

  private:
    std::vector<u8> image_;
};

} // namespace calque::devices
