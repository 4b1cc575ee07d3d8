#include "tests/diff/jit/image.h"

#include "cpu/cpu.h"
#include "cpu/flags.h"
#include "tests/diff/jit/handlers.h"

#include <cstring>
#include <initializer_list>

namespace calque::diff {

namespace {

using namespace cpu;

// Page-table entry bits (SDM volume 3, table 4-20).
constexpr u64 present = 1, writable = 2, user = 4, accessed = 0x20, dirty = 0x40, global = 0x100,
              no_execute = u64{1} << 63;

class Builder {
  public:
    Builder(Image& image, Random& random, const Pools& pools, const Wanted& wanted)
        : image_(image), random_(random), pools_(pools), wanted_(wanted) {}

    void build() {
        choose_setting();
        if (image_.setting.code == CodeKind::real) {
            real_mode();
        } else {
            control_registers();
            page_tables();
            descriptor_tables();
            if (image_.setting.long_mode())
                write_handlers64(image_);
            else
                write_handlers32(image_);
        }
        registers();
        for (u64 n = 0; n < frame::data_count; ++n)
            std::memcpy(image_.frame(frame::data + n).data(), pools_.slice(random_kind(), 512, random_), page_size);
    }

  private:
    CpuState& state() { return image_.state; }
    template <class T> void put(u64 frame, u64 offset, T value) {
        std::memcpy(&image_.ram[frame * page_size + offset], &value, sizeof value);
    }
    Pools::Kind random_kind() { return static_cast<Pools::Kind>(random_.below(Pools::kinds)); }
    u64 pick(std::initializer_list<u64> values) { return values.begin()[random_.below(values.size())]; }

    void choose_setting() {
        u64 top = pick({0, 0, 1, 255, 256, 511}), third = pick({0, 0, 1, 3, 511}), second = pick({2, 2, 7, 511});
        image_.setting.code = wanted_.code;
        if (image_.setting.legacy()) top = 0, third &= 3;
        if (wanted_.code == CodeKind::real) {
            image_.setting.constant_code = wanted_.interrupts;
            return;
        }
        if (wanted_.code == CodeKind::virtual86) third = second = 0;
        const u64 address = top << 39 | third << 30 | second << 21;
        image_.setting.base = top >= 256 ? address | 0xFFFF'0000'0000'0000 : address;
        image_.setting.ring = random_.one_in(2) || !image_.setting.long_mode() ? 3 : 0;
        image_.setting.interrupts = wanted_.interrupts || random_.one_in(4);
        image_.setting.constant_code = wanted_.interrupts;
        image_.setting.remaps = random_.one_in(2);
        slots_ = {top, third, second};
        // What is mapped in two ways cannot be remapped in one of them.
        image_.setting.more_pieces =
            !image_.setting.remaps && !image_.setting.code16() && second + 2 < 512 && random_.one_in(2);
    }

    void control_registers() {
        CpuState& s = state();
        s.cr0 = cr0_pe | cr0_pg | cr0_et | cr0_ne | cr0_mp;
        if (!random_.one_in(4) || image_.setting.constant_code) s.cr0 |= cr0_wp;
        if (random_.one_in(2)) s.cr0 |= cr0_am;
        if (random_.one_in(24)) s.cr0 |= cr0_ts;
        if (random_.one_in(48)) s.cr0 |= cr0_em;
        s.cr4 = cr4_pae | cr4_pge | cr4_osxmmexcpt | cr4_fsgsbase;
        if (!random_.one_in(24)) s.cr4 |= cr4_osfxsr;
        if (!random_.one_in(24)) s.cr4 |= cr4_osxsave;
        if (random_.one_in(16)) s.cr4 &= ~cr4_osxmmexcpt;
        if (random_.one_in(4)) s.cr4 |= cr4_smep;
        if (random_.one_in(6)) s.cr4 |= cr4_smap;
        if (random_.one_in(8)) s.cr4 |= cr4_pcide;
        if (random_.one_in(8)) s.cr4 |= cr4_pke, s.pkru = random_.one_in(2) ? 0 : static_cast<u32>(random_.next());
        if (random_.one_in(8)) s.cr4 |= cr4_umip;
        s.xcr0 = random_.one_in(32) ? 3 : 7;
        s.efer = efer_sce | efer_lme | efer_lma | efer_nxe;
        s.cr3 = frame::pml4 << page_shift;
        if (image_.setting.long_mode()) return;
        s.efer = efer_nxe;
        s.cr4 &= ~(cr4_pcide | cr4_pke);
        s.cr3 = frame::pdpt << page_shift;
    }

