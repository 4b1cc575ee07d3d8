// The machine's drives, those of the command line and those that come and go while it runs.
#pragma once

#include "base/json.h"
#include "frontend/backends/block/drive.h"
#include "frontend/cli/options.h"
#include "frontend/machine/host_side.h"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace calque::cli {

// A drive is a -drive, or a node of -blockdev that is no part of another one. A node that is a part has no file open of
// its own; it can be used by its name again when what it was part of is gone.
class Drives {
  public:
    explicit Drives(Log& log) : log_(log) {}

    Result<void> open(const Options& options);
    // Null: there is no such drive, or it is not open.
    backends::Disk* find(const std::string& id) const;
    std::vector<backends::Disk*> open_disks() const;

    // As machine::HostSide has them.
    Result<backends::Disk*> add_node(const Json& node, const machine::HostSide::InUse& in_use);
    Result<void> remove_node(const std::string& name);
    Result<backends::Disk*> add_drive(const std::string& text);
    Result<void> remove_drive(const std::string& id);
    Result<machine::HostSide::Opened> drive_for(machine::DeviceRequest& request);
    bool goes_with_device(const std::string& id) const;

  private:
    struct Drive {
        backends::DriveOptions options; // Its id is the node's name.
        std::optional<Json> node{};     // As it was given; none for a -drive.
        std::string parent{};           // The node that it is part of; empty: none.
        std::unique_ptr<backends::Disk> disk{};
    };
    Drive* at(const std::string& id) const;
    // The drives that a node names as its parts. Errors: there is no such node, or it has a place already.
    Result<std::vector<Drive*>> parts_of(const Json& node, const machine::HostSide::InUse& in_use) const;
    void gather(const Drive& drive, std::vector<Json>& nodes) const;
    Result<void> settle(Drive& drive) const; // Its options follow from its node and what that names.
    Result<void> open(Drive& drive);

    Log& log_;
    backends::IoPool pool_;
    bool snapshot_ = false;
    std::vector<std::unique_ptr<Drive>> drives_;
};

} // namespace calque::cli
