// Every x87 encoding, executed by the interpreter's handlers and by the host's own CPU from the same random state:
// registers, tags, status and control word, instruction and data pointers, opcode, flags, memory and the fault taken
// are compared. CALQUE_X87_CASES=n runs n states of each encoding.
#if defined(__x86_64__) && defined(__linux__)

#include "tests/cpu/fp_random.h"
#include "tests/cpu/harness.h"
#include "tests/cpu/native.h"

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <ucontext.h>

namespace calque::cpu::testing {
namespace {

using fp::F80;
using fp::test::Random;

int case_count() {
    const char* text = std::getenv("CALQUE_X87_CASES");
    return text ? std::atoi(text) : 60;
}

constexpr u64 operand_at = data_base, operand_bytes = 512;
constexpr u64 tested_flags = flag_cf | flag_pf | flag_af | flag_zf | flag_sf | flag_of;

using Image = std::array<u8, 108>; // FNSAVE, 32-bit protected-mode format

struct Start {
    Image image;
    std::array<u8, operand_bytes> memory;
    u64 flags;
};

struct Result {
    Image image{};
    std::array<u8, operand_bytes> memory{};
    u64 flags = 0, rax = 0;
    int vector = -1;
};

void* g_resume;
int g_signal;

void on_signal(int number, siginfo_t*, void* context) {
    auto* uc = static_cast<ucontext_t*>(context);
    g_signal = number;
    uc->uc_mcontext.gregs[REG_RIP] = reinterpret_cast<greg_t>(g_resume);
}

// The host's side: its memory is at the guest's addresses (Native has mapped it), so that the pointers the FPU keeps
// are comparable.
class Host {
  public:
    Host() {
        (void)Native::instance(); // sets its own handlers, which these stand before
        struct sigaction action = {};
        action.sa_sigaction = on_signal;
        action.sa_flags = SA_SIGINFO;
        sigaction(SIGFPE, &action, &old_fpe_);
        sigaction(SIGILL, &action, &old_ill_);
    }
    ~Host() {
        sigaction(SIGFPE, &old_fpe_, nullptr);
        sigaction(SIGILL, &old_ill_, nullptr);
    }
    Host(const Host&) = delete;
    Host& operator=(const Host&) = delete;
    bool usable() const { return Native::instance().ok() && __builtin_cpu_is("amd"); }

    Result run(std::span<const u8> instruction, const Start& start) {
        u8* code = reinterpret_cast<u8*>(code_base);
        std::memcpy(code, instruction.data(), instruction.size());
        static constexpr u8 jump[6] = {0xFF, 0x25, 0, 0, 0, 0}; // JMP [RIP]
        std::memcpy(code + instruction.size(), jump, sizeof jump);
        u8* target = code + instruction.size() + sizeof jump;
        std::memcpy(reinterpret_cast<void*>(operand_at), start.memory.data(), operand_bytes);
        Result result;
        g_signal = 0;
        u64 flags = start.flags, rax_out = 0x1122334455667788;
        // Registers fixed by hand: the instruction may change RAX, flags, the x87 and XMM registers.
        asm volatile("lea 1f(%%rip), %%rax\n mov %%rax, %[resume]\n mov %%rax, (%[target])\n"
                     "frstor %[image]\n lea -256(%%rsp), %%rsp\n push %[flags]\n popfq\n"
                     "mov $0x1122334455667788, %%rax\n jmp *%[code]\n"
                     "1: pushfq\n pop %[flags]\n lea 256(%%rsp), %%rsp\n mov %%rax, %[rax]\n fnsave %[out]\n cld\n"
                     : [flags] "+r"(flags), [rax] "=m"(rax_out), [out] "=m"(result.image), [resume] "=m"(g_resume)
                     : [image] "m"(start.image), [target] "r"(target), [code] "r"(code), "b"(operand_at)
                     : "rax", "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
                       "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
        std::memset(code, 0xCC, 32); // as the arena was
        result.flags = flags & tested_flags;
        result.rax = rax_out;
        result.vector = g_signal == SIGFPE ? 16 : g_signal == SIGILL ? 6 : -1;
        std::memcpy(result.memory.data(), reinterpret_cast<void*>(operand_at), operand_bytes);
        return result;
    }

  private:
    struct sigaction old_fpe_ = {}, old_ill_ = {};
};

class Guest {
  public:
    Guest() : machine_(Machine::Kind::long64, model()) {
        machine_.state().segment[cs].selector = 0x33;
        machine_.state().segment[ss].selector = 0x2B;
        for (const unsigned n : {ds, es, fs, gs})
            machine_.state().segment[n].selector = 0;
    }

