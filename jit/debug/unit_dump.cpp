#include "jit/debug/unit_dump.h"

#include "jit/debug/disassembler.h"

namespace calque::jit {

namespace {

std::string lines(std::span<const u8> code, cpu::CodeSize size, u64 address) {
    std::string text;
    for (const CodeLine& line : disassemble(code, size, address, code.size()))
        text += line.line() + '\n';
    return text;
}

std::string host_lines(std::span<const u8> code, const std::byte* at) {
    return lines(code, cpu::CodeSize::bits64, reinterpret_cast<std::uintptr_t>(at));
}

// The bytes of a region are those of its instructions in their order, before a loop's next round.
std::string guest_lines(const MadeUnit& made) {
    const cpu::CodeSize size = made.mode.decode.code_size;
    std::string text;
    std::span<const u8> rest = made.bytes;
    for (const ir::Op& op : made.unit.ops) {
        if (op.guest.length == 0) continue;
        if (rest.size() < op.guest.length) break;
        text += lines(rest.first(op.guest.length), size, op.rip);
        rest = rest.subspan(op.guest.length);
    }
    return text;
}

} // namespace

std::string describe(const MadeUnit& made, const UnitParts& parts) {
    const ir::Unit& unit = made.unit;
    std::string text =
        fmt::format("unit {:x} (physical {:x}, {} bytes)\n", unit.linear, unit.physical.value, unit.bytes);
    if (parts.guest) text += "guest code:\n" + guest_lines(made);
    if (parts.ir) text += "intermediate form:\n" + ir::print(unit);
    if (parts.host) {
        text += fmt::format("host code, with entries at +{:#x} (flags packed) and +{:#x}:\n", made.emitted.entry_packed,
                            made.emitted.entry_host);
        text += host_lines(made.emitted.code, made.code);
        if (!made.emitted.cold.empty()) text += "seldom run:\n" + host_lines(made.emitted.cold, made.cold);
    }
    return text;
}

void UnitDump::add(const MadeUnit& made, const CodeCache& cache, Log& log) {
    const u32 number = cache.next_unit();
    if (request_.keep_all) {
        texts_.resize(number + 1);
        texts_[number] = jit::describe(made, request_.parts);
        return;
    }
    if (dumped_.size() == most_units) {
        ++left_out_;
        return;
    }
    dumped_.push_back({number, made.unit.linear, cache.counters().flushes});
    log.write(Channel::jit, jit::describe(made, request_.parts));
}

std::string UnitDump::describe(const CodeCache& cache) const {
    if (request_.keep_all) return {};
    std::string text = fmt::format("units at {:#x}: {}\n", request_.address, dumped_.size() + left_out_);
    for (const Dumped& dumped : dumped_) {
        const bool there = dumped.flushes == cache.counters().flushes;
        const TranslatedUnit* const unit = there ? &cache.unit(dumped.number) : nullptr;
        text += fmt::format("unit {:x}: {}\n", dumped.linear,
                            !unit        ? "flushed with all others"
                            : unit->dead ? "gone: its code was written, or a region took its place"
                                         : "in use");
        if (!unit || unit->dead || !request_.parts.host) continue;
        text += fmt::format("  entered from {} places that are linked to it; host code as it is linked:\n",
                            unit->incoming.size());
        text += host_lines({reinterpret_cast<const u8*>(unit->code), unit->code_bytes}, unit->code);
    }
    if (left_out_ != 0) text += fmt::format("and {} that were not written\n", left_out_);
    return text;
}

} // namespace calque::jit
