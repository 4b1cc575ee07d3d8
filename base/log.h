// Log channels (--trace CHANNEL, -d CHANNEL) and the counted reports of what is not implemented.
#pragma once

#include "base/result.h"
#include "base/types.h"

#include <atomic>
#include <fmt/core.h>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace calque {

// One channel a subject; a person picks them with --trace a,b,c.
#define CALQUE_LOG_CHANNELS(X)                                                                                         \
    X(general, "start-up, shutdown, options")                                                                          \
    X(exec, "every block as it is entered")                                                                            \
    X(insn, "every instruction with its registers")                                                                    \
    X(exception, "exceptions and interrupts as they are delivered")                                                    \
    X(mode, "processor mode changes: control registers, EFER, task switches")                                          \
    X(msr, "model-specific registers")                                                                                 \
    X(cpuid, "CPUID leaves as they are read")                                                                          \
    X(mmu, "page walks and faults")                                                                                    \
    X(tlb, "TLB fills and flushes")                                                                                    \
    X(code, "code cache: decoding, invalidation")                                                                      \
    X(jit, "the translator: units, passes, host code")                                                                 \
    X(bus, "accesses that no device claims")                                                                           \
    X(io, "port accesses")                                                                                             \
    X(mmio, "memory-mapped accesses")                                                                                  \
    X(irq, "interrupt lines and controllers")                                                                          \
    X(timer, "PIT, RTC, HPET, APIC and PM timers")                                                                     \
    X(pci, "PCI configuration space")                                                                                  \
    X(serial, "UARTs")                                                                                                 \
    X(keyboard, "8042, keyboard and mouse")                                                                            \
    X(power, "ACPI power management, reset")                                                                           \
    X(fw, "firmware interfaces, fw_cfg, ACPI tables, loaders")                                                         \
    X(smp, "INIT, SIPI, inter-processor interrupts")                                                                   \
    X(disk, "block devices and images")                                                                                \
    X(net, "network devices and backends")                                                                             \
    X(snapshot, "saving and loading the machine")

enum class Channel : u8 {
#define X(name, text) name,
    CALQUE_LOG_CHANNELS(X)
#undef X
};

// Where messages go. One per machine, passed by reference to whatever reports; safe from every thread.
// A message that repeats on a channel is printed once, and then as a count when something else follows.
class Log {
  public:
    Log();
    ~Log();
    Log(const Log&) = delete;
    Log& operator=(const Log&) = delete;

    // Turns on channels from a comma-separated list; "all" and "help" are understood by the caller. Unknown names are
    // an error.
    Result<void> enable(std::string_view list);
    // Sends the output to a file instead of stderr. The file is created or truncated.
    Result<void> open(const std::string& path);
    bool on(Channel channel) const {
        return (enabled_.load(std::memory_order_relaxed) >> static_cast<unsigned>(channel)) & 1;
    }

    template <class... Args> void trace(Channel channel, fmt::format_string<Args...> format, Args&&... args) {
        if (on(channel)) [[unlikely]]
            write(channel, fmt::format(format, std::forward<Args>(args)...));
    }

    // Counts something a guest asked for that this program does not have, under a fixed dotted name ("hpet.fsb").
    // Shown by --stats; traced on the channel the first time.
    void unimplemented(Channel channel, std::string_view name);
    struct Count {
        std::string name;
        u64 times;
    };
    std::vector<Count> unimplemented_counts() const; // Most frequent first.

    void write(Channel channel, std::string_view message);
    // The table of channel names and texts, for help.
    static std::string channel_help();

  private:
    struct Sink;
    static u64 low_mask_of_channels();
    std::atomic<u64> enabled_{0};
    std::unique_ptr<Sink> sink_;
    mutable std::mutex mutex_;
    std::map<std::string, u64, std::less<>> unimplemented_;
};

} // namespace calque
