#include "cpu/system/task.h"

#include "cpu/system/debug_bits.h"
#include "cpu/system/frame_stack.h"
#include "cpu/system/handlers.h"
#include "mmu/walker.h"

namespace calque::cpu {

namespace {

constexpr unsigned segments = 6; // ES, CS, SS, DS, FS, GS: in the TSS's order and in that of the encoding.

// Where things are in the two formats (SDM volume 3, figures 7-2 and 7-10). Offsets are in bytes, -1 for what the
// 16-bit format has not.
struct Layout {
    unsigned width; // Of registers and of the slots that selectors take.
    u32 minimum_limit;
    int cr3, eip, eflags, gpr, selectors, ldt, trap;
    unsigned segment_count; // 16-bit tasks have no FS and GS.
};
constexpr Layout layout32{4, 0x67, 0x1C, 0x20, 0x24, 0x28, 0x48, 0x60, 0x64, 6};
constexpr Layout layout16{2, 0x2B, -1, 0x0E, 0x10, 0x12, 0x22, 0x2A, -1, 4};
const Layout& layout_of(u8 type) { return type & 8 ? layout32 : layout16; }

// What a TSS holds of the task that it belongs to.
struct TaskImage {
    u32 cr3 = 0, eip = 0, eflags = 0;
    u32 gpr[8] = {};
    u16 selector[segments] = {};
    u16 ldt = 0;
    bool trap = false;
};

template <class T> bool read_at(Cpu& cpu, u64 base, int offset, T& out) {
    return cpu.read_system(system_address(cpu, base, static_cast<u64>(offset)), out);
}
bool read_slot(Cpu& cpu, u64 base, int offset, unsigned width, u32& out) {
    if (width == 4) return read_at(cpu, base, offset, out);
    u16 half = 0;
    const bool ok = read_at(cpu, base, offset, half);
    out = half;
    return ok;
}
bool write_slot(Cpu& cpu, u64 base, int offset, unsigned width, u32 value) {
    const u64 at = system_address(cpu, base, static_cast<u64>(offset));
    return width == 4 ? cpu.write_system(at, value) : cpu.write_system(at, static_cast<u16>(value));
}

bool read_image(Cpu& cpu, u64 base, const Layout& l, TaskImage& image) {
    const int width = static_cast<int>(l.width);
    bool ok = read_slot(cpu, base, l.eip, l.width, image.eip) && read_slot(cpu, base, l.eflags, l.width, image.eflags)
              && read_at(cpu, base, l.ldt, image.ldt);
    if (l.cr3 >= 0) ok = ok && read_at(cpu, base, l.cr3, image.cr3);
    for (int n = 0; n < 8; ++n)
        ok = ok && read_slot(cpu, base, l.gpr + n * width, l.width, image.gpr[n]);
    for (int n = 0; n < static_cast<int>(l.segment_count); ++n)
        ok = ok && read_at(cpu, base, l.selectors + n * width, image.selector[n]);
    if (l.trap >= 0) {
        u16 bits = 0;
        ok = ok && read_at(cpu, base, l.trap, bits);
        image.trap = bits & 1;
    }
    return ok;
}

// The dynamic fields: EIP, EFLAGS, general registers and selectors. CR3 and the LDT are not written.
bool write_image(Cpu& cpu, u64 base, const Layout& l, u32 eflags) {
    const CpuState& s = cpu.state;
    const int width = static_cast<int>(l.width);
    bool ok = write_slot(cpu, base, l.eip, l.width, static_cast<u32>(s.rip()))
              && write_slot(cpu, base, l.eflags, l.width, eflags);
    for (int n = 0; n < 8; ++n)
        ok = ok && write_slot(cpu, base, l.gpr + n * width, l.width, static_cast<u32>(s.gpr[n]));
    for (int n = 0; n < static_cast<int>(l.segment_count); ++n)
        ok = ok && write_slot(cpu, base, l.selectors + n * width, 2, s.segment[n].selector);
    return ok;
}

// Whether the dynamic fields of the task that is left can be written: nothing may be half done.
bool can_write_image(Cpu& cpu, u64 base, const Layout& l) {
    const u64 first = static_cast<u64>(l.eip);
    const u64 last = static_cast<u64>(l.selectors) + l.segment_count * l.width;
    if (cpu.mmu.probe_write(LinearAddress(system_address(cpu, base, first)), last - first, mmu::Privilege::system))
        return true;
    cpu.raise_memory_fault(flat);
    return false;
}

// Reads, by selector alone, the descriptor of the task in force (to change its busy bit).
bool change_old_busy(Cpu& cpu, bool busy) {
    Descriptor old;
    const u16 selector = cpu.state.segment[tr].selector;
    if (is_null(selector)) return true; // The TR of reset.
    switch (find_descriptor(cpu, selector, old)) {
    case Lookup::found: return mark_busy(cpu, old, busy);
    case Lookup::outside: return true;
    case Lookup::fault: break;
    }
    return false;
}

// --- The new task's side. Faults from here on belong to the new task.

bool load_task_ldt(Cpu& cpu, u16 selector, u32 ext) {
    SegmentRegister& table = cpu.state.segment[ldtr];
    table = {selector, 0, 0, 0};
    if (is_null(selector)) return true;
    const u32 error = selector_error(selector, ext);
    if (selector & 4) return fail(cpu, Vector::invalid_tss, error);
    Descriptor d;
    if (!read_descriptor(cpu, selector, Vector::invalid_tss, ext, d)) return false;
    if (!d.system() || d.type() != type_ldt || !d.present()) return fail(cpu, Vector::invalid_tss, error);
    table = d.segment();
    return true;
}

bool load_task_code(Cpu& cpu, u16 selector, u32 ext) {
    const u32 error = selector_error(selector, ext);
    Descriptor d;
    if (is_null(selector)) return fail(cpu, Vector::invalid_tss, error);
    if (!read_descriptor(cpu, selector, Vector::invalid_tss, ext, d)) return false;
    const bool fits = d.conforming() ? d.dpl() <= d.rpl() : d.dpl() == d.rpl();
    if (!d.is_code() || !fits) return fail(cpu, Vector::invalid_tss, error);
    if (!d.present()) return fail(cpu, Vector::segment_not_present, error);
    if (!mark_accessed(cpu, d)) return false;
    cpu.state.segment[cs] = d.segment();
    return true;
}

bool load_task_stack(Cpu& cpu, u16 selector, u8 cpl, u32 ext) {
    if (is_null(selector)) return fail(cpu, Vector::invalid_tss, selector_error(selector, ext));
    Descriptor d;
    if (!read_stack_segment(cpu, selector, cpl, Vector::invalid_tss, ext, d) || !mark_accessed(cpu, d)) return false;
    cpu.state.segment[ss] = d.segment();
    return true;
}

bool load_task_data(Cpu& cpu, unsigned segment, u16 selector, u8 cpl, u32 ext) {
    if (is_null(selector)) return true;
    const u32 error = selector_error(selector, ext);
    Descriptor d;
    if (!read_descriptor(cpu, selector, Vector::invalid_tss, ext, d)) return false;
    const bool guarded = !d.is_code() || !d.conforming();
    if (!d.readable() || (guarded && (d.dpl() < cpl || d.dpl() < d.rpl())))
        return fail(cpu, Vector::invalid_tss, error);
    if (!d.present()) return fail(cpu, Vector::segment_not_present, error);
    if (!mark_accessed(cpu, d)) return false;
    cpu.state.segment[segment] = d.segment();
    return true;
}

bool load_task_segments(Cpu& cpu, const TaskImage& image, u32 ext) {
    CpuState& s = cpu.state;
    if (cpu.mode.vm86) {
        for (unsigned n = 0; n < segments; ++n)
            cpu.load_segment_real(n, image.selector[n]);
        cpu.update_mode();
        return load_task_ldt(cpu, image.ldt, ext);
    }
    // Until each has been loaded and checked, the registers hold the selectors and cannot be used.
    const u8 cpl = image.selector[cs] & 3;
    for (unsigned n = 0; n < segments; ++n)
        s.segment[n] = {image.selector[n], static_cast<u16>(cpl << 5), 0, 0};
    cpu.update_mode();
    if (!load_task_ldt(cpu, image.ldt, ext) || !load_task_code(cpu, image.selector[cs], ext)) return false;
    cpu.update_mode();
    if (!load_task_stack(cpu, image.selector[ss], cpl, ext)) return false;
    cpu.update_mode();
    for (unsigned n : {es, ds, fs, gs})
        if (!load_task_data(cpu, n, image.selector[n], cpl, ext)) return false;
    return true;
}

// CR3 of the new task. False: #GP is pending for reserved bits in the PDPTEs.
bool load_task_cr3(Cpu& cpu, u32 cr3) {
    if (!(cpu.state.cr0 & cr0_pg)) return true;
    cpu.state.cr3 = cr3;
    mmu::PagingContext context = cpu.mmu.context();
    context.cr3 = cr3;
    const bool ok = !(cpu.state.cr4 & cr4_pae) || mmu::load_pdptes(cpu.mmu.physical(), context);
    for (unsigned n = 0; n < 4; ++n)
        cpu.state.pdpte[n] = context.pdpte[n];
    cpu.mmu.load_cr3(context, false);
    return ok || fail(cpu, Vector::general_protection, 0);
}

bool enter_task(Cpu& cpu, const TaskImage& image, const Layout& l, u32 eflags, u32 ext, std::optional<u32> error_code) {
    CpuState& s = cpu.state;
    // The registers first, so that a fault finds the new task's.
    s.rip() = image.eip;
    for (unsigned n = 0; n < 8; ++n)
        s.gpr[n] = l.width == 4 ? image.gpr[n] : (s.gpr[n] & 0xFFFF0000) | image.gpr[n];
    constexpr u64 defined = arithmetic_flags | flag_tf | flag_if | flag_df | flag_iopl | flag_nt | flag_rf | flag_vm
                            | flag_ac | flag_vif | flag_vip | flag_id;
    write_rflags(s, eflags & defined);
    if (s.rflags & flag_rf) cpu.keep_resume_flag();
    s.cr0 |= cr0_ts;
    s.dr[7] &= ~dr7_locals;
    cpu.update_mode();
    if (l.cr3 >= 0 && !load_task_cr3(cpu, image.cr3)) return false;
    if (!load_task_segments(cpu, image, ext)) return false;
    if (error_code) {
        FrameStack stack(cpu, current_stack(cpu), cpu.mode.cpl, ext);
        if (!stack.push(*error_code, l.width)) return false;
        cpu.set_rsp(stack.pointer());
    }
    if (s.rip() > s.segment[cs].limit) return fail(cpu, Vector::general_protection, ext);
    return true;
}

// The checks of steps 3 and 4 in SDM volume 3, 7.3.
bool check_new_task(Cpu& cpu, const Descriptor& tss, TaskSwitch reason, u32 ext) {
    const u32 error = selector_error(tss.selector, ext);
    const bool wants_busy = reason == TaskSwitch::iret;
    if (!tss.is_tss() || tss.tss_busy() != wants_busy)
        return fail(cpu, wants_busy ? Vector::invalid_tss : Vector::general_protection, error);
    if (!tss.present()) return fail(cpu, Vector::segment_not_present, error);
    if (tss.limit() < layout_of(tss.type()).minimum_limit) return fail(cpu, Vector::invalid_tss, error);
    return true;
}

} // namespace

Flow switch_task(Cpu& cpu, Descriptor& tss, TaskSwitch reason, const TaskEvent& event) {
    CpuState& s = cpu.state;
    const u32 ext = event.ext;
    if (!check_new_task(cpu, tss, reason, ext)) return Flow::fault;
    const SegmentRegister old_task = s.segment[tr];
    const Layout& old_layout = layout_of(old_task.type());
    const Layout& layout = layout_of(tss.type());
    const bool nested = reason == TaskSwitch::call || reason == TaskSwitch::interrupt;

    TaskImage image;
    if (!read_image(cpu, tss.base(), layout, image) || !can_write_image(cpu, old_task.base, old_layout))
        return Flow::fault;
    if (nested && !cpu.write_system(system_address(cpu, tss.base(), 0), old_task.selector)) return Flow::fault;
    if (!nested && !change_old_busy(cpu, false)) return Flow::fault;
    if (reason != TaskSwitch::iret && !mark_busy(cpu, tss, true)) return Flow::fault;
    u64 saved_flags = cpu.rflags() | (event.resume_flag ? flag_rf : 0);
    if (reason == TaskSwitch::iret) saved_flags &= ~flag_nt;
    if (!write_image(cpu, old_task.base, old_layout, static_cast<u32>(saved_flags))) return Flow::fault;

    cpu.log.trace(Channel::mode, "cpu {}: task switch from {:#x} to {:#x}", cpu.index, old_task.selector, tss.selector);
    // From here on it is the new task.
    s.segment[tr] = tss.segment();
    s.segment[tr].rights |= 2;
    const u32 eflags = nested ? image.eflags | static_cast<u32>(flag_nt) : image.eflags;
    if (!enter_task(cpu, image, layout, eflags, ext, event.error_code)) {
        cpu.update_mode();
        return Flow::trap;
    }
    cpu.update_mode();
    if (image.trap) {
        cpu.raise_debug(dr6_bt);
        return Flow::trap;
    }
    return Flow::exit;
}

Flow switch_by_gate(Cpu& cpu, const Descriptor& gate, TaskSwitch reason, const TaskEvent& event) {
    const u16 selector = gate.gate_selector();
    const u32 error = selector_error(selector, event.ext);
    Descriptor tss;
    if (is_null(selector) || (selector & 4)) return cpu.raise(Vector::general_protection, error);
    if (!read_descriptor(cpu, selector, Vector::general_protection, event.ext, tss)) return Flow::fault;
    return switch_task(cpu, tss, reason, event);
}

Flow return_to_previous_task(Cpu& cpu) {
    u16 selector = 0;
    if (!cpu.read_system(cpu.state.segment[tr].base, selector)) return Flow::fault;
    const u32 error = selector_error(selector, 0);
    Descriptor tss;
    if (is_null(selector) || (selector & 4)) return cpu.raise(Vector::invalid_tss, error);
    if (!read_descriptor(cpu, selector, Vector::invalid_tss, 0, tss)) return Flow::fault;
    return switch_task(cpu, tss, TaskSwitch::iret);
}

} // namespace calque::cpu
