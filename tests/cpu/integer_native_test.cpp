// Integer instructions against the host's processor, with random operands: all flags, also the undefined ones.
#include "tests/cpu/native.h"

#if defined(CALQUE_NATIVE)
#include "tests/cpu/harness.h"

#include <gtest/gtest.h>
#include <random>

namespace calque::cpu::testing {
namespace {

constexpr u64 window = data_base, window_size = 1024; // What memory operands may touch.

class Comparison {
  public:
    explicit Comparison(u64 seed) : random_(seed) {
        std::memset(machine_.arena().data(), 0xCC, arena_size); // As the host's.
    }

    // One random instance of the instruction in `bytes`. False: a difference, described in `report`.
    bool run(std::span<const u8> bytes, bool small_count, std::string& report) {
        CpuState& guest = machine_.state();
        Native::State& host = native_.state();
        machine_.reset_state();
        for (unsigned n = 0; n < 16; ++n)
            guest.gpr[n] = host.gpr[n] = value();
        // Registers that may be a base point into the window, most of the time.
        for (const unsigned n : {rsi, rdi, rbx, rsp, rbp})
            if (random_() % 16) guest.gpr[n] = host.gpr[n] = window + 256 + random_() % 256;
        if (small_count || random_() % 4) guest.gpr[rcx] = host.gpr[rcx] = value() & (small_count ? 31 : 0xFF);
        const u64 flags = 0x202 | (random_() & (arithmetic_flags | flag_df));
        write_rflags(guest, flags);
        host.rflags = flags;
        guest.rip() = code_base;
        u8* const guest_window = machine_.at(window);
        u8* const host_window = native_.at(window);
        for (u64 n = 0; n < window_size; n += 8) {
            const u64 v = value();
            std::memcpy(guest_window + n, &v, 8);
            std::memcpy(host_window + n, &v, 8);
        }
        CpuState before = guest;
        reads_twice_ = bytes.back() == 0xA6 || bytes.back() == 0xA7; // CMPS: nothing comes behind its opcode.
        const Native::Result native = native_.run(bytes);
        const auto fault = machine_.step(bytes);
        return same(before, native, fault, report) && same_memory(guest_window, host_window, report);
    }

  private:
    u64 value() {
        switch (random_() % 8) {
        case 0: return 0;
        case 1: return ~u64{0};
        case 2: return u64{1} << (random_() & 63);
        case 3: return (u64{1} << (random_() & 63)) - 1;
        case 4: return random_() & 0xFF;
        case 5: return static_cast<u64>(static_cast<i64>(static_cast<i8>(random_())));
        case 6: return static_cast<u32>(random_());
        default: return random_();
        }
    }
    bool same(const CpuState& before, const Native::Result& native, const std::optional<Exception>& fault,
              std::string& report) {
        const CpuState& guest = machine_.state();
        const Native::State& host = native_.state();
        const int vector = fault ? static_cast<int>(fault->vector) : -1;
        const int expected = native.signal == 0 ? -1 : native.trap;
        // Which operand is read first, and faults, is the processor's choice: AMD's family 25 takes that of RSI, 26
        // that of RDI.
        const auto access = [](int v) { return v == general_protection || v == page_fault; };
        const bool either = reads_twice_ && access(vector) && access(expected);
        if (vector != expected && !either) {
            report = fmt::format("exception {} where the host had {}", vector, expected);
            return false;
        }
        for (unsigned n = 0; n < 16; ++n) {
            if (guest.gpr[n] == host.gpr[n]) continue;
            report =
                fmt::format("gpr {}: {:#x}, host {:#x}, before {:#x}; rax {:#x} rcx {:#x} rdx {:#x}", n, guest.gpr[n],
                            host.gpr[n], before.gpr[n], before.gpr[rax], before.gpr[rcx], before.gpr[rdx]);
            return false;
        }
        constexpr u64 compared = arithmetic_flags | flag_df;
        const u64 flags = read_rflags(guest) & compared, host_flags = host.rflags & compared;
        if (flags != host_flags) {
            report =
                fmt::format("flags {:#x}, host {:#x}, before {:#x}; rax {:#x}->{:#x} rcx {:#x} rdx {:#x} rbx {:#x}",
                            flags, host_flags, read_rflags(before) & compared, before.gpr[rax], host.gpr[rax],
                            before.gpr[rcx], before.gpr[rdx], before.gpr[rbx]);
            return false;
        }
        if (guest.rip() != host.rip) {
            report = fmt::format("rip {:#x}, host {:#x}", guest.rip(), host.rip);
            return false;
        }
        return true;
    }
    static bool same_memory(const u8* guest, const u8* host, std::string& report) {
        for (u64 n = 0; n < window_size; ++n) {
            if (guest[n] == host[n]) continue;
            report = fmt::format("memory at +{}: {:#x}, host {:#x}", n, guest[n], host[n]);
            return false;
        }
        return true;
    }

