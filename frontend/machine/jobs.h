// Work that a program asked for by the machine protocol and comes back to: QEMU's jobs.
#pragma once

#include "base/result.h"
#include "base/types.h"

#include <functional>
#include <list>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace calque::machine {

// A job is concluded until somebody dismisses it. Any thread.
class Jobs {
  public:
    enum class Status : u8 { created, running, aborting, concluded, null };
    struct Job {
        std::string id, type;
        Status status = Status::created;
        std::string problem; // Of a concluded one that failed.
        u64 done = 0, all = 0;
    };
    // `changed` hears of every change of status; it must not call back.
    explicit Jobs(std::function<void(const Job&)> changed) : changed_(std::move(changed)) {}

    // Fails when there is a job of that id.
    Result<void> begin(const std::string& id, std::string_view type);
    void progress(const std::string& id, u64 done, u64 all);
    void conclude(const std::string& id, const Result<void>& result);
    // Fails when there is none, or it is not concluded.
    Result<void> dismiss(const std::string& id);
    std::vector<Job> all() const;

  private:
    void set_status(Job& job, Status status);
    std::list<Job>::iterator find(const std::string& id);
    const std::function<void(const Job&)> changed_;
    mutable std::mutex mutex_;
    std::list<Job> jobs_;
};

std::string_view name_of(Jobs::Status status);

} // namespace calque::machine
