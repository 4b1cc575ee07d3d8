// Snapshots of machine and disks, and the jobs that take, load and delete them.
#include "frontend/qmp/commands.h"

#include <array>

namespace calque::qmp {

namespace {

machine::Snapshots::Places places_of(const Arguments& arguments) {
    machine::Snapshots::Places places;
    places.state = arguments.text("vmstate");
    for (const Json& device : arguments.list("devices"))
        if (device.string()) places.disks.push_back(*device.string());
    return places;
}

// Every one of these is a job from the start, and what goes wrong with it is in query-jobs.
Answer snapshot_save(Control& control, const Arguments& arguments) {
    machine::Jobs& jobs = control.machine.jobs();
    const std::string job = arguments.text("job-id");
    if (auto begun = jobs.begin(job, "snapshot-save"); !begun) return begun.error();
    auto started = control.machine.snapshots().save(arguments.text("tag"), places_of(arguments),
                                                    [&jobs, job](const auto& result) { jobs.conclude(job, result); });
    if (!started) jobs.conclude(job, started);
    return {};
}

Answer snapshot_load(Control& control, const Arguments& arguments) {
    machine::Machine& machine = control.machine;
    const std::string job = arguments.text("job-id");
    if (auto begun = machine.jobs().begin(job, "snapshot-load"); !begun) return begun.error();
    machine.request_stopped([&machine, job, tag = arguments.text("tag"), places = places_of(arguments)] {
        machine.jobs().conclude(job, machine.snapshots().load(tag, places));
    });
    return {};
}

Answer snapshot_delete(Control& control, const Arguments& arguments) {
    machine::Jobs& jobs = control.machine.jobs();
    const std::string job = arguments.text("job-id");
    if (auto begun = jobs.begin(job, "snapshot-delete"); !begun) return begun.error();
    jobs.conclude(job, control.machine.snapshots().remove(arguments.text("tag"), places_of(arguments)));
    return {};
}

Answer query_jobs(Control& control, const Arguments&) {
    Json::Array all;
    for (const auto& job : control.machine.jobs().all()) {
        Object about{{"id", job.id},
                     {"type", job.type},
                     {"status", name_of(job.status)},
                     {"current-progress", job.done},
                     {"total-progress", job.all}};
        if (!job.problem.empty()) about.add("error", job.problem);
        all.push_back(about);
    }
    return all;
}

Answer job_dismiss(Control& control, const Arguments& arguments) {
    return control.machine.jobs().dismiss(arguments.text("id"));
}

Answer job_cancel(Control& control, const Arguments& arguments) {
    for (const auto& job : control.machine.jobs().all()) {
        if (job.id != arguments.text("id")) continue;
        if (job.status == machine::Jobs::Status::running && job.type == "snapshot-save") {
            control.machine.snapshots().cancel();
            return {};
        }
        return error("job '{}' ({}, {}) cannot be cancelled", job.id, job.type, name_of(job.status));
    }
    return error("there is no job '{}'; query-jobs lists them", arguments.text("id"));
}

constexpr std::array commands{
    Command{"snapshot-save", "job-id: str, tag: str, vmstate: str, devices: [str]", "", snapshot_save},
    Command{"snapshot-load", "job-id: str, tag: str, vmstate: str, devices: [str]", "", snapshot_load},
    Command{"snapshot-delete", "job-id: str, tag: str, devices: [str]", "", snapshot_delete},
    Command{"query-jobs", "", "[JobInfo]", query_jobs},
    Command{"job-dismiss", "id: str", "", job_dismiss},
    Command{"job-cancel", "id: str", "", job_cancel},
};

} // namespace

std::span<const Command> snapshot_commands() { return commands; }

} // namespace calque::qmp
