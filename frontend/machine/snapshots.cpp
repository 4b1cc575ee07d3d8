#include "frontend/machine/snapshots.h"

#include "frontend/machine/live_state.h"
#include "frontend/machine/machine.h"

#include <algorithm>
#include <chrono>
#include <cstring>

namespace calque::machine {

using backends::Qcow2Image;
using backends::qcow2::Snapshot;

namespace {

constexpr u64 piece = u64{1} << 20;

// Gathers pieces and writes them behind each other into a draft.
class DraftSink final : public backends::StateSink {
  public:
    explicit DraftSink(Qcow2Image& image) : image_(image) {}
    ~DraftSink() override { image_.drop_state(draft_); }

    Result<void> write(std::span<const u8> bytes) override {
        gathered_.insert(gathered_.end(), bytes.begin(), bytes.end());
        if (gathered_.size() < piece) return {};
        const u64 whole = gathered_.size() & ~(piece - 1);
        auto done = image_.append_state(draft_, std::span(gathered_).first(whole));
        gathered_.erase(gathered_.begin(), gathered_.begin() + static_cast<std::ptrdiff_t>(whole));
        return done;
    }
    // What has no whole piece yet; zeros fill the last cluster.
    Result<void> finish() {
        const u64 cluster = u64{1} << image_.header().geometry.cluster_bits;
        gathered_.resize((gathered_.size() + cluster - 1) / cluster * cluster);
        auto done = image_.append_state(draft_, gathered_);
        gathered_.clear();
        return done;
    }
    backends::qcow2::StateDraft& draft() { return draft_; }

  private:
    Qcow2Image& image_;
    backends::qcow2::StateDraft draft_;
    std::vector<u8> gathered_;
};

class SnapshotSource final : public backends::StateSource {
  public:
    SnapshotSource(Qcow2Image& image, backends::qcow2::SavedState state) : image_(image), state_(std::move(state)) {}

    Result<void> read(std::span<u8> bytes) override {
        if (bytes.size() > state_.bytes - at_) return error("the saved state ends too early");
        if (const int code = image_.read_state(state_, at_, bytes))
            return error("the saved state cannot be read ({})", std::strerror(code));
        at_ += bytes.size();
        return {};
    }