    Result run(std::span<const u8> instruction, const Start& start) {
        CpuState& s = machine_.state();
        std::memcpy(machine_.at(image_at), start.image.data(), sizeof(Image));
        std::memcpy(machine_.at(operand_at), start.memory.data(), operand_bytes);
        s.x87 = X87State{};
        s.gpr[rbx] = image_at;
        must_run({0xDD, 0x23}); // FRSTOR [RBX]
        s.gpr[rbx] = operand_at;
        s.gpr[rax] = 0x1122334455667788;
        s.rip() = code_base;
        write_rflags(s, start.flags | flag_if);
        Result result;
        if (const auto exception = machine_.step(instruction)) result.vector = static_cast<int>(exception->vector);
        result.flags = machine_.cpu().rflags() & tested_flags;
        result.rax = s.gpr[rax];
        s.gpr[rbx] = image_at;
        must_run({0xDD, 0x33}); // FNSAVE [RBX]
        std::memcpy(result.image.data(), machine_.at(image_at), sizeof(Image));
        std::memcpy(result.memory.data(), machine_.at(operand_at), operand_bytes);
        return result;
    }

  private:
    static constexpr u64 image_at = data_base + 0x1000;
    static CpuModel model() {
        CpuModel m;
        m.vendor = "AuthenticAMD"; // FXSAVE as on the silicon compared with
        return m;
    }
    void must_run(std::initializer_list<u8> bytes) { ASSERT_FALSE(machine_.step(bytes)); }
    Machine machine_;
};

void put16(Image& image, std::size_t at, unsigned value) {
    image[at] = static_cast<u8>(value);
    image[at + 1] = static_cast<u8>(value >> 8);
}
unsigned get16(const Image& image, std::size_t at) { return image[at] | image[at + 1] << 8u; }
F80 st(const Image& image, unsigned n) {
    F80 value;
    std::memcpy(&value.significand, &image[28 + 10 * n], 8);
    std::memcpy(&value.sign_exponent, &image[36 + 10 * n], 2);
    return value;
}

F80 near_one(Random& random) {
    const u16 sign = random.next() & 0x8000;
    const unsigned exponent = F80::kBias - 6 + random.below(9);
    return F80{random.next() | F80::kIntegerBit, static_cast<u16>(sign | exponent)};
}

// One of the memory formats with something in it that matters.
void fill_memory(Random& random, std::array<u8, operand_bytes>& memory) {
    for (u8& byte : memory)
        byte = static_cast<u8>(random.next());
    u64 value = random.next();
    switch (random.below(6)) {
    case 0: value = random.operand<fp::F32>().bits; break;
    case 1: value = random.operand<fp::F64>().bits; break;
    case 2: value = random.pattern(64); break;
    case 3: value = random.below(65536); break; // a control word
    case 4: {
        const F80 wide = random.operand80();
        std::memcpy(memory.data() + 2, &wide.sign_exponent, 2);
        std::memcpy(memory.data() + 8, &wide.sign_exponent, 2);
        value = wide.significand;
        break;
    }
    default: value &= 0x0909090909090909; // decimal digits
    }
    std::memcpy(memory.data(), &value, 8);
    const u32 mxcsr = 0x1F80 | random.below(64); // for FXRSTOR
    std::memcpy(memory.data() + 24, &mxcsr, 4);
}

Start draw(Random& random) {
    Start start{};
    put16(start.image, 0, random.x87_control() & (random.below(3) ? 0xFFFFu : ~random.below(64)));
    unsigned status = random.below(8) << 11 | (random.below(2) ? 0x4700 & static_cast<unsigned>(random.next()) : 0);
    if (random.below(3) == 0) status |= random.below(128);
    put16(start.image, 4, status);
    unsigned tags = 0; // mostly full, at times with holes, at times empty
    const unsigned emptiness = random.below(4);
    for (unsigned n = 0; n < 8; ++n) {
        const bool is_empty = emptiness == 0   ? random.below(2)
                              : emptiness == 1 ? n >= 2 + random.below(6)
                                               : emptiness == 2 && random.below(8) == 0;
        tags |= (is_empty ? 3u : 0u) << (2 * ((n + (status >> 11)) & 7));
    }
    put16(start.image, 8, tags);
    for (std::size_t n = 12; n < 28; ++n)
        start.image[n] = static_cast<u8>(random.next());
    start.image[19] &= 7;
    F80 previous = random.operand80();
    for (unsigned n = 0; n < 8; ++n) {
        const F80 value = random.below(3) == 0 ? near_one(random) : random.related80(previous);
        std::memcpy(&start.image[28 + 10 * n], &value.significand, 8);
        std::memcpy(&start.image[36 + 10 * n], &value.sign_exponent, 2);
        previous = value;
    }
    fill_memory(random, start.memory);
    start.flags = random.next() & tested_flags;
    return start;
}

bool one_apart(F80 a, F80 b) {
    const u128 x = u128{u64(a.exponent())} << 63 | (a.significand & ~F80::kIntegerBit);
    const u128 y = u128{u64(b.exponent())} << 63 | (b.significand & ~F80::kIntegerBit);
    return a.sign() == b.sign() && (x == y || x + 1 == y || y + 1 == x);
}

// D9 F0 to F3, F9, FB, FE, FF: results may be one unit in the last place apart, and C1 then differs too.
bool transcendental(std::span<const u8> bytes) {
    if (bytes[0] != 0xD9 || bytes.size() != 2) return false;
    const u8 m = bytes[1];
    return (m >= 0xF0 && m <= 0xF3) || m == 0xF9 || m == 0xFB || m >= 0xFE;
}

bool agree(std::span<const u8> bytes, Result host, Result guest) {
    if (transcendental(bytes)) {
        for (unsigned n = 0; n < 2; ++n) {
            if (!one_apart(st(host.image, n), st(guest.image, n))) return false;
            std::memcpy(&guest.image[28 + 10 * n], &host.image[28 + 10 * n], 10);
        }
        put16(guest.image, 4, (get16(guest.image, 4) & ~0x200u) | (get16(host.image, 4) & 0x200u));
    }
    // The kernel, delivering the signal, keeps no selectors, and the pointers only while an error is pending.
    for (std::size_t at = 12; at < 28; ++at)
        if (host.vector == 6 || (host.vector == 16 && (at == 16 || at == 17 || at >= 24)))
            guest.image[at] = host.image[at];
    const bool fxsave = bytes.size() >= 2 && bytes[bytes.size() - 2] == 0xAE;
    if (fxsave) // MXCSR_MASK and the XMM registers are not x87's
        std::memcpy(&guest.memory[28], &host.memory[28], 4), std::memcpy(&guest.memory[160], &host.memory[160], 256);
    return host.image == guest.image && host.memory == guest.memory && host.flags == guest.flags
           && host.rax == guest.rax && host.vector == guest.vector;
}

std::string describe(const Result& r) {
    char text[400];
    const F80 a = st(r.image, 0), b = st(r.image, 1), c = st(r.image, 7);
    std::snprintf(text, sizeof text,
                  "vector %d cw %04x sw %04x tw %04x ip %02x%02x op %02x%02x dp %02x%02x ds %02x flags %03llx rax %llx "
                  "st0 %04x:%016llx "
                  "st1 %04x:%016llx st7 %04x:%016llx m %02x%02x%02x%02x",
                  r.vector, get16(r.image, 0), get16(r.image, 4), get16(r.image, 8), r.image[13], r.image[12],
                  r.image[19], r.image[18], r.image[21], r.image[20], r.image[24],
                  static_cast<unsigned long long>(r.flags), static_cast<unsigned long long>(r.rax), a.sign_exponent,
                  static_cast<unsigned long long>(a.significand), b.sign_exponent,
                  static_cast<unsigned long long>(b.significand), c.sign_exponent,
                  static_cast<unsigned long long>(c.significand), r.memory[3], r.memory[2], r.memory[1], r.memory[0]);
    return text;
}

std::vector<std::vector<u8>> encodings() {
    std::vector<std::vector<u8>> all;
    for (unsigned opcode = 0xD8; opcode <= 0xDF; ++opcode) {
        for (unsigned reg = 0; reg < 8; ++reg) {
            const u8 modrm = static_cast<u8>(reg << 3 | 3); // [RBX]
            all.push_back({static_cast<u8>(opcode), modrm});
            if (opcode == 0xD9 || opcode == 0xDD) all.push_back({0x66, static_cast<u8>(opcode), modrm});
        }
        for (unsigned modrm = 0xC0; modrm <= 0xFF; ++modrm)
            all.push_back({static_cast<u8>(opcode), static_cast<u8>(modrm)});
    }
    all.push_back({0x9B});
    all.push_back({0x0F, 0xAE, 0x03});
    all.push_back({0x0F, 0xAE, 0x0B});
    all.push_back({0x48, 0x0F, 0xAE, 0x03});
    all.push_back({0x48, 0x0F, 0xAE, 0x0B});
    return all;
}

TEST(X87Host, EveryEncodingFromRandomStates) {
    Host host;
    if (!host.usable()) GTEST_SKIP() << "the host is not an AMD CPU, or its memory at the tests' addresses is taken";
    Guest guest;
    Random random(0x87);
    int failures = 0;
    for (const std::vector<u8>& bytes : encodings()) {
        int shown = 0;
        for (int n = 0; n < case_count() && shown < 2; ++n) {
            const Start start = draw(random);
            const Result emulated = guest.run(bytes, start);
            // A context switch in between makes the host's kernel drop the pointers: what differs is tried again.
            Result real;
            bool same = false;
            for (int attempt = 0; attempt < 3 && !same; ++attempt)
                same = agree(bytes, real = host.run(bytes, start), emulated);
            if (same) continue;
            ++shown;
            char text[64] = "";
            for (const u8 byte : bytes)
                std::snprintf(text + std::strlen(text), 8, "%02x ", byte);
            Result before;
            before.image = start.image;
            before.memory = start.memory;
            before.flags = start.flags;
            ADD_FAILURE() << text << Decoder::disassemble(bytes, CodeSize::bits64, code_base) << "\n  start "
                          << describe(before) << "\n  host  " << describe(real) << "\n  guest " << describe(emulated);
        }
        failures += shown;
        if (failures > 60) break;
    }
}

} // namespace
} // namespace calque::cpu::testing

#endif
