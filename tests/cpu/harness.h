// A processor in a flat machine, for the tests of instructions.
//
//   Machine m(Machine::Kind::long64);                    // User mode, paged; compat32, compat16; or real16, flat32.
//   m.state().gpr[rax] = 5;
//   auto fault = m.step({0x48, 0xFF, 0xC0});             // INC RAX: decodes and runs one instruction at RIP.
//   EXPECT_FALSE(fault);  EXPECT_EQ(m.state().gpr[rax], 6u);
//
// step() neither fetches nor delivers: the bytes are given, and an exception is returned (RIP is then where hardware
// would leave it). A REP instruction runs to its end. run() places a program at code_base and lets the Interpreter run
// it, exceptions through the IDT and all.
// Memory: `arena`, 2 MiB of RAM at arena_base, where all modes but real16 have code and data; `low`, 1 MiB at 0, which
// real16 uses (code at real_code) and which holds the page tables. In long64 and the compat modes the arena is all that
// is mapped, linear equal to physical: other addresses fault.
#pragma once

#include "cpu/decode/decoder.h"
#include "cpu/dispatch.h"
#include "cpu/interpreter.h"
#include "cpu/threaded.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <vector>

namespace calque::cpu::testing {

inline constexpr u64 arena_base = 0x10000000, arena_size = 0x200000;
inline constexpr u64 code_base = arena_base + 0x1000, data_base = arena_base + 0x10000,
                     stack_top = arena_base + 0x20000;
inline constexpr u64 low_size = 0x100000, real_code = 0x7000;

// Ports that read what was set, and remember what was written; everything else at rest.
class FakePlatform : public Platform {
  public:
    struct PortWrite {
        u16 port;
        u32 value;
        unsigned size;
        bool operator==(const PortWrite&) const = default;
    };
    std::vector<PortWrite> writes;
    std::map<u16, std::vector<u32>> input; // What successive reads of a port give; then all ones.
    std::optional<u8> interrupt;
    u64 time = 0, random_value = 0x0123456789ABCDEF;
    u8 priority = 0;
    std::function<void()> ferr_changed;
    bool ferr = false, smm = false, bootstrap = true;

    u32 port_read(u16 port, unsigned size) override {
        auto& queue = input[port];
        if (queue.empty()) return size == 4 ? ~u32{0} : (1u << (size * 8)) - 1;
        const u32 value = queue.front();
        queue.erase(queue.begin());
        return value;
    }
    void port_write(u16 port, u32 value, unsigned size) override { writes.push_back({port, value, size}); }
    std::optional<u8> acknowledge_interrupt() override { return std::exchange(interrupt, std::nullopt); }
    u8 task_priority() override { return priority; }
    void set_task_priority(u8 value) override { priority = value; }
    bool apic_msr_read(u32, u64&) override { return false; }
    bool apic_msr_write(u32, u64) override { return false; }
    u32 apic_id() override { return 0; }
    bool apic_enabled() override { return true; }
    u64 timestamp() override { return ++time; }
    u64 timestamp_frequency() override { return 1'000'000'000; }
    void set_ferr(bool level) override {
        ferr = level;
        if (ferr_changed) ferr_changed();
    }
    u64 random() override { return random_value; }
    void set_smm(bool active) override { smm = active; }
    bool is_bootstrap() override { return bootstrap; }
};

class Machine {
  public:
    enum class Kind : u8 { long64, compat32, compat16, flat32, real16 };

    explicit Machine(Kind kind, CpuModel model = {}) : kind_(kind), model_(std::move(model)), decoder_(model_) {
        const auto ram = [](u64 base, u64 length, u8* host, const char* name) {
            mmu::Region region;
            region.base = PhysicalAddress(base);
            region.length = length;
            region.kind = mmu::RegionKind::ram;
            region.host = host;
            region.name = name;
            return region;
        };
        memory.set_regions({ram(0, low_size, low_.get(), "low"), ram(arena_base, arena_size, arena_.get(), "arena")});
        cpu_ = std::make_unique<Cpu>(0, model_, memory, platform, log);
        interpreter_ = std::make_unique<Interpreter>(memory, log, 1u << 16);
        cpu_->mmu.unpark();
        enter_mode();
        initial_ = cpu_->state;
    }
    ~Machine() { cpu_->mmu.park(); }

    Cpu& cpu() { return *cpu_; }
    Interpreter& interpreter() { return *interpreter_; }
    CpuState& state() { return cpu_->state; }
    const Decoder& decoder() const { return decoder_; }
    std::span<u8> arena() { return {arena_.get(), arena_size}; }
    std::span<u8> low() { return {low_.get(), low_size}; }
    // RAM at a physical address, of the arena or of low memory.
    u8* at(u64 address) { return address >= arena_base ? &arena_[address - arena_base] : &low_[address]; }
    template <class T> T peek(u64 address) {
        T value;
        std::memcpy(&value, at(address), sizeof(T));
        return value;
    }
    template <class T> void poke(u64 address, T value) { std::memcpy(at(address), &value, sizeof(T)); }
    // Registers as after construction; memory stays.
    void reset_state() { state() = initial_; }

