// The PC's floppy controller with its drives: Intel 82077AA (datasheet 290166) at 3F0-3F5 and 3F7, IRQ 6 and DMA
// channel 2.
#pragma once

#include "base/log.h"
#include "devices/block_backend.h"
#include "devices/bus/byte_region.h"
#include "devices/floppy/registers.h"
#include "devices/irq_line.h"
#include "devices/isa_dma.h"

#include <array>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

namespace calque::devices {

// Heads and diskettes take no time: a seek is over at once, and a transfer as soon as the host has the data.
class Floppy final : public Device {
  public:
    static constexpr unsigned drive_count = 2;
    // Backends are not owned, and have no request under way when the device is destroyed; null: no drive.
    using Drives = std::array<BlockBackend*, drive_count>;
    Floppy(Log& log, IrqLine irq, IsaDma& dma, const Drives& drives);
    ~Floppy() override;

    IoRegion& ports() { return low_; }   // 6 ports.
    IoRegion& port_7() { return high_; } // The port behind the IDE's.
    // As CMOS byte 10h has it: 0 for no drive.
    static u8 drive_type(const BlockBackend* backend);

    std::string_view name() const override { return "floppy"; }
    void reset() override;
    void serialize(Archive& archive) override;

  private:
    class Ports final : public ByteRegion {
      public:
        Ports(Floppy& device, unsigned first) : device_(device), first_(first) {}
        u8 read_byte(u64 offset) override;
        void write_byte(u64 offset, u8 value) override;

      private:
        Floppy& device_;
        unsigned first_;
    };
    enum class Phase : u8 { command, execution, to_host, from_host, result };
    struct Drive {
        u8 cylinder = 0;     // Where its heads are.
        u8 present = 0;      // Where the controller believes they are (PCN).
        bool changed = true; // The disk change line.
        u32 medium_seen = 0;
    };
    // A sector's address as commands and results have it.
    struct Address {
        u8 cylinder = 0, head = 0, sector = 0, size = 0;
    };

    u8 read_port(unsigned port);
    void write_port(unsigned port, u8 value);
    void write_control(u8 value);
    void reset_controller(bool hardware);
    u8 main_status() const;
    u8 read_fifo();
    void write_fifo(u8 value);
    void set_interrupt(bool on);
    void update_line();
    void notice_medium(unsigned drive);
    unsigned selected() const { return state_.command[1] & 3; }
    unsigned head() const { return state_.command[1] >> 2 & 1; }
    BlockBackend* medium(unsigned drive) const;
    const floppy::Format* format(unsigned drive) const;
    bool write_protected(unsigned drive) const;

    // --- Commands (floppy_commands.cpp)
    static unsigned length_of(u8 code);
    void execute();
    void answer(std::vector<u8> bytes, bool interrupt);
    void finish(u8 st0, u8 st1, u8 st2, Address address);
    void sense_interrupt();
    void sense_drive();
    void move_heads(int cylinder, bool recalibrate);
    void read_id();
    void dump_registers();
    // --- Transfers (floppy_transfers.cpp)
    bool find(Address address, u8& st1, u8& st2);
    void begin_transfer();
    void read(u32 count);
    void hand_over();
    void write(u32 count);
    void store();
    void verify(u32 count);
    void format_track();
    void store_format(std::size_t at);
    void end_transfer(u32 sectors, bool terminal_count);
    void fail(BlockStatus status, bool reading);
    void submit(BlockRequest request, std::function<void(BlockStatus)> then);
    u64 offset_of(Address address) const;
    u32 sectors_to_end() const;

    Log& log_;
    const IrqLine irq_;
    IsaDma& dma_;
    const Drives drives_;
    Ports low_{*this, 0}, high_{*this, 7};

    std::mutex mutex_;
    struct State {
        u8 control = 0; // DOR.
        u8 rate = 2;    // CCR or DSR.
        u8 tape = 0;    // TDR.
        Phase phase = Phase::command;
        std::array<u8, 9> command{}; // As its bytes came.
        u8 count = 0;                // Of them.
        std::vector<u8> fifo;        // The result, or a transfer's data.
        u32 at = 0;                  // What of it went through the port.
        bool interrupt = false;
        u8 polls = 0;        // SENSE INTERRUPT has this many drives to tell of, after a reset.
        bool sought = false; // It has the end of a seek to tell,
        u8 sought_status = 0;
        std::array<u8, 2> specify{};
        std::array<u8, 3> configure{0, 0, 0};
        u8 perpendicular = 0;
        bool locked = false;
        Address address; // The sector that is next.
        u32 sectors = 0; // Of the transfer.
        std::array<Drive, 4> drives{};
    } state_;
    floppy::Format geometry_ = floppy::formats[6]; // Of the diskette, as it was when the command began.
    u64 epoch_ = 0;                                // Counts resets.
    bool line_ = false;
};

} // namespace calque::devices
