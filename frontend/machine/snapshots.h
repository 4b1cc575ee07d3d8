// Snapshots of the whole machine in its disks: each writable disk has an internal snapshot of the same name, taken at
// the same moment, and one of them has RAM and devices besides (qcow2).
#pragma once

#include "base/result.h"
#include "base/types.h"
#include "frontend/backends/block/disk.h"
#include "frontend/backends/block/qcow2_image.h"

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace calque::machine {

class Background;
class Machine;

class Snapshots {
  public:
    Snapshots(Machine& machine, Background& background) : machine_(machine), background_(background) {}

    // What is to be in a snapshot; by default every writable disk, and the machine in the first of them.
    struct Places {
        std::string state;              // The id of the disk that has the machine; empty: the first.
        std::vector<std::string> disks; // Their ids; empty: all.
        bool replace = false;           // One of the same name goes, when the new one is there.
    };
    using Done = std::function<void(const Result<void>&)>;

    // Saves the machine while the guest runs; it stands still for the last part. What is wrong from the start is
    // returned, and `done`, which is called on the machine's thread, hears how it ended.
    Result<void> save(const std::string& name, const Places& places, Done done);
    void cancel(); // The one that is being saved; `done` hears of it.
    // Makes machine and disks what they were. Only from request_stopped(), or before the machine runs. After a failure
    // everything is as before, unless it says that the machine was reset.
    Result<void> load(const std::string& name, const Places& places);
    // Removes it from every disk that has it. On the machine's thread.
    Result<void> remove(const std::string& name, const Places& places);

    struct Entry {
        backends::qcow2::Snapshot snapshot; // As the disk with the machine has it.
        std::string disk;                   // That disk's id.
        bool on_all = true;                 // Every writable disk has one of this name.
    };
    // Those with a machine. On the machine's thread.
    Result<std::vector<Entry>> list();

  private:
    struct Member {
        backends::Disk* disk;
        backends::Disk::Image held; // Keeps the image.
        backends::Qcow2Image* image;
        std::string id; // Of the snapshot in question, in this image.
    };
    struct Plan {
        std::vector<Member> members;
        std::size_t state = 0; // Which of them has the machine.
    };
    struct Saving;
    Result<Plan> plan(const Places& places);
    Result<Plan> plan_with(const std::string& name, const Places& places);
    Result<void> take_all(Saving& saving);

    Machine& machine_;
    Background& background_;
};

} // namespace calque::machine
