// The PC's two DMA controllers, Intel 8237A (datasheet 231466), and their page registers.
#pragma once

#include "base/log.h"
#include "devices/bus/byte_region.h"
#include "devices/dma.h"
#include "devices/isa_dma.h"

#include <array>
#include <mutex>

namespace calque::devices {

// Channels 0-3 (bytes) and 4-7 (words; 4 cascades the first controller). Transfers run when a device asks for them
// through IsaDma; memory-to-memory and software requests have no user in a PC and are reported as unimplemented.
class I8237 final : public Device, public IsaDma {
  public:
    I8237(Log& log, DmaPort& memory);

    IoRegion& first() { return first_; }   // Ports 00-0F.
    IoRegion& second() { return second_; } // Ports C0-DF.
    IoRegion& pages() { return pages_; }   // Ports 81-8F (80 is the POST port).

    Transfer to_memory(unsigned channel, std::span<const u8> data) override;
    Transfer from_memory(unsigned channel, std::span<u8> data) override;
    void set_request(unsigned channel, bool level) override;

    std::string_view name() const override { return "i8237"; }
    void reset() override;
    void serialize(Archive& archive) override;

  private:
    struct Channel {
        u16 base_address = 0, base_count = 0, address = 0, count = 0;
        u8 mode = 0;
    };
    struct Controller {
        std::array<Channel, 4> channels{};
        u8 command = 0;
        u8 mask = 0x0F;
        u8 terminal_counts = 0; // Status bits 0-3, until it is read.
        u8 requests = 0;        // DREQ inputs.
        u8 temporary = 0;
        bool high_byte = false; // The byte pointer flip-flop.
    };
    struct State {
        std::array<Controller, 2> controllers{};
        std::array<u8, 16> pages{}; // By port 80-8F.
    };
    class Registers final : public ByteRegion {
      public:
        Registers(I8237& device, unsigned controller) : device_(device), controller_(controller) {}
        u8 read_byte(u64 offset) override;
        void write_byte(u64 offset, u8 value) override;

      private:
        I8237& device_;
        unsigned controller_;
    };
    class Pages final : public ByteRegion {
      public:
        explicit Pages(I8237& device) : device_(device) {}
        u8 read_byte(u64 offset) override;
        void write_byte(u64 offset, u8 value) override;

      private:
        I8237& device_;
    };

    u8 read_register(Controller& c, unsigned reg);
    void write_register(Controller& c, unsigned reg, u8 value);
    Transfer transfer(unsigned channel, std::size_t bytes, unsigned kind, u8* in, const u8* out);
    PhysicalAddress address_of(unsigned channel) const;

    Log& log_;
    DmaPort& memory_;
    Registers first_{*this, 0};
    Registers second_{*this, 1};
    Pages pages_{*this};
    std::mutex mutex_;
    State state_;
};

} // namespace calque::devices
