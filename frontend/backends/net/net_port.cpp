#include "frontend/backends/net/net_port.h"

#include "devices/net/offload.h"

namespace calque::backends {

using devices::FrameOffload;

std::string NetPort::counters() const {
    return fmt::format("out {} frames, {} bytes; in {} frames, {} bytes; dropped {}", frames_out_.load(),
                       bytes_out_.load(), frames_in_.load(), bytes_in_.load(), dropped_.load());
}

Result<void> NetPort::capture(const std::string& path, std::size_t longest) {
    auto pcap = Pcap::create(path, longest);
    if (!pcap) return pcap.error();
    pcap_ = std::move(*pcap);
    return {};
}

void NetPort::set_client(devices::NetClient* client) {
    std::lock_guard lock(client_mutex_);
    client_ = client;
}

void NetPort::set_link(bool up) {
    std::lock_guard lock(client_mutex_);
    if (client_) client_->set_link(up);
}

bool NetPort::client_takes_large() {
    std::lock_guard lock(client_mutex_);
    return client_ && client_->takes_large();
}

void NetPort::send(std::span<const u8> frame, const FrameOffload& offload) {
    ++frames_out_;
    bytes_out_ += frame.size();
    if (pcap_) pcap_->write(frame);
    sending_ = true;
    const bool large = offload.segments != FrameOffload::Segments::none;
    if (!large && !offload.needs_checksum) {
        transmit(frame);
    } else if (transmit_offloaded(frame, offload)) {
        // Done.
    } else if (large) {
        if (!devices::cut_segments(frame, offload.segment_size, [this](auto piece) { transmit(piece); })) ++dropped_;
    } else {
        scratch_.assign(frame.begin(), frame.end());
        if (devices::complete_checksum(scratch_, offload))
            transmit(scratch_);
        else
            ++dropped_;
    }
    sending_ = false;
    if (!waiting_.empty()) flush_->schedule(); // What the network answered at once.
}

void NetPort::deliver(std::span<const u8> frame, const FrameOffload& offload) {
    ++frames_in_;
    bytes_in_ += frame.size();
    if (pcap_) pcap_->write(frame);
    // The card is at work while it sends, and what came first goes first.
    if (!sending_ && waiting_.empty() && offer(frame, offload)) return;
    if (waiting_.size() >= most_waiting) {
        ++dropped_;
        return;
    }
    waiting_.push_back({{frame.begin(), frame.end()}, offload});
}

bool NetPort::offer(std::span<const u8> frame, const FrameOffload& offload) {
    std::lock_guard lock(client_mutex_);
    return !client_ || client_->receive(frame, offload);
}

void NetPort::flush() {
    while (!waiting_.empty() && offer(waiting_.front().frame, waiting_.front().offload))
        waiting_.pop_front();
}

} // namespace calque::backends
