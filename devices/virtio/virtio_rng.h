// The entropy device (virtio 1.1, 5.4).
#pragma once

#include "base/clock.h"
#include "devices/entropy_source.h"
#include "devices/virtio/virtio_device.h"

namespace calque::devices {

class VirtioRng final : public VirtioDevice {
  public:
    static constexpr std::size_t config_size = 0;
    static constexpr unsigned queues = 1;
    // At most `max_bytes` in each `period` of nanoseconds; what is over waits for the next.
    struct Limit {
        u64 max_bytes = ~u64{0};
        Nanoseconds period = 65'536'000'000;
    };
    VirtioRng(Log& log, DmaPort& memory, Clock& clock, Worker& worker, EntropySource& source, Limit limit,
              std::string name);

  private:
    void serve();
    void save(Archive& archive) override;
    void stopped() override;

    EntropySource& source_;
    Clock& clock_;
    Limit limit_;
    u64 left_ = 0;               // Bytes that may still go out before `period_end_`.
    Nanoseconds period_end_ = 0; // 0: no period has begun.
    std::vector<u8> buffer_;
    std::unique_ptr<Timer> timer_; // Last.
};

} // namespace calque::devices
