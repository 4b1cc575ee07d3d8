// A debugger's watchpoints: memory whose accesses are told. Pages that hold any are kept out of the TLB for the
// accesses that are watched for, so that these take the slow path and all others cost what they always do.
#pragma once

#include "base/types.h"

#include <functional>
#include <vector>

namespace calque::mmu {

struct Watchpoint {
    u64 address = 0; // Linear.
    u64 length = 0;
    bool reads = false, writes = false;
    bool operator==(const Watchpoint&) const = default;
};

class Watchpoints {
  public:
    // After the access, on the vCPU's thread; `address` is the watchpoint's.
    using Hit = std::function<void(u64 address, bool write)>;

    void set(std::vector<Watchpoint> all, Hit hit) {
        all_ = std::move(all);
        hit_ = std::move(hit);
    }
    const std::vector<Watchpoint>& all() const { return all_; }
    // Whether anything in a page is watched for such accesses.
    bool in_page(u64 address, bool write) const {
        for (const Watchpoint& w : all_)
            if ((write ? w.writes : w.reads) && w.address >> page_shift <= address >> page_shift
                && (w.address + w.length - 1) >> page_shift >= address >> page_shift)
                return true;
        return false;
    }
    void note(u64 address, u64 size, bool write) const {
        for (const Watchpoint& w : all_)
            if ((write ? w.writes : w.reads) && (address - w.address < w.length || w.address - address < size))
                hit_(w.address, write);
    }

  private:
    std::vector<Watchpoint> all_;
    Hit hit_;
};

} // namespace calque::mmu
