#include "frontend/machine/migration.h"

#include "frontend/backends/state/address.h"
#include "frontend/machine/live_state.h"
#include "frontend/machine/machine.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace calque::machine {

namespace {

using Status = Migration::Status;

u64 host_microseconds() {
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    return static_cast<u64>(std::chrono::duration_cast<std::chrono::microseconds>(now).count());
}
u64 host_milliseconds() { return host_microseconds() / 1000; }

// Passes on at most so many bytes a second, or (the last of it, while the guest stands still) keeps them in memory.
class PacedSink final : public backends::StateSink {
  public:
    PacedSink(backends::StateSink& sink, std::function<u64()> limit, const std::atomic<bool>& cancelled)
        : sink_(sink), limit_(std::move(limit)), cancelled_(cancelled) {}

    Result<void> write(std::span<const u8> bytes) override {
        if (gathers_) {
            gathered_.insert(gathered_.end(), bytes.begin(), bytes.end());
            return {};
        }
        const u64 begin = host_microseconds();
        auto done = sink_.write(bytes);
        busy_microseconds_ += host_microseconds() - begin;
        sent_ += bytes.size();
        pace(bytes.size());
        return done;
    }
    void gather() { gathers_ = true; }
    Result<void> send_gathered() { return sink_.write(gathered_); }
    // Bytes in a millisecond, as far as is known.
    u64 rate() const {
        const u64 able = busy_microseconds_ < 1000 ? ~u64{0} : sent_ * 1000 / busy_microseconds_;
        const u64 limit = limit_();
        return std::max<u64>(1, limit == 0 ? able : std::min(able, limit / 1000));
    }

  private:
    // In slices of a tenth of a second.
    void pace(u64 bytes) {
        constexpr u64 slice = 100'000;
        in_slice_ += bytes;
        const u64 limit = limit_() / 10, now = host_microseconds();
        if (now - slice_began_ >= slice || limit == 0) {
            slice_began_ = now;
            in_slice_ = 0;
            return;
        }
        if (in_slice_ < limit || cancelled_) return;
        std::this_thread::sleep_for(std::chrono::microseconds(slice - (now - slice_began_)));
        slice_began_ = host_microseconds();
        in_slice_ = 0;
    }

    backends::StateSink& sink_;
    const std::function<u64()> limit_;
    const std::atomic<bool>& cancelled_;
    bool gathers_ = false;
    std::vector<u8> gathered_;
    u64 slice_began_ = 0, in_slice_ = 0, sent_ = 0, busy_microseconds_ = 0;
};

} // namespace

std::string_view name_of(Migration::Status status) {
    switch (status) {
    case Status::none: return "none";
    case Status::setup: return "setup";
    case Status::active: return "active";
    case Status::device: return "device";
    case Status::completed: return "completed";
    case Status::failed: return "failed";
    case Status::cancelling: return "cancelling";
    case Status::cancelled: break;
    }
    return "cancelled";
}

Migration::Info Migration::info() const {
    std::lock_guard lock(mutex_);
    Info info = info_;
    if (info.status == Status::setup || info.status == Status::active || info.status == Status::device)
        info.total_time = host_milliseconds() - started_;
    return info;
}

Migration::Parameters Migration::parameters() const {
    std::lock_guard lock(mutex_);
    return parameters_;
}

void Migration::set_parameters(const Parameters& parameters) {
    std::lock_guard lock(mutex_);
    parameters_ = parameters;
}

void Migration::keep_descriptor(const std::string& name, backends::UniqueFd fd) {
    std::lock_guard lock(mutex_);
    descriptors_[name] = std::move(fd);
}

Result<void> Migration::close_descriptor(const std::string& name) {
    std::lock_guard lock(mutex_);
    if (descriptors_.erase(name) == 0) return error("there is no descriptor '{}'", name);
    return {};
}

int Migration::take_descriptor(const std::string& name) {
    std::lock_guard lock(mutex_);
    const auto found = descriptors_.find(name);
    if (found == descriptors_.end()) return -1;
    const int fd = found->second.release();
    descriptors_.erase(found);
    return fd;
}

void Migration::set_status(Status status, const std::string& problem) {
    {
        std::lock_guard lock(mutex_);
        if (info_.status == status) return;
        info_.status = status;
        info_.problem = problem;
        if (status == Status::completed || status == Status::failed || status == Status::cancelled)
            info_.total_time = host_milliseconds() - started_;
    }
    changed_(status);
}

// --- Out

struct Migration::Outgoing {
    backends::StateAddress address;
    std::function<void(const Result<void>&)> ended;
    std::unique_ptr<backends::StateOutput> output;
    std::unique_ptr<PacedSink> sink;
    std::unique_ptr<LiveState> live;
    std::optional<RunState> stopped_from; // What it was doing before it stood still.
    u64 stood_still = 0;                  // Since when, in milliseconds.
};

