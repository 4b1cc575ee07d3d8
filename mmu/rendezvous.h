// Getting every vCPU to drop its writable TLB entries of a page before somebody decodes code from it.
//
// The protocol. A vCPU thread that is about to decode calls PhysicalMap::mark_code(), and when that returns true
// PhysicalMap::protect_code_page(). That posts the page to every other member, kicks those that run, and waits until
// each has served it (at its next safe point, by Mmu::serve_requests()) or is parked. Nothing can deadlock:
//   - whoever waits serves what is posted to itself meanwhile;
//   - a member that is parked (halted, stopped, not started, inside a device) is not waited for: what was posted to it
//     it serves in unpark(), before it touches guest memory again;
//   - no code observer, map observer or IoTarget may wait for a vCPU, so a vCPU that waits for a device's lock gets it.
#pragma once

#include "base/types.h"

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

namespace calque::mmu {

// One vCPU's part. Derived by its Mmu. Starts parked.
class RendezvousMember {
  public:
    virtual ~RendezvousMember() = default;

    // Makes the vCPU come to its next safe point soon. Any thread.
    virtual void kick() = 0;
    // On the member's own thread: drops the writable entries of one page; of every page.
    virtual void drop_writable(PhysicalAddress page) = 0;
    virtual void drop_all_writable() = 0;

  private:
    friend class Rendezvous;
    std::atomic<bool> parked_{true};
    std::atomic<bool> pending_{false};
    // Guarded by the rendezvous' mutex:
    std::vector<PhysicalAddress> pages_; // Posted and not served; past `most_pages` they become `all_`.
    bool all_ = false;
    u64 posted_ = 0; // Rendezvous counted, to tell whether this one is served.
    u64 served_ = 0;
};

class Rendezvous {
  public:
    // Members are added before their threads run and removed after they ended.
    void add(std::shared_ptr<RendezvousMember> member);
    void remove(RendezvousMember& member);

    // Only one member: nobody but that one's thread decodes code.
    bool only_one() const { return count_.load(std::memory_order_relaxed) <= 1; }

    // Returns when no member but those that are parked has a writable entry of any of the pages. `self` is the caller's
    // own part, or null on a thread that has none.
    void drop_everywhere(std::span<const PhysicalAddress> pages, RendezvousMember* self);
    // The same of every page. For a thread that has no part.
    void drop_all_everywhere();
    // Posts the pages and does not wait.
    void post(std::span<const PhysicalAddress> pages, RendezvousMember& member);

    // By the member's own thread.
    bool pending(const RendezvousMember& member) const { return member.pending_.load(); }
    void serve(RendezvousMember& member);
    bool parked(const RendezvousMember& member) const { return member.parked_.load(std::memory_order_relaxed); }
    void park(RendezvousMember& member);
    void unpark(RendezvousMember& member);

  private:
    static constexpr std::size_t most_pages = 256;

    using Pages = std::optional<std::span<const PhysicalAddress>>; // None: all.
    void drop(Pages pages, RendezvousMember* self);
    void post_locked(Pages pages, RendezvousMember& member);
    void serve_locked(RendezvousMember& member);

    std::mutex mutex_;
    std::condition_variable changed_;
    std::atomic<u32> waiters_{0};
    std::atomic<u32> count_{0}; // Of members_.
    std::vector<std::shared_ptr<RendezvousMember>> members_;
};

} // namespace calque::mmu
