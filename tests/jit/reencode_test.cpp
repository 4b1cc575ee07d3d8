// The re-encoder against the project's decoder: what it writes must disassemble to what the guest's bytes disassemble
// to, with the registers and the memory operand replaced.
#include "cpu/decode/decoder.h"
#include "cpu/model.h"
#include "cpu/table.h"
#include "jit/debug/disassembler.h"
#include "jit/emit/reencode.h"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <map>
#include <numeric>
#include <random>
#include <set>

using namespace calque;
using namespace calque::jit;
using cpu::CodeSize;

namespace {

using Bytes = std::vector<u8>;
using Random = std::mt19937_64;

// A host register for each of the guest's.
struct Renaming {
    std::array<u8, 16> gpr, vector;
    std::array<u8, 8> mmx;
    HostOperands::Memory memory;

    Renaming() {
        std::iota(gpr.begin(), gpr.end(), u8{0});
        std::iota(vector.begin(), vector.end(), u8{0});
        std::iota(mmx.begin(), mmx.end(), u8{0});
        memory.base = 3;
    }

    explicit Renaming(Random& random) : Renaming() {
        std::shuffle(gpr.begin(), gpr.end(), random);
        std::shuffle(vector.begin(), vector.end(), random);
        std::shuffle(mmx.begin(), mmx.end(), random);
        memory.base = random() % 20 == 0 ? no_register : random() % 16;
        memory.index = random() % 16;
        if (memory.index == 4 || random() % 2) memory.index = no_register;
        memory.scale_shift = random() % 4;
        const i32 displacements[] = {0, 1, -1, 127, -128, 128, -129, static_cast<i32>(random())};
        memory.displacement = displacements[random() % 8];
    }

    u8 of(FieldClass c, u8 guest) const {
        switch (c) {
        case FieldClass::gpr:
        case FieldClass::gpr8: return gpr[guest];
        case FieldClass::vector: return vector[guest];
        case FieldClass::mmx: return mmx[guest];
        default: return 0xEE; // Not to be looked at.
        }
    }

