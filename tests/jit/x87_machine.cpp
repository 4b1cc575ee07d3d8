#include "tests/jit/x87_machine.h"

#include "cpu/flags.h"

#include <fmt/format.h>

namespace calque::jit::test {

using namespace cpu;
using Random = cpu::fp::test::Random;

namespace {

constexpr u16 code_selector = 0x08, data_selector = 0x10;
constexpr u64 idt_at = tables_at + 0x100;
constexpr u64 used_bytes = testing::stack_top + page_size - testing::arena_base;

EngineOptions hot_at_once(EngineOptions options) {
    options.hot_after = 1;
    options.code_bytes = std::size_t{4} << 20;
    options.switches.verify = true;
    return options;
}

// A number in a format that x87 instructions read, at random.
void fill(std::span<u8> memory, Random& random) {
    for (std::size_t at = 0; at + 16 <= memory.size(); at += 16) {
        u64 parts[2] = {random.pattern(64), random.next()};
        switch (random.below(6)) {
        case 0: parts[0] = random.operand<fp::F64>().bits, parts[1] = random.operand<fp::F64>().bits; break;
        case 1: parts[0] = u64{random.operand<fp::F32>().bits} << 32 | random.operand<fp::F32>().bits; break;
        case 2:
        case 3: {
            const fp::F80 value = random.operand80();
            parts[0] = value.significand, parts[1] = value.sign_exponent;
            break;
        }
        case 4: parts[0] = random.below(2000), parts[1] = random.below(2000); break;
        default: break;
        }
        std::memcpy(&memory[at], parts, sizeof parts);
    }
}

} // namespace

X87Machine::X87Machine(bool translated, EngineOptions options) {
    CpuState& s = state();
    s.segment[cs] = {code_selector, 0xA09B, 0xFFFFFFFF, 0};
    for (const unsigned n : {ss, ds, es, fs, gs})
        s.segment[n] = {data_selector, 0xC093, 0xFFFFFFFF, 0};
    machine_.poke<u64>(tables_at + code_selector, 0x00AF9B000000FFFF);
    machine_.poke<u64>(tables_at + data_selector, 0x00CF93000000FFFF);
    s.gdtr = {tables_at, 0xFF};
    s.idtr = {idt_at, 0xFFF};
    place_handlers();
    machine_.cpu().update_mode();
    if (translated) engine_ = std::make_unique<Engine>(machine_.memory, machine_.log, hot_at_once(options));
}

void X87Machine::gate(unsigned vector, u64 handler) {
    machine_.poke<u64>(idt_at + vector * 16, (handler & 0xFFFF) | u64{code_selector} << 16 | u64{0x8E00} << 32
                                                 | (handler >> 16 & 0xFFFF) << 48);
    machine_.poke<u64>(idt_at + vector * 16 + 8, handler >> 32);
}

// #UD: goes on behind two bytes. #NM: CLTS. #MF: FNCLEX. #PF: notes the x87 state as FXSAVE64 and FNSTENV show it, and
// mends RSI.
void X87Machine::place_handlers() {
    const auto place = [&](unsigned vector, std::initializer_list<u8> code) {
        const u64 at = handlers_at + vector * 64;
        std::copy(code.begin(), code.end(), machine_.at(at));
        gate(vector, at);
    };
    place(6, {0x48, 0x83, 0x04, 0x24, 0x02, 0x48, 0xCF});
    place(7, {0x0F, 0x06, 0x48, 0xCF});
    place(16, {0xDB, 0xE2, 0x48, 0xCF});
    place(14, {0x48, 0x83, 0xC4, 0x08,                   // ADD RSP, 8
               0x0F, 0x06,                               // CLTS
               0x49, 0x0F, 0xAE, 0x06,                   // FXSAVE64 [R14]
               0x41, 0xD9, 0xB6, 0x00, 0x02, 0x00, 0x00, // FNSTENV [R14 + 200h]
               0x49, 0x81, 0xC6, 0x40, 0x02, 0x00, 0x00, // ADD R14, 240h
               0x48, 0x89, 0xFE,                         // MOV RSI, RDI
               0x48, 0xCF});
}

void X87Machine::reset(u64 seed) {
    Random random(seed);
    CpuState& s = state();
    s.activity = Activity::running;
    s.cr0 &= ~cr0_ts;
    s.segment[cs] = {code_selector, 0xA09B, 0xFFFFFFFF, 0};
    for (unsigned n = 0; n < 16; ++n)
        s.gpr[n] = random.next();
    s.gpr[rbx] = s.gpr[rdi] = data_at + 0x800;
    s.gpr[rsi] = data_at + random.below(0x3000);
    s.gpr[rcx] = random.below(64);
    s.gpr[13] = data_at + 0x2000;
    s.gpr[14] = log_at;
    s.gpr[15] = saves_at;
    s.gpr[rsp] = testing::stack_top - 0x800;
    write_rflags(s, flag_one | (random.next() & arithmetic_flags));
    s.mxcsr = random.mxcsr();
    for (VectorRegister& v : s.vector)
        for (u64& q : v.q)
            q = random.operand<fp::F64>().bits;
    X87State& x = s.x87;
    x = X87State{};
    x.control = random.x87_control() | 0x40;
    x.status = static_cast<u16>(random.next() & 0x7F7F);
    x.valid = static_cast<u8>(random.below(3) == 0 ? random.next() : 0);
    for (X87Register& r : x.reg) {
        const fp::F80 value = random.operand80();
        r = {value.significand, value.sign_exponent};
    }
    fill(machine_.arena().subspan(data_at - testing::arena_base, data_bytes), random);
    const auto rest = machine_.arena().subspan(saves_at - testing::arena_base, saves_bytes);
    std::fill(rest.begin(), rest.end(), u8{0});
    // What FLDCW reads from there: control words that mask everything, mostly.
    for (u64 n = 0; n < 64; ++n)
        machine_.poke<u16>(saves_at + 0x1800 + 2 * n,
                           static_cast<u16>(n % 16 == 15 ? random.next() : random.x87_control()));
    const auto log = machine_.arena().subspan(log_at - testing::arena_base, log_bytes);
    std::fill(log.begin(), log.end(), u8{0});
    const auto stack = machine_.arena().subspan(testing::stack_top - 0x1000 - testing::arena_base, 0x1000);
    std::fill(stack.begin(), stack.end(), u8{0});
    machine_.cpu().events = 0;
    machine_.cpu().mmu.flush_all(true);
    machine_.cpu().update_mode();
}

ExitReason X87Machine::run(std::span<const u8> program) {
    machine_.memory.write(PhysicalAddress(program_at), program);
    state().rip() = program_at;
    if (!engine_) return machine_.interpreter().run(machine_.cpu(), ~u64{0});
    return engine_->run(machine_.cpu(), ~u64{0});
}

std::string difference(X87Machine& expected, X87Machine& got) {
    std::string text;
    const auto compare = [&](std::string_view name, u64 a, u64 b) {
        if (a != b) text += fmt::format("  {}: {:x} expected, {:x} got\n", name, a, b);
    };
    const CpuState &a = expected.state(), &b = got.state();
    for (unsigned n = 0; n <= rip_slot; ++n)
        compare(fmt::format("gpr[{}]", n), a.gpr[n], b.gpr[n]);
    compare("RFLAGS", expected.machine().cpu().rflags(), got.machine().cpu().rflags());
    compare("CR0", a.cr0, b.cr0);
    compare("CR2", a.cr2, b.cr2);
    compare("MXCSR", a.mxcsr, b.mxcsr);
    for (unsigned n = 0; n < 16; ++n)
        for (unsigned q = 0; q < 4; ++q)
            compare(fmt::format("ymm{}[{}]", n, q), a.vector[n].q[q], b.vector[n].q[q]);
    compare("FCW", a.x87.control, b.x87.control);
    compare("FSW", a.x87.status, b.x87.status);
    compare("tags", a.x87.valid, b.x87.valid);
    for (unsigned n = 0; n < 8; ++n) {
        compare(fmt::format("R{} significand", n), a.x87.reg[n].significand, b.x87.reg[n].significand);
        compare(fmt::format("R{} exponent", n), a.x87.reg[n].sign_exponent, b.x87.reg[n].sign_exponent);
    }
    compare("FOP", a.x87.opcode, b.x87.opcode);
    compare("FIP", a.x87.instruction_pointer, b.x87.instruction_pointer);
    compare("FCS", a.x87.instruction_selector, b.x87.instruction_selector);
    compare("FDP", a.x87.data_pointer, b.x87.data_pointer);
    compare("FDS", a.x87.data_selector, b.x87.data_selector);
    // Program, data, tables, log and stack.
    const auto memory_a = expected.machine().arena().first(used_bytes);
    const auto memory_b = got.machine().arena().first(used_bytes);
    const auto first = std::mismatch(memory_a.begin(), memory_a.end(), memory_b.begin()).first;
    if (first != memory_a.end()) {
        const auto at = static_cast<std::size_t>(first - memory_a.begin());
        text += fmt::format("  memory at {:x}: {:02x} expected, {:02x} got\n", testing::arena_base + at, memory_a[at],
                            memory_b[at]);
    }
    return text;
}

} // namespace calque::jit::test