    static constexpr int general_protection = 13, page_fault = 14;
    bool reads_twice_ = false;
    std::mt19937_64 random_;
    Machine machine_{Machine::Kind::long64};
    Native& native_ = Native::instance();
};

// A random encoding: prefixes, an opcode of one of the integer maps, ModRM and what may follow.
std::vector<u8> random_instruction(std::mt19937_64& random) {
    std::vector<u8> bytes;
    const auto any = [&] { return static_cast<u8>(random() >> 13); };
    if (random() % 4 == 0) bytes.push_back(0x66);
    if (random() % 16 == 0) bytes.push_back(0x67);
    if (random() % 8 == 0) bytes.push_back(random() & 1 ? 0xF3 : 0xF2);
    if (random() % 16 == 0) bytes.push_back(0xF0);
    if (random() % 8 == 0) {
        // VEX: BMI.
        const u8 map = random() % 4 == 0 ? 3 : 2;
        const u8 p1 = static_cast<u8>((any() & 0xE0) | map), p2 = static_cast<u8>((any() & 0xFB));
        static constexpr u8 opcodes[] = {0xF2, 0xF3, 0xF5, 0xF6, 0xF7, 0xF0};
        bytes = {0xC4, p1, p2, map == 3 ? u8{0xF0} : opcodes[random() % 6]};
    } else {
        if (random() % 2) bytes.push_back(static_cast<u8>(0x40 | (any() & 15)));
        const auto pick = random() % 8;
        if (pick < 3) bytes.push_back(0x0F);
        bytes.push_back(any());
        if (pick == 0) {
            bytes.back() = 0x38;
            bytes.push_back(static_cast<u8>(0xF0 | (any() & 7)));
        }
    }
    // ModRM: registers half the time; else a base that points into the window and a small displacement.
    static constexpr u8 bases[] = {3, 4, 5, 6, 7};
    if (random() & 1)
        bytes.push_back(static_cast<u8>(0xC0 | any()));
    else
        bytes.push_back(static_cast<u8>(0x40 | (any() & 0x38) | bases[random() % 5]));
    if ((bytes.back() & 0xC7) == 0x44) bytes.push_back(random() % 4 ? 0x24 : any()); // SIB: [rsp] most of the time.
    bytes.push_back(static_cast<u8>(any() & 0x3F));
    for (int n = 0; n < 8; ++n)
        bytes.push_back(any());
    return bytes;
}

// What may be run: rows of the integer tables that are not system instructions, and do not leave the window.
bool testable(const Instruction& i, const Form& form) {
    const Row& row = instruction_table()[i.row];
    if (row.name.empty() || (row.properties & (p_system | p_io | p_privileged))) return false;
    if (i.segment() == fs || i.segment() == gs) return false;
    static const std::vector<std::string_view> others = [] {
        std::vector<std::string_view> names;
#define ROW(mnemonic, ...) names.push_back(#mnemonic);
#include "cpu/table/control.inc"
#include "cpu/table/integer.inc"
#include "cpu/table/string.inc"
#undef ROW
        return names;
    }();
    if (std::find(others.begin(), others.end(), row.name) == others.end()) return false;
    for (unsigned n = 0; n < form.count; ++n)
        if (form.kind[n] == OperandKind::segment || form.kind[n] == OperandKind::control
            || form.kind[n] == OperandKind::debug || form.kind[n] == OperandKind::far_pointer)
            return false;
    // 0F 0D with a register is a NOP on Intel's processors and undefined on AMD's.
    if (row.name == "NOP" && form.opcode == 0x0D) return false;
    if (row.name == "RET" || row.name == "CALL" || row.name == "JMP" || row.name == "ENTER") return false;
    return true;
}

// Makes a branch lead to INT3s close behind it. False for those with an operand-size prefix, which processors differ
// in.
bool aim_branch(std::vector<u8>& bytes, const Form& form) {
    if (std::find(bytes.begin(), bytes.end() - 1, 0x66) != bytes.end() - 1) return false;
    const std::size_t offset = bytes.size() - (form.size[0] == 1 ? 1 : 4);
    bytes[offset] = static_cast<u8>(0x20 | (bytes[offset] & 0x1F));
    for (std::size_t n = offset + 1; n < bytes.size(); ++n)
        bytes[n] = 0;
    return true;
}

TEST(IntegerNative, RandomInstancesAgreeWithTheHost) {
    if (!Native::instance().ok()) GTEST_SKIP() << "the arena's addresses are taken";
    if (!Native::stray_accesses_fault) GTEST_SKIP() << "a sanitizer's shadow memory is where stray accesses go";
    const char* const wanted = std::getenv("CALQUE_CASES");
    const u64 cases = wanted ? std::strtoull(wanted, nullptr, 10) : 300'000;
    std::mt19937_64 random(1);
    Comparison comparison(2);
    const Decoder decoder{CpuModel{}};
    std::map<std::string, unsigned> failures;
    u64 run = 0;
    while (run < cases) {
        std::vector<u8> bytes = random_instruction(random);
        Instruction record;
        Form form;
        if (decoder.decode(bytes, {}, record, &form) != DecodeStatus::ok || !testable(record, form)) continue;
        bytes.resize(record.length);
        if (form.is(0, OperandKind::relative) && !aim_branch(bytes, form)) continue;
        for (int repeat = 0; repeat < 4; ++repeat, ++run) {
            std::string report;
            if (comparison.run(bytes, properties_of(record) & p_string, report)) continue;
            const std::string name(instruction_table()[record.row].name);
            if (failures[name]++ > 2) continue;
            std::string hex;
            for (const u8 b : bytes)
                hex += fmt::format("{:02x} ", b);
            ADD_FAILURE() << Decoder::disassemble(bytes, CodeSize::bits64, code_base) << " [" << hex << "]: " << report;
        }
    }
}

} // namespace
} // namespace calque::cpu::testing
#endif
