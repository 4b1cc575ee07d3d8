// What an engine knows of the places that samples found it at, and of the regions that were made there.
#pragma once

#include "jit/cache/code_cache.h"

#include <unordered_map>
#include <vector>

namespace calque::jit {

class Regions {
  public:
    static constexpr unsigned enough = 2; // Samples at a place, before a region is made there.
    static constexpr unsigned hopeless = ~0u;

    // Another sample at the unit's place; how many there have been, or that none will be made there.
    unsigned count(const UnitKey& key) {
        if (places_.size() >= most_places) places_.clear();
        unsigned& count = places_[hash(key)];
        return count == hopeless ? count : ++count;
    }
    // Nothing is to be won there.
    void give_up(const UnitKey& key) { places_[hash(key)] = hopeless; }
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
    static constexpr std::size_t most_places = 16384;
    // Two places that share one are sampled together, no more.
    static u64 hash(const UnitKey& key) {
        return (key.physical ^ (key.linear << 20) ^ key.mode * 0xC2B2AE3D27D4EB4F) * 0x9E3779B97F4A7C15;
    }
    std::unordered_map<u64, unsigned> places_;
    std::unordered_map<u32, std::vector<u64>> paths_;
};

} // namespace calque::jit
