// The network device (virtio 1.1, 5.1).
#pragma once

#include "devices/net_backend.h"
#include "devices/virtio/virtio_device.h"

#include <array>
#include <bitset>

namespace calque::devices {

using MacAddress = std::array<u8, 6>;

// Which frames the driver wants to see (virtio 1.1, 5.1.6.5.1 to 5.1.6.5.3).
struct NetFilter {
    static constexpr std::size_t most_addresses = 64;
    bool promiscuous = true; // Until the driver says otherwise.
    bool all_multicast = false, all_unicast = false, no_multicast = false, no_unicast = false, no_broadcast = false;
    std::vector<MacAddress> unicast, multicast;
    bool unicast_overflow = false, multicast_overflow = false; // More than fit: all are let through.
    std::bitset<4096> vlans;
    bool filter_vlans = false;

    bool passes(std::span<const u8> frame, const MacAddress& own) const;
    void serialize(Archive& archive);
};

class VirtioNet final : public VirtioDevice, public NetClient {
  public:
    static constexpr std::size_t config_size = 12;
    static constexpr unsigned most_pairs = 16;
    static constexpr unsigned queue_count_of(unsigned pairs) { return 2 * pairs + 1; }
    struct Options {
        MacAddress mac{};
        unsigned pairs = 1; // Of queues.
        u16 rx_size = 256, tx_size = 256;
        u16 mtu = 0;     // 0: not told.
        u64 without = 0; // Features to leave out.
    };
    // The backend is not owned, and outlives the device.
    VirtioNet(Log& log, DmaPort& memory, NetBackend& backend, const Options& options, std::string name);
    ~VirtioNet() override;

    // NetClient
    bool receive(std::span<const u8> frame, const FrameOffload& offload) override;
    bool takes_large() const override { return takes_large_; }
    void set_link(bool up) override;

  private:
    void transmit(unsigned queue);
    void control(unsigned queue);
    u8 execute(const VirtioChain& chain);
    u8 set_receive_mode(u8 command, std::span<const u8> data);
    u8 set_addresses(u8 command, std::span<const u8> data);
    u8 set_vlan(u8 command, std::span<const u8> data);
    bool is_control(unsigned queue) const;
    void queue_handler(unsigned queue);
    std::size_t header_size() const;
    bool send(std::span<const u8> header, std::span<u8> frame);
    bool deliver(unsigned queue, std::span<const u8> header, std::span<const u8> frame);
    unsigned receive_queue(std::span<const u8> frame) const;
    void remember_flow(std::span<const u8> frame, unsigned queue);

    std::vector<u8> config() override;
    void config_written(u64 offset, u64 value, unsigned size) override;
    bool features_fit(u64 features) const override;
    void started() override;
    void stopped() override;
    void save(Archive& archive) override;

    NetBackend& backend_;
    const Options options_;
    const unsigned pairs_;
    MacAddress mac_;
    NetFilter filter_;
    bool link_ = true, announce_ = false;
    u16 active_pairs_ = 1;
    std::atomic<bool> takes_large_{false};
    std::array<u8, 256> flows_{}; // Pair on which a flow was last sent, by its hash.
    std::vector<u8> buffer_;
    std::vector<VirtioChain> chains_; // Of the frame being delivered; kept for their memory.
};

} // namespace calque::devices
