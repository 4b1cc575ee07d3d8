// A CD/DVD drive on an ATA cable: the PACKET feature set (ATA/ATAPI-7) carrying the commands of devices/scsi.
#pragma once

#include "devices/ata/ata_drive.h"
#include "devices/scsi/mmc_drive.h"

#include <array>

namespace calque::devices {

class AtapiCd final : public AtaDrive {
  public:
    AtapiCd(Log& log, AtaCable& cable, BlockBackend& backend, std::string name, std::string serial);

    bool packet() const override { return true; }
    void medium_event(bool wanted) override { drive_.medium_event(wanted); }

  private:
    static constexpr u32 block = MmcDrive::block;
    static constexpr std::size_t packet_size = 12;

    void execute(u8 code) override;
    void packet_received() override;
    void block_read() override;
    void block_written() override;
    void dma_step() override;
    void set_signature() override;
    void reset_kind(bool hardware) override;
    void serialize_kind(Archive& archive) override;

    void good();                   // The command is at its end.
    void check(scsi::Sense sense); // With CHECK CONDITION.
    void reply(std::vector<u8> bytes);
    void receive(u32 length);
    void send(); // What the buffer has and the host has not.
    void fetch();
    void took();
    void identify();

    const std::string serial_;
    MmcDrive drive_;
    struct State {
        u8 transfer_mode = 0x22;
        u16 limit = 0; // Bytes per DRQ block, as the host gave it.
        bool by_dma = false;
        bool receiving = false; // MODE SELECT's parameters.
        u64 next = 0;           // Reads: the block after the buffer's, and how many more.
        u32 left = 0;
        u32 sent = 0; // Bytes of the buffer that went.
    } s_;
};

} // namespace calque::devices
