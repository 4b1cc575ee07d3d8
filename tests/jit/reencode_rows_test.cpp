// The re-encoder against the project's decoder: what it writes must disassemble to what the guest's bytes disassemble
// to, with the registers and the memory operand replaced.
#include "cpu/decode/decoder.h"
#include "cpu/model.h"
#include "cpu/table.h"
#include "tests/jit/reencode_support.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <numeric>
#include <set>

using namespace calque;
using namespace calque::jit;
using namespace calque::jit::test;
using cpu::CodeSize;

namespace {

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
        if ((*row == "PAUSE" || *row == "XCHG") && parsed->opcode == 0x87 && parsed->pp == 2) return;
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

// Every opcode of every map, with each prefix, /digit and kind of operand. `visit` gets at least the whole instruction.
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
        EXPECT_NE(seen.contains(row.name), never_taken.contains(row.name)) << row.name;
}

TEST(Reencode, RandomInstructionsWithRandomRegisters) {
    for (const bool code64 : {true, false}) {
        Comparison compare(code64, 100 + code64);
        while (compare.compared < 75'000)
            compare(random_instruction(compare.random(), code64));
        EXPECT_GT(compare.seen.size(), 400u);
    }
}

} // namespace