    // One instruction, given by its bytes, at RIP.
    std::optional<Exception> step(std::span<const u8> bytes) {
        Instruction records[2];
        Form form;
        if (decoder_.decode(bytes, mode(), records[0], &form) == DecodeStatus::need_more)
            return Exception{Vector::page_fault, 0, 0};
        return step(records, form);
    }
    std::optional<Exception> step(std::initializer_list<u8> bytes) {
        return step(std::span<const u8>(bytes.begin(), bytes.size()));
    }
    // The same with the record decoded before: records[1] is overwritten.
    std::optional<Exception> step(Instruction (&records)[2], const Form& form) {
        records[1] = Instruction{};
        if ((properties_of(records[0]) & p_relative) && form.is(0, OperandKind::relative)) {
            records[1].handler = chain_unlinked; // Taken or not, what follows a branch is a chain record.
            records[1].dest = chain_mark;
            records[0].displacement = 1;
        } else {
            records[1].handler = end_of_block;
        }
        cpu_->dispatch.jumps = &no_jumps_;
        cpu_->dispatch.limit = 0;
        cpu_->dispatch.first = records;
        do
            records[0].handler(*cpu_, records);
        while (cpu_->exit_.flow == Flow::again);
        return cpu_->take_exception();
    }

    // Puts a program at code_base (real_code in real16) and runs it from there.
    ExitReason run(std::span<const u8> program, u64 budget = 1'000'000) {
        const u64 start = kind_ == Kind::real16 ? real_code : code_base;
        memory.write(PhysicalAddress(start), program);
        state().rip() = start;
        return interpreter_->run(*cpu_, budget);
    }
    ExitReason run(std::initializer_list<u8> program, u64 budget = 1'000'000) {
        return run(std::span<const u8>(program.begin(), program.size()), budget);
    }
    DecodeMode mode() const { return {cpu_->mode.code_size, !cpu_->mode.protected_mode || cpu_->mode.vm86, false}; }

    Log log;
    mmu::PhysicalMap memory{log};
    FakePlatform platform;

  private:
    static constexpr u64 pml4 = 0x10000, pdpt = 0x11000, directory = 0x12000;

    void enter_mode() {
        CpuState& s = state();
        s.activity = Activity::running;
        if (kind_ == Kind::real16) {
            set_segments(0x93, 0x93, 0xFFFF);
            s.rip() = real_code;
            s.gpr[rsp] = 0xFF00;
        } else {
            const bool paged = kind_ != Kind::flat32;
            s.cr0 = cr0_pe | cr0_mp | cr0_et | cr0_ne | cr0_wp | (paged ? cr0_pg : 0);
            s.cr4 = cr4_pae | cr4_pge | cr4_osfxsr | cr4_osxmmexcpt | cr4_fsgsbase | cr4_osxsave;
            s.xcr0 = 7;
            if (paged) enter_long_mode();
            const u16 rights = kind_ == Kind::long64     ? 0xA0FB
                               : kind_ == Kind::compat32 ? 0xC0FB
                               : kind_ == Kind::compat16 ? 0x80FB
                                                         : 0xC09B;
            set_segments(rights, paged ? 0xC0F3 : 0xC093, 0xFFFFFFFF);
            s.rip() = code_base;
            s.gpr[rsp] = stack_top;
        }
        s.x87.control = 0x37F;
        s.x87.valid = 0;
        cpu_->mmu.flush_all(true);
        cpu_->update_mode();
        cpu_->events = 0;
    }
    void enter_long_mode() {
        CpuState& s = state();
        s.efer = efer_lme | efer_lma | efer_nxe | efer_sce;
        s.cr3 = pml4;
        poke<u64>(pml4, pdpt | 7);
        poke<u64>(pdpt + (arena_base >> 30) * 8, directory | 7);
        poke<u64>(directory + ((arena_base >> 21) & 511) * 8, arena_base | 0xE7); // 2 MiB, user, writable.
    }
    void set_segments(u16 code_rights, u16 data_rights, u32 limit) {
        CpuState& s = state();
        const u16 selector = kind_ == Kind::real16 ? 0 : static_cast<u16>(0x20 | ((code_rights >> 5) & 3));
        for (unsigned n = es; n <= gs; ++n)
            s.segment[n] = {selector, data_rights, limit, 0};
        s.segment[cs] = {static_cast<u16>(selector == 0 ? 0 : selector + 8), code_rights, limit, 0};
    }

    struct Free {
        void operator()(u8* p) const { ::operator delete[](p, std::align_val_t(page_size)); }
    };
    using Pages = std::unique_ptr<u8[], Free>;
    static Pages pages(u64 bytes) {
        auto* p = static_cast<u8*>(::operator new[](bytes, std::align_val_t(page_size)));
        std::memset(p, 0, bytes);
        return Pages(p);
    }

    Kind kind_;
    Pages low_ = pages(low_size), arena_ = pages(arena_size);
    CpuModel model_;
    Decoder decoder_;
    std::unique_ptr<Cpu> cpu_;
    std::unique_ptr<Interpreter> interpreter_;
    CpuState initial_;
    JumpEntry no_jumps_{};
};

} // namespace calque::cpu::testing
