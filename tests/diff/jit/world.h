// One machine with an engine of its own: memory, a device, a processor.
#pragma once

#include "cpu/interpreter.h"
#include "jit/engine.h"
#include "mmu/mirror.h"
#include "tests/cpu/harness.h"
#include "tests/diff/jit/image.h"

#include <memory>
#include <string>

namespace calque::diff {

// jit_bounded keeps a budget to the instruction (jit::Counting::bounded); the other two have none.
enum class EngineKind : u8 { interpreter, jit, jit_single, jit_bounded };
inline constexpr std::string_view engine_names[] = {"interpreter", "jit", "jit, units of one instruction",
                                                    "jit, units with a budget"};

// What programs reach as device memory. Reads give values that depend on what came before; writes are remembered, may
// raise an interrupt, and may write to code as a bus master does.
class Device final : public mmu::IoTarget {
  public:
    u64 read(PhysicalAddress address, unsigned size) override;
    void write(PhysicalAddress address, u64 value, unsigned size) override;
    void reset() { hash_ = 1, accesses_ = 0; }
    u64 hash() const { return hash_; }
    u64 accesses() const { return accesses_; }

    std::function<void()> interrupt;
    std::function<void(u64 value)> dma;

  private:
    void mix(u64 value) { hash_ = (hash_ ^ value) * 0x9E3779B97F4A7C15, hash_ ^= hash_ >> 29; }
    u64 hash_ = 1, accesses_ = 0;
};

// RAM between pages that nothing may touch.
class GuardedRam {
  public:
    explicit GuardedRam(std::size_t bytes);
    ~GuardedRam();
    GuardedRam(const GuardedRam&) = delete;
    GuardedRam& operator=(const GuardedRam&) = delete;
    u8* get() const { return ram_; }
    u8& operator[](std::size_t at) const { return ram_[at]; }
    mmu::RamFile file() const { return {ram_, bytes_, file_}; }

  private:
    static constexpr std::size_t guard_bytes = 16 * page_size;
    std::size_t bytes_;
    u8* ram_;
    int file_ = -1;
};

class World {
  public:
    World(EngineKind kind, jit::EngineOptions options);
    ~World();

    // Memory and processor as given; nothing is left of what was there before but translations of what is the same.
    void load(const Image& image);
    cpu::ExitReason run(u64 budget);
    // From another thread: makes run() return soon.
    void stop() { cpu_->request(cpu::event_stop); }

    // From another thread: something that the program must not notice. An interrupt whose handler does nothing, a
    // notice that code was written, new translations of addresses or of code.
    void disturb(Random& random);

    EngineKind kind() const { return kind_; }
    cpu::Cpu& cpu() { return *cpu_; }
    const cpu::CpuState& state() const { return cpu_->state; }
    std::span<const u8> ram() const { return {ram_.get(), ram_bytes}; }
    const Device& device() const { return device_; }
    Log& log() { return log_; }
    u64 translated() const; // Units so far.
    u32 exceptions() const; // That the program took.
    void flush() { engine_->flush(); }

  private:
    class Around final : public cpu::testing::FakePlatform {
      public:
        cpu::Cpu* cpu = nullptr;
        std::atomic<bool> raised{false};
        void raise() {
            raised = true;
            cpu->request(cpu::event_interrupt);
        }
        std::optional<u8> acknowledge_interrupt() override {
            cpu->withdraw(cpu::event_interrupt);
            if (!raised.exchange(false)) return std::nullopt;
            return vector_interrupt;
        }
    };

    EngineKind kind_;
    Log log_;
    GuardedRam ram_{ram_bytes};
    mmu::PhysicalMap memory_{log_};
    Around platform_;
    cpu::CpuModel model_;
    Device device_;
    std::unique_ptr<cpu::Cpu> cpu_;
    std::unique_ptr<cpu::ExecutionEngine> engine_;
    jit::Engine* jit_ = nullptr;
    std::atomic<bool> interrupts_{false}, remaps_{false}, constant_code_{false};
};

// What differs between two worlds after a run, one line each; empty when nothing does.
// `may_be_early`: who stops at an instruction may have looked at its page.
enum class Accessed : u8 { exact, may_be_early };
std::string difference(const World& expected, const World& got, Accessed accessed = Accessed::exact);

} // namespace calque::diff
