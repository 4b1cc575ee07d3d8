// Devices, drives and networks that come and go while the machine runs.
#pragma once

#include "frontend/machine/chipset.h"
#include "frontend/machine/host_side.h"
#include "frontend/machine/run_state.h"

#include <functional>
#include <string>
#include <vector>

namespace calque::machine {

class Background;
class Machine;

// On the thread that serves the machine's requests. Devices are changed with every vCPU parked and input held back, so
// that nobody is at what goes: no access, no task, no timer, no frame, no request to a disk.
class Hotplug {
  public:
    using Notify = std::function<void(const Event&)>;
    Hotplug(Machine& machine, Background& background, Notify notify);

    // Each is done when the requests that the machine has now are served; then `done` is called.
    using Done = std::function<void(Result<void>)>;
    void add(DeviceRequest request, Done done);
    // Asks the guest for a PCI device, which goes when the guest lets go of it or is reset; takes a USB device out at
    // once, and with `force` any that can go.
    void remove(const std::string& id, bool force, Done done);

    // --- From Machine::request_stopped().
    void let_go(u32 slots);     // The guest has.
    void finish_before_reset(); // What it was asked for goes with the reset.

    // --- Drives and networks, at once.
    Result<void> add_node(const Json& node);
    Result<void> remove_node(const std::string& name);
    Result<void> add_drive(const std::string& text);
    Result<void> remove_drive(const std::string& id);
    Result<void> add_network(const backends::NetOptions& options);
    Result<void> remove_network(const std::string& id);
    // As on the command line.
    Result<DeviceRequest> read_device(const std::string& text);
    Result<backends::NetOptions> read_network(const std::string& text);

  private:
    Result<void> can_change() const;
    Result<HostSide*> host() const;
    Result<void> plug(DeviceRequest request);
    Result<void> check_free(const DeviceRequest& request, std::string_view key, std::string_view what) const;
    Result<void> take_drive(DeviceRequest& request);
    void give_address(DeviceRequest& request) const;
    void unplug(const std::string& name);
    void release_drive(const std::string& id);
    const Chipset::Plugged* user_of(std::string_view key, const std::string& value) const;
    bool built_in(const std::string& drive) const;

    Machine& machine_;
    Background& background_;
    const Notify notify_;
};

} // namespace calque::machine
