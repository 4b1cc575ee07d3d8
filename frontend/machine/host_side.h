// What the machine asks of the program around it while it runs: the host's ends of devices that come and go.
#pragma once

#include "base/json.h"
#include "frontend/backends/block/disk.h"
#include "frontend/backends/net/net_options.h"
#include "frontend/backends/net/net_port.h"
#include "frontend/machine/device_request.h"

#include <functional>
#include <string>
#include <vector>

namespace calque::machine {

// Only on the thread that serves the machine's requests. What it gives is its own, until it is asked to close it. Who
// asks has seen to it that nothing of the machine uses what is closed.
class HostSide {
  public:
    virtual ~HostSide() = default;
    using InUse = std::function<bool(const std::string& drive)>; // By a device.

    // --- Drives. Those that are open now, in order.
    virtual std::vector<backends::Disk*> disks() = 0;
    // A node of a disk image, as -blockdev has it. Nodes that it names become part of it. Gives the drive that can be
    // used by its name.
    virtual Result<backends::Disk*> add_node(const Json& node, const InUse& in_use) = 0;
    virtual Result<void> remove_node(const std::string& name) = 0; // Not a part of another; its own parts stay.
    virtual Result<backends::Disk*> add_drive(const std::string& text) = 0; // As -drive has it, if=none,id=...
    virtual Result<void> remove_drive(const std::string& id) = 0;           // One of -drive or add_drive().
    // The drive for a device that has drive=: it takes what the request says of it (werror= and so on) out, and may
    // open the drive anew for that.
    struct Opened {
        backends::Disk* disk;
        bool fresh; // Nobody has seen it yet.
    };
    virtual Result<Opened> drive_for(DeviceRequest& request) = 0;
    // A drive of -drive or add_drive() goes with its device, one of -blockdev stays.
    virtual bool goes_with_device(const std::string& drive) = 0;

    // --- Networks.
    virtual Result<backends::NetPort*> add_network(const backends::NetOptions& options) = 0;
    virtual void remove_network(const std::string& id) = 0;

    // --- Words as on the command line.
    virtual Result<DeviceRequest> read_device(const std::string& text) = 0;         // -device
    virtual Result<backends::NetOptions> read_network(const std::string& text) = 0; // -netdev
};

} // namespace calque::machine
