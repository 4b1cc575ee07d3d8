// A network that remembers what a card sends, and frames to send.
#pragma once

#include "devices/net/offload.h"
#include "tests/devices/manual_worker.h"

#include <functional>
#include <string>

namespace calque::devices::test {

class RecordedNet final : public NetBackend {
  public:
    explicit RecordedNet(ManualWorker& worker) : worker_(worker) {}
    Worker& worker() override { return worker_; }
    void set_client(NetClient* client) override { this->client = client; }
    void send(std::span<const u8> frame, const FrameOffload& offload) override {
        sent.push_back({{frame.begin(), frame.end()}, offload});
    }
    void resume() override {
        ++resumed;
        if (on_resume) on_resume();
    }

    struct Sent {
        std::vector<u8> frame;
        FrameOffload offload;
    };
    std::vector<Sent> sent;
    unsigned resumed = 0;
    std::function<void()> on_resume; // May be empty.
    NetClient* client = nullptr;

  private:
    ManualWorker& worker_;
};

inline std::vector<u8> frame_to(std::array<u8, 6> to, std::size_t size = 60) {
    std::vector<u8> frame(size);
    std::copy(to.begin(), to.end(), frame.begin());
    for (std::size_t i = 14; i < size; ++i)
        frame[i] = static_cast<u8>(i * 7);
    return frame;
}

// TCP over IPv4 with `payload` bytes of data, lengths and checksums right.
inline std::vector<u8> tcp_frame(u32 sequence, std::size_t payload, u8 flags = 0x10) {
    std::vector<u8> frame(54 + payload);
    const u8 header[] = {0x52, 0x54, 0, 0x12, 0x34, 0x56, 0x52, 0x55, 10, 0, 2, 2,  8, 0, 0x45, 0,    0,    0,    0x12,
                         0x34, 0,    0, 64,   6,    0,    0,    10,   0,  2, 2, 10, 0, 2, 15,   0x1F, 0x90, 0x80, 1};
    std::copy(std::begin(header), std::end(header), frame.begin());
    for (unsigned i = 0; i < 4; ++i)
        frame[38 + i] = static_cast<u8>(sequence >> (24 - 8 * i));
    frame[46] = 0x50;
    frame[47] = flags;
    frame[48] = 0xFF;
    for (std::size_t i = 0; i < payload; ++i)
        frame[54 + i] = static_cast<u8>(sequence + i);
    finish_tcp(frame, *find_tcp(frame));
    return frame;
}

// Whether IP and TCP checksums and lengths agree with the contents.
inline bool sound(std::span<const u8> frame) {
    std::vector<u8> copy(frame.begin(), frame.end());
    const auto where = find_tcp(copy);
    if (!where) return false;
    finish_tcp(copy, *where);
    return std::equal(frame.begin(), frame.end(), copy.begin());
}

} // namespace calque::devices::test