    HostOperands operands(const ParsedInstruction& p) const {
        HostOperands host;
        host.reg = of(p.reg_class, p.modrm_reg);
        host.rm = p.memory ? 0xEE : of(p.rm_class, p.modrm_rm);
        host.vvvv = of(p.vvvv_class, p.vvvv);
        host.is4 = of(p.is4_class, p.is4);
        host.opcode_register = p.register_in_opcode ? of(p.rm_class, p.opcode_register) : 0xEE;
        host.memory = memory;
        if (p.vsib) host.memory.index = vector[p.index];
        return host;
    }
};

Bytes encode(const ParsedInstruction& p, const HostOperands& host) {
    std::array<u8, 16> out;
    out.fill(0xCC);
    const unsigned length = encode_instruction(p, host, out);
    EXPECT_LE(length, 15u);
    return Bytes(out.begin(), out.begin() + length);
}

// --- Register names ---

enum class Width : u8 { byte, high, word, dword, qword, mm, xmm, ymm };
struct Name {
    Width width;
    u8 number;
};

std::string spell(Name name) {
    static constexpr const char* low[] = {"ax", "cx", "dx", "bx", "sp", "bp", "si", "di"};
    const u8 n = name.number;
    switch (name.width) {
    case Width::mm: return fmt::format("mm{}", n);
    case Width::xmm: return fmt::format("xmm{}", n);
    case Width::ymm: return fmt::format("ymm{}", n);
    case Width::high: return fmt::format("{}h", low[n][0]);
    case Width::byte:
        if (n >= 8) return fmt::format("r{}b", n);
        return n < 4 ? fmt::format("{}l", low[n][0]) : fmt::format("{}l", low[n]);
    case Width::word: return n < 8 ? low[n] : fmt::format("r{}w", n);
    case Width::dword: return n < 8 ? fmt::format("e{}", low[n]) : fmt::format("r{}d", n);
    default: return n < 8 ? fmt::format("r{}", low[n]) : fmt::format("r{}", n);
    }
}

const std::map<std::string, Name, std::less<>>& names() {
    static const auto all = [] {
        std::map<std::string, Name, std::less<>> out;
        for (u8 w = 0; w <= static_cast<u8>(Width::ymm); ++w)
            for (u8 n = 0; n < (w == 1 ? 4 : w == 5 ? 8 : 16); ++n)
                out[spell({static_cast<Width>(w), n})] = {static_cast<Width>(w), n};
        return out;
    }();
    return all;
}

std::string renamed(Name name, const Renaming& to, bool low) {
    switch (name.width) {
    case Width::mm: return spell({name.width, to.mmx[name.number]});
    case Width::xmm:
    case Width::ymm: return spell({name.width, to.vector[name.number]});
    case Width::high: {
        const u8 host = to.gpr[name.number];
        if (host >= 4 && !low) return "no high byte";
        return spell({low ? Width::byte : Width::high, host});
    }
    default: return spell({name.width, to.gpr[name.number]});
    }
}

// The host's memory operand as the decoder writes it; `vsib` is "xmm" or "ymm" for a vector index.
std::string memory_text(const HostOperands::Memory& m, std::string_view vsib) {
    std::string out = m.base == no_register ? "" : spell({Width::qword, m.base});
    if (m.index != no_register) {
        out += out.empty() ? "" : "+";
        out += vsib.empty() ? spell({Width::qword, m.index}) : fmt::format("{}{}", vsib, m.index);
        out += fmt::format("*{}", 1 << m.scale_shift);
    }
    const i64 d = m.displacement;
    if (out.empty()) return fmt::format("0x{:016X}", static_cast<u64>(d));
    if (d > 0) out += fmt::format("+0x{:02X}", d);
    if (d < 0) out += fmt::format("-0x{:02X}", -d);
    return out;
}

bool has_implicit_last(std::string_view mnemonic, std::string_view last) {
    static const std::set<std::string_view> shifts{"shl", "shr", "sar", "rol", "ror", "rcl", "rcr", "shld", "shrd"};
    return (shifts.contains(mnemonic) && last == "cl") || (mnemonic == "fnstsw" && last == "ax");
}

// The text of an instruction with its registers renamed and its memory operand replaced. `low` makes AL of AH.
std::string rename(std::string_view text, const Renaming& to, const ParsedInstruction& p, const HostOperands& host,
                   bool low) {
    std::string_view fixed;
    const std::size_t blank = text.find(' ');
    const std::size_t comma = text.rfind(", ");
    const std::size_t last = comma != text.npos ? comma + 2 : blank != text.npos ? blank + 1 : text.size();
    if (has_implicit_last(text.substr(0, blank), text.substr(last))) {
        fixed = text.substr(last);
        text = text.substr(0, last);
    }
    std::string out;
    for (std::size_t at = 0; at < text.size();) {
        if (text[at] == '[') {
            const std::size_t end = text.find(']', at);
            const auto inside = text.substr(at, end - at);
            const std::string_view vsib = !p.vsib ? "" : inside.find("ymm") != text.npos ? "ymm" : "xmm";
            out += fmt::format("[{}]", memory_text(host.memory, vsib));
            at = end + 1;
            continue;
        }
        std::size_t end = at;
        while (end < text.size() && std::isalnum(static_cast<u8>(text[end])))
            ++end;
        if (end == at) {
            out += text[at++];
            continue;
        }
        const auto word = text.substr(at, end - at);
        at = end;
        if (at < text.size() && text[at] == ':') { // A segment prefix.
            ++at;
            continue;
        }
        const auto found = names().find(word);
        out += found == names().end() ? std::string(word) : renamed(found->second, to, low);
    }
    return out + std::string(fixed);
}

std::string text_of(std::span<const u8> bytes, bool code64) {
    return cpu::Decoder::disassemble(bytes, code64 ? CodeSize::bits64 : CodeSize::bits32, 0x1000);
}

std::string hex(std::span<const u8> bytes) {
    std::string out;
    for (const u8 byte : bytes)
        out += fmt::format("{:02x} ", byte);
    return out;
}

// Whether an operand of this text can only be had with a REX prefix.
bool names_need_rex(std::string_view text) {
    for (std::size_t at = 0, end; at < text.size(); at = end + 1) {
        for (end = at; end < text.size() && std::isalnum(static_cast<u8>(text[end]));)
            ++end;
        const auto found = names().find(text.substr(at, end - at));
        if (found == names().end()) continue;
        if (found->second.number >= (found->second.width == Width::byte ? 4 : 8)) return true;
    }
    return false;
}

// --- Checks ---

// Re-encodes `p`, which `text` describes, and compares.
::testing::AssertionResult agrees(ParsedInstruction p, std::span<const u8> bytes, const std::string& text,
                                  const Renaming& to) {
    const HostOperands host = to.operands(p);
    Bytes out = encode(p, host);
    std::string expected = rename(text, to, p, host, false);
    if (p.reg_high || p.rm_high) {
        const bool impossible = expected.find("no high byte") != expected.npos || names_need_rex(expected);
        if (out.empty() != impossible)
            return ::testing::AssertionFailure() << hex(bytes) << text << ": " << expected << " is " << hex(out);
        if (impossible) {
            p.reg_high = p.rm_high = false;
            out = encode(p, host);
            expected = rename(text, to, p, host, true);
        }
    }
    const std::string got = text_of(out, true);
    if (got == expected) return ::testing::AssertionSuccess();
    return ::testing::AssertionFailure() << hex(bytes) << "(" << text << ") became " << hex(out) << "(" << got
                                         << "), not (" << expected << ")";
}

// The project's decoder, for CPU model "max".
class Oracle {
  public:
    Oracle() : decoder_(cpu::CpuModel{}) {}