    void map(u64 page, u64 frame, u64 bits) {
        // Accessed and dirty most of the time, as a kernel's pages are.
        if (!random_.one_in(4)) bits |= accessed | dirty;
        put<u64>(frame::table, page * 8, frame << page_shift | bits);
    }

    void page_tables() {
        const u64 link = present | writable | user | accessed;
        put<u64>(frame::pml4, slots_[0] * 8, frame::pdpt << page_shift | link);
        put<u64>(frame::pdpt, slots_[1] * 8,
                 frame::directory << page_shift | (image_.setting.long_mode() ? link : present));
        if (!image_.setting.long_mode()) state().pdpte[slots_[1]] = frame::directory << page_shift | present;
        put<u64>(frame::directory, slots_[2] * 8, frame::table << page_shift | link);
        const bool kernel_code_pages =
            image_.setting.ring == 0 && ((state().cr4 & (cr4_smep | cr4_smap)) || random_.one_in(2));
        const u64 code_rights = present | (kernel_code_pages ? 0 : user);
        for (u64 n = 0; n < page::code_count; ++n) {
            u64 rights = code_rights | (random_.one_in(2) ? writable : 0);
            if (random_.one_in(32)) rights ^= u64{1} << random_.below(3);
            if (image_.setting.constant_code) rights &= ~writable;
            if (random_.one_in(32)) rights |= no_execute;
            map(page::code + n, frame::code + n, rights);
            map(page::alias + n, (image_.setting.constant_code ? frame::data : frame::code) + n,
                present | writable | (random_.one_in(4) ? 0 : user) | no_execute);
        }
        for (u64 n = 0; n < page::data_count; ++n)
            map_data(page::data + n);
        for (u64 n = 0; n < page::end_data_count; ++n)
            map_data(page::end_data + n);
        for (u64 n = 0; n < page::stack_count; ++n)
            map(page::stack + n, frame::stack + n, present | writable | (image_.setting.ring == 3 ? user : 0));
        const u64 kernel = present | writable | (random_.one_in(2) ? global : 0);
        // What a do-nothing interrupt touches does not show that it came.
        map(page::tables, frame::tables, kernel | accessed | dirty);
        map(page::stubs, frame::stubs, kernel | accessed);
        map(page::handler, frame::handler, kernel);
        map(page::log, frame::log, kernel);
        for (u64 n = 0; n < page::code_count; ++n)
            map(page::lengths + n, frame::lengths + n, kernel);
        map(page::fault_stack, frame::fault_stack, kernel);
        map(page::interrupt_stack, frame::interrupt_stack, kernel | accessed | dirty);
        map(page::ring0_stack, frame::ring0_stack, kernel);
        if (image_.setting.remaps) map(page::page_table, frame::table, kernel);
        for (u64 n = 0; n < page::wild_count; ++n)
            wild_entry(page::wild + n);
        if (image_.setting.more_pieces) more_pieces();
    }

    // Of nothing but data, device and what is not there.
    void wild_entry(u64 page) {
        const u64 low_bits = random_.below(0x1000), high_bits = random_.below(0x1000) << 52;
        const u64 reserved = random_.one_in(4) ? random_.below(0x1000) << 40 : 0;
        const u64 frames[] = {frame::data + random_.below(frame::data_count), frame::device, frame::unassigned};
        put<u64>(frame::table, page * 8,
                 frames[random_.below(3)] << page_shift | low_bits | high_bits | reserved | present);
    }

