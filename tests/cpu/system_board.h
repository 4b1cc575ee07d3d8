// A processor with descriptor tables, task states, page tables and handlers in place, for the tests of privileged
// behaviour. Programs are bytes with their assembly beside them; they run through the interpreter, from memory.
//
//   Board b(Board::Mode::protected32);
//   b.program({0x0F, 0x0B});                    // UD2
//   EXPECT_EQ(b.run_to_handler(), 6);           // The vector whose handler was entered; its HLT stopped the processor.
//   EXPECT_EQ(b.stacked32(0), code_at);         // The frame.
//
// All handlers are a HLT at privilege level 0.
#pragma once

#include "mmu/guest_ram.h"
#include "tests/cpu/engine.h"
#include "tests/cpu/harness.h"

#include <gtest/gtest.h>

namespace calque::cpu::testing {

// Where things are, linear and physical.
inline constexpr u64 gdt_at = 0x1000, idt_at = 0x2000, tss_at = 0x3000, ldt_at = 0x3800, tss2_at = 0x4000,
                     handlers_at = 0x5000, code_at = 0x6000, data_at = 0x8000, user_stack = 0xA000,
                     kernel_stack = 0xC000, ist_stack = 0xE000, ring1_stack = 0xF000, page_tables = 0x20000,
                     second_code_at = 0x7000;

// Selectors of the GDT.
inline constexpr u16 kernel_code = 0x08, kernel_data = 0x10, user_code = 0x1B, user_data = 0x23, tss_selector = 0x28,
                     ldt_selector = 0x38, conforming_code = 0x48, absent_data = 0x50, absent_code = 0x58,
                     read_only_data = 0x60, expand_down_data = 0x68, tss2_selector = 0x70, gate_selector = 0x80,
                     execute_only_code = 0x90, code16 = 0x98, data16 = 0xA0, ring1_code = 0xA8 | 1,
                     ring1_data = 0xB0 | 1, task_gate_selector = 0xB8, user_code32 = 0xC0 | 3, spare = 0xC8;
inline constexpr u16 gdt_limit = 0xFF;

// A segment descriptor from base, limit (in its own granularity) and rights as SegmentRegister has them.
constexpr u64 descriptor(u32 base, u32 limit, u16 rights) {
    return (limit & 0xFFFF) | u64{base & 0xFFFFFF} << 16 | u64{rights & 0xF0FFu} << 40 | u64{limit >> 16 & 0xF} << 48
           | u64{base >> 24} << 56;
}
constexpr u64 gate(u16 selector, u32 offset, u8 type, u8 dpl, u8 low_field = 0) {
    return (offset & 0xFFFF) | u64{selector} << 16 | u64{low_field} << 32 | u64{0x80u | dpl << 5 | type} << 40
           | u64{offset >> 16} << 48;
}

class Board {
  public:
    enum class Mode : u8 { real, protected32, long64 };

    explicit Board(Mode mode, CpuModel model = {})
        : mode_(mode), model_(std::move(model)), ram_(std::move(mmu::GuestRam::create(ram_size).value())) {
        mmu::Region region;
        region.length = ram_size;
        region.kind = mmu::RegionKind::ram;
        region.host = ram_.data();
        region.name = "ram";
        memory.set_ram_file(ram_.file());
        memory.set_regions({region});
        cpu_ = std::make_unique<Cpu>(0, model_, memory, platform, log);
        engine_ = make_engine(memory, log);
        cpu_->mmu.unpark();
        enter();
    }
    ~Board() { cpu_->mmu.park(); }

    Cpu& cpu() { return *cpu_; }
    ExecutionEngine& engine() { return *engine_; }
    CpuState& state() { return cpu_->state; }
    u64& gpr(unsigned n) { return cpu_->state.gpr[n]; }
    SegmentRegister& segment(unsigned n) { return cpu_->state.segment[n]; }
    // RAM as another thread may look at it while the processor runs.
    u32 watch(u64 at) const {
        return __atomic_load_n(reinterpret_cast<const u32*>(ram_.data() + at), __ATOMIC_RELAXED);
    }
    template <class T> T peek(u64 at) {
        T value;
        std::memcpy(&value, ram_.data() + at, sizeof(T));
        return value;
    }
    template <class T> void poke(u64 at, T value) {
        u8 bytes[sizeof(T)];
        std::memcpy(bytes, &value, sizeof(T));
        memory.write(PhysicalAddress(at), bytes);
    }
    u64 gdt_entry(u16 selector) { return peek<u64>(gdt_at + (selector & ~7u)); }
    void set_gdt(u16 selector, u64 low) { poke<u64>(gdt_at + (selector & ~7u), low); }

