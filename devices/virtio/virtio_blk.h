// The block device (virtio 1.2, 5.2).
#pragma once

#include "devices/block_backend.h"
#include "devices/virtio/virtio_device.h"

#include <memory>
#include <mutex>

namespace calque::devices {

struct VirtioBlkOptions {
    unsigned queues = 1;
    u16 queue_size = 256;
    std::string serial; // At most 20 bytes of it are shown.
    u32 logical_block = 512, physical_block = 512;
};

// A queue's requests go to the backend as they come, and are done in any order. Their buffers are copied: what the
// guest does to its memory meanwhile does not matter to the host.
class VirtioBlk final : public VirtioDevice {
  public:
    static constexpr std::size_t config_size = 60;

    VirtioBlk(Log& log, DmaPort& memory, Worker& worker, BlockBackend& backend, VirtioBlkOptions options,
              std::string name);
    ~VirtioBlk() override;

  private:
    // One request on its way. The data's first byte is that of the first part behind the header.
    struct Request {
        unsigned queue = 0;
        VirtioChain chain;
        std::vector<u8> data;
        u64 written = 0; // Bytes of the chain that the device has filled, without the status.
        u64 epoch = 0;
    };
    using RequestPtr = std::shared_ptr<Request>;
    // What requests that are under way hold on to: the device may be gone when they are done.
    struct Owner {
        std::mutex mutex;
        VirtioBlk* device;
    };

    void serve(unsigned queue);
    void start(RequestPtr request);
    void read(const RequestPtr& request, u64 sector);
    void read_done(const RequestPtr& request, BlockStatus status);
    void write(const RequestPtr& request, u64 sector);
    void forget_ranges(const RequestPtr& request, u32 type);
    void next_range(const RequestPtr& request, u32 type, u64 at);
    void submit(BlockRequest block, RequestPtr request, std::function<void(BlockStatus)> then);
    void finish(Request& request, u8 status);
    static u64 offered(const BlockBackend& backend, const VirtioBlkOptions& options);

    std::vector<u8> config() override;
    void config_written(u64 offset, u64 value, unsigned size) override;
    void started() override;
    void stopped() override;
    void save(Archive& archive) override;

    BlockBackend& backend_;
    const VirtioBlkOptions options_;
    const bool write_cache_at_reset_;
    bool write_cache_;  // What the driver chose, where it can.
    u64 epoch_ = 0;     // Counts resets: what was begun before one is not told to the guest.
    u64 under_way_ = 0; // Bytes of data in requests, of all epochs.
    std::shared_ptr<Owner> owner_;
};

} // namespace calque::devices
