// Realtek's RTL8139C+: the 100 Mb/s card that the most guests have a driver for (datasheet of the RTL8139C(L)+).
#pragma once

#include "base/clock.h"
#include "base/log.h"
#include "devices/device.h"
#include "devices/net_backend.h"
#include "devices/pci/function.h"
#include "devices/pci/pci_dma.h"

#include <array>
#include <mutex>
#include <vector>

namespace calque::devices {

struct Rtl8139Options {
    std::array<u8, 6> mac{};
    // The C+ with its rings of descriptors; without, an RTL8139C, which some drivers insist on (Linux's 8139too).
    bool plus = true;
};

// Frames go out on the backend's thread; registers are reached by any. Both ways of the chip are there: a ring of bytes
// and four buffers to send from, and the C+ rings of descriptors.
class Rtl8139 final : public Device, public NetClient {
  public:
    // The backend is not owned, and outlives the device.
    Rtl8139(Log& log, Clock& clock, DmaPort& memory, NetBackend& backend, const Rtl8139Options& options,
            std::string name);
    ~Rtl8139() override;

    PciFunction& function() { return pci_; }

    std::string_view name() const override { return name_; }
    void reset() override;
    void serialize(Archive& archive) override;
    bool receive(std::span<const u8> frame, const FrameOffload& offload) override;
    void set_link(bool up) override;

    static constexpr u64 register_space = 256;

  private:
    class Registers final : public IoRegion { // Both BARs show the same.
      public:
        explicit Registers(Rtl8139& device) : device_(device) {}
        u64 read(u64 offset, unsigned size) override { return device_.read(static_cast<u32>(offset), size); }
        void write(u64 offset, u64 value, unsigned size) override {
            device_.write(static_cast<u32>(offset), value, size);
        }

      private:
        Rtl8139& device_;
    };

    static PciDescriptor describe(const std::string& name, bool plus, IoRegion& registers);
    u64 read(u32 offset, unsigned size);
    void write(u32 offset, u64 value, unsigned size);
    u32 get(u32 offset, unsigned size) const;
    void put(u32 offset, u32 value, unsigned size);
    void refresh();
    void write_register(u32 at, u32 value, u32 before);
    void write_command(u32 value, u32 before);
    void reset_chip();
    void load_address();
    void clock_eeprom(u32 value, u32 before);
    void raise(u32 causes);
    void update_line();
    u32 timer_count() const;
    void arm_timer();
    void dump_counters();
    bool unlocked() const;

    // --- To the network
    void transmit();
    void transmit_buffers();
    bool transmit_ring(u32 ring, u32& at);
    bool append(u64 address, u32 length);
    void send_with(u32 command, u32 vlan);
    void send(std::vector<u8> frame, const FrameOffload& offload);

    // --- From the network
    enum class Destination : u8 { none, unicast, multicast, broadcast };
    Destination accepts(std::span<const u8> frame) const;
    bool receive_bytes(std::span<const u8> frame, Destination to);
    bool receive_ring(std::span<const u8> frame, Destination to, bool good);
    bool no_room(u32 causes);
    void look_again();
    u32 ring_size() const;
    u32 ring_used() const;

    Log& log_;
    Clock& clock_;
    std::string name_;
    NetBackend& backend_;
    const Rtl8139Options options_;
    Registers registers_{*this};
    PciFunction pci_;
    PciDma dma_;

    std::mutex mutex_;
    struct Counters { // What DTCCR dumps.
        u64 sent = 0, received = 0;
        u32 unicast = 0, broadcast = 0, multicast = 0;
        u16 missed = 0;
    };
    struct State {
        std::array<u8, register_space> registers{};
        std::array<u16, 64> eeprom{};
        // The EEPROM's serial line: bits in, how many, and the word that goes out.
        u32 serial_in = 0;
        u16 serial_out = 0;
        u8 serial_bits = 0;
        u8 next_buffer = 0; // The one of the four that is sent next.
        bool link = true;
        u32 normal_at = 0, high_at = 0, receive_at = 0; // C+: which descriptor is next.
        Nanoseconds timer_start = 0;                    // When TCTR was zero.
        bool starved = false;                           // The driver knows that there is no room.
        Counters counters;
        std::vector<u8> frame; // Of which some descriptors were taken,
        bool spoiled = false;
        u32 command = 0, vlan = 0; // and what the first said.
    } state_;
    std::unique_ptr<Timer> timer_;        // TimerInt.
    std::unique_ptr<Timer> again_;        // Looks for receive descriptors: drivers tell nobody about new ones.
    std::unique_ptr<Task> transmit_task_; // Last.
};

} // namespace calque::devices