    // Bytes at `at`; program() also puts RIP there.
    void bytes(u64 at, std::initializer_list<u8> code) {
        memory.write(PhysicalAddress(at), std::span<const u8>(code.begin(), code.size()));
    }
    void program(std::initializer_list<u8> code, u64 at = code_at) {
        bytes(at, code);
        state().rip() = at - segment(cs).base;
        state().activity = Activity::running;
    }
    // As many instructions; without a number, until something stops the processor.
    ExitReason run(u64 instructions) { return engine_->run(*cpu_, instructions); }
    ExitReason run() { return run(long_budget(1000)); }
    // Runs until a handler's HLT; the vector, or -1 when the processor stopped elsewhere.
    int run_to_handler(u64 instructions) { return handler_of(run(instructions)); }
    int run_to_handler() { return handler_of(run()); }
    // The nth element of the stack in force.
    u16 stacked16(unsigned n) { return peek<u16>(stack_base() + n * 2); }
    u32 stacked32(unsigned n) { return peek<u32>(stack_base() + n * 4); }
    u64 stacked64(unsigned n) { return peek<u64>(stack_base() + n * 8); }

    // To privilege level 3, as IRET would have left it.
    void enter_user() {
        segment(cs) = cached(mode_ == Mode::long64 ? user_code : user_code);
        segment(ss) = cached(user_data);
        for (unsigned n : {es, ds, fs, gs})
            segment(n) = cached(user_data);
        gpr(rsp) = user_stack;
        cpu_->update_mode();
    }
    // What a segment register holds after loading the GDT's descriptor.
    SegmentRegister cached(u16 selector) {
        const u64 d = gdt_entry(selector);
        const u32 limit = static_cast<u32>((d & 0xFFFF) | (d >> 32 & 0xF0000));
        const u16 rights = static_cast<u16>((d >> 40 & 0xF0FF) | (d >> 44 & 1));
        const u32 base = static_cast<u32>((d >> 16 & 0xFFFFFF) | (d >> 32 & 0xFF000000));
        return {selector, rights, d >> 55 & 1 ? limit << 12 | 0xFFF : limit, base};
    }
    void set_idt(unsigned vector, u64 low, u64 high = 0) {
        const u64 size = mode_ == Mode::long64 ? 16 : 8;
        poke<u64>(idt_at + vector * size, low);
        if (size == 16) poke<u64>(idt_at + vector * size + 8, high);
    }
    static constexpr u32 handler(unsigned vector) { return static_cast<u32>(handlers_at + vector * 16); }

    Log log;
    mmu::PhysicalMap memory{log};
    FakePlatform platform;

  private:
    int handler_of(ExitReason reason) {
        if (reason != ExitReason::halted) return -1;
        const u64 at = segment(cs).base + state().rip() - 1 - handlers_at;
        return at < 256 * 16 && at % 16 == 0 ? static_cast<int>(at / 16) : -1;
    }

    static constexpr u64 ram_size = 0x100000;
    u64 stack_base() { return segment(ss).base + (gpr(rsp) & cpu_->stack_mask()); }