    void more_pieces() {
        u64 link = present | writable | user;
        if (random_.one_in(2)) link ^= u64{1} << (1 + random_.below(2));
        if (random_.one_in(2)) link |= accessed;
        if (random_.one_in(3)) link |= no_execute;
        put<u64>(frame::directory, (slots_[2] + 1) * 8, frame::table << page_shift | link);
        if (!(state().cr0 & cr0_wp)) return; // Ring 0 could write.
        constexpr u64 large = 0x80;
        u64 page = present | large | (random_.one_in(2) ? user : 0);
        if (random_.one_in(2)) page |= accessed;
        if (random_.one_in(2)) page |= global;
        if (random_.one_in(2)) page |= no_execute;
        if (random_.one_in(8)) page |= u64{1} << (12 + random_.below(9)); // PAT, or reserved.
        put<u64>(frame::directory, (slots_[2] + 2) * 8, page);
    }

    void map_data(u64 page) {
        const bool for_user = image_.setting.ring == 3 || !(state().cr4 & cr4_smap);
        u64 bits = present | writable | (for_user ? user : 0) | (random_.one_in(2) ? no_execute : 0);
        u64 to = frame::data + random_.below(frame::data_count);
        switch (random_.below(24)) {
        case 0: bits &= ~present; break;
        case 1: bits &= ~writable; break;
        case 2: bits ^= user; break;
        case 3: to = frame::device; break;
        case 4:
            if (!image_.setting.constant_code) to = frame::code + random_.below(page::code_count);
            break;
        case 5:
            if (random_.one_in(4)) bits |= u64{1} << 51; // Reserved.
            break;
        case 6: to = random_.one_in(4) ? frame::unassigned : to; break;
        case 7: bits |= random_.below(16) << 59; break; // A protection key.
        default: break;
        }
        map(page, to, bits);
    }

    void set_gate(unsigned vector, u64 target, unsigned ist, unsigned dpl) {
        if (!image_.setting.long_mode()) {
            const u64 gate = (target & 0xFFFF) | u64{kernel_code32} << 16 | u64{0x8Eu | dpl << 5} << 40
                             | (target >> 16 & 0xFFFF) << 48;
            return put<u64>(frame::tables, idt_at + vector * 8, gate);
        }
        const u64 low = (target & 0xFFFF) | u64{kernel_code} << 16 | u64{ist} << 32 | u64{0x8Eu | dpl << 5} << 40
                        | (target >> 16 & 0xFFFF) << 48;
        put<u64>(frame::tables, idt_at + vector * 16, low);
        put<u64>(frame::tables, idt_at + vector * 16 + 8, target >> 32);
    }

    static SegmentRegister segment(u16 selector, u16 rights, u32 limit = 0xFFFFFFFF, u64 base = 0) {
        return {selector, rights, limit, base};
    }

    void descriptor_tables() {
        const Setting& at = image_.setting;
        constexpr u64 code = 0x00AF9B000000FFFF, data = 0x00CF93000000FFFF, dpl3 = u64{3} << 45;
        put<u64>(frame::tables, gdt_at + kernel_code, code);
        put<u64>(frame::tables, gdt_at + kernel_data, data);
        put<u64>(frame::tables, gdt_at + (user_data & ~7), data | dpl3);
        put<u64>(frame::tables, gdt_at + (user_code & ~7), code | dpl3);
        put<u64>(frame::tables, gdt_at + kernel_code32, 0x00CF9B000000FFFF);
        if (at.long_mode())
            put<u64>(frame::tables, tss_at + 4, at.linear(page::ring0_stack + 1));
        else // An interrupt that does nothing comes at any time: what it leaves is not compared.
            put<u64>(frame::tables, tss_at + 4, at.linear(page::interrupt_stack + 1) | u64{kernel_data} << 32);
        put<u64>(frame::tables, tss_at + 0x24, at.linear(page::fault_stack + 1));
        put<u64>(frame::tables, tss_at + 0x2C, at.linear(page::interrupt_stack + 1));
        put<u16>(frame::tables, tss_at + 102, 0x67);
        const unsigned fault_ist = random_.one_in(16) ? 0 : 1;
        for (unsigned vector = 0; vector <= vector_end; ++vector) {
            const unsigned dpl = vector == vector_end || vector == 3 || vector == 4 ? 3 : 0;
            set_gate(vector, at.linear(page::stubs, vector * 16), vector == vector_interrupt ? 2 : fault_ist, dpl);
        }
        CpuState& s = state();
        s.gdtr = {at.linear(page::tables, gdt_at), 0x4F};
        s.idtr = {at.linear(page::tables, idt_at), 129 * 16 - 1};
        s.segment[tr] = segment(tss_selector, 0x8B, 0x67, at.linear(page::tables, tss_at));
        s.segment[ldtr] = segment(0, 0x82, 0);
        const bool ring3 = at.ring == 3;
        s.segment[cs] = segment(ring3 ? user_code : kernel_code, ring3 ? 0xA0FB : 0xA09B);
        // Data segments of ring 3 also in ring 0: an interrupt that returns to ring 3 after SYSRET would take others
        // away.
        for (const unsigned n : {es, ds, fs, gs})
            s.segment[n] = segment(user_data, 0xC0F3);
        s.segment[ss] = segment(ring3 ? user_data : kernel_data, ring3 ? 0xC0F3 : 0xC093);
        if (at.code == CodeKind::virtual86)
            paragraphs();
        else if (at.legacy())
            legacy_segments();
    }

