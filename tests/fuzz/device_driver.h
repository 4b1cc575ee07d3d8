// Turns a fuzzer's bytes into what a guest and the host can do to a device: accesses, time, resets, saving, loading
// (of damaged states too), and steps of the target's own.
#pragma once

#include "base/archive.h"
#include "base/manual_clock.h"
#include "devices/bus/bus.h"
#include "devices/char_backend.h"
#include "devices/dma.h"
#include "devices/irq_line.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <vector>

namespace calque::fuzz {

// The input, eaten from the front; zeros when it is used up.
class Input {
  public:
    Input(const u8* data, std::size_t size) : left_(data, size) {}
    bool empty() const { return left_.empty(); }
    u64 integer(unsigned size) {
        u64 value = 0;
        for (unsigned i = 0; i < size; ++i)
            value |= u64{byte()} << (8 * i);
        return value;
    }
    u8 byte() {
        if (left_.empty()) return 0;
        const u8 first = left_.front();
        left_ = left_.subspan(1);
        return first;
    }
    std::vector<u8> bytes(std::size_t count) {
        count = std::min(count, left_.size());
        std::vector<u8> taken(left_.begin(), left_.begin() + static_cast<std::ptrdiff_t>(count));
        left_ = left_.subspan(count);
        return taken;
    }

  private:
    std::span<const u8> left_;
};

class NoLines final : public devices::IrqSink {
  public:
    void set_irq(unsigned, bool) override {}
};

class Ram final : public devices::DmaPort {
  public:
    explicit Ram(std::size_t size) : bytes(size) {}
    bool dma_read(PhysicalAddress address, std::span<u8> data) override {
        if (address.value > bytes.size() || data.size() > bytes.size() - address.value) return false;
        if (!data.empty()) std::memcpy(data.data(), bytes.data() + address.value, data.size());
        return true;
    }
    bool dma_write(PhysicalAddress address, std::span<const u8> data) override {
        if (address.value > bytes.size() || data.size() > bytes.size() - address.value) return false;
        if (!data.empty()) std::memcpy(bytes.data() + address.value, data.data(), data.size());
        return true;
    }
    std::vector<u8> bytes;
};

// Keeps to the receiver's room, as every backend must.
class Backend final : public devices::CharBackend {
  public:
    void transmit(std::span<const u8>) override {}
    void set_receiver(Receiver receiver) override { receiver_ = std::move(receiver); }
    void resume() override {}
    void type(const std::vector<u8>& text) {
        if (!receiver_.room) return;
        const std::size_t count = std::min(receiver_.room(), text.size());
        if (count) receiver_.deliver(std::span(text).first(count));
    }
    void send_break() {
        if (receiver_.send_break) receiver_.send_break();
    }

  private:
    Receiver receiver_;
};

// A saved state with one byte changed and its checksum (FNV-1a, see base/archive.cpp) made right again.
inline std::vector<u8> damaged(std::vector<u8> bytes, u64 where, u8 change) {
    constexpr std::size_t header = 16, payload = header + 8;
    if (bytes.size() <= payload) return bytes;
    bytes[payload + where % (bytes.size() - payload)] ^= change;
    u64 hash = 0xcbf29ce484222325;
    for (std::size_t i = payload; i < bytes.size(); ++i)
        hash = (hash ^ bytes[i]) * 0x100000001b3;
    std::memcpy(bytes.data() + header, &hash, sizeof hash);
    return bytes;
}

struct Target {
    devices::Device& device;
    devices::Bus& bus;
    std::vector<std::pair<u64, u64>> ranges; // Base and length of what the guest can reach.
    ManualClock* clock = nullptr;
    std::function<void(Input&)> more; // A step of the target's own.
};

inline void save_and_load(devices::Device& device, u64 where, u8 change) {
    Archive saver = Archive::saver();
    device.serialize(saver);
    Archive loader = Archive::loader(damaged(saver.take(), where, change));
    device.serialize(loader);
    // A state that does not load leaves the device unfit to run, but not to be reset.
    if (!loader.ok()) device.reset();
}

inline void drive(Target target, const u8* data, std::size_t size) {
    Input input(data, size);
    while (!input.empty()) {
        const u8 step = input.byte();
        const auto& [base, length] = target.ranges[(step >> 4) % target.ranges.size()];
        const unsigned width = 1u << (input.byte() & 3);
        switch (step & 15) {
        default: target.bus.write(base + input.byte() % length, input.integer(width), width); break;
        case 0:
        case 1:
        case 2:
        case 3: target.bus.read(base + input.byte() % length, width); break;
        case 4:
            if (target.clock) target.clock->advance(input.integer(4) % 1'000'000'000);
            break;
        case 5: save_and_load(target.device, 0, 0); break;
        case 6: save_and_load(target.device, input.integer(2), input.byte()); break;
        case 7: target.device.reset(); break;
        case 8:
        case 9:
        case 10:
            if (target.more) target.more(input);
            break;
        }
    }
}

} // namespace calque::fuzz
