#include "cpu/system/descriptor.h"

namespace calque::cpu {

Lookup find_descriptor(Cpu& cpu, u16 selector, Descriptor& out) {
    u64 base = cpu.state.gdtr.base, limit = cpu.state.gdtr.limit;
    if (selector & 4) {
        const SegmentRegister& local = cpu.state.segment[ldtr];
        if (!local.present() || is_null(local.selector)) return Lookup::outside;
        base = local.base;
        limit = local.limit;
    }
    const u64 offset = selector & 0xFFF8;
    if (offset + 7 > limit) return Lookup::outside;
    out = {};
    out.selector = selector;
    out.address = system_address(cpu, base, offset);
    return cpu.read_system(out.address, out.low) ? Lookup::found : Lookup::fault;
}

bool read_descriptor(Cpu& cpu, u16 selector, Vector vector, u32 ext, Descriptor& out) {
    switch (find_descriptor(cpu, selector, out)) {
    case Lookup::found: return true;
    case Lookup::fault: return false;
    case Lookup::outside: break;
    }
    return fail(cpu, vector, selector_error(selector, ext));
}

Lookup find_upper_half(Cpu& cpu, Descriptor& descriptor) {
    const bool local = descriptor.selector & 4;
    const u64 limit = local ? cpu.state.segment[ldtr].limit : cpu.state.gdtr.limit;
    if ((descriptor.selector & 0xFFF8u) + 15 > limit) return Lookup::outside;
    return cpu.read_system(descriptor.address + 8, descriptor.high) ? Lookup::found : Lookup::fault;
}

bool change_type_bits(Cpu& cpu, Descriptor& descriptor, u8 set, u8 clear) {
    const LinearAddress at(descriptor.address + 5);
    constexpr auto privilege = mmu::Privilege::system;
    const auto changed = [&](u8 old) { return static_cast<u8>((old | set) & ~clear); };
    if (u8* host = cpu.mmu.host_for_write(at, 1, privilege)) {
        u8 old = __atomic_load_n(host, __ATOMIC_RELAXED);
        while (!__atomic_compare_exchange_n(host, &old, changed(old), false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) {
        }
    } else {
        const bool plain = cpu.mmu.fault().kind == mmu::Fault::Kind::none;
        std::lock_guard bus(cpu.mmu.split_lock());
        u8 old = 0;
        if (!plain || !cpu.mmu.load(at, old, privilege) || !cpu.mmu.store(at, changed(old), privilege)) {
            cpu.raise_memory_fault(flat);
            return false;
        }
    }
    descriptor.low = (descriptor.low | u64{set} << 40) & ~(u64{clear} << 40);
    return true;
}

bool read_stack_segment(Cpu& cpu, u16 selector, u8 cpl, Vector vector, u32 ext, Descriptor& out) {
    const u32 error = selector_error(selector, ext);
    if (!read_descriptor(cpu, selector, vector, ext, out)) return false;
    if ((selector & 3) != cpl || out.dpl() != cpl || !out.writable()) return fail(cpu, vector, error);
    if (!out.present()) return fail(cpu, Vector::stack_fault, error);
    return true;
}

} // namespace calque::cpu
