#include "frontend/machine/jobs.h"

#include <algorithm>

namespace calque::machine {

std::string_view name_of(Jobs::Status status) {
    switch (status) {
    case Jobs::Status::created: return "created";
    case Jobs::Status::running: return "running";
    case Jobs::Status::aborting: return "aborting";
    case Jobs::Status::concluded: return "concluded";
    case Jobs::Status::null: break;
    }
    return "null";
}

void Jobs::set_status(Job& job, Status status) {
    job.status = status;
    changed_(job);
}

std::list<Jobs::Job>::iterator Jobs::find(const std::string& id) {
    return std::find_if(jobs_.begin(), jobs_.end(), [&](const Job& job) { return job.id == id; });
}

Result<void> Jobs::begin(const std::string& id, std::string_view type) {
    std::lock_guard lock(mutex_);
    if (id.empty()) return error("a job needs a job-id");
    if (find(id) != jobs_.end()) return error("there is a job '{}' already; job-dismiss lets go of it", id);
    jobs_.push_back({id, std::string(type), Status::created, {}, 0, 1});
    set_status(jobs_.back(), Status::created);
    set_status(jobs_.back(), Status::running);
    return {};
}

void Jobs::progress(const std::string& id, u64 done, u64 all) {
    std::lock_guard lock(mutex_);
    if (const auto job = find(id); job != jobs_.end()) {
        job->done = done;
        job->all = all;
    }
}

void Jobs::conclude(const std::string& id, const Result<void>& result) {
    std::lock_guard lock(mutex_);
    const auto job = find(id);
    if (job == jobs_.end()) return;
    if (result) {
        job->done = job->all;
    } else {
        job->problem = result.error().message;
        set_status(*job, Status::aborting);
    }
    set_status(*job, Status::concluded);
}

Result<void> Jobs::dismiss(const std::string& id) {
    std::lock_guard lock(mutex_);
    const auto job = find(id);
    if (job == jobs_.end()) return error("there is no job '{}'; query-jobs lists them", id);
    if (job->status != Status::concluded)
        return error("job '{}' is {}; only a concluded job can be dismissed", id, name_of(job->status));
    set_status(*job, Status::null);
    jobs_.erase(job);
    return {};
}

std::vector<Jobs::Job> Jobs::all() const {
    std::lock_guard lock(mutex_);
    return {jobs_.begin(), jobs_.end()};
}

} // namespace calque::machine
