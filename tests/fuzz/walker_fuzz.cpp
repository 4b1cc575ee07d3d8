// Random page tables, control registers and accesses: walks and the Mmu must end, stay in range and agree.
#include "mmu/guest_ram.h"
#include "mmu/mmu.h"

#include <algorithm>
#include <cstdlib>

namespace calque::mmu {
namespace {

class Input {
  public:
    explicit Input(std::span<const u8> data) : data_(data) {}
    u64 take(unsigned size) {
        u64 value = 0;
        for (unsigned i = 0; i < size && !data_.empty(); ++i, data_ = data_.subspan(1))
            value |= static_cast<u64>(data_[0]) << (8 * i);
        return value;
    }
    bool empty() const { return data_.empty(); }

  private:
    std::span<const u8> data_;
};

struct Device final : IoTarget {
    u64 read(PhysicalAddress address, unsigned) override { return address.value * 0x9E37'79B9'7F4A'7C15 | 1; }
    void write(PhysicalAddress, u64, unsigned) override {}
};

void require(bool condition) {
    if (!condition) std::abort();
}

constexpr u64 ram_size = u64{16} * page_size;

PagingContext take_context(Input& input) {
    PagingContext context;
    const u64 flags = input.take(4);
    context.cr0 = (flags & 1 ? cr0_pg : 0) | (flags & 2 ? cr0_wp : 0);
    for (unsigned n = 0; const u64 bit : {cr4_pse, cr4_pae, cr4_pge, cr4_pcide, cr4_smep, cr4_smap, cr4_pke})
        context.cr4 |= flags >> (8 + n++) & 1 ? bit : 0;
    // The processor refuses long mode without PAE, and PCIDs without long mode.
    if ((flags & 1) && (flags & 4) && (context.cr4 & cr4_pae)) context.efer |= efer_lma;
    if (!(context.efer & efer_lma)) context.cr4 &= ~cr4_pcide;
    if (flags & 8) context.efer |= efer_nxe;
    context.cpl = flags >> 4 & 3;
    context.ac = flags & 64;
    context.alignment_check = context.ac && context.cpl == 3 && (flags & 128);
    context.pkru = static_cast<u32>(input.take(4));
    context.cr3 = input.take(2) | (flags >> 16 & 15) << 12 | (flags >> 24 << 36);
    for (u64& pdpte : context.pdpte)
        pdpte = input.take(3);
    return context;
}

void fuzz(std::span<const u8> data) {
    static Log log;
    static GuestRam ram = std::move(GuestRam::create(ram_size).value());
    static Device device;
    Input input(data);

    // Tables: runs of one entry, so that short inputs fill whole tables.
    std::fill_n(ram.data(), ram_size, u8{0});
    for (u64 runs = input.take(1) % 32; runs != 0; --runs) {
        const u64 entry = input.take(8), first = input.take(2), count = input.take(1) * 8 + 1;
        for (u64 n = 0; n < count; ++n)
            store_guest<u64>(ram.data() + (first + n) * 8 % ram_size, entry + (n << page_shift));
    }
    PhysicalMap map(log);
    Region low;
    low.length = ram_size / 2;
    low.kind = RegionKind::ram;
    low.host = ram.data();
    Region rom = low;
    rom.base = PhysicalAddress(ram_size / 2);
    rom.kind = RegionKind::rom;
    rom.host = ram.data() + ram_size / 2;
    Region io;
    io.base = PhysicalAddress(ram_size + 0x800);
    io.length = input.take(2) + 1;
    io.kind = RegionKind::io;
    io.target = &device;
    map.set_regions({low, rom, io});
    Mmu mmu(map, log);
    PagingContext context = take_context(input);
    mmu.load_cr3(context, false);

    while (!input.empty()) {
        const u64 what = input.take(1);
        LinearAddress address(input.take(what & 1 ? 3 : 8));
        const Privilege privilege = what & 2 ? Privilege::system : Privilege::current;
        switch (what >> 2 & 7) {
        case 0:
            context = take_context(input);
            load_pdptes(map, context);
            mmu.load_cr3(context, what & 32);
            break;
        case 1: map.set_a20(what & 32), mmu.serve_requests(); break;
        case 2: mmu.flush_page(address); break;
        case 3: (void)mmu.probe_write(address, input.take(2), privilege); break;
        case 4:
            if (map.mark_code(PhysicalAddress(address.value), input.take(1)))
                map.protect_code_page(PhysicalAddress(address.value), &mmu);
            break;
        case 5: {
            // What is read after a flush is what a walk finds.
            mmu.flush_all(true);
            if (mmu.context().efer & efer_lma && !canonical(address.value)) break;
            Translation found;
            Fault fault;
            const bool walked = walk(map, context, address, Access::read, privilege, WalkEffect::none, found, fault);
            u8 byte = 0;
            const bool loaded = mmu.load(address, byte, privilege);
            require(walked == loaded);
            require(walked || fault.error_code == mmu.fault().error_code);
            break;
        }
        case 6: {
            Mmu::CodePage code;
            if (mmu.fetch(address, code) && code.host)
                require(code.host >= ram.data() && code.host < ram.data() + ram_size);
            // An id in the table stands for what a fetch finds, and an id stands for one pair.
            const mmu::ExecuteId held = mmu.view().table->execute_id(address.value);
            const mmu::ExecuteId id = mmu.execute_id(address);
            require(held == 0 || held == id);
            if (what & 32 && id != 0) mmu.remember_target(address, &device);
            if (what & 64) mmu.forget_targets();
            break;
        }
        default: {
            u64 value = what;
            const u64 size = input.take(2);
            if (u8* const host = mmu.host_for_write(address, size, privilege))
                require(host >= ram.data() && size <= page_size && host + size <= ram.data() + ram_size / 2);
            if (const u8* const host = mmu.refill(address, size, what & 32 ? Access::write : Access::read))
                require(host >= ram.data() && size <= page_size && host + size <= ram.data() + ram_size);
            (void)mmu.store(address, value, privilege);
            (void)mmu.load(address, value, privilege);
            break;
        }
        }
    }
}

} // namespace
} // namespace calque::mmu

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    calque::mmu::fuzz({data, size});
    return 0;
}