  private:
    Qcow2Image& image_;
    const backends::qcow2::SavedState state_;
    u64 at_ = 0;
};

// The last of that name.
std::optional<Snapshot> find(const std::vector<Snapshot>& list, const std::string& name) {
    const auto found = std::find_if(list.rbegin(), list.rend(), [&](const Snapshot& s) { return s.name == name; });
    if (found != list.rend()) return *found;
    const auto by_id = std::find_if(list.begin(), list.end(), [&](const Snapshot& s) { return s.id == name; });
    return by_id != list.end() ? std::optional(*by_id) : std::nullopt;
}

} // namespace

// --- Which disks

Result<Snapshots::Plan> Snapshots::plan(const Places& places) {
    Plan plan;
    const auto wanted = [&](const std::string& id) {
        return places.disks.empty() || std::find(places.disks.begin(), places.disks.end(), id) != places.disks.end();
    };
    for (const std::string& id : places.disks)
        if (std::none_of(machine_.disks().begin(), machine_.disks().end(),
                         [&](const backends::Disk* disk) { return disk->options().id == id; }))
            return error("there is no drive '{}'; 'info block' lists them", id);
    for (backends::Disk* disk : machine_.disks()) {
        auto image = disk->image();
        if (!image || image->read_only() || machine_.is_flash(*disk) || !wanted(disk->options().id)) continue;
        auto* const qcow2 = dynamic_cast<Qcow2Image*>(image.get());
        if (!qcow2)
            return error(
                "drive '{}' ('{}') is writable and cannot keep snapshots; give it a qcow2 image, or readonly=on",
                disk->options().id, image->name());
        plan.members.push_back({disk, std::move(image), qcow2, {}});
    }
    if (plan.members.empty())
        return error("No block device can accept snapshots: the machine has no writable drive with a qcow2 image");
    const auto state = std::find_if(plan.members.begin(), plan.members.end(),
                                    [&](const Member& member) { return member.disk->options().id == places.state; });
    if (!places.state.empty() && state == plan.members.end())
        return error("drive '{}' is not one that the snapshot is on, so the machine cannot be in it", places.state);
    if (state != plan.members.end()) plan.state = static_cast<std::size_t>(state - plan.members.begin());
    return plan;
}

// The disks with the snapshot that is there.
Result<Snapshots::Plan> Snapshots::plan_with(const std::string& name, const Places& places) {
    auto plan = this->plan(places);
    if (!plan) return plan;
    std::optional<std::size_t> state;
    for (std::size_t i = 0; i < plan->members.size(); ++i) {
        Member& member = plan->members[i];
        const auto list = member.image->snapshots();
        if (!list) return list.error();
        const auto found = find(*list, name);
        if (!found) return error("drive '{}' has no snapshot '{}'", member.disk->options().id, name);
        if (found->disk_size != member.image->size())
            return error("drive '{}' had {} bytes in snapshot '{}' and has {} now; resize it back first",
                         member.disk->options().id, found->disk_size, name, member.image->size());
        member.id = found->id;
        if (!state && found->machine_bytes != 0 && (places.state.empty() || places.state == member.disk->options().id))
            state = i;
    }
    if (!state) return error("the snapshot '{}' is of disks alone, without a machine to go on with", name);
    plan->state = *state;
    return plan;
}

// --- Saving

struct Snapshots::Saving {
    Saving(Machine& machine, std::string name, Plan plan)
        : name(std::move(name)), plan(std::move(plan)), sink(*this->plan.members[this->plan.state].image),
          live(machine, sink) {}
    const std::string name;
    const Plan plan;
    DraftSink sink;
    LiveState live;
    std::vector<std::pair<Qcow2Image*, std::string>> replaced; // Snapshots of the name from before.
};

Result<void> Snapshots::save(const std::string& name, const Places& places, Done done) {
    if (name.empty()) return error("a snapshot needs a name");
    if (auto free = background_.idle(); !free) return free;
    auto plan = this->plan(places);
    if (!plan) return plan.error();
    if (!places.replace)
        for (const Member& member : plan->members) {
            const auto list = member.image->snapshots();
            if (!list) return list.error();
            if (std::any_of(list->begin(), list->end(), [&](const Snapshot& s) { return s.name == name; }))
                return error("drive '{}' has a snapshot '{}' already; delete it first", member.disk->options().id,
                             name);
        }
    auto saving = std::make_shared<Saving>(machine_, name, std::move(*plan));
    return background_.start(fmt::format("saving the snapshot '{}'", name), [this, saving, done](auto& context) {
        // Few passes: what is written again and again is written once while the guest stands still.
        constexpr u64 few_bytes = u64{16} << 20, most_passes = 4;
        auto result = saving->live.send_running(context, [&](const LiveProgress& progress) {
            return progress.dirty_bytes <= few_bytes || progress.passes >= most_passes;
        });
        if (result) result = saving->plan.members[saving->plan.state].image->flush_state();
        if (result) context.while_stopped([&] { result = take_all(*saving); });
        for (const auto& [image, id] : saving->replaced)
            if (result) result = image->delete_snapshot(id);
        context.conclude([&] { done(result); });
    });
}

void Snapshots::cancel() { background_.cancel(); }

// With the guest stopped: the last of RAM, and every disk as it is now.
Result<void> Snapshots::take_all(Saving& saving) {
    if (auto sent = saving.live.send_rest(); !sent) return sent;
    if (auto finished = saving.sink.finish(); !finished) return finished;
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(now);
    const Qcow2Image::NewSnapshot about{
        saving.name, static_cast<u64>(seconds.count()),
        static_cast<u32>(std::chrono::duration_cast<std::chrono::nanoseconds>(now - seconds).count()),
        machine_.clock().now()};
    const auto of_the_name = [&](const Member& member) {
        std::vector<std::string> ids;
        if (const auto list = member.image->snapshots())
            for (const Snapshot& snapshot : *list)
                if (snapshot.name == saving.name) ids.push_back(snapshot.id);
        return ids;
    };
    const auto& members = saving.plan.members;
    std::vector<std::vector<std::string>> before;
    for (const Member& member : members)
        before.push_back(of_the_name(member));
    for (std::size_t i = 0; i < members.size(); ++i) {
        auto* const draft = i == saving.plan.state ? &saving.sink.draft() : nullptr;
        const auto taken = members[i].image->create_snapshot(about, draft);
        if (taken) continue;
        for (std::size_t j = 0; j < i; ++j) // All of them or none.
            if (const auto ids = of_the_name(members[j]); ids.size() > before[j].size())
                static_cast<void>(members[j].image->delete_snapshot(ids.back()));
        return taken;
    }
    for (std::size_t i = 0; i < members.size(); ++i)
        for (const std::string& id : before[i])
            saving.replaced.emplace_back(members[i].image, id);
    return {};
}

// --- The others

Result<void> Snapshots::load(const std::string& name, const Places& places) {
    if (auto free = background_.idle(); !free) return free;
    auto plan = plan_with(name, places);
    if (!plan) return plan.error();
    for (const Member& member : plan->members)
        if (member.disk->holds_requests())
            return error("requests to {} wait for the host; let the machine go on ('cont') or reset it first",
                         member.disk->options().id);
    const Member& keeper = plan->members[plan->state];
    const auto open = [&]() -> Result<std::unique_ptr<backends::StateSource>> {
        auto state = keeper.image->find_state(keeper.id);
        if (!state) return state.error();
        return std::unique_ptr<backends::StateSource>(
            std::make_unique<SnapshotSource>(*keeper.image, std::move(*state)));
    };
    bool torn = false; // Some disks are as they were then, and some are not.
    auto loaded = machine_.restore(open, [&]() -> Result<void> {
        for (const Member& member : plan->members) {
            if (auto applied = member.image->apply_snapshot(member.id); !applied) return applied;
            torn = &member != &plan->members.back();
        }
        return {};
    });
    if (!loaded && torn) return machine_.reset_after(loaded.error().message);
    return loaded;
}

Result<void> Snapshots::remove(const std::string& name, const Places& places) {
    if (auto free = background_.idle(); !free) return free;
    bool any = false;
    for (backends::Disk* disk : machine_.disks()) {
        const auto image = disk->image();
        auto* const qcow2 = dynamic_cast<Qcow2Image*>(image.get());
        if (!qcow2 || qcow2->read_only()) continue;
        if (!places.disks.empty()
            && std::find(places.disks.begin(), places.disks.end(), disk->options().id) == places.disks.end())
            continue;
        const auto list = qcow2->snapshots();
        if (!list) return list.error();
        const auto found = find(*list, name);
        if (!found) continue;
        any = true;
        if (auto removed = qcow2->delete_snapshot(found->id); !removed) return removed;
    }
    if (!any) return error("no drive has a snapshot '{}'; 'info snapshots' lists them", name);
    return {};
}

Result<std::vector<Snapshots::Entry>> Snapshots::list() {
    std::vector<Entry> entries;
    std::vector<std::vector<Snapshot>> others;
    for (const backends::Disk* disk : machine_.disks()) {
        const auto image = disk->image();
        auto* const qcow2 = dynamic_cast<Qcow2Image*>(image.get());
        if (!qcow2) continue;
        auto list = qcow2->snapshots();
        if (!list) return list.error();
        for (const Snapshot& snapshot : *list)
            if (snapshot.machine_bytes != 0) entries.push_back({snapshot, disk->options().id, true});
        if (!qcow2->read_only()) others.push_back(std::move(*list));
    }
    for (Entry& entry : entries)
        entry.on_all = std::all_of(others.begin(), others.end(), [&](const auto& list) {
            return std::any_of(list.begin(), list.end(),
                               [&](const Snapshot& s) { return s.name == entry.snapshot.name; });
        });
    return entries;
}

} // namespace calque::machine
