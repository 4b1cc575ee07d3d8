#include "tests/diff/comparison.h"

#include "tests/diff/rows.h"

#include <fmt/format.h>

namespace calque::diff {

namespace {

using namespace cpu;
using namespace cpu::testing;

constexpr u64 window = data_base, window_size = 3072, window_words = window_size / 8;
constexpr u64 edge = arena_base + arena_size, edge_size = 1024; // Nothing is mapped from `edge` on.
constexpr u32 misaligned_mode = 0x20000;                        // MXCSR bit that only AMD's processors have.
constexpr u64 compared_flags = arithmetic_flags | flag_df | flag_ac;

std::string_view name_of(const Encoding& e) { return instruction_table()[e.record.row].name; }
bool in_window(u64 address) { return address - window <= window_size - 64; }

// Which operand values suit a row, told by its name: PS and SS, PD and SD, text for the string comparisons.
Pools::Kind kind_for(u16 row) {
    static const std::vector<Pools::Kind> kinds = [] {
        std::vector<Pools::Kind> list;
        for (const Row& row : instruction_table()) {
            const auto has = [&](std::string_view part) { return row.name.find(part) != row.name.npos; };
            list.push_back(has("STRI") || has("STRM")                            ? Pools::text
                           : has("PS") || has("SS") || has("SUBPS")              ? Pools::singles
                           : has("PD") || has("SD")                              ? Pools::doubles
                           : row.name[0] == 'F' && row.name.substr(0, 2) != "FX" ? Pools::extendeds
                                                                                 : Pools::lanes);
        }
        return list;
    }();
    return kinds[row];
}

// Rows whose memory operand is an image of x87 or vector state.
bool wide_image(std::string_view name) {
    return name.substr(0, 5) == "FXSAV" || name.substr(0, 5) == "FXRST" || name == "FNSAVE" || name == "FRSTOR"
           || name == "FNSTENV" || name == "FLDENV";
}

// XSAVE's standard format (SDM volume 1, 13.4): the offsets of what is compared.
constexpr unsigned at_control = 0, at_status = 2, at_tags = 4, at_opcode = 6, at_ip = 8, at_dp = 16, at_mxcsr = 24,
                   at_registers = 32, at_xmm = 160, at_header = 512, at_upper = 576;

template <class T> void put(u8* image, unsigned at, T value) { std::memcpy(image + at, &value, sizeof value); }
template <class T> T get(const u8* image, unsigned at) {
    T value;
    std::memcpy(&value, image + at, sizeof value);
    return value;
}

} // namespace

Comparison::Comparison() {
    std::memset(machine_.arena().data(), 0xCC, arena_size); // As the host's.
    machine_.state().cr0 |= cr0_am;
    machine_.cpu().update_mode();
    window_before_.resize(window_size);
}

u64 Comparison::random_target(Random& random) const {
    if (random.one_in(96)) return edge - random.below(40); // Across the end of what is mapped, or just before it.
    const u64 offset = 1024 + random.below(512);
    const u64 r = random.below(8);
    return window + (r < 4 ? offset & ~u64{63} : r == 4 ? offset & ~u64{15} : r == 5 ? offset & ~u64{7} : offset);
}

bool Comparison::place(Encoding& e, Random& random) {
    address_ = code_base + 0x400 + random.below(0x300) * 64;
    std::memset(native_.at(address_), 0xCC, 128); // A stray store may have been here.
    branch_target_ = address_ + 32 + random.below(64);
    target_ = random_target(random);
    const bool branch = e.form.is(0, OperandKind::relative);
    const std::string_view name = name_of(e);
    if (branch || name == "JMP" || name == "CALL" || name == "RET") {
        // AMD's processors heed the operand-size prefix of near branches; the guest's, Intel's, do not.
        for (unsigned n = 0; n < e.tail_at; ++n)
            if (e.bytes[n] == 0x66) return false;
    }
    const auto patch = [&](unsigned at, unsigned size, u64 value) {
        std::memcpy(&e.bytes[at], &value, size);
        return e.decode(decoder());
    };
    if (branch && !patch(e.tail_at, e.length - e.tail_at, branch_target_ - address_ - e.length)) return false;
    if (e.pattern->memory && e.has_displacement32) {
        if (e.record.base == rip_slot) return patch(e.displacement_at, 4, target_ - address_ - e.length);
        if (e.record.base == zero_slot && (e.record.index == zero_slot || e.pattern->vsib))
            return patch(e.displacement_at, 4, target_);
    }
    if (!e.pattern->modrm && name == "MOV" && e.form.any_memory())
        return patch(e.tail_at, e.length - e.tail_at, target_);
    return true;
}

void Comparison::remove() { native_.remove(); }

void Comparison::random_x87(Random& random, const Pools& pools, bool used) {
    X87State& x = machine_.state().x87;
    x = X87State{};
    x.control = 0x37F;
    if (!used && !random.one_in(16)) return;
    const u64 r = random.next();
    x.control = static_cast<u16>((r & 0x0F00) | 0x7F); // The precision control of 01 is reserved.
    if ((x.control & 0x300) == 0x100) x.control |= 0x200;
    if (random.one_in(6)) x.control = static_cast<u16>((x.control & ~0x3F) | (random.next() & 0x3F));
    x.status = static_cast<u16>((r >> 16) & 0x7F7F);
    if (!random.one_in(8)) x.status &= static_cast<u16>(x.control | ~0x3F);
    if (x.status & ~x.control & 0x3F) x.status |= 0x8080;
    x.valid = r >> 63 ? 0xFF : static_cast<u8>(r >> 32);
    const bool multimedia = random.one_in(8);
    const u64* values = pools.slice(multimedia ? Pools::lanes : Pools::extendeds, 16, random);
    for (unsigned n = 0; n < 8; ++n)
        x.reg[n] = {values[2 * n], static_cast<u16>(multimedia ? 0xFFFF : values[2 * n + 1])};
    if (!(x.status & 0x80)) return; // AMD's XRSTOR leaves the pointers alone then.
    x.opcode = (r >> 40) & 0x7FF;
    x.instruction_pointer = static_cast<u32>(random.next());
    x.data_pointer = static_cast<u32>(random.next());
}

// Registers that an instruction uses without naming them.
void Comparison::aim_implicit(const Encoding& e, Random& random) {
    auto& gpr = machine_.state().gpr;
    const std::string_view name = name_of(e);
    if (!random.one_in(64)) gpr[rsp] = window + 1024 + random.below(128) * 8;
    if (random.one_in(4)) gpr[rcx] &= 0x7F;
    if (group_of(e.record.row) == Group::string) {
        if (!random.one_in(64)) gpr[rsi] = window + 1024 + random.below(512);
        if (!random.one_in(64)) gpr[rdi] = window + 1024 + random.below(512);
        if (random.one_in(4)) gpr[rdi] = gpr[rsi] + random.below(16) - 8; // Overlapping.
        gpr[rcx] &= e.record.address_bytes() == 8 ? 31 : 0xFFFFFFFF0000001F;
        if (random.one_in(128)) gpr[random.one_in(2) ? rsi : rdi] = edge - random.below(64);
    } else if (name == "ENTER" || name == "LEAVE") {
        if (!random.one_in(32)) gpr[rbp] = window + 1024 + random.below(512);
    } else if (name.find("MASKMOV") != name.npos && name.find("DQU") + 1 + (name == "MASKMOVQ") != 0) {
        if (!random.one_in(32)) gpr[rdi] = target_;
    } else if (name == "XLAT") {
        if (!random.one_in(32)) gpr[rbx] = target_ - (gpr[rax] & 0xFF);
    } else if (name == "DIV" || name == "IDIV") {
        if (random.one_in(2)) gpr[rdx] = name == "DIV" ? 0 : static_cast<u64>(static_cast<i64>(gpr[rax]) >> 63);
        if (random.one_in(2)) gpr[rdx] &= 0xFF, gpr[rax] &= 0xFFFF;
    } else if (e.form.kind[1] == OperandKind::gpr && e.form.memory(0) && name.substr(0, 2) == "BT") {
        if (!random.one_in(64)) gpr[e.record.source & 15] = random.below(4096) - 2048; // A bit's distance.
    }
}

void Comparison::aim_vsib(const Encoding& e, Random& random, u64 target) {
    CpuState& s = machine_.state();
    if (e.record.base < 16) s.gpr[e.record.base] = target - static_cast<u64>(i64{e.record.displacement});
    if (random.one_in(32)) return;
    VectorRegister& index = s.vector[e.record.index & 15];
    const bool dwords = name_of(e).find("GATHERD") != std::string_view::npos;
    for (u64& q : index.q) {
        const u64 low = random.below(128) - 64, high = random.below(128) - 64;
        q = dwords ? high << 32 | static_cast<u32>(low) : low;
    }
}

// Points the memory operand to target_, through whichever register its address has.
void Comparison::aim_memory(const Encoding& e, Random& random) {
    if (!e.pattern->memory) return;
    if (random.one_in(128)) return; // Anywhere.
    if (!e.has_displacement32 || e.record.base < 16) target_ = random_target(random);
    if (e.pattern->vsib) return aim_vsib(e, random, target_);
    auto& gpr = machine_.state().gpr;
    const unsigned base = e.record.base, index = e.record.index, scale = e.record.scale();
    const u64 rest = target_ - static_cast<u64>(i64{e.record.displacement});
    if (base < 16 && index == base)
        gpr[base] = static_cast<u64>(static_cast<i64>(rest) / static_cast<i64>(1 + (1u << scale)));
    else if (base < 16)
        gpr[base] = rest - (index < 16 ? gpr[index] << scale : 0);
    else if (index < 16)
        gpr[index] = static_cast<u64>(static_cast<i64>(rest) >> scale);
}

// What must hold of operands for the interesting paths to be met, now that the addresses are known.
void Comparison::prepare_operands(const Encoding& e, Random& random) {
    CpuState& s = machine_.state();
    const std::string_view name = name_of(e);
    u8* const operand = e.pattern->memory && in_window(target_) ? machine_.at(target_) : nullptr;
    if (name == "JMP" || name == "CALL") {
        if (e.form.is(0, OperandKind::gpr)) s.gpr[e.record.dest] = branch_target_;
        if (operand) put(operand, 0, branch_target_);
    } else if (name == "RET") {
        if (in_window(s.gpr[rsp])) put(machine_.at(s.gpr[rsp]), 0, branch_target_);
    } else if (operand && (name == "FXRSTOR" || name == "FXRSTOR64")) {
        if (!random.one_in(8)) put(operand, 24, get<u32>(operand, 24) & 0xFFFF);
        put(operand, 24, get<u32>(operand, 24) & ~misaligned_mode);
    } else if (operand && (name == "LDMXCSR" || name == "VLDMXCSR")) {
        if (!random.one_in(8)) put(operand, 0, get<u32>(operand, 0) & 0xFFFF);
        put(operand, 0, get<u32>(operand, 0) & ~misaligned_mode);
    } else if (name.substr(0, 7) == "CMPXCHG" && random.one_in(2)) {
        if (name == "CMPXCHG" && e.form.is(0, OperandKind::gpr)) s.gpr[rax] = s.gpr[e.record.dest & 15];
        if (!operand || e.record.base == rax || e.record.base == rdx || e.record.index == rax || e.record.index == rdx)
            return;
        const unsigned half = name == "CMPXCHG8B" ? 4 : 8;
        std::memcpy(&s.gpr[rax], operand, half);
        if (name != "CMPXCHG") std::memcpy(&s.gpr[rdx], operand + half, half);
    }
}

void Comparison::random_state(const Encoding& e, Random& random, const Pools& pools) {
    CpuState& s = machine_.state();
    const Group group = group_of(e.record.row);
    for (unsigned n = 0; n < 16; ++n)
        s.gpr[n] = integer_value(random);
    const u64 r = random.next();
    if (r & 1) s.gpr[(r >> 8) & 15] = s.gpr[(r >> 16) & 15];
    const auto kind = [&] {
        return random.one_in(4) ? static_cast<Pools::Kind>(random.below(Pools::kinds)) : kind_for(e.record.row);
    };
    std::memcpy(machine_.at(window), pools.slice(kind(), window_words, random), window_size);
    if (!scalar_only(group)) {
        const u64* values = pools.slice(kind(), 64, random);
        for (unsigned n = 0; n < 16; ++n)
            std::memcpy(s.vector[n].q, values + 4 * n, 32);
        for (unsigned n = 0; n < ((r >> 24) & 7); ++n) { // Operands that are equal, in whole or in part.
            const u64 pick = random.next();
            VectorRegister &to = s.vector[pick & 15], &from = s.vector[(pick >> 4) & 15];
            for (unsigned q = 0; q < 4; ++q)
                if (pick >> (8 + q) & 1) to.q[q] = from.q[q];
        }
        s.mxcsr = static_cast<u32>(0x1F80 | (random.next() & 0x3F) | (random.next() & 0xE040 & random.next()));
        if (random.one_in(10)) s.mxcsr &= static_cast<u32>(~0x1F80 | random.next());
        random_x87(random, pools,
                   group == Group::x87 || group == Group::mmx || name_of(e).find("P") != std::string_view::npos);
    }
    const u64 flags =
        flag_one | flag_if | (random.next() & (arithmetic_flags | flag_df)) | (random.one_in(64) ? flag_ac : 0);
    write_rflags(s, flags);
    s.rip() = address_;
    aim_implicit(e, random);
    aim_memory(e, random);
    prepare_operands(e, random);
    std::memcpy(native_.at(window), machine_.at(window), window_size);
}

void Comparison::load_native(const CpuState& s, bool vectors) {
    Native::State& host = native_.state();
    std::memcpy(host.gpr, s.gpr.data(), sizeof host.gpr);
    host.rflags = read_rflags(s);
    native_.with_vectors = vectors;
    if (!vectors) return;
    u8* const image = host.xsave;
    const X87State& x = s.x87;
    put(image, at_control, x.control);
    put(image, at_status, x.status);
    put(image, at_tags, u16{x.valid});
    put(image, at_opcode, x.opcode);
    put(image, at_ip, x.instruction_pointer);
    put(image, at_dp, x.data_pointer);
    put(image, at_mxcsr, s.mxcsr);
    for (unsigned n = 0; n < 8; ++n) {
        const X87Register& reg = x.reg[(x.top() + n) & 7];
        put(image, at_registers + 16 * n, reg.significand);
        put(image, at_registers + 16 * n + 8, u64{reg.sign_exponent});
    }
    for (unsigned n = 0; n < 16; ++n) {
        std::memcpy(image + at_xmm + 16 * n, s.vector[n].q, 16);
        std::memcpy(image + at_upper + 16 * n, s.vector[n].q + 2, 16);
    }
    std::memset(image + at_header, 0, 64);
}

bool Comparison::run(const Encoding& e, Random& random, const Pools& pools) {
    differences_.clear();
    random_state(e, random, pools);
    before_ = machine_.state();
    const bool vectors = !scalar_only(group_of(e.record.row)), alignment = before_.rflags & flag_ac;
    std::memcpy(window_before_.data(), native_.at(window), window_size);
    load_native(before_, vectors);
    native_.place(e.code(), address_);
    result_ = native_.again();

    Instruction records[2] = {e.record, {}};
    if (alignment) machine_.cpu().update_paging_context();
    fault_ = machine_.step(records, e.form);
    compare(e, fault_);
    if (!differences_.empty()) [[unlikely]] {
        // Once more on the host: an interrupt in the midst of an instruction of many steps (ENTER, with overlapping
        // frames) starts it again, with what it has overwritten as its input.
        differences_.clear();
        std::memcpy(native_.at(window), window_before_.data(), window_size);
        load_native(before_, vectors);
        result_ = native_.again();
        compare(e, fault_);
        if (touched_runner()) differences_.clear();
    }
    if (alignment) {
        machine_.state().rflags &= ~flag_ac;
        machine_.cpu().update_paging_context();
    }
    return differences_.empty();
}

// The guest faulted on an address where only the host's side has something: Native's own state.
bool Comparison::touched_runner() const {
    const u64 page = reinterpret_cast<u64>(&native_.state()) & ~u64{0xFFF};
    return fault_ && fault_->vector == Vector::page_fault && (fault_->address & ~u64{0xFFF}) == page;
}

void Comparison::compare(const Encoding& e, const std::optional<Exception>& fault) {
    const CpuState& guest = machine_.state();
    const Native::State& host = native_.state();
    compare_fault(name_of(e), fault);
    for (unsigned n = 0; n < 16; ++n)
        if (guest.gpr[n] != host.gpr[n]) [[unlikely]]
            note(fmt::format("gpr {}: {:#x}, host {:#x}", n, guest.gpr[n], host.gpr[n]));
    const u64 flags = read_rflags(guest) & compared_flags, host_flags = host.rflags & compared_flags;
    if (flags != host_flags) [[unlikely]]
        note(fmt::format("flags {:#x}, host {:#x}", flags, host_flags));
    if (guest.rip() != host.rip) [[unlikely]]
        note(fmt::format("rip {:#x}, host {:#x}", guest.rip(), host.rip));
    compare_memory(e);
    if (!native_.with_vectors) return;
    const unsigned tolerance = x87_tolerance(e.record.row);
    compare_vectors(0);
    compare_x87(tolerance);
}

void Comparison::compare_fault(std::string_view name, const std::optional<Exception>& fault) {
    const int vector = fault ? static_cast<int>(fault->vector) : -1;
    int expected = result_.signal == 0 ? -1 : result_.trap;
    // The fetch at a branch's target faults: that is no longer this instruction.
    const u64 host_rip = native_.state().rip;
    if (expected >= 0 && host_rip != address_ && host_rip == machine_.state().rip()) expected = -1;
    if (vector >= 0 && expected >= 0 && faults_in_either_order(name)) return;
    if (vector != expected) [[unlikely]]
        return note(fmt::format("exception {}, host {} (signal {})", vector, expected, result_.signal));
    if (vector != static_cast<int>(Vector::page_fault)) return;
    // Microcode stores the images from both ends, so that either of two pages may fault first.
    if (fault->address != result_.address && !wide_image(name)) [[unlikely]]
        note(fmt::format("page fault at {:#x}, host {:#x}", fault->address, result_.address));
    constexpr u64 write = 2, user = 4;
    if ((fault->error_code ^ result_.error) & (write | user)) [[unlikely]]
        note(fmt::format("page fault code {:#x}, host {:#x}", fault->error_code, result_.error));
}

void Comparison::compare_memory(const Encoding& e) {
    const std::string_view name = name_of(e);
    if (name == "FXSAVE" || name == "FXSAVE64") {
        // The host's MXCSR_MASK has bit 17 as well, AMD's misaligned exception mode.
        const u64 mask_at = effective_address(before_, e.record) + 28 + (e.record.base == rip_slot ? e.length : 0);
        if (mask_at - arena_base <= arena_size - 4 && get<u32>(native_.at(mask_at), 0) == 0x2FFFF)
            put(native_.at(mask_at), 0, u32{0xFFFF});
    }
    const auto differ = [&](u64 base, u64 size) {
        u8 *const guest = machine_.at(base), *const host = native_.at(base);
        if (std::memcmp(guest, host, size) == 0) [[likely]]
            return;
        std::string text = "memory";
        for (u64 n = 0; n < size && text.size() < 1200; ++n)
            if (guest[n] != host[n]) text += fmt::format(" [{:#x}] {:02x}, host {:02x}", base + n, guest[n], host[n]);
        note(std::move(text));
        if (base != window) std::memcpy(guest, host, size);
    };
    differ(window, window_size);
    differ(edge - edge_size, edge_size);
}

void Comparison::compare_vectors(unsigned) {
    const CpuState& guest = machine_.state();
    const u8* const image = native_.state().xsave;
    for (unsigned n = 0; n < 16; ++n) {
        VectorRegister host;
        std::memcpy(host.q, image + at_xmm + 16 * n, 16);
        std::memcpy(host.q + 2, image + at_upper + 16 * n, 16);
        const u64* const q = guest.vector[n].q;
        if (std::memcmp(q, host.q, 32) == 0) [[likely]]
            continue;
        note(fmt::format("ymm{}: {:016x}_{:016x}_{:016x}_{:016x}, host {:016x}_{:016x}_{:016x}_{:016x}", n, q[3], q[2],
                         q[1], q[0], host.q[3], host.q[2], host.q[1], host.q[0]));
    }
    const u32 host_mxcsr = get<u32>(image, at_mxcsr);
    if (guest.mxcsr != host_mxcsr) [[unlikely]]
        note(fmt::format("mxcsr {:#x}, host {:#x}", guest.mxcsr, host_mxcsr));
}

void Comparison::compare_x87(unsigned tolerance) {
    const X87State& x = machine_.state().x87;
    const u8* const image = native_.state().xsave;
    const auto same = [&](std::string_view what, u64 guest, u64 host) {
        if (guest != host) [[unlikely]]
            note(fmt::format("{} {:#x}, host {:#x}", what, guest, host));
    };
    constexpr u16 c1 = 0x200, error_summary = 0x80;
    const u16 ignored = tolerance ? c1 : 0;
    same("fcw", x.control, get<u16>(image, at_control));
    same("fsw", x.status & ~ignored, get<u16>(image, at_status) & ~ignored);
    same("ftw", x.valid, get<u8>(image, at_tags));
    if (get<u16>(image, at_status) & error_summary) { // AMD's XSAVE has the pointers only of an exception.
        same("fop", x.opcode, get<u16>(image, at_opcode));
        same("fip", x.instruction_pointer, get<u64>(image, at_ip));
        same("fdp", x.data_pointer, get<u64>(image, at_dp));
    }
    for (unsigned n = 0; n < 8; ++n) {
        const X87Register& reg = x.reg[(x.top() + n) & 7];
        const u64 significand = get<u64>(image, at_registers + 16 * n);
        const u16 exponent = get<u16>(image, at_registers + 16 * n + 8);
        if (reg.significand == significand && reg.sign_exponent == exponent) [[likely]]
            continue;
        // In units in the last place, across a power of two as well.
        const bool smallest = (reg.sign_exponent ^ exponent) == 1 && ((reg.sign_exponent | exponent) & 0x7FFF) == 1;
        const u64 distance = smallest                            ? reg.significand - significand
                             : reg.sign_exponent == exponent     ? reg.significand - significand
                             : reg.sign_exponent == exponent + 1 ? (reg.significand << 1) - significand
                             : reg.sign_exponent == exponent - 1 ? reg.significand - (significand << 1)
                                                                 : ~u64{0} >> 1;
        if (distance + tolerance <= 2 * u64{tolerance} && tolerance) continue;
        note(fmt::format("st{} {:04x}:{:016x}, host {:04x}:{:016x}", n, reg.sign_exponent, reg.significand, exponent,
                         significand));
    }
}

std::string Comparison::report(const Encoding& e) const {
    std::string text =
        fmt::format("{}: {}\n  bytes", name_of(e), Decoder::disassemble(e.code(), CodeSize::bits64, address_));
    for (const u8 b : e.code())
        text += fmt::format(" {:02x}", b);
    text += fmt::format(" at {:#x}\n  interpreter, host: {}\n  before:", address_, differences_);
    for (unsigned n = 0; n < 16; ++n)
        text += fmt::format("{}r{} {:#x}", n % 8 ? " " : "\n    ", n, before_.gpr[n]);
    text += fmt::format("\n    flags {:#x} mxcsr {:#x}", read_rflags(before_), before_.mxcsr);
    const auto vector = [&](unsigned n) {
        const u64* q = before_.vector[n].q;
        text += fmt::format("\n    ymm{} {:016x}_{:016x}_{:016x}_{:016x}", n, q[3], q[2], q[1], q[0]);
    };
    const u8 numbers[4] = {e.record.dest, e.record.source, e.record.third, e.record.fourth};
    for (unsigned n = 0; n < e.form.count; ++n)
        if (e.form.is(n, OperandKind::xmm) || e.form.is(n, OperandKind::ymm)) vector(numbers[n] & 15);
    const Group group = group_of(e.record.row);
    if (group == Group::sse && e.form.count == 2) vector(0);
    if (group == Group::x87 || group == Group::mmx) {
        const X87State& x = before_.x87;
        text += fmt::format("\n    fcw {:#x} fsw {:#x} ftw {:#x} fop {:#x} fip {:#x} fdp {:#x}", x.control, x.status,
                            x.valid, x.opcode, x.instruction_pointer, x.data_pointer);
        for (unsigned n = 0; n < 8; ++n) {
            const X87Register& reg = x.reg[(x.top() + n) & 7];
            text += fmt::format("\n    st{} {:04x}:{:016x} (mm{} {:016x})", n, reg.sign_exponent, reg.significand, n,
                                x.reg[n].significand);
        }
    }
    if (e.pattern->memory) text += fmt::format("\n    memory operand near {:#x}", target_);
    return text;
}

bool Comparison::host_knows(std::span<const u8> bytes) {
    Native::State& host = native_.state();
    for (u64& gpr : host.gpr)
        gpr = window + 1024;
    host.rflags = flag_one | flag_if;
    native_.with_vectors = false;
    const Native::Result result = native_.run(bytes);
    return !(result.signal != 0 && result.trap == static_cast<int>(Vector::invalid_opcode));
}

} // namespace calque::diff
