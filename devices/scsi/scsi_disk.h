// A disk on a SCSI bus: SBC-3 and SPC-4 as far as systems use them.
#pragma once

#include "devices/scsi/scsi_unit.h"

#include <string>

namespace calque::devices {

class ScsiDisk final : public ScsiUnit {
  public:
    static constexpr u32 block = 512;

    // `serial`: where the backend has none.
    ScsiDisk(BlockBackend& backend, std::string serial);

    scsi::Step execute(std::span<const u8> cdb) override;
    scsi::Step received(std::span<const u8> cdb, std::span<const u8> parameters) override;
    u32 block_size() const override { return block; }
    void medium_event(bool wanted) override;
    void reset() override;
    void serialize(Archive& archive) override;
    BlockBackend& backend() override { return backend_; }

  private:
    using Step = scsi::Step;
    using Cdb = std::span<const u8>;
    struct Extent {
        u64 first = 0, count = 0;
    };
    static Extent extent_of(Cdb cdb);
    u64 blocks() const { return backend_.size() / block; }
    bool holds(Extent extent) const { return extent.first <= blocks() && extent.count <= blocks() - extent.first; }

    Step access(Cdb cdb, bool writing);
    Step verify(Cdb cdb);
    Step inquiry(Cdb cdb);
    std::vector<u8> product_data(u8 page) const;
    Step mode_sense(Cdb cdb);
    Step read_capacity_10();
    Step read_capacity_16(Cdb cdb);
    Step write_same(Cdb cdb);
    Step start_stop(Cdb cdb);
    std::vector<u8> mode_page(u8 page, bool changeable) const;
    Step mode_selected(Cdb cdb, std::span<const u8> parameters);
    Step unmap_ranges(std::span<const u8> parameters);
    std::string serial() const;

    BlockBackend& backend_;
    const std::string serial_;
    const bool write_cache_at_reset_;
    struct State {
        bool attention = true; // A unit attention waits.
        u8 attention_code = 0x29, attention_qualifier = 0;
        bool stopped = false;
        bool write_cache = true;
    } s_;
};

} // namespace calque::devices
