#include "tests/diff/jit/program.h"

#include "jit/debug/disassembler.h"

#include <cstring>
#include <fmt/format.h>

namespace calque::diff {

namespace {
constexpr u64 code_bytes = page::code_count * page_size;
}

std::vector<u64> Program::addresses(const Setting& setting) const {
    std::vector<u64> all;
    u64 at = setting.linear(page::code, start);
    for (const Item& item : items) {
        at += item.gap;
        all.push_back(at);
        if (!item.removed) at += item.length;
    }
    return all;
}

std::vector<u8> Program::code_of(const Item& item, u64 address, const std::vector<u64>& all, const Setting& s) const {
    std::vector<u8> code(item.bytes.begin(), item.bytes.begin() + item.length);
    for (const Fixup& fixup : item.fixups) {
        u64 value =
            static_cast<u64>(fixup.offset) + (fixup.item < 0 ? s.base : all[static_cast<std::size_t>(fixup.item)]);
        value -= fixup.next ? address + fixup.next : fixup.target ? s.code_base : s.data_base;
        std::memcpy(&code[fixup.at], &value, fixup.size);
    }
    return code;
}

void Program::place(Image& image, const cpu::Decoder& decoder) const {
    const auto code = std::span(image.ram).subspan(frame::code * page_size, code_bytes);
    const auto lengths = std::span(image.ram).subspan(frame::lengths * page_size, code_bytes);
    std::fill(code.begin(), code.end(), 0xCC);
    std::fill(lengths.begin(), lengths.end(), 1);
    const Setting& s = image.setting;
    const std::vector<u64> all = addresses(s);
    for (std::size_t n = 0; n < items.size(); ++n) {
        if (items[n].removed) continue;
        const u64 offset = all[n] - s.linear(page::code);
        if (offset + 48 > code_bytes) break;
        const std::vector<u8> bytes = code_of(items[n], all[n], all, s);
        std::copy(bytes.begin(), bytes.end(), code.begin() + static_cast<i64>(offset));
        for (u64 at = 0; at < bytes.size();) {
            cpu::Instruction record;
            if (decoder.decode(std::span(bytes).subspan(at), s.decode(), record) != cpu::DecodeStatus::ok) break;
            lengths[offset + at] = record.length;
            at += record.length;
        }
    }
    image.state.rip() = static_cast<u64>(s.linear(page::code, start) - s.code_base);
}

std::string Program::list(const Image& image) const {
    std::string text;
    const std::vector<u64> all = addresses(image.setting);
    for (std::size_t n = 0; n < items.size(); ++n) {
        if (items[n].removed) continue;
        const std::vector<u8> bytes = code_of(items[n], all[n], all, image.setting);
        for (u64 at = 0; at < bytes.size();) {
            const auto rest = std::span(bytes).subspan(at);
            const auto lines = jit::disassemble(rest, image.setting.decode().code_size, all[n] + at, 1);
            if (lines.empty()) break;
            text += fmt::format("{:4} {}\n", n, lines[0].line());
            at += lines[0].bytes.size();
        }
    }
    return text;
}

} // namespace calque::diff
