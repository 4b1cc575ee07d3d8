// Drives a device with what a fuzzer makes up: reads, writes, time, its own inputs, saving and loading, damaged loads.
#pragma once

#include "base/archive.h"
#include "base/log.h"
#include "base/manual_clock.h"
#include "devices/bus/bus.h"
#include "devices/device.h"
#include "devices/irq_line.h"
#include "devices/lapic/vcpu_port.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <span>
#include <vector>

namespace calque::fuzz {

class Input {
  public:
    Input(const uint8_t* data, std::size_t size) : bytes_(data, size) {}
    bool empty() const { return bytes_.empty(); }
    // The next little-endian number; bytes past the end are 0.
    u64 number(unsigned size) {
        u64 value = 0;
        for (unsigned i = 0; i < size && !bytes_.empty(); ++i) {
            value |= u64{bytes_.front()} << (8 * i);
            bytes_ = bytes_.subspan(1);
        }
        return value;
    }
    u8 byte() { return static_cast<u8>(number(1)); }

  private:
    std::span<const uint8_t> bytes_;
};

struct NoSink final : devices::IrqSink, devices::MsiSink {
    void set_irq(unsigned, bool) override {}
    void send_msi(PhysicalAddress, u32) override {}
};

struct NoVcpu final : devices::VcpuPort {
    void interrupt_line(bool) override {}
    void nmi() override {}
    void smi() override {}
    void init() override {}
    void startup(u8) override {}
    void apic_base_changed(PhysicalAddress, bool) override {}
};

inline std::vector<u8> save(devices::Device& device) {
    Archive archive = Archive::saver();
    device.serialize(archive);
    return archive.take();
}

inline bool load(devices::Device& device, std::vector<u8> data) {
    Archive archive = Archive::loader(std::move(data));
    device.serialize(archive);
    return archive.ok();
}

// Changes bytes of a saved state and makes its checksum (FNV-1a over what follows the 24 bytes of header) fit again.
inline void damage(std::vector<u8>& state, Input& input) {
    constexpr std::size_t header = 24;
    for (unsigned changes = input.byte() % 4 + 1u; changes > 0; --changes)
        state[header + input.number(2) % (state.size() - header)] = input.byte();
    u64 hash = 0xcbf29ce484222325;
    for (std::size_t i = header; i < state.size(); ++i)
        hash = (hash ^ state[i]) * 0x100000001b3;
    std::memcpy(state.data() + 16, &hash, 8);
}

struct Range {
    u64 base;
    u64 length;
};

// Runs the input against the device on `bus`, where its registers lie in `ranges`. `extra(operation, input)` does what
// only this device has.
inline void drive(Input input, devices::Device& device, devices::Bus& bus, ManualClock& clock,
                  std::vector<Range> ranges, const std::function<void(u8, Input&)>& extra) {
    u64 time_left = 3'000'000'000; // Bounds how long one input can run.
    const auto advance = [&](u64 duration) {
        duration = std::min(duration, time_left);
        time_left -= duration;
        clock.advance(duration);
    };
    while (!input.empty()) {
        const u8 operation = input.byte();
        const Range range = ranges[operation / 8 % ranges.size()];
        const unsigned size = 1u << (input.byte() & 3);
        const u64 address = range.base + input.number(range.length > 256 ? 2 : 1) % range.length;
        switch (operation % 8) {
        case 0:
        case 1:
        case 2: bus.write(address, input.number(size), size); break;
        case 3: bus.read(address, size); break;
        case 4: advance(input.number(2) * 16); break;
        case 5: advance(input.number(3) * 64); break;
        case 6: extra(input.byte(), input); break;
        default:
            if (input.byte() & 0xf0) {
                if (!load(device, save(device))) __builtin_trap(); // What it saves, it loads.
            } else if (std::vector<u8> state = save(device); true) {
                damage(state, input);
                if (!load(device, std::move(state))) device.reset();
            }
        }
    }
}

} // namespace calque::fuzz
