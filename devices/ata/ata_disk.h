// A hard disk on an IDE cable: ATA/ATAPI-7, with the 48-bit address, power management and SMART feature sets.
#pragma once

#include "devices/ata/ata_drive.h"

#include <array>

namespace calque::devices {

class AtaDisk final : public AtaDrive {
  public:
    // `serial`: what IDENTIFY DEVICE says when the backend has none.
    AtaDisk(Log& log, AtaCable& cable, BlockBackend& backend, std::string name, std::string serial);

    // --- Native command queueing, which its port does: the error that ended it, kept for READ LOG EXT.
    void note_queue_error(u8 tag, u8 status, u8 error, u64 sector);
    bool queue_failed() const { return s_.queue_error.valid; } // And not read since: no more is taken.

  private:
    struct QueueError {
        bool valid = false;
        u8 tag = 0, status = 0, error = 0;
        u64 sector = 0;
    };
    struct Span {
        u64 first = 0; // Sector.
        u32 count = 0;
    };
    enum class Way : u8 { none, read_pio, write_pio, read_dma, write_dma, trim, identify, buffer_in, buffer_out };

    void execute(u8 code) override;
    void block_read() override;
    void block_written() override;
    void dma_step() override;
    void set_signature() override;
    void reset_kind(bool hardware) override;
    void serialize_kind(Archive& archive) override;

    bool execute_transfer(u8 code);
    void execute_other(u8 code);
    u64 sectors() const { return backend_.size() / BlockBackend::sector; }
    bool address(bool extended, Span& span) const;
    u64 chs_sector() const;
    void put_address(u64 sector, bool extended);
    void begin(Way way, bool extended, u32 block);
    void fetch();
    void offer_block(bool interrupt);
    void ask_block(bool interrupt);
    void store(std::size_t bytes);
    void step_read_dma();
    void step_write_dma();
    void step_trim();
    void trim_next();
    void failed(BlockStatus status);
    void verify(bool extended);
    void flush();
    void read_native_max(bool extended);
    void set_features();
    void smart();
    void smart_data();
    void read_log();
    void identify();
    void send(Way way); // 512 bytes of the buffer.
    std::array<u16, 256> identity() const;

    const std::string serial_;
    const bool write_cache_at_reset_;
    struct State {
        Way way = Way::none;
        bool extended = false, durable = false; // The command's form; FUA.
        u64 next = 0;                           // The sector that the buffer's first byte goes to or came from.
        u32 left = 0;                           // Sectors that have not been in the buffer yet.
        u32 block = 1;                          // Sectors per DRQ block of the command.
        u32 filled = 0;                         // Bytes of the buffer that count; for trim, entries looked at.
        u8 multiple = 16;                       // SET MULTIPLE MODE; 0: off.
        u16 cylinders = 0;                      // The geometry of INITIALIZE DEVICE PARAMETERS.
        u8 heads = 16, sectors_per_track = 63;
        u8 transfer_mode = 0x22; // As SET FEATURES has it: multiword DMA 2.
        bool smart = true;
        bool write_cache = true;
        QueueError queue_error;
    } s_;
};

} // namespace calque::devices
