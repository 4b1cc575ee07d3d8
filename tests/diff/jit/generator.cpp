#include "tests/diff/jit/program.h"
#include "tests/diff/rows.h"

#include <algorithm>
#include <cstring>
#include <initializer_list>

namespace calque::diff {

using namespace cpu;

namespace {

constexpr std::string_view common_names[] = {
    "ADD",   "OR",    "ADC",   "SBB",  "AND",   "SUB",   "XOR",  "CMP", "TEST", "INC",  "DEC",     "NEG",   "NOT",
    "MOV",   "MOVZX", "MOVSX", "SHL",  "SHR",   "SAR",   "ROL",  "RCR", "LEA",  "PUSH", "POP",     "XCHG",  "XADD",
    "CMOVZ", "CMOVB", "CMOVL", "SETZ", "SETNB", "SETLE", "IMUL", "MUL", "DIV",  "BT",   "CMPXCHG", "MOVSXD"};

bool in(std::initializer_list<std::string_view> names, std::string_view name) {
    return std::find(names.begin(), names.end(), name) != names.end();
}

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
            if (!in({"JMP", "CALL", "RET"}, name)) rest_.push_back(row);
        }
    }
}

class Generator::Writer {
  public:
    Writer(const Generator& generator, const Setting& setting, Random& random)
        : g_(generator), setting_(setting), random_(random) {}

