#include "cpu/system/frame_stack.h"

namespace calque::cpu {

namespace {

// A field of the current TSS, with the limit checked: #TS(TR) beyond it.
template <class T> bool read_tss(Cpu& cpu, u64 offset, u32 ext, T& out) {
    const SegmentRegister& task = cpu.state.segment[tr];
    if (offset + sizeof(T) - 1 > task.limit) return fail(cpu, Vector::invalid_tss, selector_error(task.selector, ext));
    return cpu.read_system(system_address(cpu, task.base, offset), out);
}

} // namespace

bool inner_stack(Cpu& cpu, u8 cpl, u32 ext, StackPlace& out) {
    if (cpu.mode.long_mode) {
        out.flat = true;
        out.segment = null_stack_segment(cpl);
        return read_tss(cpu, 4 + cpl * 8u, ext, out.pointer);
    }
    u16 selector = 0;
    if (cpu.state.segment[tr].type() & 8) {
        // The whole entry must lie within the limit before either half is used.
        u32 esp = 0;
        if (!read_tss(cpu, 8 + cpl * 8u, ext, selector) || !read_tss(cpu, 4 + cpl * 8u, ext, esp)) return false;
        out.pointer = esp;
    } else {
        u16 sp = 0;
        if (!read_tss(cpu, 4 + cpl * 4u, ext, selector) || !read_tss(cpu, 2 + cpl * 4u, ext, sp)) return false;
        out.pointer = sp;
    }
    if (is_null(selector)) return fail(cpu, Vector::invalid_tss, selector_error(selector, ext));
    Descriptor d;
    if (!read_stack_segment(cpu, selector, cpl, Vector::invalid_tss, ext, d) || !mark_accessed(cpu, d)) return false;
    out.segment = d.segment();
    return true;
}

bool interrupt_stack(Cpu& cpu, unsigned ist, u32 ext, u64& rsp_out) {
    return read_tss(cpu, 28 + ist * 8u, ext, rsp_out);
}

} // namespace calque::cpu
