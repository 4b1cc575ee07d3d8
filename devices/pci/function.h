// A PCI function: one filled-in descriptor, and the 256 bytes of configuration space that follow from it.
// PCI Local Bus Specification 3.0, chapter 6.
#pragma once

#include "base/archive.h"
#include "base/log.h"
#include "devices/bus/window.h"
#include "devices/device.h"
#include "devices/pci/message_interrupts.h"

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace calque::devices {

class PciBus;

// Offsets and bits of the type 0 header (PCI 3.0, 6.1 and 6.2).
namespace pci {
inline constexpr unsigned VENDOR_ID = 0x00, DEVICE_ID = 0x02, COMMAND = 0x04, STATUS = 0x06, REVISION_ID = 0x08,
                          CLASS_CODE = 0x09, CACHE_LINE_SIZE = 0x0C, LATENCY_TIMER = 0x0D, HEADER_TYPE = 0x0E,
                          BIST = 0x0F, BAR0 = 0x10, SUBSYSTEM_VENDOR_ID = 0x2C, SUBSYSTEM_ID = 0x2E, ROM_BASE = 0x30,
                          CAPABILITIES_POINTER = 0x34, INTERRUPT_LINE = 0x3C, INTERRUPT_PIN = 0x3D;
// Of the type 1 header (PCI-to-PCI Bridge Architecture 1.2, 3.2).
inline constexpr unsigned PRIMARY_BUS = 0x18, SECONDARY_BUS = 0x19, SUBORDINATE_BUS = 0x1A, SECONDARY_LATENCY = 0x1B,
                          IO_BASE = 0x1C, IO_LIMIT = 0x1D, SECONDARY_STATUS = 0x1E, MEMORY_BASE = 0x20,
                          MEMORY_LIMIT = 0x22, PREFETCH_BASE = 0x24, PREFETCH_LIMIT = 0x26, PREFETCH_BASE_UPPER = 0x28,
                          PREFETCH_LIMIT_UPPER = 0x2C, BRIDGE_CONTROL = 0x3E;
inline constexpr u16 BRIDGE_ISA = 1 << 2, BRIDGE_VGA = 1 << 3, BRIDGE_VGA_16 = 1 << 4, BRIDGE_RESET = 1 << 6;
inline constexpr u8 HEADER_BRIDGE = 0x01;
inline constexpr u16 COMMAND_IO = 1 << 0, COMMAND_MEMORY = 1 << 1, COMMAND_MASTER = 1 << 2, COMMAND_SPECIAL = 1 << 3,
                     COMMAND_PARITY = 1 << 6, COMMAND_SERR = 1 << 8, COMMAND_INTX_DISABLE = 1 << 10;
inline constexpr u16 STATUS_INTERRUPT = 1 << 3, STATUS_CAPABILITIES = 1 << 4, STATUS_FAST_BACK_TO_BACK = 1 << 7,
                     STATUS_DEVSEL_MEDIUM = 1 << 9, STATUS_RECEIVED_TARGET_ABORT = 1 << 12,
                     STATUS_RECEIVED_MASTER_ABORT = 1 << 13;
inline constexpr u8 HEADER_MULTIFUNCTION = 0x80;
inline constexpr u8 CAPABILITY_PM = 0x01, CAPABILITY_SLOT_NUMBERING = 0x04, CAPABILITY_MSI = 0x05,
                    CAPABILITY_VENDOR = 0x09, CAPABILITY_EXPRESS = 0x10, CAPABILITY_MSIX = 0x11;
} // namespace pci

struct PciBar {
    enum class Kind : u8 { none, io, memory32, memory64 }; // memory64 takes the next BAR too, which stays `none`.
    Kind kind = Kind::none;
    u64 size = 0; // In bytes: a power of two, at least 4 (io) or 16 (memory).
    bool prefetchable = false;
    IoRegion* region = nullptr; // Not owned. Null: the BAR can be programmed and decodes nothing.
};

// Registers of the function's own, or of a capability: consecutive bytes.
struct PciRegisters {
    unsigned offset = 0;
    std::vector<u8> reset;         // Values at reset.
    std::vector<u8> writable;      // Bits that software writes; shorter than `reset` means the rest is read-only.
    std::vector<u8> write_1_clear; // Bits that a written 1 clears.
};

// A capability, without its two leading bytes; offsets in `body` count from byte 2 of the capability.
struct PciCapability {
    u8 id = 0;
    std::vector<u8> reset;
    std::vector<u8> writable;
    std::vector<u8> write_1_clear;
};

struct PciDescriptor {
    std::string name; // Section name in saved states, and the prefix of mapped ranges.
    u16 vendor_id = 0xFFFF;
    u16 device_id = 0xFFFF;
    u8 revision_id = 0;
    u32 class_code = 0; // Base class, subclass, interface: 0x060000 is a host bridge.
    u16 subsystem_vendor_id = 0;
    u16 subsystem_id = 0;
    bool multifunction = false; // Function 0 of a device that has more.
    bool bridge = false;        // A type 1 header: its own registers are in `registers`.
    u8 interrupt_pin = 0;       // 0 for none, 1 for INTA#.
    u16 command_reset = 0;
    u16 command_writable = pci::COMMAND_IO | pci::COMMAND_MEMORY | pci::COMMAND_MASTER | pci::COMMAND_PARITY
                           | pci::COMMAND_SERR | pci::COMMAND_INTX_DISABLE;
    u16 status_reset = 0;
    u8 latency_timer_writable = 0xF8;
    u8 cache_line_size_writable = 0xFF;
    std::array<PciBar, 6> bars{};
    PciBar rom{}; // kind memory32 for an expansion ROM (at least 2 KiB).
    std::vector<PciCapability> capabilities;
    std::vector<PciRegisters> registers;
    PciMsi msi;   // Each adds its capability after the ones above.
    PciMsix msix; // A BAR of its that has no region of the device's gets msix_region().
};

// The configuration space of one function. A device owns one (it does not inherit from it), attaches it to a PciBus
// and calls its reset() and serialize().
//
// The bus orders configuration accesses: hooks run one at a time, without the function's own lock, and may call back
// into the function. A device must not call write() itself; it uses set_register().
class PciFunction {
  public:
    PciFunction(PciDescriptor descriptor, Log& log);
    ~PciFunction();
    PciFunction(const PciFunction&) = delete;
    PciFunction& operator=(const PciFunction&) = delete;

    const PciDescriptor& descriptor() const { return descriptor_; }

    // An expansion ROM, which must outlive the function. Set before the function is attached.
    void set_option_rom(IoRegion& rom, u64 size);

    // Runs after software wrote [offset, offset + size) and BARs have moved. Set before the machine runs.
    using WriteHook = std::function<void(unsigned offset, unsigned size)>;
    void set_write_hook(WriteHook hook) { hook_ = std::move(hook); }

    // Configuration accesses: size 1, 2 or 4 within an aligned doubleword (the bus sees to it).
    u32 read(unsigned offset, unsigned size) const;
    void write(unsigned offset, u32 value, unsigned size);

    // A little-endian register as it stands; and a value put there by the device, whatever is writable.
    u32 get(unsigned offset, unsigned size) const { return read(offset, size); }
    void set_register(unsigned offset, u32 value, unsigned size);

    // The function's interrupt pin (level). Goes to the bus unless COMMAND's interrupt disable bit is set.
    void set_intx(bool level);
    // Message-signalled interrupts. While either kind is enabled the pin is silent. A vector that is masked becomes
    // pending; one that does not exist is ignored; without bus mastering the message is lost, as any write would be.
    bool msix_enabled() const;
    bool messages_enabled() const; // MSI or MSI-X.
    void send_message(unsigned vector);
    // The MSI-X table and pending bits at their offsets in the BAR; the rest reads as zero.
    IoRegion& msix_region() { return msix_region_; }
    // May the device use its DmaPort (COMMAND's bus master bit)? The bits of the bridges above it are not asked:
    // SeaBIOS does not set them, and boots from disks behind bridges.
    bool bus_master() const { return master_.load(std::memory_order_relaxed); }
    // Where a BAR is decoded at present (6: the expansion ROM), if it is.
    std::optional<u64> bar_base(unsigned bar) const;
    // The offset of a capability in configuration space, 0 when the function does not have it.
    unsigned capability_offset(u8 id) const;

    void reset();
    void serialize(Archive& archive); // A section of its own, named as the descriptor is.

  private:
    friend class PciBus;
    void attached(PciBus& bus, unsigned devfn);
    void detached();
    void build_header();
    void build_bars();
    void build_capabilities();
    void add_registers(const PciRegisters& registers);
    std::optional<u64> decoded_base(unsigned bar) const;
    void place_bars();
    void update_intx_locked();
    void add_message_capabilities();
    void update_messages_locked(bool deliver);
    void send_msi_locked(unsigned vector);
    void write_message(u64 address, u32 data);

    class MsixRegion final : public IoRegion {
      public:
        explicit MsixRegion(PciFunction& function) : function_(function) {}
        u64 read(u64 offset, unsigned size) override;
        void write(u64 offset, u64 value, unsigned size) override;

      private:
        PciFunction& function_;
    };

    static constexpr unsigned bar_count = 7; // Six and the expansion ROM.
    const PciBar& bar(unsigned i) const { return i < 6 ? descriptor_.bars[i] : descriptor_.rom; }
    static constexpr unsigned bar_offset(unsigned i) { return i < 6 ? pci::BAR0 + 4 * i : pci::ROM_BASE; }

    PciDescriptor descriptor_;
    Log& log_;
    WriteHook hook_;
    PciBus* bus_ = nullptr;
    PciBus* secondary_ = nullptr; // What a bridge leads to.
    unsigned devfn_ = 0;

    mutable std::mutex mutex_;
    std::array<u8, 256> reset_{};
    std::array<u8, 256> writable_{};
    std::array<u8, 256> clear_{};
    struct State {
        std::array<u8, 256> config{};
        bool intx = false; // As the device drives it.
    } state_;
    bool intx_driven_ = false;          // As the bus sees it; follows from the state.
    std::unique_ptr<MsixTable> msix_;   // Null: no MSI-X. Guarded by mutex_.
    unsigned msi_at_ = 0, msix_at_ = 0; // Offsets of the capabilities.
    bool msi_on_ = false, msix_on_ = false;
    std::atomic<bool> master_{false};
    MsixRegion msix_region_{*this};
    std::array<std::unique_ptr<Window>, bar_count> windows_;
};

} // namespace calque::devices