    // The row of the instruction table that the bytes are; none where they are undefined.
    std::optional<std::string_view> row(std::span<const u8> bytes, bool code64, unsigned* length) const {
        cpu::Instruction record;
        const cpu::DecodeMode mode{.code_size = code64 ? CodeSize::bits64 : CodeSize::bits32};
        if (decoder_.decode(bytes, mode, record) != cpu::DecodeStatus::ok) return {};
        const auto rows = cpu::instruction_table();
        *length = record.length;
        if (record.row + 1u == rows.size()) return {}; // The row of what is undefined.
        return rows[record.row].name;
    }

  private:
    cpu::Decoder decoder_;
};

// Compares instructions that the decoder knows, and remembers which rows of the table it has seen.
class Comparison {
  public:
    Comparison(bool code64, u64 seed) : code64_(code64), random_(seed) {}

    void operator()(std::span<const u8> bytes) {
        unsigned length = 0;
        const auto row = oracle_.row(bytes, code64_, &length);
        if (!row) return;
        const auto parsed = parse_instruction(bytes, code64_);
        if (!parsed) {
            left_out.insert(*row);
            return;
        }
        // F3 41 90 is XCHG, of which Zydis 4.0.0 makes PAUSE.
        if (*row == "PAUSE" || (*row == "XCHG" && parsed->opcode == 0x87 && parsed->pp == 2)) return;
        ++compared;
        seen.insert(*row);
        const auto same = agrees(*parsed, bytes, text_of(bytes, code64_), Renaming(random_));
        // One failure of each row says enough.
        if ((!same || parsed->length != length) && failed.insert(*row).second)
            ADD_FAILURE() << *row << ", length " << length << " or " << int{parsed->length} << ": " << same.message();
    }

    Random& random() { return random_; }

    std::set<std::string_view> seen, left_out, failed;
    unsigned compared = 0;

  private:
    const bool code64_;
    Random random_;
    Oracle oracle_;
};

// Every opcode of every map, with each prefix, /digit and kind of operand. `visit` gets at least 15 bytes.
class Enumeration {
  public:
    explicit Enumeration(bool code64) : code64_(code64) {}

    template <class Visit> void each(Visit& visit) {
        static const Bytes prefixes[] = {{}, {0x66}, {0xF3}, {0xF2}, {0x66, 0xF3}, {0x66, 0xF2}};
        static const Bytes escapes[] = {{}, {0x0F}, {0x0F, 0x38}, {0x0F, 0x3A}};
        for (const Bytes& prefix : prefixes)
            for (const Bytes& escape : escapes)
                for (const int rex : {0, 0x45, 0x4A, 0x4F}) { // Each of W, R, X, B.
                    if (rex && !code64_) break;
                    Bytes head = prefix;
                    if (rex) head.push_back(static_cast<u8>(rex));
                    head.insert(head.end(), escape.begin(), escape.end());
                    opcodes(head, visit);
                }
        for (unsigned x87 = 0xD8 << 8 | 0xC0; x87 <= (0xDF << 8 | 0xFF); x87 = (x87 + 1) | 0xC0)
            visit(Bytes{static_cast<u8>(x87 >> 8), static_cast<u8>(x87), 0, 0});
        for (unsigned map = 1; map <= 3; ++map)
            for (unsigned low = 0; low < 16; ++low) // W, L, pp.
                for (const unsigned vvvv : {15u, 9u}) {
                    const u8 last = static_cast<u8>((low & 8) << 4 | vvvv << 3 | (low & 7));
                    opcodes({0xC4, static_cast<u8>(0xE0 | map), last}, visit);
                    if (code64_) opcodes({0xC4, static_cast<u8>(map), last}, visit);
                    if (map == 1 && !(low & 8)) opcodes({0xC5, static_cast<u8>(0x80 | last)}, visit);
                }
    }

