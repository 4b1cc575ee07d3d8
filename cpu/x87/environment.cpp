// FNSTENV, FLDENV, FNSAVE, FRSTOR: SDM volume 1, section 8.1.10, figures 8-9 to 8-12.
#include "cpu/x87/environment.h"

#include "cpu/x87/memory.h"
#include "cpu/x87/rows.h"
#include "cpu/x87/stack.h"

namespace calque::cpu::x87 {

namespace {

// Two bits a physical register: valid 0, zero 1, special 2, empty 3.
unsigned tag_of(const X87State& x, unsigned n) {
    if (!((x.valid >> n) & 1)) return 3;
    switch (fp::classify(fp::F80{x.reg[n].significand, x.reg[n].sign_exponent})) {
    case fp::F80Class::Normal: return 0;
    case fp::F80Class::Zero: return 1;
    default: return 2;
    }
}
u16 tag_word(const X87State& x) {
    unsigned tags = 0;
    for (unsigned n = 0; n < 8; ++n)
        tags |= tag_of(x, n) << (2 * n);
    return static_cast<u16>(tags);
}
u8 abridged(u16 tags) {
    u8 valid = 0;
    for (unsigned n = 0; n < 8; ++n)
        if (((tags >> (2 * n)) & 3) != 3) valid = static_cast<u8>(valid | 1u << n);
    return valid;
}

// Real and virtual-8086 mode have 20-bit linear pointers where protected mode has selectors and offsets.
bool real_format(const Cpu& cpu) { return !cpu.mode.protected_mode || cpu.mode.vm86; }
u32 linear_pointer(u16 selector, u64 offset) { return (u32{selector} << 4) + static_cast<u32>(offset); }

template <unsigned Size> constexpr std::size_t environment_bytes = 7 * Size;
template <unsigned Size> using Environment = std::array<u8, environment_bytes<Size>>;
template <unsigned Size> using Image = std::array<u8, environment_bytes<Size> + 80>;

// Field n is a word or a doubleword; a doubleword that has a word to hold is filled with ones.
template <unsigned Size, std::size_t N> void set_word(std::array<u8, N>& image, unsigned n, u16 value) {
    if constexpr (Size == 2)
        set_field(image, 2 * n, value);
    else
        set_field(image, 4 * n, 0xFFFF0000u | value);
}

template <unsigned Size, std::size_t N> void fill_environment(const Cpu& cpu, std::array<u8, N>& image) {
    const X87State& x = cpu.state.x87;
    set_word<Size>(image, 0, x.control);
    set_word<Size>(image, 1, x.status);
    set_word<Size>(image, 2, tag_word(x));
    if (real_format(cpu)) {
        const u32 ip = linear_pointer(x.instruction_selector, x.instruction_pointer);
        const u32 dp = linear_pointer(x.data_selector, x.data_pointer);
        set_word<Size>(image, 3, static_cast<u16>(ip));
        set_word<Size>(image, 5, static_cast<u16>(dp));
        if constexpr (Size == 2) {
            set_field(image, 8, static_cast<u16>((ip >> 16) << 12 | x.opcode));
            set_field(image, 12, static_cast<u16>((dp >> 16) << 12));
        } else {
            set_field(image, 16, (ip >> 16) << 12 | x.opcode);
            set_field(image, 24, (dp >> 16) << 12);
        }
        return;
    }
    if constexpr (Size == 2) {
        set_field(image, 6, static_cast<u16>(x.instruction_pointer));
        set_field(image, 8, x.instruction_selector);
        set_field(image, 10, static_cast<u16>(x.data_pointer));
        set_field(image, 12, x.data_selector);
    } else {
        set_field(image, 12, static_cast<u32>(x.instruction_pointer));
        set_field(image, 16, u32{x.opcode} << 16 | x.instruction_selector);
        set_field(image, 20, static_cast<u32>(x.data_pointer));
        set_word<Size>(image, 6, x.data_selector);
    }
}

template <unsigned Size, std::size_t N> void take_pointers(Cpu& cpu, const std::array<u8, N>& image) {
    X87State& x = cpu.state.x87;
    if (real_format(cpu)) {
        const u32 high_ip = Size == 2 ? get_field<u16>(image, 8) : get_field<u32>(image, 16);
        const u32 high_dp = Size == 2 ? get_field<u16>(image, 12) : get_field<u32>(image, 24);
        x.instruction_pointer = get_field<u16>(image, 3 * Size) | (high_ip >> 12) << 16;
        x.data_pointer = get_field<u16>(image, 5 * Size) | (high_dp >> 12) << 16;
        x.opcode = high_ip & 0x7FF;
        x.instruction_selector = x.data_selector = 0;
        return;
    }
    x.instruction_selector = get_field<u16>(image, 4 * Size);
    x.data_selector = get_field<u16>(image, 6 * Size);
    if constexpr (Size == 2) {
        x.instruction_pointer = get_field<u16>(image, 6);
        x.data_pointer = get_field<u16>(image, 10);
        x.opcode = 0;
    } else {
        x.instruction_pointer = get_field<u32>(image, 12);
        x.data_pointer = get_field<u32>(image, 20);
        x.opcode = get_field<u16>(image, 18) & 0x7FF;
    }
}

template <unsigned Size, std::size_t N> void take_environment(Cpu& cpu, const std::array<u8, N>& image) {
    X87State& x = cpu.state.x87;
    x.control = (get_field<u16>(image, 0) & fcw_writable) | fcw_fixed;
    x.status = get_field<u16>(image, Size);
    x.valid = abridged(get_field<u16>(image, 2 * Size));
    take_pointers<Size>(cpu, image);
    update_summary(cpu);
}

template <unsigned Size> Flow store_environment(Cpu& cpu, const Instruction& i) {
    Environment<Size> image;
    fill_environment<Size>(cpu, image);
    if (!cpu.write_operand(i, image)) return Flow::fault;
    cpu.state.x87.control |= fp::kAllFlags; // all masked from here on
    update_summary(cpu);
    return Flow::next;
}

template <unsigned Size> Flow load_environment(Cpu& cpu, const Instruction& i) {
    Environment<Size> image;
    if (!cpu.read_operand(i, image)) return Flow::fault;
    take_environment<Size>(cpu, image);
    return Flow::next;
}

template <unsigned Size> Flow save(Cpu& cpu, const Instruction& i) {
    Image<Size> image;
    fill_environment<Size>(cpu, image);
    for (unsigned n = 0; n < 8; ++n)
        set_register(image, environment_bytes<Size> + 10 * n, get(cpu.state.x87, n));
    if (!cpu.write_operand(i, image)) return Flow::fault;
    initialize(cpu);
    return Flow::next;
}

template <unsigned Size> Flow restore(Cpu& cpu, const Instruction& i) {
    Image<Size> image;
    if (!cpu.read_operand(i, image)) return Flow::fault;
    take_environment<Size>(cpu, image);
    X87State& x = cpu.state.x87;
    for (unsigned n = 0; n < 8; ++n) {
        const fp::F80 value = get_register(image, environment_bytes<Size> + 10 * n);
        x.reg[physical(x, n)] = {value.significand, value.sign_exponent};
    }
    return Flow::next;
}

} // namespace

Handler fnstenv(const Form& f) {
    return f.operand_size == 2 ? threaded<control<store_environment<2>>> : threaded<control<store_environment<4>>>;
}
Handler fldenv(const Form& f) {
    return f.operand_size == 2 ? threaded<waiting<load_environment<2>>> : threaded<waiting<load_environment<4>>>;
}
Handler fnsave(const Form& f) { return f.operand_size == 2 ? threaded<control<save<2>>> : threaded<control<save<4>>>; }
Handler frstor(const Form& f) {
    return f.operand_size == 2 ? threaded<waiting<restore<2>>> : threaded<waiting<restore<4>>>;
}

} // namespace calque::cpu::x87
