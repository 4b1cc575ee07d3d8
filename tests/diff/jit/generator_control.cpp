// Of generator.cpp: any row of the instruction table, and control flow.
#include "tests/diff/jit/writer.h"

#include <algorithm>
#include <cstring>

namespace calque::diff {

using namespace cpu;

void Generator::Writer::instruction(const std::vector<u16>& rows) {
    Encoding e;
    for (unsigned attempt = 0; attempt < 32; ++attempt) {
        const auto& patterns = g_.patterns_.of(rows[random_.below(rows.size())]);
        if (!random_encoding(patterns[random_.below(patterns.size())], g_.decoder_, random_, e, setting_.decode()))
            continue;
        if (random_.one_in(20)) add_segment(e);
        return place(e);
    }
}

void Generator::Writer::add_segment(Encoding& e) {
    if (e.length >= longest_instruction) return;
    std::memmove(&e.bytes[1], &e.bytes[0], e.bytes.size() - 1);
    e.bytes[0] = random_.one_in(2) ? 0x64 : 0x65;
    static constexpr u8 others[] = {0x26, 0x2E, 0x36, 0x3E};
    if (setting_.legacy() && random_.one_in(2)) e.bytes[0] = others[random_.below(4)];
    ++e.displacement_at;
    ++e.tail_at;
    e.decode(g_.decoder_);
    e.length = e.record.length;
}

void Generator::Writer::place(Encoding& e) {
    const std::string_view name = instruction_table()[e.record.row].name;
    if (group_of(e.record.row) == Group::string) aim_string(e);
    if (e.pattern->memory || e.form.any_memory()) aim(e);
    if ((name == "DIV" || name == "IDIV") && !random_.one_in(4)) prepare_division(name == "DIV");
    Item& item = program_.items.emplace_back();
    item.append(std::span(e.bytes).first(e.length));
    if (e.form.is(0, OperandKind::relative) && e.length > e.tail_at) {
        const unsigned size = e.length - e.tail_at;
        item.fixups.push_back(
            {e.tail_at, static_cast<u8>(size), e.length, next_item() + static_cast<int>(random_.below(4)), 0});
        jumps_.push_back(next_item() - 1);
    }
    const bool relative = !setting_.legacy() && e.pattern->memory && e.has_displacement32 && e.record.base == rip_slot;
    if (relative && !random_.one_in(16))
        item.fixups.push_back({e.displacement_at, 4, e.length, -1, static_cast<i64>(linear_target() - setting_.base)});
}

void Generator::Writer::prepare_division(bool is_unsigned) {
    if (is_unsigned)
        add({0x31, 0xD2}); // XOR EDX, EDX
    else
        add({0x48, 0x99}); // CQO
}

void Generator::Writer::aim_string(const Encoding& e) {
    if (aim_always_ || random_.one_in(2)) {
        move_immediate(rsi, target());
        move_immediate(rdi, target());
    }
    if ((e.record.rep() || e.record.repne()) && !random_.one_in(16)) move_immediate(rcx, random_.below(90));
}

void Generator::Writer::aim(const Encoding& e) {
    if (!aim_always_ && random_.one_in(3)) return;
    const Instruction& i = e.record;
    u64 rest = target() - static_cast<u64>(i64{i.displacement});
    if (i.segment() == fs || i.segment() == gs) rest = random_.below(8192);
    const bool index = i.index < 16 && !e.pattern->vsib;
    if (index && i.index != i.base) {
        const u64 v =
            random_.one_in(2) ? random_.below(16) : static_cast<u64>(static_cast<i64>(static_cast<i8>(random_.byte())));
        move_immediate(i.index, v);
        rest -= v << i.scale();
    } else if (index) {
        rest = static_cast<u64>(static_cast<i64>(rest) / static_cast<i64>(1 + (1u << i.scale())));
    }
    if (i.base < 16) move_immediate(i.base, rest);
    const std::string_view name = instruction_table()[i.row].name;
    if (name.substr(0, 2) == "BT" && e.form.kind[1] == OperandKind::gpr && !random_.one_in(8))
        move_immediate(i.source & 15, random_.below(4096) - 2048);
}

void Generator::Writer::control(unsigned depth) {
    switch (random_.below(10)) {
    case 0:
    case 1:
    case 2: return forward_branch();
    case 3:
    case 4: return depth < 2 ? loop(depth) : forward_branch();
    case 5: return call();
    case 6: return call_indirect();
    case 7: return jump_indirect();
    case 8: return count_branch();
    default: return forward_jump();
    }
}

void Generator::Writer::forward_branch() {
    Item& item = add({0x0F, 0x80u | static_cast<unsigned>(random_.below(16))});
    relative(item, next_item() + static_cast<int>(random_.below(6)));
    jumps_.push_back(next_item() - 1);
}

void Generator::Writer::forward_jump() {
    Item& item = add({0xE9});
    relative(item, next_item() + static_cast<int>(random_.below(4)));
    jumps_.push_back(next_item() - 1);
    if (random_.one_in(6)) program_.items.back().gap = 0;
}

void Generator::Writer::count_branch() {
    static constexpr unsigned opcodes[] = {0xE0, 0xE1, 0xE2, 0xE3};
    Item& item = random_.one_in(3) ? add({0x67, opcodes[random_.below(4)]}) : add({opcodes[random_.below(4)]});
    relative(item, next_item() + static_cast<int>(random_.below(3)), 0, 1);
    jumps_.push_back(next_item() - 1);
}

void Generator::Writer::loop(unsigned depth) {
    const unsigned counter = static_cast<unsigned>(random_.below(16));
    const bool by_loop = random_.one_in(5);
    const unsigned reg = by_loop ? unsigned{rcx} : counter == rsp ? unsigned{rbx} : counter;
    move_immediate(reg, 1 + random_.below(random_.one_in(8) ? 200 : 6));
    const int head = next_item();
    body(1 + random_.below(by_loop ? 3 : 7), depth + 1);
    if (by_loop) {
        Item& item = add({0xE2});
        return relative(item, head, 0, 1);
    }
    add({0x48u | (reg >= 8), 0xFF, 0xC8 | (reg & 7)}); // DEC
    Item& item = add({0x0F, random_.one_in(3) ? 0x8Fu : 0x85u});
    relative(item, head);
}

std::size_t Generator::Writer::new_call() {
    if (!calls_.empty() && random_.one_in(2)) return random_.below(calls_.size());
    if (in_subroutine_) return calls_.empty() ? 0 : calls_.size() - 1;
    calls_.emplace_back();
    return calls_.size() - 1;
}

void Generator::Writer::call() {
    if (in_subroutine_) return forward_branch();
    if (random_.one_in(2)) stack_pointer();
    Item& item = add({0xE8});
    relative(item, 0);
    calls_[new_call()].fixups.emplace_back(next_item() - 1, 0);
}

void Generator::Writer::call_indirect() {
    if (in_subroutine_) return forward_branch();
    const unsigned reg = any_but_rsp();
    const int mov = move_item_address(reg, 0);
    calls_[new_call()].fixups.emplace_back(mov, 0);
    if (random_.one_in(3)) { // Through memory.
        const u64 at =
            setting_.linear(page::data + random_.below(page::data_count), random_.below(500) * 8) - setting_.data_base;
        move_immediate(reg == rax ? rbx : rax, at);
        const unsigned pointer = reg == rax ? unsigned{rbx} : unsigned{rax};
        add({0x48u | (reg >= 8 ? 4 : 0), 0x89, (reg & 7) << 3 | pointer});
        add({0xFF, 0x10 | pointer});
        return;
    }
    if (random_.one_in(4)) { // PUSH; RET: without a return address.
        add({0x40u | (reg >= 8), 0x50 | (reg & 7)});
        add({0xC3});
        return;
    }
    add({0x40u | (reg >= 8), 0xFF, 0xD0 | (reg & 7)});
}

void Generator::Writer::jump_indirect() {
    const unsigned reg = any_but_rsp();
    const int mov = move_item_address(reg, next_item() + 2 + static_cast<int>(random_.below(3)));
    jumps_.push_back(mov);
    add({0x40u | (reg >= 8), 0xFF, 0xE0 | (reg & 7)});
}

unsigned Generator::Writer::any_but_rsp() {
    const unsigned reg = static_cast<unsigned>(random_.below(16));
    return reg == rsp ? unsigned{r13_} : reg;
}

void Generator::Writer::subroutine(std::size_t number) {
    in_subroutine_ = true;
    const int first = next_item();
    body(1 + random_.below(6), 2);
    for (const auto& [item, fixup] : calls_[number].fixups)
        program_.items[static_cast<std::size_t>(item)].fixups[fixup].item = first;
    if (random_.one_in(6)) {
        Item& item = add({0xC2});
        value(item, random_.below(4) * 8, 2);
    } else {
        add({0xC3});
    }
    end();
    program_.items[static_cast<std::size_t>(first)].gap =
        static_cast<u16>(random_.one_in(3) ? random_.below(4096) : random_.below(64));
}

void Generator::Writer::settle_jumps() {
    const int last = next_item() - 1;
    for (const int jump : jumps_)
        for (Fixup& fixup : program_.items[static_cast<std::size_t>(jump)].fixups)
            if (fixup.item > last) fixup.item = last;
}

} // namespace calque::diff