    // With the limit as a descriptor has it: past 1 MiB in pages.
    static u32 limit_of(u64 bytes) {
        return static_cast<u32>(bytes <= 0x10'0000 ? bytes - 1 : ((bytes + page_size - 1) & ~page_offset_mask) - 1);
    }
    // Loads the segment, and writes what it was loaded from, for returns from handlers. `rights` with G clear.
    void load_segment(unsigned n, u16 selector, u16 rights, u32 limit, u64 base) {
        const bool pages = limit >= 0x10'0000;
        if (pages) rights |= 0x8000;
        const u64 raw = pages ? limit >> page_shift : limit;
        image_.state.segment[n] = segment(selector, rights, limit, base);
        put<u64>(frame::tables, gdt_at + (selector & ~7u),
                 (raw & 0xFFFF) | (base & 0xFFFFFF) << 16 | u64{rights} << 40 | (raw >> 16) << 48 | (base >> 24) << 56);
    }

    void paragraphs() {
        Setting& at = image_.setting;
        CpuState& s = state();
        at.code_base = at.linear(page::code) - random_.below(0xC00) * 16;
        at.data_base = at.linear(page::data) - random_.below(0x400) * 16;
        at.stack_base = at.linear(page::stack) - random_.below(0x100) * 16;
        for (unsigned n = es; n <= gs; ++n) {
            const u64 base = n == cs ? at.code_base : n == ss ? at.stack_base : at.data_base;
            s.segment[n] = segment(static_cast<u16>(base >> 4), 0xF3, 0xFFFF, base);
        }
    }

    // Bases and limits, which count outside 64-bit mode.
    void legacy_segments() {
        Setting& at = image_.setting;
        const u64 code = at.linear(page::code), data = at.linear(page::data), stack = at.linear(page::stack);
        const u16 dpl = at.ring == 3 ? 0x60 : 0;
        const u16 big = at.code16() ? 0 : 0x4000;
        u64 code_end = u64{1} << 32, stack_end = code_end, data_end = code_end;
        if (at.code16() || random_.one_in(4)) {
            at.code_base = static_cast<u32>(code - (random_.one_in(2) ? 0 : random_.below(0xC000)));
            if (random_.one_in(2)) code_end = code + page::code_count * page_size - at.code_base;
            if (random_.one_in(8)) code_end -= random_.below(4 * page_size);
        } else if (random_.one_in(4)) {
            code_end = code + page::code_count * page_size;
        }
        // An interrupt between two instructions could not return to where the segment has ended.
        const bool no_limit = code_end > 0x10'0000 && (code_end & page_offset_mask) != 0;
        if (no_limit || at.interrupts) code_end = u64{1} << 32;
        if (at.code16() || random_.one_in(6)) {
            at.data_base = data - 0x4000 + (random_.one_in(2) ? 0 : random_.below(256));
            if (random_.one_in(2)) data_end = random_.one_in(2) ? 0x10000 : 0x50000 + random_.below(256);
        }
        if (at.code16() || random_.one_in(6)) {
            at.stack_base = stack - (random_.one_in(2) ? 0 : random_.below(4096));
            if (random_.one_in(2)) stack_end = 0x1000 + random_.below(0x2000);
        }
        u16 stack_big = at.code16() == random_.one_in(4) ? 0x4000 : 0;
        // IRETD to a stack of 16 bits brings SP back, but not the upper half of ESP.
        if (!at.long_mode() && at.interrupts) stack_big = 0x4000;
        load_segment(cs, at.ring == 3 ? user_code32 : kernel_code32, static_cast<u16>(0x9B | dpl | big),
                     limit_of(code_end), at.code_base);
        load_segment(ss, static_cast<u16>(legacy_stack | at.ring), static_cast<u16>(0x93 | dpl | stack_big),
                     limit_of(stack_end), at.stack_base);
        for (const unsigned n : {es, ds}) {
            image_.state.segment[n].base = at.data_base;
            image_.state.segment[n].limit = limit_of(data_end);
        }
        for (const unsigned n : {es, ds}) {
            if (!random_.one_in(8)) continue;
            SegmentRegister& s = image_.state.segment[n];
            s.base = random_.one_in(2) ? random_.below(4096) : static_cast<u32>(random_.next());
            if (random_.one_in(2)) s.limit = static_cast<u32>(random_.next());
            // Not the DPL: a return to ring 3 takes segments away that it could not have.
            if (random_.one_in(8)) s.rights ^= static_cast<u16>(u64{0x9F} & (1u << random_.below(8)));
        }
    }

    void real_mode();

    void registers() {
        const Setting& at = image_.setting;
        CpuState& s = state();
        for (unsigned n = 0; n < 16; ++n) {
            s.gpr[n] = random_.one_in(2) ? integer_value(random_)
                                         : at.linear(page::data + random_.below(page::data_count), random_.below(4096))
                                               - at.data_base;
            if (at.code16() && !random_.one_in(8)) s.gpr[n] &= 0xFFFF;
        }
        s.gpr[rsp] = at.linear(page::stack + 1, random_.below(256) * 8) - at.stack_base;
        u64 flags = flag_one | (random_.next() & arithmetic_flags) | (random_.one_in(2) ? flag_if : 0);
        if (image_.setting.interrupts) flags |= flag_if;
        if (random_.one_in(16)) flags |= flag_df;
        if (random_.one_in(16)) flags |= flag_ac;
        if (random_.one_in(16)) flags |= flag_iopl;
        if (at.code == CodeKind::virtual86) flags |= flag_vm | (random_.one_in(4) ? 0 : flag_iopl);
        write_rflags(s, flags);
        if (at.code != CodeKind::virtual86) based_segments();
        if (at.legacy()) // No registers past RDI, and halves of those.
            for (unsigned n = 0; n < 16; ++n)
                if (!random_.one_in(32)) s.gpr[n] = static_cast<u32>(s.gpr[n]);
        s.kernel_gs_base = at.linear(page::data + 6);
        s.star = u64{kernel_code} << 32 | u64{kernel_data} << 48;
        s.lstar = at.linear(page::handler, 0xF00);
        s.fmask = random_.one_in(2) ? flag_tf | flag_if : flag_tf;
        s.dr[6] = 0xFFFF0FF0, s.dr[7] = 0x400;
        if (random_.one_in(24)) breakpoints();
        s.mxcsr = static_cast<u32>(0x1F80 | (random_.next() & 0x3F) | (random_.next() & 0xE040 & random_.next()));
        if (random_.one_in(8)) s.mxcsr &= static_cast<u32>(~0x1F80 | random_.next());
        const u64* values = pools_.slice(random_kind(), 64, random_);
        for (unsigned n = 0; n < 16; ++n)
            std::memcpy(s.vector[n].q, values + 4 * n, 32);
        s.x87.control = random_.one_in(8) ? static_cast<u16>((random_.next() & 0x0F3F) | 0x240) : 0x37F;
        s.x87.valid = random_.one_in(2) ? 0 : random_.byte();
        const u64* extended = pools_.slice(Pools::extendeds, 16, random_);
        for (unsigned n = 0; n < 8; ++n)
            s.x87.reg[n] = {extended[2 * n], static_cast<u16>(extended[2 * n + 1])};
    }

    void based_segments() {
        const Setting& at = image_.setting;
        CpuState& s = state();
        s.segment[fs].base =
            random_.one_in(4) ? random_.next() >> random_.below(64) : at.linear(page::data, random_.below(8192));
        s.segment[gs].base = random_.one_in(4) ? 0 : at.linear(page::data + 4, random_.below(8192));
        if (!canonical(s.segment[fs].base)) s.segment[fs].base = 0;
    }

    static bool canonical(u64 address) { return static_cast<u64>(static_cast<i64>(address << 16) >> 16) == address; }

    void breakpoints() {
        CpuState& s = state();
        for (unsigned n = 0; n < 4; ++n) {
            const bool code = random_.one_in(2);
            s.dr[n] = code ? image_.setting.linear(page::code, random_.below(8192))
                           : image_.setting.linear(page::data + random_.below(page::data_count), random_.below(4096));
            if (random_.one_in(2)) s.dr[7] |= u64{2} << (2 * n);
            s.dr[7] |= (code ? u64{0} : random_.below(16)) << (16 + 4 * n);
        }
    }

    Image& image_;
    Random& random_;
    const Pools& pools_;
    Wanted wanted_;
    std::array<u64, 3> slots_{};
};

// Everything by its physical address. No interrupts: their frames would be on the program's stack.
void Builder::real_mode() {
    Setting& at = image_.setting;
    CpuState& s = state();
    s.cr0 = cr0_et | cr0_ne | cr0_mp;
    if (random_.one_in(24)) s.cr0 |= cr0_ts;
    if (random_.one_in(48)) s.cr0 |= cr0_em;
    s.cr4 = cr4_osxmmexcpt;
    if (!random_.one_in(24)) s.cr4 |= cr4_osfxsr;
    if (random_.one_in(16)) s.cr4 &= ~cr4_osxmmexcpt;
    for (const u64 n : {1, 2, 3, 4, 12, 13, 14, 29, 30, 31}) // Nothing is there: HLT.
        std::memset(image_.frame(n).data(), 0xF4, page_size);
    write_real_handlers(image_);
    // As they are loaded in real mode, or with limits that protected mode has left behind.
    const auto limit = [&] { return random_.one_in(3) ? 0xFFFFFFFF : random_.one_in(16) ? 0x8000 : u32{0xFFFF}; };
    const auto load = [&](unsigned n, u64 base) {
        s.segment[n] = segment(static_cast<u16>(base >> 4), 0x93, limit(), base & ~u64{15});
    };
    at.code_base = (frame::code << page_shift) - random_.below(0xC00) * 16;
    at.data_base = 0x10000 - random_.below(0x100) * 16;
    at.stack_base = 0xE000 - random_.below(0x100) * 16;
    for (const unsigned n : {es, ds, fs, gs})
        load(n, at.data_base);
    load(cs, at.code_base);
    load(ss, at.stack_base);
    if (random_.one_in(8)) load(es, random_.below(0x10000) * 16);
    s.idtr = {0, 0x3FF};
    s.gdtr = {0, 0xFFFF};
    s.segment[tr] = segment(0, 0x8B, 0xFFFF);
    s.segment[ldtr] = segment(0, 0x82, 0xFFFF);
}

} // namespace

u64 Setting::frame_of(u64 page_number) {
    const auto in = [&](u64 first, u64 count) { return page_number >= first && page_number < first + count; };
    if (in(page::code, page::code_count)) return frame::code + page_number - page::code;
    if (in(page::alias, page::code_count)) return frame::code + page_number - page::alias;
    if (in(page::data, page::data_count)) return frame::data + (page_number - page::data) % frame::data_count;
    if (in(page::stack, page::stack_count)) return frame::stack + page_number - page::stack;
    if (in(page::end_data, page::end_data_count)) return frame::device + page_number - page::end_data;
    return page_number;
}

Image make_image(Random& random, const Pools& pools, const Wanted& wanted) {
    Image image;
    image.ram.resize(ram_bytes);
    Builder(image, random, pools, wanted).build();
    return image;
}

} // namespace calque::diff
