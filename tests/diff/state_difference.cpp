#include "tests/diff/state_difference.h"

namespace calque::diff {

using namespace cpu;

namespace {

// Many are compared: names are put together only for those that differ.
template <class... Args>
void compare_as(std::string& text, u64 expected, u64 got, fmt::format_string<Args...> name, Args&&... args) {
    if (expected != got) compare(text, fmt::format(name, std::forward<Args>(args)...), expected, got);
}

void segments(std::string& text, const CpuState& x, const CpuState& y) {
    for (unsigned n = 0; n < 10; ++n) {
        const SegmentRegister &a = x.segment[n], &b = y.segment[n];
        compare_as(text, a.selector, b.selector, "segment {} selector", n);
        compare_as(text, a.rights, b.rights, "segment {} rights", n);
        compare_as(text, a.limit, b.limit, "segment {} limit", n);
        compare_as(text, a.base, b.base, "segment {} base", n);
    }
}

void system(std::string& text, const CpuState& x, const CpuState& y) {
    compare(text, "cr0", x.cr0, y.cr0);
    compare(text, "cr2", x.cr2, y.cr2);
    compare(text, "cr3", x.cr3, y.cr3);
    compare(text, "cr4", x.cr4, y.cr4);
    compare(text, "efer", x.efer, y.efer);
    compare(text, "xcr0", x.xcr0, y.xcr0);
    compare(text, "pkru", x.pkru, y.pkru);
    compare(text, "kernel_gs_base", x.kernel_gs_base, y.kernel_gs_base);
    compare(text, "tsc_offset", x.tsc_offset, y.tsc_offset);
    for (unsigned n = 0; n < 8; ++n)
        compare_as(text, x.dr[n], y.dr[n], "dr{}", n);
    compare(text, "shadow", x.interrupt_shadow * 2 + x.debug_shadow, y.interrupt_shadow * 2 + y.debug_shadow);
    compare(text, "pending_debug", x.pending_debug, y.pending_debug);
    compare(text, "activity", static_cast<u64>(x.activity), static_cast<u64>(y.activity));
}

void vectors(std::string& text, const CpuState& x, const CpuState& y) {
    for (unsigned n = 0; n < 16; ++n)
        for (unsigned q = 0; q < 4; ++q)
            compare_as(text, x.vector[n].q[q], y.vector[n].q[q], "ymm{}[{}]", n, q);
    compare(text, "mxcsr", x.mxcsr, y.mxcsr);
}

void x87(std::string& text, const X87State& x, const X87State& y) {
    for (unsigned n = 0; n < 8; ++n) {
        compare_as(text, x.reg[n].significand, y.reg[n].significand, "R{} significand", n);
        compare_as(text, x.reg[n].sign_exponent, y.reg[n].sign_exponent, "R{} exponent", n);
    }
    compare(text, "fcw", x.control, y.control);
    compare(text, "fsw", x.status, y.status);
    compare(text, "x87 tags", x.valid, y.valid);
    compare(text, "x87 opcode", x.opcode, y.opcode);
    compare(text, "x87 ip", x.instruction_pointer, y.instruction_pointer);
    compare(text, "x87 dp", x.data_pointer, y.data_pointer);
}

} // namespace

std::string state_difference(const CpuState& x, const CpuState& y) {
    static constexpr const char* names[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8",
                                            "r9",  "r10", "r11", "r12", "r13", "r14", "r15", "rip"};
    std::string text;
    for (unsigned n = 0; n <= rip_slot; ++n)
        compare(text, names[n], x.gpr[n], y.gpr[n]);
    compare(text, "rflags", read_rflags(x), read_rflags(y));
    segments(text, x, y);
    system(text, x, y);
    vectors(text, x, y);
    x87(text, x.x87, y.x87);
    return text;
}

} // namespace calque::diff
