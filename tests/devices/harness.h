// What device tests drive a device with: a port bus, recorded lines, memory, a backend at hand.
#pragma once

#include "base/log.h"
#include "devices/bus/bus.h"
#include "devices/char_backend.h"
#include "devices/dma.h"
#include "devices/irq_line.h"
#include "tests/devices/saving.h"

#include <algorithm>
#include <array>
#include <gtest/gtest.h>
#include <map>
#include <string>
#include <vector>

namespace calque::devices::test {

// Remembers the level of each line and counts rising edges.
class RecordedLines final : public IrqSink {
  public:
    void set_irq(unsigned number, bool level) override {
        if (level && !levels[number]) ++edges[number];
        levels[number] = level;
    }
    bool level(unsigned number) const {
        const auto found = levels.find(number);
        return found != levels.end() && found->second;
    }
    unsigned edge_count(unsigned number) const {
        const auto found = edges.find(number);
        return found == edges.end() ? 0 : found->second;
    }
    std::map<unsigned, bool> levels;
    std::map<unsigned, unsigned> edges;
};

// RAM from address 0; everything above is not memory.
class SmallMemory final : public DmaPort {
  public:
    explicit SmallMemory(std::size_t size) : bytes(size) {}
    bool dma_read(PhysicalAddress address, std::span<u8> data) override {
        if (address.value > bytes.size() || data.size() > bytes.size() - address.value) return false;
        std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(address.value), data.size(), data.begin());
        return true;
    }
    bool dma_write(PhysicalAddress address, std::span<const u8> data) override {
        if (address.value > bytes.size() || data.size() > bytes.size() - address.value) return false;
        std::copy(data.begin(), data.end(), bytes.begin() + static_cast<std::ptrdiff_t>(address.value));
        return true;
    }
    std::vector<u8> bytes;
};

// A backend that keeps what the device sends, and feeds it what the test types.
class TypedBackend final : public CharBackend {
  public:
    void transmit(std::span<const u8> bytes) override { sent.append(bytes.begin(), bytes.end()); }
    void set_receiver(Receiver receiver) override { receiver_ = std::move(receiver); }
    void resume() override { ++resumed; }

    std::size_t room() { return receiver_.room ? receiver_.room() : 0; }
    // Delivers as much as there is room for; returns what was left.
    std::string type(std::string text) {
        const std::size_t count = std::min(room(), text.size());
        const std::vector<u8> bytes(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(count));
        if (count) receiver_.deliver(bytes);
        return text.substr(count);
    }
    void send_break() { receiver_.send_break(); }

    std::string sent;
    unsigned resumed = 0;

  private:
    Receiver receiver_;
};

} // namespace calque::devices::test
