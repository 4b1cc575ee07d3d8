// Of generator.cpp: code that changes code, and what the table's user-level rows do not have.
#include "tests/diff/jit/writer.h"

#include <algorithm>
#include <cstring>

namespace calque::diff {

using namespace cpu;

void Generator::Writer::store_to_code() {
    const int near = next_item() + static_cast<int>(random_.below(12)) - 4;
    const int to = std::max(near, 0);
    const i64 shift =
        random_.one_in(2) ? i64{(static_cast<i64>(page::alias) - static_cast<i64>(page::code)) * 4096} : 0;
    const i64 into = static_cast<i64>(random_.below(8)) + shift;
    jumps_.push_back(next_item());
    switch (random_.below(5)) {
    case 0: { // MOV BYTE [rip], a one-byte instruction or anything
        Item& item = add({0xC6, 0x05});
        address_field(item, to, into, 1);
        static constexpr u8 some[] = {0x90, 0x48, 0x50, 0x58, 0xC3, 0x74, 0x01, 0xF8, 0xF9, 0x0F};
        value(item, random_.one_in(2) ? some[random_.below(10)] : random_.byte(), 1);
        return;
    }
    case 1: { // MOV DWORD [rip], imm
        Item& item = add({0xC7, 0x05});
        address_field(item, to, into, 4);
        value(item, random_.one_in(2) ? 0x90909090 : random_.next(), immediate_bytes());
        return;
    }
    case 2: { // ADD BYTE [rip], imm
        Item& item = add({0x80, 0x05});
        address_field(item, to, into, 1);
        value(item, random_.below(4), 1);
        return;
    }
    case 3: { // Patches the immediate of an instruction that follows: MOV r32, imm32
        Item& item = add({0xC7, 0x05});
        const int gap = static_cast<int>(random_.below(4));
        address_field(item, next_item() + gap, 1 + shift, 4);
        value(item, random_.next(), immediate_bytes());
        body_plain(gap);
        Item& patched = add({0xB8u | static_cast<unsigned>(random_.below(8))});
        value(patched, random_.next(), immediate_bytes());
        return;
    }
    default: { // MOVUPS [rip], xmm
        Item& item = add({0x0F, 0x11, 0x05u | static_cast<unsigned>(random_.below(8)) << 3});
        address_field(item, to, into);
        return;
    }
    }
}

void Generator::Writer::body_plain(int count) {
    while (count-- > 0)
        add({0x48u, 0x01, 0xC0u | static_cast<unsigned>(random_.below(64))}); // ADD
}

void Generator::Writer::flags() {
    switch (random_.below(8)) {
    case 0: add({0xFD}); return; // STD
    case 1: add({0xFC}); return; // CLD
    case 2: add({0xF9}); return; // STC
    case 3: add({0x9C}); return; // PUSHFQ
    case 4: add({0x9F}); return; // LAHF
    case 5: add({0x9E}); return; // SAHF
    default: {
        u64 v = (random_.next() & arithmetic_flags) | flag_one | (random_.one_in(2) ? flag_if : 0);
        if (random_.one_in(8)) v |= flag_tf;
        if (random_.one_in(8)) v |= flag_df;
        if (random_.one_in(8)) v |= flag_ac;
        if (random_.one_in(8)) v |= flag_rf | flag_nt | flag_id;
        if (setting_.interrupts) v |= flag_if;
        Item& item = add({0x68});
        value(item, v, immediate_bytes());
        add({0x9D});
        return;
    }
    }
}

void Generator::Writer::system() {
    const unsigned reg = static_cast<unsigned>(random_.below(8));
    switch (random_.below(30)) {
    case 0: add({0x0F, 0xA2}); return;                         // CPUID
    case 1: add({0x0F, 0x01, 0xF8}); return;                   // SWAPGS
    case 2: add({0xF3, 0x48, 0x0F, 0xAE, 0xC0 | reg}); return; // RDFSBASE
    case 3:                                                    // WRFSBASE, WRGSBASE
        if (random_.one_in(2)) move_immediate(reg == rsp ? rbx : reg, setting_.linear(page::data, random_.below(4096)));
        add({0xF3, 0x48, 0x0F, 0xAE, (random_.one_in(2) ? 0xD0u : 0xD8u) | reg});
        return;
    case 4: add({0x0F, 0x05}); return; // SYSCALL
    case 5: add({0xCC}); return;       // INT3
    case 6: add({0x0F, 0x0B}); return; // UD2
    case 7:                            // CLI would keep what is raised from being taken at one moment.
        if (!setting_.interrupts) add({0xFA});
        return;
    case 8: add({0xFB}); return;                                                                   // STI
    case 9: add({0x0F, 0x01, 0xCA + static_cast<unsigned>(random_.below(2))}); return;             // CLAC, STAC
    case 10: add({0x0F, 0x20, 0xC0 | reg | static_cast<unsigned>(random_.below(5)) << 3}); return; // MOV r, CRn
    case 11:                                                                                       // CR3 again
        load_cr3_again(add({}));
        return;
    case 12: { // INVLPG
        Item& item = add({0x0F, 0x01, 0x3D});
        const u64 at = linear_target() - setting_.base;
        address_field(item, -1, static_cast<i64>(at));
        return;
    }
    case 13: add({0x8E, 0xD0 | (random_.one_in(2) ? 0u : reg)}); return;                     // MOV SS, r
    case 14: add({0x8C, 0xC0 | reg | static_cast<unsigned>(random_.below(6)) << 3}); return; // MOV r, Sreg
    case 15:                                                                                 // MOV Sreg, user_data
        add({0x66, 0xB8, user_data, 0});
        add({0x8E, 0xC0 | static_cast<unsigned>(random_.below(6)) << 3});
        return;
    case 16: mxcsr(); return;
    case 17: add({0x0F, 0x31}); return;       // RDTSC
    case 18: add({0x0F, 0x01, 0xD0}); return; // XGETBV
    case 19: task_switched(); return;
    case 20: add({0xE4, random_.byte()}); return; // IN
    case 21: add({0xE6, random_.byte()}); return; // OUT
    case 22: interrupt_return(); return;
    case 23: junk(); return;
    case 26:
    case 27:
    case 28: remap(); return;
    case 24: add({0x0F, 0x77}); return;                                                     // EMMS
    default: add({0x0F, 0xAE, 0xE8 + 8 * static_cast<unsigned>(random_.below(3))}); return; // Fences
    }
}

void Generator::Writer::mxcsr() {
    u64 v = 0x1F80 | (random_.next() & 0xE07F);
    if (random_.one_in(3)) v &= ~0x1F80 | random_.next();
    if (random_.one_in(24)) v |= 0x10000;
    stack_pointer();
    Item& item = add({0x68});
    value(item, v, immediate_bytes());
    add({0x0F, 0xAE, 0x14, 0x24}); // LDMXCSR [RSP]
    add({0x58});
}

void Generator::Writer::task_switched() {
    add({0x0F, 0x06}); // CLTS
    if (random_.one_in(3)) {
        Item& item = add({0x0F, 0x20, 0xC0});   // MOV RAX, CR0
        append(item, {0x48, 0x83, 0xF0, 0x08}); // XOR RAX, TS
        append(item, {0x0F, 0x22, 0xC0});       // MOV CR0, RAX
    }
}

void Generator::Writer::load_cr3_again(Item& item) const {
    append(item, {0x0F, 0x20, 0xD8});
    append(item, {0x0F, 0x22, 0xD8});
}

void Generator::Writer::interrupt_return() {
    if (setting_.legacy()) return; // Its frame is another.
    const bool to_user = random_.one_in(2) || setting_.ring == 3;
    stack_pointer();
    add({0x6A, to_user ? user_data : u16{0}});
    Item& stack = add({0x48, 0xB8});
    value(stack, 0, 8);
    stack.fixups.push_back({2, 8, 0, -1, static_cast<i64>(((page::stack + 1) << page_shift) + 0x200)});
    add({0x50});
    Item& flags = add({0x68});
    value(flags, (random_.next() & arithmetic_flags) | flag_one | flag_if | (random_.one_in(8) ? flag_tf : 0), 4);
    add({0x6A, to_user ? user_code : kernel_code});
    Item& rip = add({0x48, 0xB8});
    value(rip, 0, 8);
    rip.fixups.push_back({2, 8, 0, next_item() + 2, 0});
    add({0x50});
    add({0x48, 0xCF});
    add({0x90});
}

void Generator::Writer::remap() {
    const bool code = random_.one_in(3);
    const u64 page = code ? page::code + random_.below(page::code_count) : page::data + random_.below(page::data_count);
    const u64 frame = code || (random_.one_in(6) && !setting_.constant_code)
                          ? frame::code + random_.below(page::code_count)
                          : frame::data + random_.below(frame::data_count);
    u64 rights = random_.one_in(8) ? random_.below(8) : setting_.ring == 3 ? 7 : 3;
    if (code && setting_.constant_code) rights &= ~u64{2};
    const unsigned reg = random_.one_in(2) ? unsigned{rbx} : unsigned{rsi};
    Item& item = add({});
    move_immediate(item, reg, frame << page_shift | rights | 0x60);
    append(item, {0x48, 0x89, 0x05u | reg << 3}); // MOV [rip], reg
    address_field(item, -1, static_cast<i64>((page::page_table << page_shift) + page * 8));
    if (random_.one_in(4)) return load_cr3_again(item);
    append(item, {0x0F, 0x01, 0x3D}); // INVLPG [rip]
    address_field(item, -1, static_cast<i64>(page << page_shift));
}

void Generator::Writer::junk() {
    const unsigned count = 1 + static_cast<unsigned>(random_.below(6));
    Item& item = add({});
    for (unsigned n = 0; n < count; ++n) {
        u8 byte = random_.byte();
        // HLT would wait for what is raised, which comes when it comes.
        if (setting_.interrupts && byte == 0xF4) byte = 0x90;
        value(item, byte, 1);
    }
}

} // namespace calque::diff
