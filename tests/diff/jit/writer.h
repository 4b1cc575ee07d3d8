// Writes one program of a Generator: what it is made of by chance, item by item.
#pragma once

#include "tests/diff/jit/program.h"
#include "tests/diff/rows.h"

#include <array>
#include <initializer_list>
#include <vector>

namespace calque::diff {

class Generator::Writer {
  public:
    Writer(const Generator& generator, const Setting& setting, Random& random)
        : g_(generator), setting_(setting), random_(random) {}

    Program make();

  private:
    struct Call {
        std::vector<std::pair<int, std::size_t>> fixups; // Item and number of its fixup.
    };
    u64 choose_start();

    // Programs differ in what they are mostly made of.
    void weights();
    void body(u64 count, unsigned depth);

    // What 64-bit code does not have: INC and DEC of a byte, PUSHA and POPA, decimal adjustment, segment registers on
    // the stack, INTO, BOUND, LES and LDS.
    void legacy();

    // Accesses near each other off one register: fields of a structure, perhaps over the end of a page.
    void structure();
    void piece(unsigned depth);

    // --- Items

    Item& add(std::initializer_list<unsigned> bytes) { return append(program_.items.emplace_back(), bytes); }
    // One more instruction of an item, for what nothing may jump between.
    Item& append(Item& item, std::initializer_list<unsigned> bytes) const;
    // 66 makes 32 bits of it in 16-bit code, and nothing else.
    static bool takes_size(std::initializer_list<unsigned> bytes);
    // Of an immediate operand, a relative or an absolute address of the usual size.
    unsigned immediate_bytes() const { return setting_.code16() && !wide_ ? 2 : 4; }
    int next_item() const { return static_cast<int>(program_.items.size()); }
    static void value(Item& item, u64 v, unsigned bytes);
    // A field that ends the instruction: relative to the item `to` plus `offset`.
    void relative(Item& item, int to, i64 offset = 0, unsigned bytes = 0, unsigned after = 0) const;
    // A field of four bytes that ends the ModRM of an operand, `after` bytes before the instruction's end: the address
    // of the item `to` plus `offset`, relative to RIP where that exists.
    void address_field(Item& item, int to, i64 offset = 0, unsigned after = 0);
    void move_immediate(unsigned reg, u64 v) { move_immediate(add({}), reg, v); }
    void move_immediate(Item& item, unsigned reg, u64 v) const;
    // MOV reg, the address of an item.
    int move_item_address(unsigned reg, int to);

    // --- Values

    u64 offset_in_page();
    u64 target() { return linear_target() - setting_.data_base; }
    u64 linear_target();
    void set_register(unsigned reg);
    void stack_pointer();

    // --- Any row

    void instruction(const std::vector<u16>& rows);
    void add_segment(Encoding& e);
    void place(Encoding& e);
    void prepare_division(bool is_unsigned);
    void aim_string(const Encoding& e);

    // Points the memory operand somewhere, through the registers of its address.
    void aim(const Encoding& e);

    // --- Control flow

    void control(unsigned depth);

    // Past the next few items, of which there may be none yet.
    void forward_branch();
    void forward_jump();
    void count_branch();
    void loop(unsigned depth);
    std::size_t new_call();
    void call();
    void call_indirect();
    void jump_indirect();
    unsigned any_but_rsp();
    static constexpr unsigned r13_ = 13;
    void end() { add({0xCD, vector_end}).last = true; }
    void subroutine(std::size_t number);
    // Branches past the last item lead to the first end.
    void settle_jumps();

    // --- Code that changes code

    void store_to_code();
    void body_plain(int count);

    // --- What the table's user-level rows do not have

    void flags();
    void system();
    // MXCSR by way of the stack.
    void mxcsr();
    void task_switched();
    // With another value the program would live by what the TLB holds of global pages: whether that is enough for an
    // interrupt depends on whether one came before.
    void load_cr3_again(Item& item) const;
    // IRETQ to what follows, in ring 0 to ring 3 at times.
    void interrupt_return();
    // Changes a page-table entry and says so, by INVLPG or CR3. The table is at a supervisor's page of its own.
    void remap();
    void junk();

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

} // namespace calque::diff
