// What a disk and a CD drive on an ATA cable have in common: the task file, data transfer through the data port or by
// DMA, interrupts, resets. ATA/ATAPI-7 volumes 1 and 2.
#pragma once

#include "base/archive.h"
#include "base/log.h"
#include "devices/ata/registers.h"
#include "devices/block_backend.h"

#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace calque::devices {

enum class DmaOutcome : u8 {
    done,       // All of the bytes went.
    table_ends, // The host described less: DMA has stopped, and the drive waits.
    bad_address // What the host described is no memory: stopped, with an error.
};

// The cable: what a drive asks of its channel or port. All of a drive runs under the cable's mutex.
class AtaCable {
  public:
    virtual std::mutex& mutex() = 0;
    // Moves the next bytes of the command by DMA, in the direction that the drive goes.
    virtual DmaOutcome transfer(std::span<u8> bytes, bool to_memory) = 0;
    virtual void interrupt_changed() = 0;
    // The drive waits for DMA; its dma_ready() is called, now or later, once that can run.
    virtual void dma_wanted() = 0;
    virtual void settled() {}                         // What the backend answered has been taken notice of.
    virtual bool serial_ata() const { return false; } // With native command queueing and the general purpose log.

  protected:
    ~AtaCable() = default;
};

class AtaDrive {
  public:
    AtaDrive(Log& log, AtaCable& cable, BlockBackend& backend, std::string name);
    virtual ~AtaDrive() = default;

    // The command block but for DATA. `high_order` reads what was written before the last value (HOB).
    u8 read_register(unsigned index, bool high_order);
    void write_register(unsigned index, u8 value);
    void write_device(u8 value) { regs_.device = value; } // Both drives take it.
    u8 status() const { return regs_.status; }            // Without effect on the interrupt.
    void acknowledge();                                   // What reading STATUS does.
    u64 read_data(unsigned size);
    void write_data(u64 value, unsigned size);
    void command(u8 code);
    void diagnose(bool interrupt); // EXECUTE DEVICE DIAGNOSTIC, to both drives.
    void hold_in_reset();          // SRST is set: busy until it is not.
    void software_reset();         // SRST was cleared, or DEVICE RESET.
    void hardware_reset();

    bool interrupt() const { return regs_.interrupt; }
    bool wants_dma() const { return regs_.wants_dma; }
    void dma_ready(); // DMA can go.
    void dma_stopped();
    virtual bool packet() const { return false; } // Takes packets, not sectors.
    virtual void medium_event(bool /*wanted*/) {}

    // --- For who has no data port: the block that is to go through it as a whole, and that it went.
    bool block_to_host() const { return regs_.transfer == Transfer::to_host; }
    std::span<u8> block() { return std::span(*buffer_).subspan(regs_.at, regs_.end - regs_.at); }
    void block_moved() { advance(regs_.end - regs_.at); }
    bool awaits_packet() const { // The block is the packet of a command.
        return regs_.transfer == Transfer::from_host && regs_.code == ata::PACKET && (regs_.count.now & ata::REASON_CD);
    }
    void fail_transfer() { abort(); } // It cannot go.

    const std::string& name() const { return name_; }
    BlockBackend& backend() { return backend_; }
    void serialize(Archive& archive);

  protected:
    // --- Of the kind of drive.
    virtual void execute(u8 code) = 0;
    virtual void packet_received() {}
    virtual void block_read() = 0;    // The host has taken all of the block that was offered.
    virtual void block_written() = 0; // It has filled the block that was asked for.
    virtual void dma_step() = 0;      // Bytes can go by DMA.
    virtual void set_signature() = 0;
    virtual void reset_kind(bool hardware) = 0;
    virtual void serialize_kind(Archive& archive) = 0;

    // --- Tools for it.
    static constexpr std::size_t buffer_limit = 128 << 10; // Bytes read or written at a time.
    u8 selected() const { return regs_.device & ata::DEVICE_DEV; }
    void set_interrupt(bool on);
    void complete();         // Without error, with an interrupt.
    void complete_quietly(); // The same without interrupt.
    void fail(u8 error);     // With an interrupt.
    void abort() { fail(ata::ERROR_ABRT); }
    void busy() { regs_.status = static_cast<u8>((regs_.status & ~ata::STATUS_DRQ) | ata::STATUS_BSY); }
    // Bytes [from, from + length) of the buffer, for the host to take or to fill.
    void offer(std::size_t from, std::size_t length, bool interrupt);
    void ask(std::size_t from, std::size_t length, bool interrupt);
    void await_dma();
    // Moves part of the buffer by DMA. False: it could not, and the command is at its end or hangs.
    bool move_by_dma(std::size_t from, std::size_t length, bool to_memory);
    // The request goes to the backend; `then` runs under the cable's mutex, unless the command ended meanwhile.
    void submit(BlockRequest request, std::function<void(BlockStatus)> then);
    std::vector<u8>& buffer() { return *buffer_; }
    // A buffer of a size, zeroed: never the one that a cancelled request still uses.
    void make_buffer(std::size_t size);
    std::span<u8> part(std::size_t from, std::size_t length) { return std::span(*buffer_).subspan(from, length); }
    // Whatever is under way does not count any more.
    void forget() { ++epoch_; }

    Log& log_;
    AtaCable& cable_;
    BlockBackend& backend_;

    // A register as written last, and before.
    struct Pair {
        u8 now = 0, before = 0;
        void put(u8 value) {
            before = now;
            now = value;
        }
        u8 get(bool high_order) const { return high_order ? before : now; }
    };
    enum class Transfer : u8 { none, to_host, from_host };
    struct Registers {
        Pair features, count, lba_low, lba_mid, lba_high;
        u8 device = 0;
        u8 error = 0;
        u8 status = 0;
        u8 code = 0; // Of the command under way.
        bool interrupt = false;
        bool wants_dma = false;             // Waits for DMA.
        bool by_dma = false;                // The command under way transfers by DMA.
        Transfer transfer = Transfer::none; // Through the data port: bytes [at, end) of the buffer.
        u32 at = 0, end = 0;
    } regs_;

  private:
    void advance(std::size_t bytes);

    const std::string name_;
    std::shared_ptr<std::vector<u8>> buffer_;
    u64 epoch_ = 0; // Counts commands and resets.
};

} // namespace calque::devices
