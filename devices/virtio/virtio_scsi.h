// The SCSI host (virtio 1.2, 5.6) with its targets: disks and CD drives.
#pragma once

#include "devices/scsi/scsi_unit.h"
#include "devices/virtio/virtio_device.h"

#include <map>
#include <memory>
#include <mutex>

namespace calque::devices {

struct VirtioScsiOptions {
    unsigned queues = 1; // For requests.
    u16 queue_size = 256;
    u32 max_sectors = 0xFFFF, commands_per_unit = 128;
};

// Commands go to their units as they come, and end in any order. Data is copied by way of buffers, a part of a command
// at a time.
class VirtioScsi final : public VirtioDevice {
  public:
    static constexpr std::size_t config_size = 36;
    static constexpr unsigned highest_target = 255, highest_lun = 255;

    VirtioScsi(Log& log, DmaPort& memory, Worker& worker, VirtioScsiOptions options, std::string name);
    ~VirtioScsi() override;

    // A unit, before the machine runs. False: there is one already.
    bool attach(unsigned target, unsigned lun, std::unique_ptr<ScsiUnit> unit);
    bool attached(unsigned target, unsigned lun) const { return units_.contains({target, lun}); }

  private:
    using Address = std::pair<unsigned, unsigned>; // Target and LUN.
    // A task management function that waits for what it ended.
    struct Management {
        VirtioChain chain;
        u64 epoch = 0;
        unsigned waits = 0;
    };
    struct Request {
        unsigned queue = 0;
        VirtioChain chain;
        Address address;
        u64 tag = 0;
        std::array<u8, 32> cdb{};
        scsi::Step step;
        u64 data_out = 0, data_in = 0; // Bytes that there is room for.
        u64 moved = 0;                 // Bytes of data that went.
        std::vector<u8> buffer;
        std::size_t range = 0; // Of the step's: the one that is done next, and how far it is.
        u64 in_range = 0;
        u64 epoch = 0;
        bool aborted = false;
        std::vector<std::shared_ptr<Management>> managements;
    };
    using RequestPtr = std::shared_ptr<Request>;
    // What requests that are under way hold on to: the device may be gone when they are done.
    struct Owner {
        std::mutex mutex;
        VirtioScsi* device;
    };

    // --- Requests
    void serve(unsigned queue);
    void start(const RequestPtr& request);
    void begin(const RequestPtr& request);
    void proceed(const RequestPtr& request, scsi::Step step);
    void move(const RequestPtr& request);
    void change_ranges(const RequestPtr& request);
    void fill_ranges(const RequestPtr& request);
    void submit(BlockRequest block, const RequestPtr& request, std::function<void(BlockStatus)> then);
    void check(Request& request, scsi::Sense sense);
    void finish(Request& request, u8 response, u8 status, std::span<const u8> sense = {});
    scsi::Step without_unit(const Request& request) const;
    std::vector<u8> report_luns(unsigned target) const;
    bool target_exists(unsigned target) const;
    static bool decode(std::span<const u8> lun, Address& address);

    // --- Management and events (virtio_scsi_control.cpp)
    void serve_control();
    void manage(VirtioChain& chain);
    void notifications(VirtioChain& chain);
    void answer_control(const VirtioChain& chain, std::span<const u8> answer);
    void abort_requests(const std::shared_ptr<Management>& management,
                        const std::function<bool(const Request&)>& which);
    void settle_management(const std::shared_ptr<Management>& management);
    void medium_changed(Address address, bool wanted);
    void serve_events();

    std::vector<u8> config() override;
    void config_written(u64 offset, u64 value, unsigned size) override;
    void stopped() override;
    void save(Archive& archive) override;

    const VirtioScsiOptions options_;
    std::map<Address, std::unique_ptr<ScsiUnit>> units_;
    u32 sense_size_ = 96, cdb_size_ = 32; // As the driver has them.
    std::vector<RequestPtr> under_way_;
    u64 bytes_under_way_ = 0;
    u64 epoch_ = 0;
    struct Event {
        u32 event = 0, reason = 0;
        Address address;
    };
    std::vector<Event> events_; // That wait for a buffer; never more than units.
    std::shared_ptr<Owner> owner_;
};

} // namespace calque::devices
