// The machine sent to another process while it runs, and received from one.
#pragma once

#include "base/result.h"
#include "base/types.h"
#include "frontend/backends/unique_fd.h"
#include "frontend/machine/background.h"

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

namespace calque::machine {

class Machine;

// RAM goes while the guest runs, and again what it writes meanwhile, until the rest fits into the downtime. Then the
// guest stands still, its disks are flushed and let go of, and the rest is sent. When that fails, or is cancelled, the
// guest goes on here.
class Migration {
  public:
    enum class Status : u8 { none, setup, active, device, completed, failed, cancelling, cancelled };
    struct Parameters {
        u64 max_bandwidth = u64{128} << 20; // Bytes a second while the guest runs; 0: no bound.
        u64 downtime_limit = 300;           // Milliseconds.
    };
    struct Info {
        Status status = Status::none;
        std::string problem; // Of one that failed.
        bool incoming = false;
        u64 sent = 0, remaining = 0, total = 0; // Bytes of RAM, but for `sent`.
        u64 passes = 0, dirty_pages_rate = 0;
        u64 total_time = 0, setup_time = 0, downtime = 0; // Milliseconds.
    };
    // `changed` hears of the status, on any thread, and must not call back.
    Migration(Machine& machine, Background& background, std::function<void(Status)> changed)
        : machine_(machine), background_(background), changed_(std::move(changed)) {}

    // On the machine's thread. What is wrong with the words is returned, the rest is in info(). `ended` (may be empty)
    // is called on the machine's thread.
    Result<void> start(const std::string& uri, std::function<void(const Result<void>&)> ended = {});
    void cancel();
    // Waits for a machine at `uri` and becomes it. Only for one that was started to do so.
    Result<void> start_incoming(const std::string& uri);

    Info info() const;
    Parameters parameters() const;
    void set_parameters(const Parameters& parameters);
    // A descriptor that a client has passed, for fd:NAME.
    void keep_descriptor(const std::string& name, backends::UniqueFd fd);
    Result<void> close_descriptor(const std::string& name);

  private:
    struct Outgoing;
    int take_descriptor(const std::string& name);
    void set_status(Status status, const std::string& problem = {});
    Result<void> send(Background::Context& context, Outgoing& out);
    void conclude(Background::Context& context, Outgoing& out, const Result<void>& result);

    Machine& machine_;
    Background& background_;
    const std::function<void(Status)> changed_;
    mutable std::mutex mutex_;
    Info info_;
    Parameters parameters_;
    u64 started_ = 0; // Milliseconds of the host's clock.
    std::map<std::string, backends::UniqueFd> descriptors_;
};

std::string_view name_of(Migration::Status status);

} // namespace calque::machine