    Program make() {
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

  private:
    struct Call {
        std::vector<std::pair<int, std::size_t>> fixups; // Item and number of its fixup.
    };

    u64 choose_start() {
        const u64 page_number = random_.below(page::code_count - 1) << page_shift;
        if (random_.one_in(3)) return page_number + page_size - random_.below(160); // Runs over into the next page.
        return page_number + random_.below(page_size);
    }

    // Programs differ in what they are mostly made of.
    void weights() {
        wide_ = setting_.code16() && random_.one_in(2);
        weight_ = {40, 14, 3, 10, 4, 12, 10, 3, 3, 3};
        if (random_.one_in(3)) weight_[random_.below(weight_.size())] *= 8;
        for (u64& w : weight_)
            total_ += w;
        aim_always_ = random_.one_in(2);
    }

    void body(u64 count, unsigned depth) {
        for (u64 n = 0; n < count; ++n)
            piece(depth);
    }

    // What 64-bit code does not have: INC and DEC of a byte, PUSHA and POPA, decimal adjustment, segment registers on
    // the stack, INTO, BOUND, LES and LDS.
    void legacy() {
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

    // Accesses near each other off one register: fields of a structure, perhaps over the end of a page.
    void structure() {
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

    void piece(unsigned depth) {
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

    // --- Items

    Item& add(std::initializer_list<unsigned> bytes) { return append(program_.items.emplace_back(), bytes); }
    // One more instruction of an item, for what nothing may jump between.
    Item& append(Item& item, std::initializer_list<unsigned> bytes) const {
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
    // 66 makes 32 bits of it in 16-bit code, and nothing else.
    static bool takes_size(std::initializer_list<unsigned> bytes) {
        const unsigned* const byte = bytes.begin();
        if (byte[0] == 0x0F && bytes.size() > 1) return (byte[1] & 0xF0) == 0x80;
        return byte[0] != 0xF3 && byte[0] != 0xF2 && byte[0] != 0x66;
    }
    // Of an immediate operand, a relative or an absolute address of the usual size.
    unsigned immediate_bytes() const { return setting_.code16() && !wide_ ? 2 : 4; }
    int next_item() const { return static_cast<int>(program_.items.size()); }
    static void value(Item& item, u64 v, unsigned bytes) {
        std::memcpy(&item.bytes[item.length], &v, bytes);
        item.length = static_cast<u8>(item.length + bytes);
    }
    // A field that ends the instruction: relative to the item `to` plus `offset`.
    void relative(Item& item, int to, i64 offset = 0, unsigned bytes = 0, unsigned after = 0) const {
        if (bytes == 0) bytes = immediate_bytes();
        const u8 at = item.length;
        value(item, 0, bytes);
        item.fixups.push_back({at, static_cast<u8>(bytes), static_cast<u8>(at + bytes + after), to, offset});
    }
    // A field of four bytes that ends the ModRM of an operand, `after` bytes before the instruction's end: the address
    // of the item `to` plus `offset`, relative to RIP where that exists.
    void address_field(Item& item, int to, i64 offset = 0, unsigned after = 0) {
        if (!setting_.legacy()) return relative(item, to, offset, 4, after);
        item.fixups.push_back({item.length, 4, 0, to, offset});
        value(item, 0, 4);
    }
    void move_immediate(unsigned reg, u64 v) { move_immediate(add({}), reg, v); }
    void move_immediate(Item& item, unsigned reg, u64 v) const {
        if (setting_.legacy()) return value(append(item, {0xB8u | (reg & 7)}), v, immediate_bytes());
        value(append(item, {0x48u | (reg >= 8), 0xB8 | (reg & 7)}), v, 8);
    }
    // MOV reg, the address of an item.
    int move_item_address(unsigned reg, int to) {
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

    // --- Values

    u64 offset_in_page() {
        const u64 r = random_.below(16);
        if (r == 0) return page_size - random_.below(40); // Perhaps over the edge.
        if (r == 1) return random_.below(64);
        const u64 offset = random_.below(page_size - 64);
        return r < 8 ? offset & ~u64{31} : r < 11 ? offset & ~u64{7} : offset;
    }
    u64 target() { return linear_target() - setting_.data_base; }
    u64 linear_target() {
        const u64 r = random_.below(64);
        if (r == 0) return setting_.linear(page::alias + random_.below(page::code_count), offset_in_page());
        if (r == 1) return setting_.linear(page::end_data + random_.below(page::end_data_count), offset_in_page());
        if (r == 2) return setting_.linear(page::stack + random_.below(page::stack_count), offset_in_page());
        if (r == 3) return setting_.linear(random_.below(512), offset_in_page());
        if (r == 4) return random_.next() >> random_.below(64);
        if (r == 5) return setting_.linear(page::code + random_.below(page::code_count), offset_in_page());
        if (r == 6 && setting_.more_pieces)
            return setting_.linear(page::again
                                       + (random_.one_in(4) ? random_.below(512) : page::data + random_.below(24)),
                                   offset_in_page());
        if (r == 7 && setting_.more_pieces)
            return setting_.linear(page::physical + random_.below(random_.one_in(4) ? 512 : frame::count),
                                   offset_in_page());
        return setting_.linear(page::data + random_.below(page::data_count), offset_in_page());
    }

    void set_register(unsigned reg) {
        if (reg == rsp && !random_.one_in(6)) return stack_pointer();
        if (random_.one_in(2)) return move_immediate(reg, target());
        if (random_.one_in(3)) { // XOR reg, reg
            add({0x40u | (reg >= 8 ? 5 : 0) | (random_.one_in(2) ? 8 : 0), 0x31, 0xC0 | (reg & 7) * 9});
            return;
        }
        move_immediate(reg, integer_value(random_));
    }
    void stack_pointer() {
        const u64 offset = random_.one_in(16) ? random_.below(4096) : random_.below(256) * 8;
        move_immediate(rsp, setting_.linear(page::stack + 1, offset) - setting_.stack_base);
    }

    // --- Any row

    void instruction(const std::vector<u16>& rows) {
        Encoding e;
        for (unsigned attempt = 0; attempt < 32; ++attempt) {
            const auto& patterns = g_.patterns_.of(rows[random_.below(rows.size())]);
            if (!random_encoding(patterns[random_.below(patterns.size())], g_.decoder_, random_, e, setting_.decode()))
                continue;
            if (random_.one_in(20)) add_segment(e);
            return place(e);
        }
    }

    void add_segment(Encoding& e) {
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

    void place(Encoding& e) {
        const std::string_view name = instruction_table()[e.record.row].name;
        if (group_of(e.record.row) == Group::string) aim_string(e);
        if (e.pattern->memory || e.form.any_memory()) aim(e);
        if (in({"DIV", "IDIV"}, name) && !random_.one_in(4)) prepare_division(name == "DIV");
        Item& item = program_.items.emplace_back();
        item.append(std::span(e.bytes).first(e.length));
        if (e.form.is(0, OperandKind::relative) && e.length > e.tail_at) {
            const unsigned size = e.length - e.tail_at;
            item.fixups.push_back(
                {e.tail_at, static_cast<u8>(size), e.length, next_item() + static_cast<int>(random_.below(4)), 0});
            jumps_.push_back(next_item() - 1);
        }
        const bool relative =
            !setting_.legacy() && e.pattern->memory && e.has_displacement32 && e.record.base == rip_slot;
        if (relative && !random_.one_in(16))
            item.fixups.push_back(
                {e.displacement_at, 4, e.length, -1, static_cast<i64>(linear_target() - setting_.base)});
    }

    void prepare_division(bool is_unsigned) {
        if (is_unsigned)
            add({0x31, 0xD2}); // XOR EDX, EDX
        else
            add({0x48, 0x99}); // CQO
    }

    void aim_string(const Encoding& e) {
        if (aim_always_ || random_.one_in(2)) {
            move_immediate(rsi, target());
            move_immediate(rdi, target());
        }
        if ((e.record.rep() || e.record.repne()) && !random_.one_in(16)) move_immediate(rcx, random_.below(90));
    }

    // Points the memory operand somewhere, through the registers of its address.
    void aim(const Encoding& e) {
        if (!aim_always_ && random_.one_in(3)) return;
        const Instruction& i = e.record;
        u64 rest = target() - static_cast<u64>(i64{i.displacement});
        if (i.segment() == fs || i.segment() == gs) rest = random_.below(8192);
        const bool index = i.index < 16 && !e.pattern->vsib;
        if (index && i.index != i.base) {
            const u64 v = random_.one_in(2) ? random_.below(16)
                                            : static_cast<u64>(static_cast<i64>(static_cast<i8>(random_.byte())));
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

    // --- Control flow

    void control(unsigned depth) {
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

    // Past the next few items, of which there may be none yet.
    void forward_branch() {
        Item& item = add({0x0F, 0x80u | static_cast<unsigned>(random_.below(16))});
        relative(item, next_item() + static_cast<int>(random_.below(6)));
        jumps_.push_back(next_item() - 1);
    }
    void forward_jump() {
        Item& item = add({0xE9});
        relative(item, next_item() + static_cast<int>(random_.below(4)));
        jumps_.push_back(next_item() - 1);
        if (random_.one_in(6)) program_.items.back().gap = 0;
    }
    void count_branch() {
        static constexpr unsigned opcodes[] = {0xE0, 0xE1, 0xE2, 0xE3};
        Item& item = random_.one_in(3) ? add({0x67, opcodes[random_.below(4)]}) : add({opcodes[random_.below(4)]});
        relative(item, next_item() + static_cast<int>(random_.below(3)), 0, 1);
        jumps_.push_back(next_item() - 1);
    }
    void loop(unsigned depth) {
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
    std::size_t new_call() {
        if (!calls_.empty() && random_.one_in(2)) return random_.below(calls_.size());
        if (in_subroutine_) return calls_.empty() ? 0 : calls_.size() - 1;
        calls_.emplace_back();
        return calls_.size() - 1;
    }
    void call() {
        if (in_subroutine_) return forward_branch();
        if (random_.one_in(2)) stack_pointer();
        Item& item = add({0xE8});
        relative(item, 0);
        calls_[new_call()].fixups.emplace_back(next_item() - 1, 0);
    }
    void call_indirect() {
        if (in_subroutine_) return forward_branch();
        const unsigned reg = any_but_rsp();
        const int mov = move_item_address(reg, 0);
        calls_[new_call()].fixups.emplace_back(mov, 0);
        if (random_.one_in(3)) { // Through memory.
            const u64 at = setting_.linear(page::data + random_.below(page::data_count), random_.below(500) * 8)
                           - setting_.data_base;
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
    void jump_indirect() {
        const unsigned reg = any_but_rsp();
        const int mov = move_item_address(reg, next_item() + 2 + static_cast<int>(random_.below(3)));
        jumps_.push_back(mov);
        add({0x40u | (reg >= 8), 0xFF, 0xE0 | (reg & 7)});
    }
    unsigned any_but_rsp() {
        const unsigned reg = static_cast<unsigned>(random_.below(16));
        return reg == rsp ? unsigned{r13_} : reg;
    }
    static constexpr unsigned r13_ = 13;

    void end() { add({0xCD, vector_end}).last = true; }
    void subroutine(std::size_t number) {
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
    // Branches past the last item lead to the first end.
    void settle_jumps() {
        const int last = next_item() - 1;
        for (const int jump : jumps_)
            for (Fixup& fixup : program_.items[static_cast<std::size_t>(jump)].fixups)
                if (fixup.item > last) fixup.item = last;
    }

    // --- Code that changes code

    void store_to_code() {
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
    void body_plain(int count) {
        while (count-- > 0)
            add({0x48u, 0x01, 0xC0u | static_cast<unsigned>(random_.below(64))}); // ADD
    }

    // --- What the table's user-level rows do not have

    void flags() {
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

    void system() {
        const unsigned reg = static_cast<unsigned>(random_.below(8));
        switch (random_.below(30)) {
        case 0: add({0x0F, 0xA2}); return;                         // CPUID
        case 1: add({0x0F, 0x01, 0xF8}); return;                   // SWAPGS
        case 2: add({0xF3, 0x48, 0x0F, 0xAE, 0xC0 | reg}); return; // RDFSBASE
        case 3:                                                    // WRFSBASE, WRGSBASE
            if (random_.one_in(2))
                move_immediate(reg == rsp ? rbx : reg, setting_.linear(page::data, random_.below(4096)));
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
    // MXCSR by way of the stack.
    void mxcsr() {
        u64 v = 0x1F80 | (random_.next() & 0xE07F);
        if (random_.one_in(3)) v &= ~0x1F80 | random_.next();
        if (random_.one_in(24)) v |= 0x10000;
        stack_pointer();
        Item& item = add({0x68});
        value(item, v, immediate_bytes());
        add({0x0F, 0xAE, 0x14, 0x24}); // LDMXCSR [RSP]
        add({0x58});
    }
    void task_switched() {
        add({0x0F, 0x06}); // CLTS
        if (random_.one_in(3)) {
            Item& item = add({0x0F, 0x20, 0xC0});   // MOV RAX, CR0
            append(item, {0x48, 0x83, 0xF0, 0x08}); // XOR RAX, TS
            append(item, {0x0F, 0x22, 0xC0});       // MOV CR0, RAX
        }
    }
    // With another value the program would live by what the TLB holds of global pages: whether that is enough for an
    // interrupt depends on whether one came before.
    void load_cr3_again(Item& item) const {
        append(item, {0x0F, 0x20, 0xD8});
        append(item, {0x0F, 0x22, 0xD8});
    }
    // IRETQ to what follows, in ring 0 to ring 3 at times.
    void interrupt_return() {
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
    // Changes a page-table entry and says so, by INVLPG or CR3. The table is at a supervisor's page of its own.
    void remap() {
        const bool code = random_.one_in(3);
        const u64 page =
            code ? page::code + random_.below(page::code_count) : page::data + random_.below(page::data_count);
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
    void junk() {
        const unsigned count = 1 + static_cast<unsigned>(random_.below(6));
        Item& item = add({});
        for (unsigned n = 0; n < count; ++n) {
            u8 byte = random_.byte();
            // HLT would wait for what is raised, which comes when it comes.
            if (setting_.interrupts && byte == 0xF4) byte = 0x90;
            value(item, byte, 1);
        }
    }

    const Generator& g_;
    const Setting& setting_;
    Random& random_;
    Program program_;
    std::vector<Call> calls_;
    std::vector<int> jumps_; // Items whose targets may be past the last item.
    std::array<u64, 10> weight_{};
    u64 total_ = 0;
    bool wide_ = false; // 16-bit code: instructions that are written here are of 32 bits.
    bool aim_always_ = false, in_subroutine_ = false;
};

Program Generator::make(const Setting& setting, Random& random, const Pools&) {
    return Writer(*this, setting, random).make();
}

} // namespace calque::diff
