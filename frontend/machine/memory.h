// The machine's memory: RAM, ROM and the holes between them, as the host bridge shapes them.
#pragma once

#include "base/log.h"
#include "base/result.h"
#include "devices/bus/bus.h"
#include "devices/dma.h"
#include "devices/pci/i440fx.h"
#include "devices/ram_discard.h"
#include "firmware/guest_memory.h"
#include "firmware/platform.h"
#include "frontend/machine/page_set.h"
#include "mmu/guest_ram.h"
#include "mmu/physical_map.h"

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

namespace calque::machine {

// Owns guest RAM and the physical map, and is what devices (DMA), firmware (laying out a boot) and the host bridge
// (PAM, SMRAM) see of them.
class Memory final : public devices::DmaPort,
                     public devices::MemoryShaper,
                     public devices::RamDiscard,
                     public firmware::GuestMemory {
  public:
    static Result<std::unique_ptr<Memory>> create(u64 ram_bytes, Log& log);

    mmu::PhysicalMap& map() { return map_; }
    mmu::GuestRam& ram() { return ram_; }
    const firmware::RamLayout& layout() const { return layout_; }

    // A firmware image, mapped below 4 GiB and below 1 MiB. Errors when its size is not a ROM's.
    Result<void> set_rom(std::vector<u8> image, const std::string& name);
    std::span<const u8> rom() const { return rom_; } // Empty: none.
    // Firmware in a flash chip, which the device bus decodes: only its alias below 1 MiB is here. Not owned.
    void set_flash_firmware(std::span<u8> contents);
    bool has_firmware() const { return rom_low_size_ != 0; }
    // Where accesses go that neither RAM nor ROM answers.
    void set_io_target(mmu::IoTarget& target);
    // A page of RAM that a local APIC covers (IA32_APIC_BASE moved there). Zero length of the list: none.
    void set_apic_pages(std::vector<PhysicalAddress> pages);
    // Memory of devices, which lies below everything else: whole pages.
    struct DeviceMemory {
        PhysicalAddress base;
        u64 length = 0;
        u8* data = nullptr;    // Not owned.
        bool writable = false; // False: writes go to the I/O target.
        bool operator==(const DeviceMemory&) const = default;
    };
    void set_device_memory(std::vector<DeviceMemory> ranges);
    // A0000-BFFFF. While it is hidden, only processors in SMM reach it, by these; the map has the VGA's window there.
    static bool in_smram(PhysicalAddress address);
    bool smram_hidden() const { return smram_hidden_; }
    u64 read_smram(PhysicalAddress address, unsigned size) const;
    void write_smram(PhysicalAddress address, u64 value, unsigned size);

    void shape_memory(const devices::MemoryShape& shape) override;
    bool dma_read(PhysicalAddress address, std::span<u8> data) override;
    bool dma_write(PhysicalAddress address, std::span<const u8> data) override;
    void discard_page(PhysicalAddress address) override;
    bool write(PhysicalAddress address, std::span<const u8> bytes) override;
    bool read(PhysicalAddress address, std::span<u8> bytes) const override;

    // --- RAM in a state stream (memory_state.cpp); what shapes the map is the state of devices and processors.
    u64 page_count() const { return ram_.size() / page_size; }
    // Pages that the host has memory for: all others are zero.
    PageSet touched_pages() const;
    // Pages that may have been written since the last time, or ever; what is copied of them afterwards and is written
    // again is in the next set. Not on a vCPU's thread.
    PageSet take_dirty_pages();
    // Makes a record of pages of the set, from the number `from` on, and returns the number to go on from (or
    // page_count()). Pages of zeros are named with `zeros`, else left out. The guest may run.
    u64 pack(const PageSet& pages, u64 from, bool zeros, std::vector<u8>& record) const;
    // Whether a record makes sense here.
    Result<void> check_packed(std::span<const u8> record) const;
    // Writes a record's pages, which join `loaded`. Stopped only.
    Result<void> unpack(std::span<const u8> record, PageSet& loaded);
    void clear_all_but(const PageSet& loaded); // Likewise.

  private:
    Memory(mmu::GuestRam ram, Log& log);
    void rebuild();
    void add_pam_segment(std::vector<mmu::Region>& regions, const devices::MemoryShape::Segment& segment);
    void clear_page(u64 page);
    u8* host(PhysicalAddress address, u64 length) const; // RAM by layout, whatever the map says; null outside.

    mmu::GuestRam ram_;
    mmu::PhysicalMap map_;
    firmware::RamLayout layout_;
    std::vector<u8> rom_; // Padded to whole pages at its front.
    u8* rom_low_ = nullptr;
    u64 rom_low_size_ = 0;
    std::mutex mutex_; // Guards what follows; rebuild() runs under it.
    devices::MemoryShape shape_{};
    std::atomic<bool> smram_hidden_{false};
    std::vector<PhysicalAddress> apic_pages_;
    std::vector<DeviceMemory> device_memory_;
    mmu::IoTarget* io_target_ = nullptr;
};

} // namespace calque::machine
