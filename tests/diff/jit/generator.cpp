#include "tests/diff/jit/writer.h"

#include <algorithm>

namespace calque::diff {

using namespace cpu;

namespace {

constexpr std::string_view common_names[] = {
    "ADD",   "OR",    "ADC",   "SBB",  "AND",   "SUB",   "XOR",  "CMP", "TEST", "INC",  "DEC",     "NEG",   "NOT",
    "MOV",   "MOVZX", "MOVSX", "SHL",  "SHR",   "SAR",   "ROL",  "RCR", "LEA",  "PUSH", "POP",     "XCHG",  "XADD",
    "CMOVZ", "CMOVB", "CMOVL", "SETZ", "SETNB", "SETLE", "IMUL", "MUL", "DIV",  "BT",   "CMPXCHG", "MOVSXD"};

} // namespace

void Generator::sort_rows() {
    for (const u16 row : patterns_.rows()) {
        const std::string_view name = instruction_table()[row].name;
        if (std::find(std::begin(common_names), std::end(common_names), name) != std::end(common_names))
            common_.push_back(row);
        switch (group_of(row)) {
        case Group::integer: integer_.push_back(row); break;
        case Group::string: string_.push_back(row); break;
        case Group::sse:
        case Group::avx: vector_.push_back(row); break;
        default:
            if (name != "JMP" && name != "CALL" && name != "RET") rest_.push_back(row);
        }
    }
}

Program Generator::Writer::make() {
    program_.start = choose_start();
    weights();
    const u64 most = random_.one_in(4) ? 60 : 25;
    const u64 length = 3 + random_.below(most);
    body(length, 0);
    end();
    for (std::size_t n = 0; n < calls_.size(); ++n)
        subroutine(n);
    if (!jumps_.empty()) settle_jumps();
    return std::move(program_);
}

u64 Generator::Writer::choose_start() {
    const u64 page_number = random_.below(page::code_count - 1) << page_shift;
    if (random_.one_in(3)) return page_number + page_size - random_.below(160); // Runs over into the next page.
    return page_number + random_.below(page_size);
}

void Generator::Writer::weights() {
    wide_ = setting_.code16() && random_.one_in(2);
    weight_ = {40, 14, 3, 10, 4, 12, 10, 3, 3, 3};
    if (random_.one_in(3)) weight_[random_.below(weight_.size())] *= 8;
    for (u64& w : weight_)
        total_ += w;
    aim_always_ = random_.one_in(2);
}

void Generator::Writer::body(u64 count, unsigned depth) {
    for (u64 n = 0; n < count; ++n)
        piece(depth);
}

void Generator::Writer::legacy() {
    static constexpr u8 one_byte[] = {0x60, 0x61, 0x27, 0x2F, 0x37, 0x3F, 0x06, 0x07, 0x0E, 0x16, 0x1E, 0x1F, 0xCE};
    static constexpr u8 with_modrm[] = {0x62, 0x63, 0xC4, 0xC5};
    Item& item = add({});
    switch (random_.below(4)) {
    case 0: return value(item, one_byte[random_.below(std::size(one_byte))], 1);
    case 1: return value(item, 0xD4 | random_.below(2) | random_.below(256) << 8, 2); // AAM, AAD
    case 2: // Base and displacement of a byte.
        return value(item, with_modrm[random_.below(4)] | (0x40 | (random_.below(64) & 0x3B)) << 8 | 0x10 << 16, 3);
    default: return value(item, 0x40 | random_.below(16), 1);
    }
}

void Generator::Writer::structure() {
    static constexpr u8 opcodes[] = {0x8B, 0x89, 0x03, 0x01, 0x3B, 0x88, 0x8A, 0x11, 0x85, 0x87, 0x63};
    const unsigned base = static_cast<unsigned>(random_.below(16));
    move_immediate(base, target());
    const bool wide = random_.one_in(3);
    for (u64 n = 2 + random_.below(6); n; --n) {
        const unsigned reg = static_cast<unsigned>(random_.below(16));
        if (random_.one_in(8)) instruction(g_.common_);
        Item& item =
            add({0x40u | (random_.one_in(2) ? 8 : 0) | (reg >= 8 ? 4 : 0) | (base >= 8),
                 opcodes[random_.below(std::size(opcodes))], (wide ? 0x80u : 0x40u) | (reg & 7) << 3 | (base & 7)});
        if ((base & 7) == rsp) value(item, 0x24, 1);
        value(item, random_.below(wide ? 600 : 256) - (wide ? 300 : 0), wide ? 4 : 1);
    }
}

void Generator::Writer::piece(unsigned depth) {
    if (random_.one_in(20)) return structure();
    if (setting_.legacy() && random_.one_in(12)) return legacy();
    u64 r = random_.below(total_);
    unsigned kind = 0;
    while (r >= weight_[kind])
        r -= weight_[kind++];
    switch (kind) {
    case 0: return instruction(g_.common_);
    case 1: return instruction(g_.integer_);
    case 2: return instruction(g_.string_);
    case 3: return instruction(g_.vector_);
    case 4: return instruction(g_.rest_);
    case 5: return control(depth);
    case 6: return set_register(static_cast<unsigned>(random_.below(16)));
    case 7: return store_to_code();
    case 8: return system();
    case 9: return flags();
    }
}

Program Generator::make(const Setting& setting, Random& random, const Pools&) {
    return Writer(*this, setting, random).make();
}

} // namespace calque::diff
