// Code that is translated, rewritten, translated, rewritten: how long to leave it to the interpreter.
#pragma once

#include "base/types.h"

#include <algorithm>
#include <array>

namespace calque::jit {

// By the guest-physical address of a unit's first byte. Places share slots; then one of them is known.
class RewriteHistory {
  public:
    // A unit was killed by a write. `now`: units translated so far.
    void killed(u64 physical, u64 now) {
        Place& place = at(physical);
        if (place.physical != physical || now - place.last > short_life) place = {physical, now, 0, false};
        place = {physical, now, std::min<u8>(place.times + 1, most_times), false};
    }
    // How many more times the code at a place that is about to be translated should be entered before: 0 unless it has
    // been killed twice in a short time, or when it has waited since.
    i32 wait(u64 physical, i32 hot_after) {
        Place& place = at(physical);
        if (place.physical != physical || place.times < 2 || place.waited) return 0;
        place.waited = true;
        return std::max(hot_after, 1) << 2 * (place.times - 1);
    }

  private:
    static constexpr u64 short_life = 64; // In units translated.
    static constexpr u8 most_times = 7;
    struct Place {
        u64 physical = ~u64{0};
        u64 last = 0;
        u8 times = 0;
        bool waited = false;
    };
    Place& at(u64 physical) { return places_[physical * 0x9E37'79B9'7F4A'7C15 >> 54]; }

    std::array<Place, 1024> places_;
};

} // namespace calque::jit
