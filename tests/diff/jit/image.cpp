#include "tests/diff/jit/image.h"

#include "cpu/cpu.h"
#include "cpu/flags.h"

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
            handlers();
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
        const u64 address = top << 39 | third << 30 | second << 21;
        image_.setting.base = top >= 256 ? address | 0xFFFF'0000'0000'0000 : address;
        image_.setting.ring = random_.one_in(2) ? 3 : 0;
        image_.setting.interrupts = wanted_.interrupts || random_.one_in(4);
        image_.setting.constant_code = wanted_.interrupts;
        image_.setting.remaps = random_.one_in(2);
        slots_ = {top, third, second};
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
    }

    void map(u64 page, u64 frame, u64 bits) {
        // Accessed and dirty most of the time, as a kernel's pages are.
        if (!random_.one_in(4)) bits |= accessed | dirty;
        put<u64>(frame::table, page * 8, frame << page_shift | bits);
    }

    void page_tables() {
        const u64 link = present | writable | user | accessed;
        put<u64>(frame::pml4, slots_[0] * 8, frame::pdpt << page_shift | link);
        put<u64>(frame::pdpt, slots_[1] * 8, frame::directory << page_shift | link);
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
        put<u64>(frame::tables, tss_at + 4, at.linear(page::ring0_stack + 1));
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
        if (at.legacy()) legacy_segments();
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

    // Bases and limits, which count in compatibility mode.
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
        const u16 stack_big = at.code16() == random_.one_in(4) ? 0x4000 : 0;
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

    void handlers();
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
        write_rflags(s, flags);
        s.segment[fs].base =
            random_.one_in(4) ? random_.next() >> random_.below(64) : at.linear(page::data, random_.below(8192));
        s.segment[gs].base = random_.one_in(4) ? 0 : at.linear(page::data + 4, random_.below(8192));
        if (!canonical(s.segment[fs].base)) s.segment[fs].base = 0;
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

// Machine code of the handlers, with places in it.
class Code {
  public:
    explicit Code(u64 at) : at_(at) {}
    Code& operator()(std::initializer_list<unsigned> bytes) {
        for (const unsigned byte : bytes)
            code.push_back(static_cast<u8>(byte));
        return *this;
    }
    // A 32-bit displacement from the end of the instruction, which it ends.
    Code& relative(u64 target) { return value(target - (at_ + code.size() + 4), 4); }
    Code& value(u64 v, unsigned bytes) {
        for (; bytes; --bytes, v >>= 8)
            code.push_back(static_cast<u8>(v));
        return *this;
    }
    // A short jump whose displacement is the last byte now goes here.
    void land(std::size_t jump_end) { code[jump_end - 1] = static_cast<u8>(code.size() - jump_end); }
    std::vector<u8> code;

  private:
    u64 at_;
};

void Builder::handlers() {
    const Setting& at = image_.setting;
    for (unsigned vector = 0; vector <= vector_end; ++vector) {
        Code stub(at.linear(page::stubs, vector * 16));
        if (vector == vector_end) {
            stub({0xF4}); // HLT
        } else if (vector == vector_interrupt) {
            stub({0x48, 0xCF}); // IRETQ
        } else {
            if (!has_error_code(static_cast<Vector>(vector))) stub({0x6A, 0}); // PUSH 0
            stub({0x6A, vector, 0xE9}).relative(at.linear(page::handler));     // PUSH vector; JMP
        }
        std::memcpy(&image_.frame(frame::stubs)[vector * 16], stub.code.data(), stub.code.size());
    }
    // On the stack: RDX, RCX, RAX, vector, error code, RIP, CS, RFLAGS.
    Code h(at.linear(page::handler));
    h({0x50, 0x51, 0x52});                                                        // PUSH RAX, RCX, RDX
    h({0x48, 0x8D, 0x15}).relative(at.linear(page::log));                         // LEA RDX, [log]
    h({0x8B, 0x0A, 0xFF, 0x02});                                                  // MOV ECX, [RDX]; INC
    h({0x83, 0xF9, most_exceptions, 0x72, 0x01, 0xF4});                           // CMP ECX, most; JB; HLT
    h({0xC1, 0xE1, 0x05});                                                        // SHL ECX, 5
    h({0x48, 0x8B, 0x44, 0x24, 24, 0x48, 0x89, 0x44, 0x0A, log_entries_at});      // vector
    h({0x48, 0x8B, 0x44, 0x24, 32, 0x48, 0x89, 0x44, 0x0A, log_entries_at + 8});  // error code
    h({0x0F, 0x20, 0xD0, 0x48, 0x89, 0x44, 0x0A, log_entries_at + 16});           // CR2
    h({0x48, 0x8B, 0x44, 0x24, 40, 0x48, 0x89, 0x44, 0x0A, log_entries_at + 24}); // RIP
    h({0x83, 0x7C, 0x24, 24, 1, 0x75, 0});                                        // CMP [vector], 1; JNE
    const std::size_t not_debug = h.code.size();
    h({0x81, 0x4C, 0x24, 56}).value(0x10000, 4);                                // OR [RFLAGS], RF
    h({0x81, 0xF9}).value(most_exceptions / 2 * log_entry_bytes, 4)({0x72, 0}); // CMP ECX, half; JB
    const std::size_t few = h.code.size();
    h({0x81, 0x64, 0x24, 56}).value(~u64{0x100}, 4); // AND [RFLAGS], ~TF
    h({0x31, 0xC0, 0x0F, 0x23, 0xF8});               // XOR EAX, EAX; MOV DR7
    h.land(few);
    h({0xEB, 0});
    const std::size_t debug_done = h.code.size();
    h.land(not_debug);
    h({0x83, 0x7C, 0x24, 24, 3, 0x74, 0}); // INT3: RIP is past it
    const std::size_t breakpoint = h.code.size();
    h({0x48, 0xB9}).value(at.linear(page::code) - at.code_base, 8);                            // MOV RCX, code
    h({0x48, 0x29, 0xC8, 0x48, 0x3D}).value(page::code_count * page_size, 4)({0x72, 1, 0xF4}); // SUB, CMP RAX; JB; HLT
    h({0x48, 0x8D, 0x15}).relative(at.linear(page::lengths));                                  // LEA RDX, [lengths]
    h({0x0F, 0xB6, 0x04, 0x02, 0x48, 0x01, 0x44, 0x24, 40});                                   // ADD [RIP], its length
    h.land(debug_done);
    h.land(breakpoint);
    h({0x5A, 0x59, 0x58, 0x48, 0x83, 0xC4, 16, 0x48, 0xCF}); // POP RDX, RCX, RAX; ADD RSP, 16; IRETQ
    std::memcpy(image_.frame(frame::handler).data(), h.code.data(), h.code.size());
    std::memcpy(&image_.frame(frame::handler)[0xF00], "\x48\x0F\x07", 3); // SYSRETQ
}

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
    for (unsigned vector = 0; vector < 256; ++vector)
        put<u32>(0, vector * 4, static_cast<u32>(std::min<unsigned>(vector, vector_end) * 16 | real_handlers << 16));
    for (unsigned vector = 0; vector <= vector_end; ++vector) {
        Code stub(vector * 16);
        if (vector == vector_end)
            stub({0xF4}); // HLT
        else
            stub({0x68, vector, 0, 0xE9}).value(page_size - vector * 16 - 6, 2); // PUSH vector; JMP handler
        std::memcpy(&image_.frame(frame::stubs)[vector * 16], stub.code.data(), stub.code.size());
    }
    // Offsets in the segment of the handlers; on the stack, from BP on: BP, vector, IP, CS, FLAGS.
    static_assert(frame::handler == frame::stubs + 1 && frame::log == frame::stubs + 2
                  && frame::lengths == frame::stubs + 3 && frame::code == 0x11 && log_entry_bytes == 32);
    Code h(page_size);
    h({0x55, 0x89, 0xE5, 0x50, 0x53, 0x52});                              // PUSH BP; MOV BP, SP; PUSH AX, BX, DX
    h({0x2E, 0x8B, 0x1E, 0x00, 0x20, 0x2E, 0xFF, 0x06, 0x00, 0x20});      // MOV BX, [log]; INC
    h({0x83, 0xFB, most_exceptions, 0x72, 0x01, 0xF4, 0xC1, 0xE3, 0x05}); // CMP BX, most; JB; HLT; SHL BX, 5
    h({0x8B, 0x46, 0x02, 0x2E, 0x89, 0x87, log_entries_at, 0x20});        // vector
    h({0x8B, 0x46, 0x04, 0x2E, 0x89, 0x87, log_entries_at + 24, 0x20});   // IP
    h({0x8B, 0x46, 0x06, 0x2E, 0x89, 0x87, log_entries_at + 26, 0x20});   // CS
    h({0x83, 0x7E, 0x02, 0x01, 0x75, 0x0D});                              // CMP [vector], 1; JNE
    h({0x81, 0xFB}).value(most_exceptions / 2 * log_entry_bytes, 2)({0x72, 0x33}); // CMP BX, half; JB
    h({0x81, 0x66, 0x08, 0xFF, 0xFE, 0xEB, 0x2C});                                 // AND [FLAGS], ~TF; JMP
    h({0x83, 0x7E, 0x02, 0x03, 0x74, 0x26});                                       // INT3: IP is past it
    h({0xB8, 0x10, 0x00, 0xF7, 0x66, 0x06});                                       // MOV AX, 16; MUL [CS]
    h({0x03, 0x46, 0x04, 0x83, 0xD2, 0x00});                                       // ADD AX, [IP]; ADC DX, 0
    h({0x2D, 0x00, 0x10, 0x83, 0xDA, 0x01, 0x75, 0x05});                           // SUB AX, 1000h; SBB DX, 1; JNZ
    h({0x3D, 0x00, 0x40, 0x72, 0x01, 0xF4});                                       // CMP AX, 4000h; JB; HLT
    h({0x89, 0xC3, 0x2E, 0x8A, 0x87, 0x00, 0x30, 0x30, 0xE4, 0x01, 0x46, 0x04});   // ADD [IP], its length
    h({0x5A, 0x5B, 0x58, 0x5D, 0x83, 0xC4, 0x02, 0xCF}); // POP DX, BX, AX, BP; ADD SP, 2; IRET
    std::memcpy(image_.frame(frame::handler).data(), h.code.data(), h.code.size());

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
