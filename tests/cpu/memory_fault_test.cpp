// Instructions whose memory operand reaches into a page that is not there: #PF with the address and the error code, and
// nothing of the instruction has happened. Random instances of all rows, in 64-bit and compatibility mode.
#include "tests/cpu/harness.h"

#include <gtest/gtest.h>
#include <random>

namespace calque::cpu::testing {
namespace {

constexpr u64 arena_end = arena_base + arena_size;
constexpr u64 page_fault_write = 2, page_fault_user = 4;
constexpr u64 window = 4096; // Memory at both ends of the arena that is compared.

bool starts_with(std::string_view name, std::initializer_list<std::string_view> beginnings) {
    return std::any_of(beginnings.begin(), beginnings.end(), [&](auto b) { return name.starts_with(b); });
}
// Rows that touch memory through rSP without a memory operand.
bool uses_stack(std::string_view name) {
    return starts_with(name, {"PUSH", "POP", "CALL", "RET", "ENTER", "LEAVE", "IRET"}) && name != "POPCNT";
}
// A memory operand that is not accessed at all, or not when its mask or its address says so.
bool may_not_access(std::string_view name) {
    return starts_with(name, {"LEA", "NOP", "PREFETCH", "INVLPG", "VMASKMOV", "VPMASKMOV", "MASKMOV", "VMASKMOVDQU",
                              "BT", "XSAVE", "XRSTOR", "POP"})
           || starts_with(name, {"CALL", "RET", "IRET", "ENTER", "PUSH", "LEAVE"});
}
// Rows that are allowed to have done part of their work: what is repeated, and gathers, whose mask tells how far they
// are.
bool may_be_partial(const Instruction& i, const Row& row) {
    if ((row.properties & p_string) && (i.flags & (insn_rep | insn_repne))) return true;
    return starts_with(row.name, {"VGATHER", "VPGATHER"});
}

class Case {
  public:
    Case(Machine::Kind kind, u64 seed) : machine_(kind), mode64_(kind == Machine::Kind::long64), random_(seed) {}

    // A random instruction with a memory operand at [rBX], [rSI], [rDI] or [rBP], or on the stack, or of a string.
    bool generate() {
        bytes_.clear();
        const auto any = [&] { return static_cast<u8>(random_() >> 17); };
        const auto pick = random_() % 8;
        if (pick < 3 && mode64_) {
            const u8 map = static_cast<u8>(1 + random_() % 3);
            bytes_ = {0xC4, static_cast<u8>(0xE0 | map), any(), any()};
        } else if (pick < 3) {
            bytes_ = {0xC4, static_cast<u8>(0xE0 | (1 + random_() % 3)), static_cast<u8>(any() | 0x40), any()};
        } else {
            if (random_() % 3 == 0) bytes_.push_back(0x66);
            if (random_() % 4 == 0) bytes_.push_back(random_() & 1 ? 0xF3 : 0xF2);
            if (random_() % 16 == 0) bytes_.push_back(0xF0);
            if (mode64_ && random_() % 3 == 0) bytes_.push_back(random_() & 1 ? 0x48 : 0x40);
            if (pick < 6) bytes_.push_back(0x0F);
            bytes_.push_back(any());
            if (pick == 3) bytes_.back() = random_() & 1 ? 0x38 : 0x3A, bytes_.push_back(any());
        }
        static constexpr u8 bases[] = {3, 5, 6, 7};
        bytes_.push_back(static_cast<u8>(0x40 | (any() & 0x38) | bases[random_() & 3]));
        bytes_.push_back(0);
        for (int n = 0; n < 8; ++n)
            bytes_.push_back(any());
        if (machine_.decoder().decode(bytes_, machine_.mode(), records_[0], &form_) != DecodeStatus::ok) return false;
        row_ = &instruction_table()[records_[0].row];
        bytes_.resize(records_[0].length);
        if (row_->name.empty() || may_be_partial(records_[0], *row_)) return false;
        // Where the bytes were meant as something else, the address is anybody's.
        if (form_.address_size == 2 || (form_.any_memory() && !at_a_base(records_[0]))) return false;
        return form_.any_memory() || (row_->properties & p_string) || uses_stack(row_->name);
    }

