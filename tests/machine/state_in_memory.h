// Saved states in memory, and a small machine that has one.
#pragma once

#include "base/manual_clock.h"
#include "frontend/machine/machine.h"

#include <algorithm>
#include <cstdlib>

namespace calque::machine::testing {

class MemorySink final : public backends::StateSink {
  public:
    Result<void> write(std::span<const u8> bytes) override {
        all.insert(all.end(), bytes.begin(), bytes.end());
        return {};
    }
    std::vector<u8> all;
};

class MemorySource final : public backends::StateSource {
  public:
    explicit MemorySource(std::span<const u8> bytes) : left_(bytes) {}
    Result<void> read(std::span<u8> bytes) override {
        if (bytes.size() > left_.size()) return error("the saved state ends too early");
        std::copy_n(left_.begin(), bytes.size(), bytes.begin());
        left_ = left_.subspan(bytes.size());
        return {};
    }

  private:
    std::span<const u8> left_;
};

// One that stands still, with firmware that is not there: its memory and devices are what there is.
struct SmallMachine {
    explicit SmallMachine(u64 megabytes = 4, std::vector<DeviceRequest> devices = {},
                          const ChipsetBackends& backends = {}) {
        MachineConfig config;
        config.ram_bytes = megabytes << 20;
        config.devices = std::move(devices);
        auto made = Machine::create(config, log, backends, &clock);
        if (!made) std::abort();
        machine = std::move(*made);
    }
    u8* ram() { return machine->memory().ram().data(); }
    std::vector<u8> devices() { return std::move(machine->state_of_devices()).value(); }
    std::vector<u8> save() {
        MemorySink sink;
        backends::StateWriter writer(sink);
        const auto good = [](const Result<void>& result) {
            if (!result) std::abort();
        };
        good(writer.begin());
        good(writer.record(backends::RecordKind::machine, machine->state_identity()));
        good(machine->send_pages(writer, machine->memory().touched_pages(), false));
        good(writer.record(backends::RecordKind::devices, backends::compress_state(devices())));
        good(writer.end());
        return sink.all;
    }
    Result<void> restore(std::span<const u8> state) {
        return machine->restore(
            [&]() -> Result<std::unique_ptr<backends::StateSource>> {
                return std::unique_ptr<backends::StateSource>(std::make_unique<MemorySource>(state));
            },
            {});
    }

    Log log;
    ManualClock clock;
    std::unique_ptr<Machine> machine;
};

} // namespace calque::machine::testing
