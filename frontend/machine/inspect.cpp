#include "frontend/machine/inspect.h"

#include "jit/debug/disassembler.h"
#include "mmu/walker.h"

#include <algorithm>
#include <utility>

namespace calque::machine {

namespace {

// Where a linear address lies. A debugger reads with no rights in its way.
std::optional<PhysicalAddress> look_up(const cpu::Cpu& cpu, mmu::PhysicalMap& map, u64 address) {
    mmu::PagingContext context = cpu.mmu.context();
    context.cr4 &= ~(mmu::cr4_smap | mmu::cr4_pke);
    if (mmu::long_addresses(context) && !mmu::canonical(address)) return {};
    mmu::Translation found;
    mmu::Fault fault;
    if (!mmu::walk(map, context, LinearAddress(address), mmu::Access::read, mmu::Privilege::system,
                   mmu::WalkEffect::none, found, fault))
        return {};
    return found.address;
}

} // namespace

std::size_t peek(const cpu::Cpu& cpu, mmu::PhysicalMap& map, AddressSpace space, u64 address, std::span<u8> out) {
    std::size_t done = 0;
    while (done < out.size()) {
        const u64 at = address + done;
        const std::size_t in_page = std::min<std::size_t>(out.size() - done, page_size - at % page_size);
        const auto where = space == AddressSpace::linear ? look_up(cpu, map, at) : PhysicalAddress(at);
        if (!where || !map.is_memory(*where, in_page, false)) break;
        map.read(*where, out.subspan(done, in_page));
        done += in_page;
    }
    return done;
}

bool poke(const cpu::Cpu& cpu, mmu::PhysicalMap& map, AddressSpace space, u64 address, std::span<const u8> in) {
    struct Piece {
        PhysicalAddress address;
        std::span<const u8> bytes;
    };
    std::vector<Piece> pieces;
    while (!in.empty()) {
        const std::size_t in_page = std::min<std::size_t>(in.size(), page_size - address % page_size);
        const auto where = space == AddressSpace::linear ? look_up(cpu, map, address) : PhysicalAddress(address);
        if (!where || !map.is_memory(*where, in_page, true)) return false;
        pieces.push_back({*where, in.first(in_page)});
        in = in.subspan(in_page);
        address += in_page;
    }
    for (const Piece& piece : pieces)
        map.write(piece.address, piece.bytes);
    return true;
}

std::vector<std::string> disassemble(const cpu::Cpu& cpu, mmu::PhysicalMap& map, AddressSpace space, u64 address,
                                     std::size_t count) {
    constexpr std::size_t longest = 15;
    std::vector<u8> code(count * longest);
    code.resize(peek(cpu, map, space, address, code));
    std::vector<std::string> lines;
    for (const auto& line : jit::disassemble(code, cpu.mode.code_size, address, count))
        lines.push_back(line.line());
    return lines;
}

std::optional<u64> register_value(const cpu::Cpu& cpu, std::string_view name) {
    constexpr std::string_view gprs[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                         "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
    const auto& state = cpu.state;
    for (unsigned i = 0; i < 16; ++i)
        if (gprs[i] == name) return state.gpr[i];
    const std::pair<std::string_view, u64> others[] = {
        {"rip", state.rip()}, {"pc", state.segment[cpu::cs].base + state.rip()},
        {"cr0", state.cr0},   {"cr2", state.cr2},
        {"cr3", state.cr3},   {"cr4", state.cr4},
        {"efer", state.efer}, {"eflags", cpu::read_rflags(state)},
    };
    for (const auto& [known, value] : others)
        if (known == name) return value;
    return {};
}

} // namespace calque::machine
