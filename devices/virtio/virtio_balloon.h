// The memory balloon (virtio 1.2, 5.5): the guest gives pages to the host and takes them back, as the host wants.
#pragma once

#include "devices/ram_discard.h"
#include "devices/virtio/virtio_device.h"

#include <atomic>

namespace calque::devices {

class VirtioBalloon final : public VirtioDevice {
  public:
    static constexpr std::size_t config_size = 8;
    static constexpr unsigned queues = 2;
    static constexpr u64 page = 4096;

    struct Options {
        u64 ram = 0;                 // Bytes of the machine.
        bool deflate_on_oom = false; // The guest takes pages back rather than end a program.
    };
    // `ram` is not owned, and outlives the device.
    VirtioBalloon(Log& log, DmaPort& memory, Worker& worker, RamDiscard& ram, const Options& options, std::string name);
    ~VirtioBalloon() override { end_tasks(); }

    // How much the guest is to have left, in bytes; more than it has is all of it. Any thread.
    void set_target(u64 bytes);
    u64 target() const;
    u64 actual() const; // What it has left, by its own account.
    // Gets it when it has changed, and must not call back. Set before the machine runs.
    void set_observer(std::function<void(u64)> observer) { observer_ = std::move(observer); }

  private:
    u64 bytes_left() const;
    void take_pages(unsigned queue, bool give);

    std::vector<u8> config() override;
    void config_written(u64 offset, u64 value, unsigned size) override;
    void stopped() override { actual_ = 0; }
    void save(Archive& archive) override;

    RamDiscard& ram_;
    const Options options_;
    std::function<void(u64)> observer_;
    u32 wanted_ = 0; // Pages that the host would like.
    u32 actual_ = 0; // Pages that the guest says it has given.
};

} // namespace calque::devices