    // Runs it; the report says what was wrong.
    std::string run() {
        prepare();
        const CpuState before = machine_.state();
        std::memcpy(ends_.data(), machine_.at(arena_base), window);
        std::memcpy(ends_.data() + window, machine_.at(arena_end - window), window);
        const auto fault = machine_.step(records_, form_);
        machine_.cpu().mmu.flush_all(true);
        if (!fault) {
            if (!form_.any_memory() || may_not_access(row_->name)) return {};
            return "no exception";
        }
        if (fault->vector == Vector::page_fault) {
            if (std::string wrong = check_fault(*fault); !wrong.empty()) return wrong;
            ++seen[std::string(row_->name)];
        }
        return difference(before);
    }

    std::string text() const {
        std::string hex;
        for (const u8 b : bytes_)
            hex += fmt::format("{:02x} ", b);
        return Decoder::disassemble(bytes_, mode64_ ? CodeSize::bits64 : CodeSize::bits32, code_base) + " [" + hex
               + "]";
    }
    std::string name() const { return std::string(row_->name); }
    std::map<std::string, unsigned> seen;

  private:
    bool at_a_base(const Instruction& i) const {
        return (i.base == rbx || i.base == rbp || i.base == rsi || i.base == rdi) && i.index == zero_slot
               && i.displacement == 0 && i.address_bytes() == (mode64_ ? 8 : 4);
    }
    unsigned operand_bytes() const {
        if (starts_with(row_->name, {"CLFLUSH", "CLWB"})) return 1; // Of the line that the operand is.
        if (row_->name == "MOVSXD") return std::min<unsigned>(form_.operand_size, 4);
        for (unsigned n = 0; n < form_.count; ++n)
            if (form_.memory(n)) return std::max<unsigned>(form_.size[n], 1);
        return form_.operand_size;
    }
    // Where the operand is: over the end of the arena or its start, by some of its bytes or wholly.
    u64 place() {
        const u64 size = operand_bytes();
        const u64 outside = random_() % 4 == 0 ? 64 : 1 + random_() % size;
        at_end_ = random_() & 1;
        return at_end_ ? arena_end - size + std::min(outside, size) : arena_base - outside;
    }
    void prepare() {
        machine_.reset_state();
        CpuState& s = machine_.state();
        const bool user = random_() & 1;
        if (!user) {
            s.segment[cs].rights &= static_cast<u16>(~0x60);
            s.segment[ss].rights &= static_cast<u16>(~0x60);
        }
        user_ = user;
        machine_.cpu().update_mode();
        for (unsigned n = 0; n < (mode64_ ? 16 : 8); ++n)
            s.gpr[n] = mode64_ ? random_() : static_cast<u32>(random_());
        target_ = place();
        for (const unsigned n : {rbx, rsi, rdi, rbp})
            s.gpr[n] = target_;
        s.gpr[rsp] = arena_base + arena_size / 2;
        if (uses_stack(row_->name) && random_() % 2)
            s.gpr[rsp] = random_() & 1 ? arena_end - random_() % 40 : arena_base + random_() % 40;
        s.rip() = code_base;
        write_rflags(s, 2 | flag_iopl | (random_() & (arithmetic_flags | flag_df)));
        for (VectorRegister& v : s.vector)
            for (u64& q : v.q)
                q = random_();
        for (X87Register& r : s.x87.reg)
            r = {random_() | u64{1} << 63, static_cast<u16>(random_())};
        s.x87.valid = static_cast<u8>(random_());
        s.x87.status = static_cast<u16>(random_() & 0x7800);
        s.x87.instruction_pointer = random_() & 0xFFFFFF;
        for (u64 n = 0; n < window; n += 8) {
            machine_.poke<u64>(arena_base + n, random_());
            machine_.poke<u64>(arena_end - window + n, random_());
        }
    }
    std::string check_fault(const Exception& fault) {
        // Segments and tasks are looked up in tables at 0, which are not there either.
        if (fault.address < 0x10000) return fault.error_code == 0 ? "" : "error code of a descriptor table's fault";
        const bool bit_string = row_->name.starts_with("BT"); // Addressed by the register's value, too.
        if (bit_string) return {};
        const bool inside = fault.address >= arena_base && fault.address < arena_end;
        if (inside || fault.address + window < arena_base || fault.address >= arena_end + window)
            return fmt::format("address {:#x} of an operand at {:#x}", fault.address, target_);
        if ((fault.error_code & ~page_fault_write) != (user_ ? page_fault_user : 0))
            return fmt::format("error code {:#x}", fault.error_code);
        // The first byte that is not there.
        const u64 expected = at_end_ ? std::max(target_, arena_end) : target_;
        if (form_.any_memory() && !may_not_access(row_->name) && fault.address != expected)
            return fmt::format("address {:#x} of an operand at {:#x}", fault.address, target_);
        return {};
    }
    std::string difference(const CpuState& before) {
        const CpuState& s = machine_.state();
        for (unsigned n = 0; n < 16; ++n)
            if (s.gpr[n] != before.gpr[n])
                return fmt::format("register {} is {:#x}, was {:#x}", n, s.gpr[n], before.gpr[n]);
        if (s.rip() != before.rip()) return fmt::format("RIP is {:#x}", s.rip());
        if (read_rflags(s) != read_rflags(before))
            return fmt::format("flags are {:#x}, were {:#x}", read_rflags(s), read_rflags(before));
        for (unsigned n = 0; n < 16; ++n)
            if (!std::equal(std::begin(s.vector[n].q), std::end(s.vector[n].q), std::begin(before.vector[n].q)))
                return fmt::format("vector register {} changed", n);
        if (s.mxcsr != before.mxcsr) return fmt::format("MXCSR is {:#x}, was {:#x}", s.mxcsr, before.mxcsr);
        for (unsigned n = es; n <= tr; ++n)
            if (s.segment[n].selector != before.segment[n].selector || s.segment[n].base != before.segment[n].base
                || s.segment[n].rights != before.segment[n].rights)
                return fmt::format("segment register {} changed", n);
        if (s.gdtr.base != before.gdtr.base || s.idtr.base != before.idtr.base || s.cr0 != before.cr0)
            return "system registers changed";
        if (std::string wrong = x87_difference(s.x87, before.x87); !wrong.empty()) return wrong;
        // What a nested ENTER has pushed below the stack pointer stays there.
        if (row_->name == "ENTER") return {};
        if (std::memcmp(ends_.data(), machine_.at(arena_base), window) != 0
            || std::memcmp(ends_.data() + window, machine_.at(arena_end - window), window) != 0)
            return "memory changed";
        return {};
    }
    static std::string x87_difference(const X87State& a, const X87State& b) {
        for (unsigned n = 0; n < 8; ++n)
            if (a.reg[n].significand != b.reg[n].significand || a.reg[n].sign_exponent != b.reg[n].sign_exponent)
                return fmt::format("x87 register {} changed", n);
        if (a.status != b.status || a.control != b.control || a.valid != b.valid)
            return fmt::format("x87 status {:#x}, was {:#x}; control {:#x}, was {:#x}", a.status, b.status, a.control,
                               b.control);
        if (a.instruction_pointer != b.instruction_pointer || a.data_pointer != b.data_pointer || a.opcode != b.opcode)
            return "x87 pointers changed";
        return {};
    }

    Machine machine_;
    bool mode64_, user_ = false, at_end_ = false;
    std::mt19937_64 random_;
    std::vector<u8> bytes_;
    Instruction records_[2];
    Form form_;
    const Row* row_ = nullptr;
    u64 target_ = 0;
    std::array<u8, 2 * window> ends_;
};

class MemoryFault : public ::testing::TestWithParam<Machine::Kind> {};

TEST_P(MemoryFault, LeavesEverythingAsItWas) {
    Case c(GetParam(), 1);
    std::map<std::string, unsigned> failures;
    for (unsigned n = 0; n < 40'000;) {
        if (!c.generate()) continue;
        ++n;
        const std::string report = c.run();
        if (report.empty() || failures[c.name()]++ > 1) continue;
        ADD_FAILURE() << c.text() << ": " << report;
    }
    EXPECT_GT(c.seen.size(), 400u);
}
INSTANTIATE_TEST_SUITE_P(Modes, MemoryFault, ::testing::Values(Machine::Kind::long64, Machine::Kind::compat32),
                         [](const auto& info) { return info.param == Machine::Kind::long64 ? "long64" : "compat32"; });

} // namespace
} // namespace calque::cpu::testing
