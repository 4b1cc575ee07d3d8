#include "frontend/machine/memory.h"

#include "base/bits.h"
#include "firmware/rom.h"

#include <algorithm>
#include <cstring>
#include <sys/mman.h>

namespace calque::machine {

namespace {
constexpr u64 vga_window = 0xA0000, vga_window_size = 0x20000;
constexpr u64 four_gib = u64{1} << 32;
enum Priority : int {
    device_priority = -1,
    base_priority = 0,
    hole_priority = 1,
    shape_priority = 2,
    apic_priority = 3
};
} // namespace

Result<std::unique_ptr<Memory>> Memory::create(u64 ram_bytes, Log& log) {
    auto ram = mmu::GuestRam::create(ram_bytes);
    if (!ram) return ram.error();
    return std::unique_ptr<Memory>(new Memory(std::move(*ram), log));
}

Memory::Memory(mmu::GuestRam ram, Log& log)
    : ram_(std::move(ram)), map_(log), layout_(firmware::ram_layout(ram_.size())) {
    for (unsigned i = 0; i < shape_.segments.size(); ++i)
        shape_.segments[i] = {static_cast<u32>(0xC0000 + i * 0x4000), i < 12 ? 0x4000u : 0x10000u, false, false};
    map_.set_ram_file(ram_.file());
    rebuild();
}

Result<void> Memory::set_rom(std::vector<u8> image, const std::string& name) {
    const auto placement = firmware::place_rom(image.size(), name);
    if (!placement) return placement.error();
    std::lock_guard lock(mutex_);
    rom_ = std::move(image);
    rom_low_ = rom_.data() + placement->low_offset;
    rom_low_size_ = placement->low.size;
    rebuild();
    return {};
}

void Memory::set_flash_firmware(std::span<u8> contents) {
    constexpr u64 alias = 128 * 1024;
    std::lock_guard lock(mutex_);
    rom_low_size_ = std::min<u64>(contents.size() & ~u64{0xFFFF}, alias);
    rom_low_ = contents.data() + contents.size() - rom_low_size_;
    rebuild();
}

void Memory::set_io_target(mmu::IoTarget& target) {
    std::lock_guard lock(mutex_);
    io_target_ = &target;
    map_.set_default_target(&target);
    rebuild();
}

void Memory::set_apic_pages(std::vector<PhysicalAddress> pages) {
    std::lock_guard lock(mutex_);
    // Only pages inside RAM matter: everywhere else the device bus is asked anyway.
    std::erase_if(pages, [&](PhysicalAddress page) { return !host(page, page_size); });
    if (pages == apic_pages_) return;
    apic_pages_ = std::move(pages);
    rebuild();
}

void Memory::set_device_memory(std::vector<DeviceMemory> ranges) {
    std::lock_guard lock(mutex_);
    if (ranges == device_memory_) return;
    device_memory_ = std::move(ranges);
    rebuild();
}

bool Memory::in_smram(PhysicalAddress address) {
    return address.value >= vga_window && address.value < vga_window + vga_window_size;
}

// An access that starts inside and ends behind it reads what lies there as ones.
u64 Memory::read_smram(PhysicalAddress address, unsigned size) const {
    u64 value = ~u64{0};
    for (unsigned i = 0; i < size; ++i) {
        if (!in_smram(address + i)) break;
        const u8* const byte = host(address + i, 1);
        value = (value & ~(u64{0xFF} << (8 * i))) | u64{byte ? *byte : u8{0xFF}} << (8 * i);
    }
    return value;
}

void Memory::write_smram(PhysicalAddress address, u64 value, unsigned size) {
    for (unsigned i = 0; i < size && in_smram(address + i); ++i)
        if (u8* const byte = host(address + i, 1)) {
            *byte = static_cast<u8>(value >> (8 * i));
            map_.note_dirty(byte, 1);
        }
}

void Memory::shape_memory(const devices::MemoryShape& shape) {
    std::lock_guard lock(mutex_);
    if (shape == shape_) return;
    shape_ = shape;
    rebuild();
}

// One PAM segment: reads and writes go to RAM, or to the ROM's alias where there is one, each on its own.
void Memory::add_pam_segment(std::vector<mmu::Region>& regions, const devices::MemoryShape::Segment& segment) {
    mmu::Region region;
    region.base = PhysicalAddress(segment.base);
    region.length = segment.length;
    region.priority = shape_priority;
    region.name = fmt::format("pam-{:x}", segment.base);
    u8* const ram = host(region.base, segment.length);
    const u64 rom_start = (u64{1} << 20) - rom_low_size_;
    u8* const rom = rom_low_size_ != 0 && segment.base >= rom_start ? rom_low_ + (segment.base - rom_start) : nullptr;
    region.host = segment.read_ram ? ram : rom;
    if (segment.read_ram && segment.write_ram) {
        region.kind = mmu::RegionKind::ram;
    } else {
        region.kind = region.host ? mmu::RegionKind::rom : mmu::RegionKind::unassigned;
        if (segment.write_ram) {
            region.write_kind = mmu::RegionKind::ram;
            region.write_host = ram;
        }
    }
    if (ram) regions.push_back(std::move(region));
}

void Memory::rebuild() {
    std::vector<mmu::Region> regions;
    const auto add = [&](u64 base, u64 length, mmu::RegionKind kind, u8* memory, int priority, const char* name) {
        mmu::Region region;
        region.base = PhysicalAddress(base);
        region.length = length;
        region.kind = kind;
        region.host = memory;
        region.priority = priority;
        region.name = name;
        if (kind == mmu::RegionKind::io) region.target = io_target_;
        if (length != 0) regions.push_back(std::move(region));
    };
    add(0, layout_.low, mmu::RegionKind::ram, ram_.data(), base_priority, "ram-low");
    add(four_gib, layout_.high, mmu::RegionKind::ram, ram_.data() + layout_.low, base_priority, "ram-high");
    for (const DeviceMemory& device : device_memory_) {
        add(device.base.value, device.length, device.writable ? mmu::RegionKind::ram : mmu::RegionKind::rom,
            device.data, device_priority, "device-memory");
        if (device.writable) continue;
        regions.back().write_kind = mmu::RegionKind::io;
        regions.back().target = io_target_;
    }
    const bool smram = shape_.smram_enabled && shape_.smram_open;
    smram_hidden_ = shape_.smram_enabled && !shape_.smram_open && !shape_.smram_closed;
    if (!smram && io_target_)
        add(vga_window, vga_window_size, mmu::RegionKind::io, nullptr, hole_priority, "vga-window");
    for (const auto& segment : shape_.segments)
        add_pam_segment(regions, segment);
    if (!rom_.empty())
        add(four_gib - rom_.size(), rom_.size(), mmu::RegionKind::rom, rom_.data(), hole_priority, "rom");
    for (PhysicalAddress page : apic_pages_)
        if (io_target_) add(page.value, page_size, mmu::RegionKind::io, nullptr, apic_priority, "lapic");
    mmu::SmmMemory smm;
    if (u8* const ram = smram_hidden_ ? host(PhysicalAddress(vga_window), vga_window_size) : nullptr)
        smm = {PhysicalAddress(vga_window), vga_window_size, ram};
    map_.set_regions(std::move(regions), smm);
}

u8* Memory::host(PhysicalAddress address, u64 length) const {
    u8* const data = const_cast<u8*>(ram_.data());
    if (address.value < layout_.low) return length <= layout_.low - address.value ? data + address.value : nullptr;
    if (address.value < four_gib || address.value - four_gib >= layout_.high) return nullptr;
    const u64 offset = address.value - four_gib;
    return length <= layout_.high - offset ? data + layout_.low + offset : nullptr;
}

bool Memory::dma_read(PhysicalAddress address, std::span<u8> data) {
    if (!map_.is_memory(address, data.size(), false)) return false;
    map_.read(address, data);
    return true;
}

bool Memory::dma_write(PhysicalAddress address, std::span<const u8> data) {
    if (!map_.is_memory(address, data.size(), true)) return false;
    map_.write(address, data);
    return true;
}

// Whoever marks code in the page meanwhile is told when it is done (mmu/physical_map.h, write_host()).
void Memory::discard_page(PhysicalAddress address) {
    constexpr u64 page = 4096;
    u8* const at = host(PhysicalAddress(align_down(address.value, page)), page);
    if (!at) return;
    map_.before_host_write(at, page);
    if (::madvise(at, page, ram_.descriptor() >= 0 ? MADV_REMOVE : MADV_DONTNEED) != 0) return;
    std::atomic_thread_fence(std::memory_order_seq_cst);
    map_.before_host_write(at, page);
    map_.note_dirty(at, page);
}

bool Memory::write(PhysicalAddress address, std::span<const u8> bytes) {
    u8* const to = host(address, bytes.size());
    if (!to) return false;
    if (!bytes.empty()) std::memcpy(to, bytes.data(), bytes.size());
    map_.note_dirty(to, bytes.size());
    return true;
}

bool Memory::read(PhysicalAddress address, std::span<u8> bytes) const {
    const u8* const from = host(address, bytes.size());
    if (!from) return false;
    if (!bytes.empty()) std::memcpy(bytes.data(), from, bytes.size());
    return true;
}

} // namespace calque::machine
