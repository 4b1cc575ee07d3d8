// A CD/DVD drive on an IDE cable: the PACKET feature set (ATA/ATAPI-7) carrying MMC-5 commands.
#pragma once

#include "devices/ide/ide_drive.h"

#include <array>

namespace calque::devices {

class AtapiCd final : public IdeDrive {
  public:
    AtapiCd(Log& log, IdeCable& cable, BlockBackend& backend, std::string name, std::string serial);

    void medium_event(bool wanted) override;

  private:
    using Packet = std::array<u8, 12>;
    static constexpr u32 block = 2048; // Bytes of a sector.

    struct Sense {
        u8 key = 0, code = 0, qualifier = 0;
    };
    struct Row {
        u8 code;
        void (AtapiCd::*run)(const Packet&);
        bool always; // Also when a unit attention waits.
        bool medium; // Needs one.
    };
    static const Row rows[];

    void execute(u8 code) override;
    void packet_received() override;
    void block_read() override;
    void block_written() override;
    void dma_step() override;
    void set_signature() override;
    void reset_kind(bool hardware) override;
    void serialize_kind(Archive& archive) override;

    // --- Transfers
    void good();                                    // The command is at its end.
    void check(Sense sense);                        // With CHECK CONDITION.
    void reply(std::vector<u8> bytes, u64 at_most); // Data for the host, cut to its allocation length.
    void send();                                    // What the buffer has and the host has not.
    void read_blocks(u64 first, u32 count);
    void fetch();
    void took();
    bool ready() const { return backend_.has_medium() && !s_.tray_open; }
    u32 blocks() const { return static_cast<u32>(std::min<u64>(backend_.size() / block, 0xFFFF'FFFF)); }
    void notice_medium();

    // --- Commands (atapi_commands.cpp)
    void test_unit_ready(const Packet&);
    void request_sense(const Packet&);
    void inquiry(const Packet&);
    void mode_sense(const Packet&);
    void mode_select(const Packet&);
    void start_stop(const Packet&);
    void prevent_removal(const Packet&);
    void read_capacity(const Packet&);
    void read_10(const Packet&);
    void read_12(const Packet&);
    void read_cd(const Packet&);
    void seek(const Packet&);
    void synchronize(const Packet&);
    void read_subchannel(const Packet&);
    void read_toc(const Packet&);
    void get_configuration(const Packet&);
    void get_event(const Packet&);
    void read_disc_information(const Packet&);
    void read_track_information(const Packet&);
    void read_dvd_structure(const Packet&);
    void set_speed(const Packet&);
    void mechanism_status(const Packet&);
    void identify();
    std::vector<u8> mode_page(u8 page) const;
    u16 profile() const;

    const std::string serial_;
    enum class Event : u8 { none, eject_request, new_medium, removal };
    struct State {
        Sense sense;
        bool attention = true; // A unit attention waits, which is `attention_code`.
        u8 attention_code = 0x29;
        bool tray_open = false;
        bool locked = false;
        Event event = Event::none;
        u32 medium_seen = 0; // The backend's count of changes.
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
