// Overlapping ranges against the simplest model: of the ranges over an address, the one mapped last.
#include "devices/bus/bus.h"
#include "tests/fuzz/device_driver.h"

#include <array>
#include <cstdlib>

using namespace calque;
using namespace calque::devices;

namespace {

class Numbered final : public IoRegion {
  public:
    u8 number = 0;
    u64 read(u64 offset, unsigned) override {
        last_offset = offset;
        return number;
    }
    void write(u64 offset, u64, unsigned) override { last_offset = offset; }
    u64 last_offset = 0;
};

struct Mapped {
    u64 base, length;
    Numbered* region;
};

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
    Log log;
    Bus bus(Bus::Kind::memory, log);
    std::array<Numbered, 8> regions;
    for (u8 i = 0; i < 8; ++i)
        regions[i].number = i;
    std::vector<Mapped> model;
    fuzz::Input input(data, size);
    for (unsigned step = 0; !input.empty() && step < 300; ++step) {
        const u8 what = input.byte();
        Numbered& region = regions[what & 7];
        const u64 address = what & 0x10 ? ~u64{0} - input.byte() : input.byte();
        if (what >> 6 == 0) {
            const u64 length = input.byte();
            bus.map(address, length, region, "range");
            if (length) model.push_back({address, std::min(length - 1, ~u64{0} - address) + 1, &region});
        } else if (what >> 6 == 1) {
            bus.unmap(region);
            std::erase_if(model, [&](const Mapped& m) { return m.region == &region; });
        } else {
            const Mapped* expected = nullptr;
            for (const Mapped& m : model)
                if (address >= m.base && address - m.base < m.length) expected = &m;
            if (bus.read(address, 1) != (expected ? expected->region->number : 0xFFu)) std::abort();
            if (expected && expected->region->last_offset != address - expected->base) std::abort();
            bus.read(address, 8);
            bus.write(address, 0, 4);
        }
    }
    return 0;
}
