// The firmware configuration device: items that the machine offers to SeaBIOS, OVMF and Linux, read through ports
// 510-51B. QEMU's public specification, docs/specs/fw_cfg, describes the interface.
#pragma once

#include "base/log.h"
#include "base/result.h"
#include "devices/device.h"
#include "devices/dma.h"

#include <functional>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <vector>

namespace calque::devices {

// Selector keys. Keys from FILE_FIRST are files, found through the directory at FILE_DIR.
namespace fw_cfg_key {
inline constexpr u16 SIGNATURE = 0x00, ID = 0x01, UUID = 0x02, RAM_SIZE = 0x03, NOGRAPHIC = 0x04, NB_CPUS = 0x05,
                     MACHINE_ID = 0x06, KERNEL_ADDR = 0x07, KERNEL_SIZE = 0x08, KERNEL_CMDLINE = 0x09,
                     INITRD_ADDR = 0x0A, INITRD_SIZE = 0x0B, BOOT_DEVICE = 0x0C, NUMA = 0x0D, BOOT_MENU = 0x0E,
                     MAX_CPUS = 0x0F, KERNEL_ENTRY = 0x10, KERNEL_DATA = 0x11, INITRD_DATA = 0x12, CMDLINE_ADDR = 0x13,
                     CMDLINE_SIZE = 0x14, CMDLINE_DATA = 0x15, SETUP_ADDR = 0x16, SETUP_SIZE = 0x17, SETUP_DATA = 0x18,
                     FILE_DIR = 0x19, FILE_FIRST = 0x20;
// x86 only.
inline constexpr u16 ACPI_TABLES = 0x8000, SMBIOS_ENTRIES = 0x8001, IRQ0_OVERRIDE = 0x8002, E820_TABLE = 0x8003,
                     HPET = 0x8004;
} // namespace fw_cfg_key

class FwCfg final : public Device {
  public:
    FwCfg(Log& log, DmaPort& dma);

    struct Item {
        std::vector<u8> data;
        bool writable = false; // By DMA; the size never changes.
        // Runs when the guest selects the item, before it reads: may refill `data`. May be empty.
        std::function<void(std::vector<u8>& data)> on_select;
        // Runs after the guest wrote part of it. May be empty.
        std::function<void(std::span<const u8> data, u64 offset, u64 length)> on_write;
    };

    // What the machine offers. Called before the machine runs. An item that is added again replaces the first.
    void add(u16 key, std::vector<u8> data);
    void add_u16(u16 key, u16 value); // Little-endian.
    void add_u32(u16 key, u32 value);
    void add_u64(u16 key, u64 value);
    void add_string(u16 key, std::string_view text); // With its terminating zero.
    // A file of the directory: at most 55 bytes of name, unique. Errors: the name is too long or the directory is full.
    Result<void> add_file(std::string_view name, std::vector<u8> data);
    Result<void> add_active_file(std::string_view name, Item item); // With callbacks, or writable.
    bool has_file(std::string_view name) const;
    // The present bytes of a file, empty when there is none (tests, `info`).
    std::vector<u8> file(std::string_view name) const;

    // Ports 510 and 511 (length 2): selector and data. Ports 514-51B (length 8): DMA address.
    IoRegion& ports() { return ports_; }
    IoRegion& dma_port() { return dma_port_; }

    std::string_view name() const override { return "fw_cfg"; }
    void reset() override;
    void serialize(Archive& archive) override;

  private:
    class Ports final : public IoRegion {
      public:
        explicit Ports(FwCfg& device) : device_(device) {}
        u64 read(u64 offset, unsigned size) override;
        void write(u64 offset, u64 value, unsigned size) override;

      private:
        FwCfg& device_;
    };
    class DmaRegister final : public IoRegion {
      public:
        explicit DmaRegister(FwCfg& device) : device_(device) {}
        u64 read(u64 offset, unsigned size) override;
        void write(u64 offset, u64 value, unsigned size) override;

      private:
        FwCfg& device_;
    };

    void select(u16 key);
    u8 next_byte();
    void run_dma();
    bool transfer_to_guest(PhysicalAddress address, u32 length);
    bool transfer_from_guest(PhysicalAddress address, u32 length);
    void rebuild_directory();
    Item* current();

    Log& log_;
    DmaPort& dma_;
    Ports ports_{*this};
    DmaRegister dma_port_{*this};

    mutable std::mutex mutex_;
    std::map<u16, Item> items_;
    std::vector<std::string> files_; // Index i has key FILE_FIRST + i.
    struct State {
        u16 key = 0;
        u64 offset = 0;      // Of the next byte of the selected item.
        u64 dma_address = 0; // What has been written so far.
    } state_;
};

} // namespace calque::devices
