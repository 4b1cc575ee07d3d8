#include "mmu/rendezvous.h"

#include <algorithm>

namespace calque::mmu {

void Rendezvous::add(std::shared_ptr<RendezvousMember> member) {
    std::lock_guard lock(mutex_);
    members_.push_back(std::move(member));
    count_ = static_cast<u32>(members_.size());
}

void Rendezvous::remove(RendezvousMember& member) {
    std::lock_guard lock(mutex_);
    member.parked_ = true; // For whoever waits for it.
    std::erase_if(members_, [&](const auto& other) { return other.get() == &member; });
    count_ = static_cast<u32>(members_.size());
    changed_.notify_all();
}

void Rendezvous::post_locked(Pages pages, RendezvousMember& member) {
    if (!pages || member.pages_.size() + pages->size() > most_pages) {
        member.pages_.clear();
        member.all_ = true;
    }
    if (!member.all_) member.pages_.insert(member.pages_.end(), pages->begin(), pages->end());
    ++member.posted_;
    member.pending_ = true;
}

void Rendezvous::serve_locked(RendezvousMember& member) {
    member.pending_ = false;
    if (member.all_) member.drop_all_writable();
    for (const PhysicalAddress page : member.pages_)
        member.drop_writable(page);
    member.all_ = false;
    member.pages_.clear();
    member.served_ = member.posted_;
}

void Rendezvous::post(std::span<const PhysicalAddress> pages, RendezvousMember& member) {
    {
        std::lock_guard lock(mutex_);
        post_locked(pages, member);
    }
    member.kick();
}

void Rendezvous::drop_everywhere(std::span<const PhysicalAddress> pages, RendezvousMember* self) {
    if (self) {
        for (const PhysicalAddress page : pages)
            self->drop_writable(page);
    }
    drop(pages, self);
}

void Rendezvous::drop_all_everywhere() { drop(std::nullopt, nullptr); }

void Rendezvous::drop(Pages pages, RendezvousMember* self) {
    struct Awaited {
        std::shared_ptr<RendezvousMember> member;
        u64 ticket;
    };
    std::vector<Awaited> awaited;
    std::unique_lock lock(mutex_);
    for (const auto& member : members_) {
        if (member.get() == self) continue;
        post_locked(pages, *member);
        // Sequentially consistent with unpark(): either it is seen to run here, or it sees what was posted.
        if (!member->parked_.load()) awaited.push_back({member, member->posted_});
    }
    if (awaited.empty()) return;
    // The kicks run outside the lock: a vCPU may hold its own lock when it parks.
    lock.unlock();
    for (const Awaited& one : awaited)
        one.member->kick();
    lock.lock();
    ++waiters_;
    const auto done = [](const Awaited& one) {
        return one.member->served_ >= one.ticket || one.member->parked_.load();
    };
    while (!std::all_of(awaited.begin(), awaited.end(), done)) {
        if (self && self->pending_.load()) {
            serve_locked(*self);
            changed_.notify_all();
        }
        changed_.wait(
            lock, [&] { return (self && self->pending_.load()) || std::all_of(awaited.begin(), awaited.end(), done); });
    }
    --waiters_;
}

void Rendezvous::serve(RendezvousMember& member) {
    if (!member.pending_.load()) return;
    std::lock_guard lock(mutex_);
    serve_locked(member);
    changed_.notify_all();
}

void Rendezvous::park(RendezvousMember& member) {
    member.parked_.store(true);
    if (waiters_.load() == 0) return; // Whoever starts to wait later sees it parked.
    std::lock_guard lock(mutex_);
    changed_.notify_all();
}

void Rendezvous::unpark(RendezvousMember& member) {
    member.parked_.store(false);
    serve(member);
}

} // namespace calque::mmu