    void write_gdt() {
        const u16 code = mode_ == Mode::long64 ? 0xA09A : 0xC09A;
        const auto with_dpl = [](u16 rights, u16 dpl) { return static_cast<u16>(rights | dpl << 5); };
        set_gdt(kernel_code, descriptor(0, 0xFFFFF, code));
        set_gdt(kernel_data, descriptor(0, 0xFFFFF, 0xC092));
        set_gdt(user_code, descriptor(0, 0xFFFFF, with_dpl(code, 3)));
        set_gdt(user_data, descriptor(0, 0xFFFFF, with_dpl(0xC092, 3)));
        set_gdt(tss_selector, descriptor(tss_at, 0x7FF, 0x0089));
        set_gdt(ldt_selector, descriptor(ldt_at, 0x7F, 0x0082));
        set_gdt(conforming_code, descriptor(0, 0xFFFFF, static_cast<u16>(code | 4)));
        set_gdt(absent_data, descriptor(0, 0xFFFFF, 0xC012));
        set_gdt(absent_code, descriptor(0, 0xFFFFF, static_cast<u16>(code & ~0x80)));
        set_gdt(read_only_data, descriptor(0, 0xFFFFF, 0xC090));
        set_gdt(expand_down_data, descriptor(0, 0x9, 0xC096)); // Valid from A000h.
        set_gdt(tss2_selector, descriptor(tss2_at, 0x7FF, 0x0089));
        set_gdt(execute_only_code, descriptor(0, 0xFFFFF, 0xC098));
        set_gdt(code16, descriptor(0, 0xFFFF, 0x009A));
        set_gdt(data16, descriptor(0, 0xFFFF, 0x0092));
        set_gdt(ring1_code, descriptor(0, 0xFFFFF, with_dpl(code, 1)));
        set_gdt(ring1_data, descriptor(0, 0xFFFFF, with_dpl(0xC092, 1)));
        set_gdt(user_code32, descriptor(0, 0xFFFFF, with_dpl(0xC09A, 3)));
    }

    void write_handlers() {
        for (unsigned v = 0; v < 256; ++v) {
            bytes(handler(v), {0xF4});
            if (mode_ == Mode::real)
                poke<u32>(v * 4, static_cast<u32>((handlers_at >> 4) << 16 | v * 16));
            else
                set_idt(v, gate(kernel_code, handler(v), 0xE, 0));
        }
    }

    void write_tss() {
        if (mode_ == Mode::long64) {
            poke<u64>(tss_at + 4, kernel_stack);
            poke<u64>(tss_at + 12, ring1_stack);
            poke<u64>(tss_at + 0x24, ist_stack);
        } else {
            poke<u32>(tss_at + 4, kernel_stack);
            poke<u32>(tss_at + 8, kernel_data);
            poke<u32>(tss_at + 12, ring1_stack);
            poke<u32>(tss_at + 16, ring1_data);
        }
        poke<u16>(tss_at + 102, 0x800); // No I/O bitmap: beyond the limit.
        poke<u16>(tss2_at + 102, 0x800);
    }

    void enter() {
        CpuState& s = state();
        write_handlers();
        if (mode_ == Mode::real) {
            for (unsigned n = es; n <= gs; ++n)
                s.segment[n] = {0, 0x93, 0xFFFF, 0};
            s.gpr[rsp] = kernel_stack;
        } else {
            enter_protected(s);
        }
        s.rip() = code_at;
        s.activity = Activity::running;
        cpu_->mmu.flush_all(true);
        cpu_->update_mode();
        cpu_->events = 0;
    }

    void enter_protected(CpuState& s) {
        write_gdt();
        write_tss();
        s.gdtr = {gdt_at, gdt_limit};
        s.idtr = {idt_at, 0xFFF};
        s.cr0 = cr0_pe | cr0_et | cr0_ne | cr0_wp;
        s.cr4 = cr4_osfxsr | cr4_pge;
        if (mode_ == Mode::long64) {
            s.cr0 |= cr0_pg;
            s.cr4 |= cr4_pae;
            s.efer = efer_lme | efer_lma | efer_nxe | efer_sce;
            s.cr3 = page_tables;
            poke<u64>(page_tables, (page_tables + 0x1000) | 7);
            poke<u64>(page_tables + 0x1000, (page_tables + 0x2000) | 7);
            poke<u64>(page_tables + 0x2000, 0x87); // 2 MiB, user, writable: linear is physical.
        }
        s.segment[cs] = cached(kernel_code);
        for (unsigned n : {es, ss, ds, fs, gs})
            s.segment[n] = cached(kernel_data);
        s.segment[ldtr] = {0, 0, 0, 0};
        s.segment[tr] = {tss_selector, 0x8B, 0x7FF, tss_at};
        set_gdt(tss_selector, gdt_entry(tss_selector) | u64{2} << 40);
        s.gpr[rsp] = kernel_stack;
    }

    Mode mode_;
    CpuModel model_;
    mmu::GuestRam ram_;
    std::unique_ptr<Cpu> cpu_;
    std::unique_ptr<ExecutionEngine> engine_;
};

inline constexpr int de = 0, db = 1, bp = 3, ov = 4, ud = 6, nm = 7, df = 8, ts_fault = 10, np = 11, ss_fault = 12,
                     gp = 13, pf = 14;

} // namespace calque::cpu::testing
