// A bounded first-in first-out queue of bytes, as part of a device's state.
#pragma once

#include "base/archive.h"
#include "base/types.h"

#include <array>
#include <initializer_list>
#include <string_view>

namespace calque::devices {

template <unsigned capacity> class ByteQueue {
  public:
    bool empty() const { return count_ == 0; }
    unsigned size() const { return count_; }
    unsigned room() const { return capacity - count_; }
    void clear() { count_ = 0; }
    // False, and nothing is added, when there is no room.
    bool push(u8 byte) {
        if (!room()) return false;
        bytes_[(first_ + count_++) % capacity] = byte;
        return true;
    }
    // All or nothing.
    bool push(std::initializer_list<u8> bytes) {
        if (bytes.size() > room()) return false;
        for (const u8 byte : bytes)
            push(byte);
        return true;
    }
    // 0 when there is none.
    u8 pop() {
        if (empty()) return 0;
        const u8 byte = bytes_[first_];
        first_ = (first_ + 1) % capacity;
        --count_;
        return byte;
    }

    void serialize(Archive& archive, std::string_view name) {
        archive.section(name, 1, [&](u32) {
            archive.field("bytes", bytes_);
            archive.field("first", first_);
            archive.field("count", count_);
            if (archive.loading() && (first_ >= capacity || count_ > capacity)) {
                archive.fail("the queue holds more than fits");
                first_ = count_ = 0;
            }
        });
    }

  private:
    std::array<u8, capacity> bytes_{};
    u32 first_ = 0;
    u32 count_ = 0;
};

} // namespace calque::devices
