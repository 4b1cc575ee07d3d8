// Waiting for what other threads and the kernel do. The limits only end a test that would hang.
#pragma once

#include "devices/char_backend.h"

#include <chrono>
#include <condition_variable>
#include <gtest/gtest.h>
#include <mutex>
#include <poll.h>
#include <string>
#include <unistd.h>

namespace calque::backends::test {

inline constexpr std::chrono::seconds limit{20};

// Takes what a backend delivers; has as much room as it is given.
class Sink {
  public:
    devices::CharBackend::Receiver receiver() {
        return {[this] {
                    std::lock_guard lock(mutex_);
                    return room_;
                },
                [this](std::span<const u8> bytes) {
                    std::lock_guard lock(mutex_);
                    ASSERT_LE(bytes.size(), room_) << "more than there was room for";
                    room_ -= bytes.size();
                    text_.append(bytes.begin(), bytes.end());
                    changed_.notify_all();
                },
                [this] {
                    std::lock_guard lock(mutex_);
                    text_ += "<break>";
                    changed_.notify_all();
                },
                [this] {
                    std::lock_guard lock(mutex_);
                    if (tell_opened) text_ += "<opened>";
                    changed_.notify_all();
                }};
    }
    bool tell_opened = false;

    void set_room(std::size_t room) {
        std::lock_guard lock(mutex_);
        room_ = room;
    }
    bool wait_for(const std::string& text) {
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, limit, [&] { return text_ == text; });
    }
    std::string text() {
        std::lock_guard lock(mutex_);
        return text_;
    }

  private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::size_t room_ = 1 << 20;
    std::string text_;
};

// Reads until `wanted` bytes came, the end, or the limit.
inline std::string read_bytes(int fd, std::size_t wanted) {
    std::string text;
    while (text.size() < wanted) {
        pollfd wait{fd, POLLIN, 0};
        if (::poll(&wait, 1, 20'000) <= 0) break;
        char buffer[4096];
        const ssize_t got = ::read(fd, buffer, std::min(sizeof buffer, wanted - text.size()));
        if (got <= 0) break;
        text.append(buffer, static_cast<std::size_t>(got));
    }
    return text;
}

// Reads until `text` has come by.
inline bool read_until(int fd, const std::string& text) {
    std::string seen;
    while (seen.find(text) == std::string::npos) {
        const std::string more = read_bytes(fd, 1);
        if (more.empty()) return false;
        seen += more;
    }
    return true;
}

inline std::span<const u8> bytes(std::string_view text) {
    return {reinterpret_cast<const u8*>(text.data()), text.size()};
}

} // namespace calque::backends::test
