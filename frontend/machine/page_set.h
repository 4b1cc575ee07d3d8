// A set of pages of RAM, by their numbers.
#pragma once

#include "base/types.h"

#include <bit>
#include <vector>

namespace calque::machine {

class PageSet {
  public:
    PageSet() = default;
    explicit PageSet(u64 pages) : size_(pages), words_((pages + 63) / 64) {}

    u64 size() const { return size_; } // How many pages there are, in the set or not.
    void add(u64 page) { words_[page / 64] |= u64{1} << (page % 64); }
    bool contains(u64 page) const { return (words_[page / 64] >> (page % 64)) & 1; }
    // The first page of the set from `page` on; size() when there is none.
    u64 next(u64 page) const {
        for (u64 word = page / 64; word < words_.size(); ++word) {
            u64 rest = words_[word];
            if (word == page / 64) rest &= ~u64{0} << (page % 64);
            if (rest != 0) return word * 64 + static_cast<u64>(std::countr_zero(rest));
        }
        return size_;
    }
    // Those of another set of the same size as well.
    void add_all(const PageSet& other) {
        for (std::size_t i = 0; i < words_.size(); ++i)
            words_[i] |= other.words_[i];
    }
    u64 count() const {
        u64 total = 0;
        for (const u64 word : words_)
            total += static_cast<u64>(std::popcount(word));
        return total;
    }

  private:
    u64 size_ = 0;
    std::vector<u64> words_;
};

} // namespace calque::machine
