#include "frontend/backends/multiplexer.h"

#include <algorithm>

namespace calque::backends {

namespace {
constexpr u8 ctrl_a = 0x01;
constexpr std::size_t queue_size = 4096;
constexpr std::string_view help_text = "\r\n"
                                       "Ctrl-A h  this list\r\n"
                                       "Ctrl-A x  end the emulator\r\n"
                                       "Ctrl-A s  write changed disks back\r\n"
                                       "Ctrl-A t  timestamps on or off\r\n"
                                       "Ctrl-A b  send a break\r\n"
                                       "Ctrl-A c  console or monitor\r\n"
                                       "Ctrl-A Ctrl-A  send Ctrl-A\r\n";
} // namespace

// One user's end: a receiver and the input that waits for it.
class Multiplexer::Channel final : public devices::CharBackend {
  public:
    Channel(Multiplexer& mux, bool is_monitor) : monitor(is_monitor), mux_(mux) {}

    void transmit(std::span<const u8> bytes) override { mux_.transmit(bytes); }
    void set_receiver(Receiver receiver) override {
        {
            std::lock_guard lock(receiver_mutex_);
            receiver_ = std::move(receiver);
        }
        mux_.loop_.wake();
    }
    void resume() override {
        if (starved_.exchange(false)) mux_.loop_.wake();
    }

    // What follows runs on the I/O thread.
    std::size_t room() {
        std::lock_guard lock(receiver_mutex_);
        return queue_size - std::min(queue_size, queue_.size());
    }
    void queue(u8 byte) {
        std::lock_guard lock(receiver_mutex_);
        if (queue_.size() < queue_size) queue_.push_back(byte);
    }
    void send_break() {
        std::lock_guard lock(receiver_mutex_);
        if (receiver_.send_break) receiver_.send_break();
    }
    // Whether any input went to the receiver.
    bool pump() {
        std::lock_guard lock(receiver_mutex_);
        if (!receiver_.room || !receiver_.deliver) return false;
        bool moved = false;
        while (!queue_.empty()) {
            starved_ = true; // Before asking, so that room made meanwhile is not missed.
            const std::size_t count = std::min(receiver_.room(), queue_.size());
            if (count == 0) return moved;
            const std::vector<u8> bytes(queue_.begin(), queue_.begin() + static_cast<std::ptrdiff_t>(count));
            queue_.erase(queue_.begin(), queue_.begin() + static_cast<std::ptrdiff_t>(count));
            receiver_.deliver(bytes);
            moved = true;
        }
        starved_ = false;
        return moved;
    }

    const bool monitor;

  private:
    Multiplexer& mux_;
    std::mutex receiver_mutex_; // Held while the receiver runs.
    Receiver receiver_;
    std::atomic<bool> starved_{false};
    std::deque<u8> queue_;
};

Multiplexer::Multiplexer(IoLoop& loop, std::unique_ptr<Chardev> terminal, Commands commands)
    : loop_(loop), terminal_(std::move(terminal)), commands_(std::move(commands)) {
    terminal_->set_receiver(
        {[this] { return room(); }, [this](std::span<const u8> bytes) { receive(bytes); }, nullptr});
    loop_.add(*this);
}

Multiplexer::~Multiplexer() {
    terminal_->set_receiver({});
    loop_.remove(*this);
}

devices::CharBackend& Multiplexer::add_channel(bool monitor) {
    Channel* added = nullptr;
    {
        std::lock_guard lock(mutex_);
        added = channels_.emplace_back(std::make_unique<Channel>(*this, monitor)).get();
    }
    loop_.wake(); // The terminal may be read now.
    return *added;
}

Multiplexer::Channel* Multiplexer::focused_channel() const {
    std::lock_guard lock(mutex_);
    return focused_ < channels_.size() ? channels_[focused_].get() : nullptr;
}

std::size_t Multiplexer::focused() const {
    std::lock_guard lock(mutex_);
    return focused_;
}

void Multiplexer::focus(std::size_t channel) {
    bool monitor = false;
    {
        std::lock_guard lock(mutex_);
        if (channel >= channels_.size() || channel == focused_) return;
        focused_ = channel;
        monitor = channels_[channel]->monitor;
    }
    if (commands_.focus_changed) commands_.focus_changed(monitor);
}

std::size_t Multiplexer::room() {
    Channel* channel = focused_channel();
    if (!channel) return 0; // Nobody is there yet: what is typed waits.
    return terminal_->interactive() ? std::max<std::size_t>(channel->room(), 1) : channel->room();
}

void Multiplexer::receive(std::span<const u8> bytes) {
    for (const u8 byte : bytes) {
        if (prefix_) {
            prefix_ = false;
            command(byte);
        } else if (byte == ctrl_a) {
            prefix_ = true;
        } else if (Channel* channel = focused_channel()) {
            channel->queue(byte);
        }
    }
    if (Channel* channel = focused_channel()) channel->pump();
}

void Multiplexer::command(u8 key) {
    Channel* channel = focused_channel();
    switch (key) {
    case ctrl_a:
        if (channel) channel->queue(ctrl_a);
        break;
    case 'x':
        show("\r\ncalque: ended by Ctrl-A x\r\n");
        if (commands_.quit) commands_.quit();
        break;
    case 'c': {
        std::size_t next = 0;
        {
            std::lock_guard lock(mutex_);
            if (!channels_.empty()) next = (focused_ + 1) % channels_.size();
        }
        focus(next);
        break;
    }
    case 'b':
        if (channel) channel->send_break();
        break;
    case 's':
        if (commands_.save_disks) commands_.save_disks();
        break;
    case 't': {
        std::lock_guard lock(output_mutex_);
        timestamps_ = !timestamps_;
        break;
    }
    case 'h':
    case '?': show(help_text); break;
    default: break;
    }
}

// A user that had no room has some now; and the terminal may be read again when that emptied a queue.
void Multiplexer::poll_set(std::vector<pollfd>&) {
    std::vector<Channel*> channels;
    {
        std::lock_guard lock(mutex_);
        for (const auto& channel : channels_)
            channels.push_back(channel.get());
    }
    bool moved = false;
    for (Channel* channel : channels)
        moved |= channel->pump();
    if (moved) terminal_->resume();
}

void Multiplexer::show(std::string_view text) {
    terminal_->transmit({reinterpret_cast<const u8*>(text.data()), text.size()});
}

void Multiplexer::transmit(std::span<const u8> bytes) {
    std::lock_guard lock(output_mutex_);
    if (!timestamps_) {
        if (!bytes.empty()) line_start_ = bytes.back() == '\n';
        return terminal_->transmit(bytes);
    }
    std::vector<u8> out;
    for (const u8 byte : bytes) {
        if (line_start_) {
            const u64 now = commands_.milliseconds ? commands_.milliseconds() : 0;
            const std::string stamp = fmt::format("[{:5}.{:03}] ", now / 1000, now % 1000);
            out.insert(out.end(), stamp.begin(), stamp.end());
        }
        line_start_ = byte == '\n';
        out.push_back(byte);
    }
    terminal_->transmit(out);
}

} // namespace calque::backends
