// A folder of the host's, by 9P (virtio's device 9, which its specification reserves; the transport is Linux's
// documented one: one queue, and the mount tag in the configuration).
#pragma once

#include "devices/file_server.h"
#include "devices/virtio/virtio_device.h"

namespace calque::devices {

class Virtio9p final : public VirtioDevice {
  public:
    static constexpr std::size_t longest_tag = 32;
    static constexpr std::size_t config_size_for(std::string_view tag) { return 2 + tag.size(); }
    static constexpr unsigned queues = 1;

    // The server is not owned, and outlives the device.
    Virtio9p(Log& log, DmaPort& memory, Worker& worker, FileServer& server, std::string tag, std::string name);
    ~Virtio9p() override;

  private:
    // What requests that are under way hold on to: the device may be gone when they are done.
    struct Owner {
        std::mutex mutex;
        Virtio9p* device;
    };
    void serve();
    void answer(const VirtioChain& chain, std::span<const u8> bytes);

    std::vector<u8> config() override;
    void stopped() override;
    void save(Archive& archive) override;

    FileServer& server_;
    const std::string tag_;
    u64 epoch_ = 0; // Counts resets: what was asked before one is not answered.
    unsigned under_way_ = 0;
    std::shared_ptr<Owner> owner_ = std::make_shared<Owner>();
};

} // namespace calque::devices
