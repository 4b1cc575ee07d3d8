// translation [--units N] [--rounds N] [--sum] FILE...: what it costs to translate the code of these x86-64 ELF files.
//
// The code is cut into units one behind the other, which are then translated in an order of no pattern, as the blocks
// of a program become hot. Prints nanoseconds for a unit, by stage; with --sum also a checksum of the host code, to
// compare builds that should emit the same.
#include "cpu/decode/decoder.h"
#include "cpu/model.h"
#include "jit/cache/code_cache.h"
#include "jit/emit/legalize.h"
#include "jit/emit/unit_emitter.h"
#include "jit/opt/passes.h"
#include "jit/translate/translate.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <elf.h>
#include <fmt/format.h>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace {

using namespace calque;
using namespace calque::jit;
using Clock = std::chrono::steady_clock;

struct Piece {
    std::span<const u8> bytes; // To the end of its page.
    u64 address;
};

std::vector<u8> read_file(const char* path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

template <class T> bool read_at(const std::vector<u8>& file, u64 offset, T& out) {
    if (offset > file.size() || file.size() - offset < sizeof out) return false;
    std::memcpy(&out, file.data() + offset, sizeof out);
    return true;
}

UnitMode program_of_64_bits() {
    UnitMode mode;
    mode.set_rights(mmu::RightsMode::user);
    return mode;
}

// The units of a stretch of code, one behind the other.
void cut(const cpu::Decoder& decoder, std::span<const u8> code, u64 address, std::vector<Piece>& out) {
    while (!code.empty()) {
        const u64 rest = page_size - address % page_size;
        const auto within = code.first(std::min<u64>(code.size(), rest));
        const ir::Unit unit = translate(decoder, within, address, PhysicalAddress(address), program_of_64_bits());
        if (unit.bytes != 0) out.push_back({within, address});
        const u64 step = unit.bytes != 0 ? unit.bytes : within.size();
        code = code.subspan(step);
        address += step;
    }
}

void cut_file(const cpu::Decoder& decoder, const std::vector<u8>& file, std::vector<Piece>& out) {
    Elf64_Ehdr header;
    if (!read_at(file, 0, header) || std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) return;
    for (unsigned n = 0; n < header.e_phnum; ++n) {
        Elf64_Phdr part;
        if (!read_at(file, header.e_phoff + n * sizeof part, part)) return;
        const bool inside = part.p_offset <= file.size() && part.p_filesz <= file.size() - part.p_offset;
        if (part.p_type != PT_LOAD || !(part.p_flags & PF_X) || !inside) continue;
        cut(decoder, std::span(file).subspan(part.p_offset, part.p_filesz), part.p_vaddr, out);
    }
}

struct Times {
    Clock::duration translate{}, passes{}, emit{}, insert{};
    u64 units = 0, instructions = 0, hot_bytes = 0, cold_bytes = 0, sites = 0, exits = 0;
    u64 sum = 0;
};

u64 mix(u64 sum, const std::vector<u8>& bytes) {
    for (const u8 byte : bytes)
        sum = (sum ^ byte) * 0x100000001B3;
    return sum;
}

void translate_piece(const cpu::Decoder& decoder, CodeCache& cache, OpMemory& ops, EmitMemory& memory,
                     const Piece& piece, bool sum, Times& times) {
    const UnitMode mode = program_of_64_bits();
    if (cache.full()) cache.flush();
    const auto t0 = Clock::now();
    ir::Unit unit =
        translate(decoder, piece.bytes, piece.address, PhysicalAddress(piece.address), mode, longest_unit, {}, &ops);
    const auto t1 = Clock::now();
    legalize(unit);
    run_passes(unit, {}, longest_unit);
    const auto t2 = Clock::now();
    const EmitRequest request{unit,
                              cache.next(),
                              cache.next_cold(),
                              cache.thunk_base(),
                              cache.thunks(),
                              cache.next_unit(),
                              cache.next_site(),
                              cache.next_exit(),
                              mode};
    const EmittedUnit& emitted = UnitEmitter(request, memory).run();
    const auto t3 = Clock::now();
    times.sites += emitted.sites.size();
    times.exits += emitted.exits.size();
    times.hot_bytes += emitted.code.size();
    times.cold_bytes += emitted.cold.size();
    if (sum) times.sum = mix(mix(times.sum, emitted.code), emitted.cold);
    const auto t4 = Clock::now();
    cache.insert({piece.address, piece.address, mode.key()}, unit.bytes, static_cast<u32>(unit.ops.size()), emitted);
    const auto t5 = Clock::now();
    times.translate += t1 - t0;
    times.passes += t2 - t1;
    times.emit += t3 - t2;
    times.insert += t5 - t4;
    times.instructions += unit.ops.size();
    ops.give_back(std::move(unit.ops));
    ++times.units;
}

void report(const Times& t) {
    const auto each = [&](Clock::duration d) {
        return static_cast<double>(std::chrono::nanoseconds(d).count()) / static_cast<double>(t.units);
    };
    const auto mean = [&](u64 n) { return static_cast<double>(n) / static_cast<double>(t.units); };
    fmt::print("{:6.0f} ns: translate {:.0f}, passes {:.0f}, emit {:.0f}, insert {:.0f}; {:.1f} operations, {:.0f} + "
               "{:.0f} bytes, {:.1f} sites, {:.1f} exits\n",
               each(t.translate + t.passes + t.emit + t.insert), each(t.translate), each(t.passes), each(t.emit),
               each(t.insert), mean(t.instructions), mean(t.hot_bytes), mean(t.cold_bytes), mean(t.sites),
               mean(t.exits));
}

} // namespace

int main(int argc, char** argv) {
    std::size_t most = 40000;
    unsigned rounds = 3;
    bool sum = false;
    std::vector<std::vector<u8>> files;
    for (int n = 1; n < argc; ++n) {
        const std::string_view word = argv[n];
        if (word == "--sum")
            sum = true;
        else if (word == "--units" && n + 1 < argc)
            most = std::stoul(argv[++n]);
        else if (word == "--rounds" && n + 1 < argc)
            rounds = static_cast<unsigned>(std::stoul(argv[++n]));
        else
            files.push_back(read_file(argv[n]));
    }
    constexpr std::size_t remembered = 8192;
    const cpu::Decoder decoder(cpu::CpuModel{}, remembered);
    OpMemory ops(remembered);
    std::vector<Piece> pieces;
    for (const auto& file : files)
        cut_file(decoder, file, pieces);
    if (pieces.empty()) {
        fmt::print("no code: name some x86-64 ELF files\n");
        return 2;
    }
    std::shuffle(pieces.begin(), pieces.end(), std::mt19937_64(1));
    pieces.resize(std::min(pieces.size(), most));
    CodeCache cache(std::size_t{56} << 20, {});
    EmitMemory memory;
    for (unsigned round = 0; round < rounds; ++round) {
        Times times;
        for (const Piece& piece : pieces)
            translate_piece(decoder, cache, ops, memory, piece, sum, times);
        report(times);
        if (sum) fmt::print("       checksum {:016x}\n", times.sum);
        cache.flush();
    }
}
