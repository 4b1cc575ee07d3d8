// A CD/DVD drive: the commands of MMC-5 and SPC-3, whatever carries them.
#pragma once

#include "base/log.h"
#include "devices/scsi/scsi_unit.h"

#include <algorithm>
#include <string>

namespace calque::devices {

class MmcDrive final : public ScsiUnit {
  public:
    static constexpr u32 block = 2048; // Bytes of a sector.

    // `atapi`: as a drive on an ATA cable answers, else as one on a SCSI bus. `serial`: where the backend has none.
    MmcDrive(BlockBackend& backend, bool atapi, std::string serial);

    scsi::Step execute(std::span<const u8> cdb) override;
    scsi::Step received(std::span<const u8> cdb, std::span<const u8> parameters) override;
    u32 block_size() const override { return block; }
    void medium_event(bool wanted) override;
    void reset() override;
    void serialize(Archive& archive) override;
    BlockBackend& backend() override { return backend_; }

    // What REQUEST SENSE tells next.
    void remember(scsi::Sense sense) { s_.sense = sense; }

  private:
    using Step = scsi::Step;
    using Cdb = std::span<const u8>;
    struct Row {
        u8 code;
        Step (MmcDrive::*run)(Cdb);
        bool always; // Also when a unit attention waits.
        bool medium; // Needs one.
    };
    static const Row rows[];

    bool ready() const { return backend_.has_medium() && !s_.tray_open; }
    u32 blocks() const { return static_cast<u32>(std::min<u64>(backend_.size() / block, 0xFFFF'FFFF)); }
    void notice_medium();
    Step read_blocks(u64 first, u32 count) const;
    Step inquiry_page(Cdb cdb) const;
    std::vector<u8> mode_page(u8 page) const;
    u16 profile() const;

    Step good(Cdb) { return Step::good(); }
    Step request_sense(Cdb cdb);
    Step inquiry(Cdb cdb);
    Step mode_sense(Cdb cdb);
    Step mode_select(Cdb cdb);
    Step start_stop(Cdb cdb);
    Step prevent_removal(Cdb cdb);
    Step read_capacity(Cdb cdb);
    Step read_10(Cdb cdb);
    Step read_12(Cdb cdb);
    Step read_cd(Cdb cdb);
    Step seek(Cdb cdb);
    Step read_subchannel(Cdb cdb);
    Step read_toc(Cdb cdb);
    Step get_configuration(Cdb cdb);
    Step get_event(Cdb cdb);
    Step read_disc_information(Cdb cdb);
    Step read_track_information(Cdb cdb);
    Step read_dvd_structure(Cdb cdb);
    Step mechanism_status(Cdb cdb);

    BlockBackend& backend_;
    const bool atapi_;
    const std::string serial_;
    enum class Event : u8 { none, eject_request, new_medium, removal };
    struct State {
        scsi::Sense sense;
        bool attention = true; // A unit attention waits, which is `attention_code`.
        u8 attention_code = 0x29;
        bool tray_open = false;
        bool locked = false;
        Event event = Event::none;
        u32 medium_seen = 0; // The backend's count of changes.
    } s_;
};

} // namespace calque::devices