  private:
    template <class Visit> void opcodes(const Bytes& head, Visit& visit) {
        for (unsigned opcode = 0; opcode < 256; ++opcode)
            for (unsigned digit = 0; digit < 8; ++digit)
                for (const Bytes& tail : tails_) {
                    std::array<u8, 24> bytes;
                    bytes.fill(0x21);
                    auto at = std::copy(head.begin(), head.end(), bytes.begin());
                    *at++ = static_cast<u8>(opcode);
                    const auto modrm = at;
                    std::copy(tail.begin(), tail.end(), at);
                    *modrm |= digit << 3;
                    visit(std::span<const u8>(bytes));
                }
    }

    const bool code64_;
    // ModRM without reg, and what follows: registers, [rCX], [base+index*4+disp8], absolute or [RIP].
    const std::array<Bytes, 5> tails_{Bytes{0xC0}, Bytes{0xC5}, Bytes{0x01}, Bytes{0x44, 0xB3, 0x85}, Bytes{0x05}};
};

// What the header says is not for the re-encoder. Of some rows there are forms that it does take.
const std::set<std::string_view> never_taken{
    // Control flow and interrupts.
    "CALL", "JMP", "RET", "JO", "JNO", "JB", "JNB", "JZ", "JNZ", "JBE", "JNBE", "JS", "JNS", "JP", "JNP", "JL", "JNL",
    "JLE", "JNLE", "JCXZ", "JECXZ", "JRCXZ", "LOOP", "LOOPE", "LOOPNE", "INT", "INT1", "INT3", "INTO", "IRET", "IRETD",
    "IRETQ", "SYSCALL", "SYSRET", "SYSENTER", "SYSEXIT", "RSM", "UD0", "UD1", "UD2",
    // The stack.
    "PUSH", "POP", "PUSHA", "PUSHAD", "POPA", "POPAD", "PUSHF", "PUSHFD", "PUSHFQ", "POPF", "POPFD", "POPFQ", "ENTER",
    "LEAVE",
    // Strings, ports, XLAT.
    "MOVSB", "MOVSW", "MOVSD_STRING", "MOVSQ", "STOSB", "STOSW", "STOSD", "STOSQ", "LODSB", "LODSW", "LODSD", "LODSQ",
    "CMPSB", "CMPSW", "CMPSD_STRING", "CMPSQ", "SCASB", "SCASW", "SCASD", "SCASQ", "INSB", "INSW", "INSD", "OUTSB",
    "OUTSW", "OUTSD", "IN", "OUT", "XLAT",
    // Not in 64-bit mode.
    "AAA", "AAS", "AAM", "AAD", "DAA", "DAS", "SALC", "ARPL", "BOUND", "LDS", "LES",
    // The system.
    "CLI", "STI", "CLAC", "STAC", "CLTS", "SMSW", "LMSW", "XGETBV", "XSETBV", "RDMSR", "WRMSR", "RDPKRU", "WRPKRU",
    "CPUID", "RDTSC", "RDTSCP", "RDPMC", "HLT", "MONITOR", "MWAIT", "INVD", "WBINVD", "INVLPG", "INVPCID", "SGDT",
    "SIDT", "LGDT", "LIDT", "SWAPGS"};
const std::set<std::string_view> taken_in_part{"MOV",      "NOP",    "FXSAVE", "FXRSTOR", "XSAVE",
                                               "XSAVEOPT", "XSAVEC", "XRSTOR", "RDPID"};

TEST(Reencode, EveryRowOfTheInstructionTableMeansTheSame) {
    std::set<std::string_view> seen;
    for (const bool code64 : {true, false}) {
        Comparison compare(code64, code64);
        Enumeration(code64).each(compare);
        EXPECT_GT(compare.compared, 100'000u);
        for (const auto row : compare.left_out)
            EXPECT_TRUE(never_taken.contains(row) || taken_in_part.contains(row)) << row << " was not parsed";
        seen.insert(compare.seen.begin(), compare.seen.end());
    }
    for (const auto& row : cpu::instruction_table().first(cpu::instruction_table().size() - 1)) // The last is no name.
        EXPECT_NE(seen.contains(row.name), never_taken.contains(row.name) || row.name == "PAUSE") << row.name;
}

// Bytes that are likely to be an instruction: any prefixes in any order, any map, any ModRM and SIB.
std::array<u8, 24> random_instruction(Random& random, bool code64) {
    static constexpr u8 prefixes[] = {0x66, 0xF2, 0xF3, 0x67, 0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65, 0xF0, 0x48};
    std::array<u8, 24> bytes;
    for (u8& byte : bytes)
        byte = static_cast<u8>(random());
    std::size_t at = 0;
    const bool vex = random() % 3 == 0;
    for (unsigned n = random() % 4; n > 0; --n) {
        const u8 prefix = prefixes[random() % std::size(prefixes)];
        if ((code64 || prefix != 0x48) && (!vex || (prefix & 0xFC) == 0x64)) bytes[at++] = prefix;
    }
    if (vex) {
        bytes[at] = random() % 4 ? 0xC4 : 0xC5;
        const bool short_form = bytes[at++] == 0xC5;
        if (!code64) bytes[at] |= 0xC0;
        if (!short_form) {
            bytes[at] = static_cast<u8>((bytes[at] & 0xE0) | (1 + random() % 3));
            ++at;
        }
        if (random() % 2) bytes[at] |= 0x78; // vvvv unused.
        if (random() % 2) bytes[at] = static_cast<u8>((bytes[at] & ~3) | 1);
        return bytes;
    }
    if (code64 && random() % 2) bytes[at++] = static_cast<u8>(0x40 | random() % 16);
    const unsigned map = random() % 4;
    if (map > 0) bytes[at++] = 0x0F;
    if (map > 1) bytes[at++] = map == 2 ? 0x38 : 0x3A;
    return bytes;
}

TEST(Reencode, RandomInstructionsWithRandomRegisters) {
    for (const bool code64 : {true, false}) {
        Comparison compare(code64, 100 + code64);
        while (compare.compared < 75'000)
            compare(random_instruction(compare.random(), code64));
        EXPECT_GT(compare.seen.size(), 400u);
    }
}

// --- Known answers ---

struct Known {
    Bytes guest;
    bool code64;
    HostOperands host;
    Bytes expected;
    const char* text; // Of Capstone, which knows the decoder above nothing.
};

HostOperands registers(u8 reg, u8 rm, u8 vvvv = 0, u8 is4 = 0) {
    return {.reg = reg, .rm = rm, .vvvv = vvvv, .is4 = is4, .opcode_register = rm, .memory = {}};
}
HostOperands memory(u8 reg, u8 base, i32 displacement = 0, u8 index = no_register, u8 shift = 0, u8 vvvv = 0) {
    HostOperands host = registers(reg, 0, vvvv);
    host.memory = {.base = base, .index = index, .scale_shift = shift, .displacement = displacement};
    return host;
}

const Known known_answers[] = {
    // PADDD of XMM and of MMX.
    {{0x66, 0x0F, 0xFE, 0xC1}, true, registers(9, 14), {0x66, 0x45, 0x0F, 0xFE, 0xCE}, "paddd xmm9, xmm14"},
    {{0x0F, 0xFE, 0xC1}, true, registers(3, 5), {0x0F, 0xFE, 0xDD}, "paddd mm3, mm5"},
    // VEX grows to three bytes for the high half of rm, not for that of reg or vvvv.
    {{0xC5, 0xF1, 0xFE, 0xC2}, true, registers(8, 9, 15), {0xC4, 0x41, 0x01, 0xFE, 0xC1}, "vpaddd xmm8, xmm15, xmm9"},
    {{0xC5, 0xF1, 0xFE, 0xC2}, true, registers(8, 1, 0), {0xC5, 0x79, 0xFE, 0xC1}, "vpaddd xmm8, xmm0, xmm1"},
    // MOVAPS to memory: R12 and RSP need SIB, R13 and RBP a displacement.
    {{0x0F, 0x29, 0x18}, true, memory(3, 12), {0x41, 0x0F, 0x29, 0x1C, 0x24}, "movaps xmmword ptr [r12], xmm3"},
    {{0x0F, 0x29, 0x18}, true, memory(3, 13), {0x41, 0x0F, 0x29, 0x5D, 0x00}, "movaps xmmword ptr [r13], xmm3"},
    {{0x0F, 0x29, 0x18}, true, memory(3, 5), {0x0F, 0x29, 0x5D, 0x00}, "movaps xmmword ptr [rbp], xmm3"},
    {{0x0F, 0x29, 0x18},
     true,
     memory(3, 4, 0x1000, 9, 3),
     {0x42, 0x0F, 0x29, 0x9C, 0xCC, 0x00, 0x10, 0x00, 0x00},
     "movaps xmmword ptr [rsp + r9*8 + 0x1000], xmm3"},
    // MOV AL, CL: SIL needs an empty REX. ADD AH, CL: BH has none.
    {{0x88, 0xC8}, true, registers(6, 0), {0x40, 0x88, 0xF0}, "mov al, sil"},
    {{0x00, 0xCC}, true, registers(1, 3), {0x00, 0xCF}, "add bh, cl"},
    // ADD EAX, imm and INC ECX (32-bit code) in their forms with ModRM.
    {{0x05, 0x78, 0x56, 0x34, 0x12},
     true,
     registers(0, 11),
     {0x41, 0x81, 0xC3, 0x78, 0x56, 0x34, 0x12},
     "add r11d, 0x12345678"},
    {{0x41}, false, registers(0, 9), {0x41, 0xFF, 0xC1}, "inc r9d"},
    // Two register files in one instruction.
    {{0xF3, 0x48, 0x0F, 0x2A, 0xC1}, true, registers(12, 3), {0xF3, 0x4C, 0x0F, 0x2A, 0xE3}, "cvtsi2ss xmm12, rbx"},
    {{0x0F, 0xD7, 0xC1}, true, registers(12, 3), {0x44, 0x0F, 0xD7, 0xE3}, "pmovmskb r12d, mm3"},
    // The register in the opcode.
    {{0x0F, 0xC9}, true, registers(0, 13), {0x41, 0x0F, 0xCD}, "bswap r13d"},
    {{0x48, 0xB8, 1, 2, 3, 4, 5, 6, 7, 8},
     true,
     registers(0, 10),
     {0x49, 0xBA, 1, 2, 3, 4, 5, 6, 7, 8},
     "movabs r10, 0x807060504030201"},
    // Four registers; a vector index.
    {{0xC4, 0xE3, 0x69, 0x4C, 0xCB, 0x40},
     true,
     registers(10, 12, 11, 13),
     {0xC4, 0x43, 0x21, 0x4C, 0xD4, 0xD0},
     "vpblendvb xmm10, xmm11, xmm12, xmm13"},
    {{0xC4, 0xE2, 0x65, 0x92, 0x0C, 0x90},
     true,
     memory(9, 5, 0, 12, 2, 11),
     {0xC4, 0x22, 0x25, 0x92, 0x4C, 0xA5, 0x00},
     "vgatherdps ymm9, dword ptr [rbp + ymm12*4], ymm11"},
    // x87, and prefixes of the address, which go.
    {{0xDD, 0x00}, false, memory(0, 11), {0x41, 0xDD, 0x03}, "fld qword ptr [r11]"},
    {{0xD8, 0xC3}, true, registers(7, 7), {0xD8, 0xC3}, "fadd st(3)"},
    {{0x64, 0x67, 0x8B, 0x43, 0x10}, true, memory(0, 15), {0x41, 0x8B, 0x07}, "mov eax, dword ptr [r15]"},
};

TEST(Reencode, KnownAnswers) {
    for (const auto& known : known_answers) {
        const auto parsed = parse_instruction(known.guest, known.code64);
        ASSERT_TRUE(parsed) << known.text;
        EXPECT_EQ(parsed->length, known.guest.size()) << known.text;
        const Bytes out = encode(*parsed, known.host);
        EXPECT_EQ(hex(out), hex(known.expected)) << known.text;
        const auto lines = disassemble(out, CodeSize::bits64, 0, 2);
        ASSERT_EQ(lines.size(), 1u) << known.text;
        EXPECT_EQ(lines[0].text, known.text);
    }
}

TEST(Reencode, AHighByteWithoutAnEncoding) {
    auto add = parse_instruction(Bytes{0x00, 0xCC}, true); // ADD AH, CL
    ASSERT_TRUE(add && add->rm_high && !add->reg_high);
    EXPECT_EQ(add->modrm_rm, 0);
    EXPECT_TRUE(encode(*add, registers(1, 5)).empty());  // RBP has no high byte,
    EXPECT_TRUE(encode(*add, registers(9, 0)).empty());  // R9B needs REX, which takes AH away,
    EXPECT_TRUE(encode(*add, registers(6, 0)).empty());  // and so does SIL.
    EXPECT_FALSE(encode(*add, registers(2, 0)).empty()); //
    add->rm_high = false;
    EXPECT_EQ(hex(encode(*add, registers(9, 5))), hex(Bytes{0x44, 0x00, 0xCD}));
}

TEST(Reencode, RspIsNoIndex) {
    const auto load = parse_instruction(Bytes{0x8B, 0x00}, true);
    ASSERT_TRUE(load);
    EXPECT_TRUE(encode(*load, memory(0, 0, 0, 4)).empty());
    EXPECT_FALSE(encode(*load, memory(0, 0, 0, 12)).empty());
}

// --- What the parser reports ---

TEST(Reencode, MemoryOperands) {
    auto p = parse_instruction(Bytes{0x43, 0x8B, 0x44, 0xA5, 0x80}, true); // MOV EAX, [R13+R12*4-128]
    ASSERT_TRUE(p && p->memory);
    EXPECT_EQ(p->base, 13);
    EXPECT_EQ(p->index, 12);
    EXPECT_EQ(p->scale, 4);
    EXPECT_EQ(p->displacement, -128);
    p = parse_instruction(Bytes{0x8B, 0x05, 0x10, 0, 0, 0}, true); // MOV EAX, [RIP+16]
    ASSERT_TRUE(p && p->rip_relative);
    EXPECT_EQ(p->base, no_register);
    EXPECT_EQ(p->displacement, 16);
    p = parse_instruction(Bytes{0x8B, 0x05, 0x10, 0, 0, 0}, false); // MOV EAX, [16]
    ASSERT_TRUE(p && !p->rip_relative);
    EXPECT_EQ(p->base, no_register);
    p = parse_instruction(Bytes{0x8B, 0x04, 0x25, 0xF0, 0xFF, 0xFF, 0xFF}, true); // MOV EAX, [-16]
    ASSERT_TRUE(p && !p->rip_relative);
    EXPECT_EQ(p->base, no_register);
    EXPECT_EQ(p->index, no_register);
    EXPECT_EQ(p->displacement, -16);
    p = parse_instruction(Bytes{0x67, 0x8B, 0x42, 0xFE}, false); // MOV EAX, [BP+SI-2]
    ASSERT_TRUE(p && p->address_prefix);
    EXPECT_EQ(p->base, 5);
    EXPECT_EQ(p->index, 6);
    EXPECT_EQ(p->displacement, -2);
    p = parse_instruction(Bytes{0xC4, 0xE2, 0x65, 0x92, 0x0C, 0xA0}, true); // VGATHERDPS YMM1, [RAX+YMM4*4], YMM3
    ASSERT_TRUE(p && p->vsib);
    EXPECT_EQ(p->index, 4);
    EXPECT_EQ(p->vvvv_class, FieldClass::vector);
}

TEST(Reencode, SegmentsThatCount) {
    const auto segment = [](Bytes bytes, bool code64) { return parse_instruction(bytes, code64)->segment_prefix; };
    EXPECT_EQ(segment({0x26, 0x8B, 0x00}, false), 0x26);
    EXPECT_EQ(segment({0x26, 0x8B, 0x00}, true), 0);
    EXPECT_EQ(segment({0x65, 0x26, 0x8B, 0x00}, true), 0x65);
    EXPECT_EQ(segment({0x65, 0x26, 0x8B, 0x00}, false), 0x26);
}

TEST(Reencode, ARexBeforeAnotherPrefixIsNone) {
    const auto p = parse_instruction(Bytes{0x4F, 0x66, 0x01, 0xC8}, true);
    ASSERT_TRUE(p);
    EXPECT_FALSE(p->w);
    EXPECT_EQ(p->modrm_rm, 0);
    EXPECT_EQ(p->modrm_reg, 1);
    EXPECT_EQ(hex(encode(*p, registers(1, 0))), hex(Bytes{0x66, 0x01, 0xC8}));
}

// SDM volume 2, VMOVD/VMOVQ, ANDN: VEX.W does not make them 64-bit there.
TEST(Reencode, VexWDoesNotWidenRegistersOf32BitCode) {
    const Bytes vmovq{0xC4, 0xE1, 0xF9, 0x6E, 0xC1};
    EXPECT_TRUE(parse_instruction(vmovq, true)->w);
    EXPECT_FALSE(parse_instruction(vmovq, false)->w);
    const Bytes fma_pd{0xC4, 0xE2, 0xF1, 0xB8, 0xC2}; // There W is the element's size.
    EXPECT_TRUE(parse_instruction(fma_pd, false)->w);
}

TEST(Reencode, NothingForWhatItCannotDo) {
    const Bytes both[] = {{0xE8, 0, 0, 0, 0},
                          {0x74, 0},
                          {0xFF, 0xD0},
                          {0x50},
                          {0xA4},
                          {0xE4, 1},
                          {0xA1, 0, 0, 0, 0, 0, 0, 0, 0},
                          {0x62, 0xF1, 0x7C, 0x48, 0x58, 0xC1}, // EVEX
                          {0x8F, 0xE9, 0x78, 0x81, 0xC1},       // XOP
                          {0x66, 0xC5, 0xF1, 0xFE, 0xC2},       // A prefix before VEX
                          {0xC5, 0xF1, 0x6F, 0xC2},             // vvvv of VMOVDQA
                          {0x0F, 0x0B},
                          {0xF4},
                          {0x0F, 0x1F, 0x00}};
    for (const Bytes& bytes : both) {
        EXPECT_FALSE(parse_instruction(bytes, true)) << hex(bytes);
        EXPECT_FALSE(parse_instruction(bytes, false)) << hex(bytes);
    }
    const Bytes only64[] = {{0x63, 0xC0}, {0x0F, 0x20, 0xC0}, {0x0F, 0xAE, 0x00}, {0x0F, 0xAE, 0x20}};
    for (const Bytes& bytes : only64) {
        EXPECT_TRUE(parse_instruction(bytes, true)) << hex(bytes);
        EXPECT_FALSE(parse_instruction(bytes, false)) << hex(bytes);
    }
    EXPECT_FALSE(parse_instruction({}, true));
}

TEST(Reencode, MemoryAsARegister) {
    struct Case {
        Bytes bytes;
        const char* text; // "" where the forms differ.
    };
    const Case cases[] = {
        {{0x66, 0x0F, 0xFE, 0x4E, 0x10}, "paddd xmm1, xmm9"},
        {{0x48, 0x03, 0x0D, 1, 2, 3, 4}, "add rcx, r9"},
        {{0x65, 0x80, 0x04, 0x24, 0x07}, "add r9b, 7"},
        {{0xC4, 0xE2, 0x79, 0x30, 0x08}, "vpmovzxbw xmm1, xmm9"},
        {{0xF3, 0x0F, 0x10, 0x08}, ""},             // MOVSS
        {{0x0F, 0x12, 0x08}, ""},                   // MOVLPS; MOVHLPS
        {{0x66, 0x0F, 0x12, 0x08}, ""},             // MOVLPD
        {{0x66, 0x0F, 0x3A, 0x21, 0x08, 0x40}, ""}, // INSERTPS
        {{0x0F, 0xA3, 0x08}, ""},                   // BT [rax], ecx
        {{0x87, 0x08}, ""},                         // XCHG
        {{0xF0, 0x01, 0x08}, ""},                   // LOCK ADD
        {{0xD8, 0x00}, ""},                         // FADD m32; FADD ST, ST
        {{0x8D, 0x08}, ""},                         // LEA
        {{0x01, 0xC8}, ""},                         // A register already.
    };
    for (const auto& c : cases) {
        auto parsed = parse_instruction(c.bytes, true);
        ASSERT_TRUE(parsed) << hex(c.bytes);
        ASSERT_EQ(with_register_form(*parsed, 9), *c.text != 0) << hex(c.bytes);
        if (!*c.text) continue;
        const auto lines = disassemble(encode(*parsed, registers(1, 9)), CodeSize::bits64, 0, 1);
        ASSERT_EQ(lines.size(), 1u);
        EXPECT_EQ(lines[0].text, c.text);
    }
}

// --- Robustness ---

// Each span is a heap block of its own size, so that the address sanitizer sees a read past it.
TEST(Reencode, EveryTruncationIsNothing) {
    Random random(7);
    for (unsigned n = 0; n < 20'000; ++n) {
        const bool code64 = random() % 2;
        const auto bytes = random_instruction(random, code64);
        const auto parsed = parse_instruction(bytes, code64);
        if (!parsed) continue;
        ASSERT_LE(parsed->length, 15) << hex(bytes);
        for (std::size_t length = 0; length <= parsed->length; ++length) {
            const Bytes part(bytes.begin(), bytes.begin() + length);
            ASSERT_EQ(parse_instruction(part, code64).has_value(), length == parsed->length) << hex(part);
        }
    }
}

TEST(Reencode, AnyBytesAndAnyHostOperands) {
    Random random(11);
    unsigned taken = 0;
    for (unsigned n = 0; n < 500'000; ++n) {
        std::array<u8, 16> bytes;
        for (unsigned half = 0; half < 2; ++half) {
            const u64 word = random();
            std::memcpy(bytes.data() + 8 * half, &word, 8);
        }
        auto parsed = parse_instruction(std::span(bytes).first(random() % 17), random() % 2);
        if (!parsed) continue;
        ++taken;
        const auto any = [&] { return static_cast<u8>(random()); }; // Numbers above 15 too.
        HostOperands host = memory(any(), any(), static_cast<i32>(random()), any(), any(), any());
        host.rm = host.opcode_register = any();
        host.is4 = any();
        if (random() % 2) with_register_form(*parsed, static_cast<u8>(random()));
        EXPECT_LE(encode(*parsed, host).size(), 15u);
    }
    EXPECT_GT(taken, 50'000u);
}

} // namespace
