// A guest for the loaders' fuzz targets: it checks every write against the RAM there is, and stores none of it.
#pragma once

#include "firmware/loaders/loaders.h"

#include <cstdlib>

namespace calque::firmware::fuzz {

class BoundsOnlyMemory final : public GuestMemory {
  public:
    explicit BoundsOnlyMemory(RamLayout layout) : layout_(layout) {}
    bool write(PhysicalAddress address, std::span<const u8> bytes) override { return is_ram(address, bytes.size()); }
    bool read(PhysicalAddress address, std::span<u8> bytes) const override { return is_ram(address, bytes.size()); }

  private:
    bool is_ram(PhysicalAddress address, u64 size) const {
        const bool low = size <= layout_.low && address.value <= layout_.low - size;
        const bool high =
            address.value >= 4 * GiB && size <= layout_.high && address.value - 4 * GiB <= layout_.high - size;
        return low || high;
    }
    RamLayout layout_;
};

// Loads the input as a kernel with one module, in little memory, and stops the program if the result is not what every
// loader promises: an error with a sentence, or an entry point below 4 GiB.
template <class Loader> int load_image(const u8* data, std::size_t size, Loader loader) {
    Platform platform;
    platform.ram = ram_layout(64 * MiB);
    BoundsOnlyMemory memory(platform.ram);
    const E820Map map = e820_map(platform, firmware_areas(platform, 4 * page_size));
    const std::span<const u8> image(data, size);
    const BootRequest request{image, "kernel", "console=ttyS0 mem=48M", {{image.first(size / 2), "module", "text"}}};
    const auto state = loader(LoadContext{memory, map, platform, PhysicalAddress(0xF0000)}, request);
    if (state.ok() ? state->rip > 4 * GiB : state.error().message.empty()) std::abort();
    return 0;
}

} // namespace calque::firmware::fuzz
