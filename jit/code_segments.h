// Numbers for code segments: 16- and 32-bit code is translated for the base and the limit of its segment, which
// together with the rest of a mode are too long for a key. The number stands for the rest, too, so that the target
// cache can keep code of several modes beside each other: firmware goes from one to another all the time.
#pragma once

#include "base/types.h"

#include <unordered_map>

namespace calque::jit {

class CodeSegments {
  public:
    static constexpr u32 flat = 0;         // Base 0, limit 4 GiB; 64-bit code.
    static constexpr u32 none = 0xFF'FFFF; // There are too many. All have 24 bits at most.

    // `kind`: the rest of the mode. A flat segment has the same number in all of them.
    u32 number(u32 base, u32 limit, u64 kind) {
        if (base == 0 && limit == ~u32{0}) return flat;
        const Segment segment{u64{base} << 32 | limit, kind};
        if (segment == last_) return last_number_;
        if (numbers_.size() >= most && !numbers_.contains(segment)) {
            full_ = true;
            return none;
        }
        last_ = segment;
        last_number_ = numbers_.emplace(segment, static_cast<u32>(numbers_.size() + 1)).first->second;
        return last_number_;
    }
    // There was none left. To be forgotten with all code that was translated.
    bool full() const { return full_; }
    void forget() {
        numbers_.clear();
        last_ = {};
        last_number_ = none;
        full_ = false;
    }

  private:
    static constexpr std::size_t most = 8192;
    struct Segment {
        u64 base_and_limit = 0;
        u64 kind = 0;
        bool operator==(const Segment&) const = default;
    };
    struct Hash {
        std::size_t operator()(const Segment& s) const {
            return (s.base_and_limit ^ s.kind << 20) * 0x9E37'79B9'7F4A'7C15;
        }
    };
    std::unordered_map<Segment, u32, Hash> numbers_;
    Segment last_; // The one asked for last. One byte at address 0 is no segment worth a number.
    u32 last_number_ = none;
    bool full_ = false;
};

} // namespace calque::jit
