// What all networks have in common: a thread, the card at the other end, frames that wait for it, capture and counts.
#pragma once

#include "base/log.h"
#include "base/result.h"
#include "devices/net_backend.h"
#include "frontend/backends/io_loop.h"
#include "frontend/backends/loop_worker.h"
#include "frontend/backends/net/pcap.h"

#include <deque>
#include <memory>
#include <string>
#include <vector>

namespace calque::backends {

// A kind of network derives from it, adds its descriptors to loop(), and removes them first thing when it is destroyed.
class NetPort : public devices::NetBackend {
  public:
    NetPort(Log& log, std::string id) : log_(log), id_(std::move(id)) {}

    const std::string& id() const { return id_; }
    // One line for `info network`, and more lines where there is more to say. Any thread but the port's own.
    virtual std::string describe() = 0;
    std::string counters() const;
    u64 frames_out() const { return frames_out_; } // From the guest.
    u64 frames_in() const { return frames_in_; }
    // Writes every frame that goes by to a file, at most `longest` bytes of each. Before the machine runs.
    Result<void> capture(const std::string& path, std::size_t longest);
    // The cable between the card and this network. Not on the port's thread.
    void set_link(bool up);
    // What the network remembers beside its connections (leases); empty: nothing. While the port is held.
    virtual std::vector<u8> save_state() { return {}; }
    virtual Result<void> load_state(std::span<const u8> state) { return static_cast<void>(state), Result<void>(); }
    // While the result lives the port does nothing.
    std::unique_lock<std::mutex> hold() { return loop_.hold(); }

    devices::Worker& worker() override { return worker_; }
    void set_client(devices::NetClient* client) final;
    void send(std::span<const u8> frame, const devices::FrameOffload& offload) final;
    void resume() final { flush_->schedule(); }

  protected:
    // A frame that is complete. On the port's thread.
    virtual void transmit(std::span<const u8> frame) = 0;
    // For a kind that can do what is left to do itself, or needs less of it. False: not this one.
    virtual bool transmit_offloaded(std::span<const u8> frame, const devices::FrameOffload& offload) {
        return static_cast<void>(frame), static_cast<void>(offload), false;
    }
    // To the card; kept while the card has no room. On the port's thread.
    void deliver(std::span<const u8> frame, const devices::FrameOffload& offload);
    // So much waits for the card that the kind should not read more from the host.
    bool backed_up() const { return waiting_.size() >= enough_waiting; }
    bool client_takes_large();
    IoLoop& loop() { return loop_; }

    Log& log_;

  private:
    struct Waiting {
        std::vector<u8> frame;
        devices::FrameOffload offload;
    };
    bool offer(std::span<const u8> frame, const devices::FrameOffload& offload);
    void flush();

    static constexpr std::size_t enough_waiting = 64, most_waiting = 1024;
    const std::string id_;
    std::unique_ptr<Pcap> pcap_;
    std::atomic<u64> frames_out_{0}, bytes_out_{0}, frames_in_{0}, bytes_in_{0}, dropped_{0};

    std::mutex client_mutex_; // Held while the client is called.
    devices::NetClient* client_ = nullptr;
    // The port's thread only.
    bool sending_ = false;
    std::deque<Waiting> waiting_;
    std::vector<u8> scratch_;

    IoLoop loop_;
    LoopWorker worker_{loop_};
    std::unique_ptr<devices::Task> flush_ = worker_.make_task([this] { flush(); });
};

} // namespace calque::backends
