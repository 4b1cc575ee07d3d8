// Intel's 82540EM gigabit controller: what guests without virtio drivers know (317453).
#pragma once

#include "base/log.h"
#include "devices/device.h"
#include "devices/net_backend.h"
#include "devices/pci/function.h"
#include "devices/pci/pci_dma.h"

#include <array>
#include <mutex>
#include <vector>

namespace calque::devices {

// Rings are worked on by the backend's thread; registers by any. Every frame is taken from and put into guest memory
// under the device's lock.
class E1000 final : public Device, public NetClient {
  public:
    // The backend is not owned, and outlives the device.
    E1000(Log& log, DmaPort& memory, NetBackend& backend, const std::array<u8, 6>& mac, std::string name);
    ~E1000() override;

    PciFunction& function() { return pci_; }

    std::string_view name() const override { return name_; }
    void reset() override;
    void serialize(Archive& archive) override;
    bool receive(std::span<const u8> frame, const FrameOffload& offload) override;
    void set_link(bool up) override;

    static constexpr u64 register_space = 0x20000;

  private:
    class Registers final : public IoRegion { // BAR 0.
      public:
        explicit Registers(E1000& device) : device_(device) {}
        u64 read(u64 offset, unsigned size) override;
        void write(u64 offset, u64 value, unsigned size) override;

      private:
        E1000& device_;
    };
    class Ports final : public IoRegion { // BAR 1: an address and a data register.
      public:
        explicit Ports(E1000& device) : device_(device) {}
        u64 read(u64 offset, unsigned size) override;
        void write(u64 offset, u64 value, unsigned size) override;

      private:
        E1000& device_;
    };
    // A frame as its descriptors are collected.
    struct Sending {
        std::vector<u8> bytes;
        u8 options = 0; // POPTS of its first descriptor.
        bool segments = false, insert_checksum = false, spoiled = false, tag = false;
        u8 checksum_start = 0, checksum_offset = 0;
        u16 vlan = 0;
    };
    struct Context { // What the last context descriptor said.
        u8 ip_start = 0, ip_offset = 0, tcp_start = 0, tcp_offset = 0, header = 0;
        u16 segment = 0;
    };

    static PciDescriptor describe(const std::string& name, IoRegion& registers, IoRegion& ports);
    u32& reg(u32 offset) { return state_.registers[offset / 4]; }
    u32 read_register(u32 offset);
    void write_register(u32 offset, u32 value);
    void reset_registers();
    void load_address();
    void show_link();
    void fill_eeprom();
    void clock_eeprom(u32 value);
    u32 phy(u32 command);
    void raise(u32 causes);
    void update_line();

    void transmit();
    bool take_descriptor(u64 address);
    void legacy_descriptor(u64 buffer, u64 fields);
    void context_descriptor(u64 low, u64 fields);
    void data_descriptor(u64 buffer, u64 fields);
    void append(u64 address, u32 length);
    void send();

    bool accepts(std::span<const u8> frame);
    u32 buffer_size();
    u32 free_descriptors();

    Log& log_;
    std::string name_;
    NetBackend& backend_;
    const std::array<u8, 6> mac_;
    Registers register_region_{*this};
    Ports port_region_{*this};
    PciFunction pci_;
    PciDma dma_;

    std::mutex mutex_;
    struct State {
        std::array<u32, 0x6000 / 4> registers{};
        std::array<u16, 32> phy{};
        std::array<u16, 64> eeprom{};
        u32 port_address = 0;
        bool link = true; // Survives resets: the cable is outside.
        // The EEPROM's serial line: bits in, how many, and the word that goes out.
        u32 serial_in = 0;
        u16 serial_out = 0;
        u8 serial_bits = 0;
    } state_;
    Context context_;
    Sending sending_;
    std::unique_ptr<Task> transmit_task_; // Last.
};

} // namespace calque::devices