Result<void> Migration::start(const std::string& uri, std::function<void(const Result<void>&)> ended) {
    if (auto free = background_.idle(); !free) return free;
    if (machine_.state() == RunState::in_migrate) return error("this machine waits for another one to come");
    if (machine_.state() == RunState::post_migrate)
        return error("the machine has been sent already; 'cont' goes on with it here first");
    if (auto good = machine_.can_hand_over(); !good) return good;
    auto address = backends::parse_state_address(uri, [this](const auto& name) { return take_descriptor(name); });
    if (!address) return address.error();
    {
        std::lock_guard lock(mutex_);
        info_ = {};
        started_ = host_milliseconds();
    }
    auto out = std::make_shared<Outgoing>();
    out->address = std::move(*address);
    out->ended = std::move(ended);
    set_status(Status::setup);
    return background_.start("a migration", [this, out](Background::Context& context) {
        const auto result = send(context, *out);
        conclude(context, *out, result);
    });
}

void Migration::cancel() {
    const Status status = info().status;
    if (status != Status::setup && status != Status::active && status != Status::device) return;
    set_status(Status::cancelling);
    background_.cancel();
}

Result<void> Migration::send(Background::Context& context, Outgoing& out) {
    auto output = backends::StateOutput::open(out.address, context.cancelled());
    if (!output) return output.error();
    out.output = std::move(*output);
    out.sink = std::make_unique<PacedSink>(
        *out.output, [this] { return parameters().max_bandwidth; }, context.cancelled());
    out.live = std::make_unique<LiveState>(machine_, *out.sink);
    {
        std::lock_guard lock(mutex_);
        info_.setup_time = host_milliseconds() - started_;
    }
    if (!context.cancelled()) set_status(Status::active);
    const auto enough = [&](const LiveProgress& progress) {
        {
            std::lock_guard lock(mutex_);
            info_.sent = progress.sent_bytes;
            info_.total = progress.all_bytes;
            info_.remaining = progress.dirty_bytes;
            info_.passes = progress.passes;
        }
        return !machine_.running() || progress.dirty_bytes / out.sink->rate() <= parameters().downtime_limit;
    };
    out.live->watch([this](const LiveProgress& progress) {
        std::lock_guard lock(mutex_);
        info_.sent = progress.sent_bytes;
        info_.total = progress.all_bytes;
        info_.remaining = progress.all_bytes - std::min(progress.all_bytes, progress.sent_bytes);
    });
    if (auto sent = out.live->send_running(context, enough); !sent) return sent;
    Result<void> stood;
    const bool there = context.while_stopped([&] {
        out.stood_still = host_milliseconds();
        out.stopped_from = machine_.state();
        out.sink->gather();
        stood = out.live->send_rest();
        if (stood) stood = machine_.hand_over();
    });
    if (!there) return error("the machine ended");
    if (!stood) return stood;
    if (!context.cancelled()) set_status(Status::device);
    if (auto sent = out.sink->send_gathered(); !sent) return sent;
    return out.output->finish();
}

void Migration::conclude(Background::Context& context, Outgoing& out, const Result<void>& result) {
    out.live.reset();
    const bool cancelled = !result && context.cancelled();
    context.conclude([&] {
        if (result)
            machine_.handed_over();
        else if (out.stopped_from)
            machine_.take_back(*out.stopped_from);
        {
            std::lock_guard lock(mutex_);
            if (out.stopped_from) info_.downtime = host_milliseconds() - out.stood_still;
            if (result) info_.remaining = 0;
        }
        set_status(result      ? Status::completed
                   : cancelled ? Status::cancelled
                               : Status::failed,
                   result ? "" : result.error().message);
        if (out.ended) out.ended(result);
    });
}

// --- In

Result<void> Migration::start_incoming(const std::string& uri) {
    if (machine_.state() != RunState::in_migrate)
        return error("only a machine that was started with -incoming takes another one's state");
    if (auto free = background_.idle(); !free) return free;
    const auto address = backends::parse_state_address(uri, [this](const auto& name) { return take_descriptor(name); });
    if (!address) return address.error();
    auto opened = backends::StateInput::open(*address);
    if (!opened) return opened.error();
    std::shared_ptr<backends::StateInput> input = std::move(*opened);
    {
        std::lock_guard lock(mutex_);
        info_ = {};
        info_.incoming = true;
        started_ = host_milliseconds();
    }
    set_status(Status::setup);
    return background_.start("an incoming migration", [this, input](Background::Context& context) {
        Result<void> result = input->accept(context.cancelled());
        if (result) set_status(Status::active);
        Result<std::vector<u8>> devices = std::vector<u8>();
        if (result) devices = machine_.receive_ram(*input);
        context.conclude([&] {
            if (result && !devices) result = devices.error();
            if (result) result = machine_.become(std::move(*devices));
            set_status(result ? Status::completed : Status::failed, result ? "" : result.error().message);
            if (!result) machine_.fail_incoming(result.error().message);
        });
    });
}

} // namespace calque::machine
