// Of generator.cpp: instructions and their fields, and values worth having.
#include "tests/diff/jit/writer.h"

#include <algorithm>
#include <cstring>

namespace calque::diff {

using namespace cpu;

Item& Generator::Writer::append(Item& item, std::initializer_list<unsigned> bytes) const {
    if (setting_.code16() && bytes.size() != 0) {
        if (wide_ && takes_size(bytes)) item.bytes[item.length++] = 0x66;
        item.bytes[item.length++] = 0x67;
    }
    bool first = true;
    for (const unsigned byte : bytes) {
        // Written for 64-bit code: in other code a REX prefix would be another instruction, and in 16-bit code 66
        // means 32 bits.
        const bool rex = setting_.legacy() && (byte & 0xF0) == 0x40 && first;
        const bool size = setting_.code16() && byte == 0x66 && first;
        first = first && (byte == 0xF3 || byte == 0x66);
        if (!rex && !size) item.bytes[item.length++] = static_cast<u8>(byte);
    }
    return item;
}

bool Generator::Writer::takes_size(std::initializer_list<unsigned> bytes) {
    const unsigned* const byte = bytes.begin();
    if (byte[0] == 0x0F && bytes.size() > 1) return (byte[1] & 0xF0) == 0x80;
    return byte[0] != 0xF3 && byte[0] != 0xF2 && byte[0] != 0x66;
}

void Generator::Writer::value(Item& item, u64 v, unsigned bytes) {
    std::memcpy(&item.bytes[item.length], &v, bytes);
    item.length = static_cast<u8>(item.length + bytes);
}

void Generator::Writer::relative(Item& item, int to, i64 offset, unsigned bytes, unsigned after) const {
    if (bytes == 0) bytes = immediate_bytes();
    const u8 at = item.length;
    value(item, 0, bytes);
    item.fixups.push_back({at, static_cast<u8>(bytes), static_cast<u8>(at + bytes + after), to, offset});
}

void Generator::Writer::address_field(Item& item, int to, i64 offset, unsigned after) {
    if (!setting_.legacy()) return relative(item, to, offset, 4, after);
    item.fixups.push_back({item.length, 4, 0, to, offset});
    value(item, 0, 4);
}

void Generator::Writer::move_immediate(Item& item, unsigned reg, u64 v) const {
    if (setting_.legacy()) return value(append(item, {0xB8u | (reg & 7)}), v, immediate_bytes());
    value(append(item, {0x48u | (reg >= 8), 0xB8 | (reg & 7)}), v, 8);
}

int Generator::Writer::move_item_address(unsigned reg, int to) {
    if (setting_.legacy()) {
        Item& item = add({0xB8u | (reg & 7)});
        item.fixups.push_back({item.length, static_cast<u8>(immediate_bytes()), 0, to, 0, true});
        value(item, 0, immediate_bytes());
        return next_item() - 1;
    }
    Item& item = add({0x48u | (reg >= 8), 0xB8 | (reg & 7)});
    value(item, 0, 8);
    const u64 piece = setting_.more_pieces && random_.one_in(6) ? page::again << page_shift : 0;
    item.fixups.push_back({2, 8, 0, to, static_cast<i64>(piece), true});
    return next_item() - 1;
}

u64 Generator::Writer::offset_in_page() {
    const u64 r = random_.below(16);
    if (r == 0) return page_size - random_.below(40); // Perhaps over the edge.
    if (r == 1) return random_.below(64);
    const u64 offset = random_.below(page_size - 64);
    return r < 8 ? offset & ~u64{31} : r < 11 ? offset & ~u64{7} : offset;
}

u64 Generator::Writer::linear_target() {
    const u64 r = random_.below(64);
    if (r == 0) return setting_.linear(page::alias + random_.below(page::code_count), offset_in_page());
    if (r == 1) return setting_.linear(page::end_data + random_.below(page::end_data_count), offset_in_page());
    if (r == 2) return setting_.linear(page::stack + random_.below(page::stack_count), offset_in_page());
    if (r == 3) return setting_.linear(random_.below(512), offset_in_page());
    if (r == 4) return random_.next() >> random_.below(64);
    if (r == 5) return setting_.linear(page::code + random_.below(page::code_count), offset_in_page());
    if (r == 6 && setting_.more_pieces)
        return setting_.linear(page::again + (random_.one_in(4) ? random_.below(512) : page::data + random_.below(24)),
                               offset_in_page());
    if (r == 7 && setting_.more_pieces)
        return setting_.linear(page::physical + random_.below(random_.one_in(4) ? 512 : frame::count),
                               offset_in_page());
    return setting_.linear(page::data + random_.below(page::data_count), offset_in_page());
}

void Generator::Writer::set_register(unsigned reg) {
    if (reg == rsp && !random_.one_in(6)) return stack_pointer();
    if (random_.one_in(2)) return move_immediate(reg, target());
    if (random_.one_in(3)) { // XOR reg, reg
        add({0x40u | (reg >= 8 ? 5 : 0) | (random_.one_in(2) ? 8 : 0), 0x31, 0xC0 | (reg & 7) * 9});
        return;
    }
    move_immediate(reg, integer_value(random_));
}

void Generator::Writer::stack_pointer() {
    const u64 offset = random_.one_in(16) ? random_.below(4096) : random_.below(256) * 8;
    move_immediate(rsp, setting_.linear(page::stack + 1, offset) - setting_.stack_base);
}

} // namespace calque::diff
