// What an engine knows of the places that samples found it at, and of the regions that were made there.
#pragma once

#include "jit/cache/code_cache.h"
#include "jit/translate/region.h"

#include <span>
#include <unordered_map>
#include <vector>

namespace calque::jit {

class Regions {
  public:
    // Paths from a place, before a region is made there.
    static constexpr unsigned enough = 3, most = 6;

    // A sample at the unit's place: whether it is time to see how it goes on from there.
    bool wants_path(const UnitKey& key);
    // A path from there. What of it a region is to be made of: where most of the paths went, and each round of those
    // that came by there again; nothing when there are not enough yet, or that is not much.
    std::span<const PathStep> add_path(const UnitKey& key, std::span<const PathStep> path);
    bool hopeless(const UnitKey& key) { return place(key).hopeless; }
    // Nothing (more) is to be won there.
    void give_up(const UnitKey& key) { place(key) = {.hopeless = true, .samples = 0, .paths = {}}; }

    void add(u32 unit, std::vector<u64> path) { paths_[unit] = std::move(path); }
    // The linear addresses of a region's instructions.
    const std::vector<u64>* path_of(u32 unit) const {
        const auto at = paths_.find(unit);
        return at == paths_.end() ? nullptr : &at->second;
    }
    void forget() {
        places_.clear();
        paths_.clear();
    }

  private:
    static constexpr std::size_t most_places = 2048;
    struct Place {
        bool hopeless = false;
        unsigned samples = 0;
        std::vector<std::vector<u64>> paths;
    };
    Place& place(const UnitKey& key) {
        if (places_.size() >= most_places) places_.clear();
        return places_[key.hash()]; // Two places that share one are sampled together, no more.
    }
    std::unordered_map<u64, Place> places_;
    std::unordered_map<u32, std::vector<u64>> paths_;
};

} // namespace calque::jit
