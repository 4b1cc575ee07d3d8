#include "base/log.h"

#include <algorithm>
#include <array>
#include <cstdio>

namespace calque {

namespace {
struct ChannelInfo {
    std::string_view name;
    std::string_view text;
};
constexpr std::array channels{
#define X(name, text) ChannelInfo{#name, text},
    CALQUE_LOG_CHANNELS(X)
#undef X
};
static_assert(channels.size() <= 64);
} // namespace

struct Log::Sink {
    std::FILE* file = stderr;
    std::string last;
    u64 repeats = 0;

    ~Sink() {
        flush_repeats();
        if (file != stderr) std::fclose(file);
    }
    void flush_repeats() {
        if (repeats) fmt::print(file, "  (the last message {} times more)\n", repeats);
        repeats = 0;
    }
};

Log::Log() : sink_(std::make_unique<Sink>()) {}
Log::~Log() = default;

Result<void> Log::enable(std::string_view list) {
    while (!list.empty()) {
        const std::size_t comma = std::min(list.find(','), list.size());
        const std::string_view name = list.substr(0, comma);
        list.remove_prefix(std::min(comma + 1, list.size()));
        if (name.empty()) continue;
        if (name == "all") {
            enabled_ = low_mask_of_channels();
            continue;
        }
        const auto found =
            std::find_if(channels.begin(), channels.end(), [&](const auto& c) { return c.name == name; });
        if (found == channels.end())
            return error("there is no log channel '{}'; the channels are: all{}", name, [] {
                std::string names;
                for (const auto& c : channels)
                    names.append(", ").append(c.name);
                return names;
            }());
        enabled_ |= u64{1} << (found - channels.begin());
    }
    return {};
}

u64 Log::low_mask_of_channels() { return (u64{1} << channels.size()) - 1; }

Result<void> Log::open(const std::string& path) {
    std::FILE* file = std::fopen(path.c_str(), "w");
    if (!file) return error("cannot write the log file '{}'; give -D a path that can be written", path);
    std::lock_guard lock(mutex_);
    sink_->flush_repeats();
    if (sink_->file != stderr) std::fclose(sink_->file);
    sink_->file = file;
    return {};
}

void Log::write(Channel channel, std::string_view message) {
    std::lock_guard lock(mutex_);
    std::string line = fmt::format("{}: {}\n", channels[static_cast<unsigned>(channel)].name, message);
    if (line == sink_->last) {
        ++sink_->repeats;
        return;
    }
    sink_->flush_repeats();
    std::fwrite(line.data(), 1, line.size(), sink_->file);
    sink_->last = std::move(line);
}

void Log::unimplemented(Channel channel, std::string_view name) {
    bool first = false;
    {
        std::lock_guard lock(mutex_);
        auto found = unimplemented_.find(name);
        first = found == unimplemented_.end();
        if (first) found = unimplemented_.emplace(std::string(name), 0).first;
        ++found->second;
    }
    if (first) trace(channel, "unimplemented: {}", name);
}

std::vector<Log::Count> Log::unimplemented_counts() const {
    std::vector<Count> counts;
    {
        std::lock_guard lock(mutex_);
        for (const auto& [name, times] : unimplemented_)
            counts.push_back({name, times});
    }
    std::sort(counts.begin(), counts.end(), [](const Count& a, const Count& b) { return a.times > b.times; });
    return counts;
}

std::string Log::channel_help() {
    std::string help;
    for (const auto& c : channels)
        help += fmt::format("  {:<12} {}\n", c.name, c.text);
    return help;
}

} // namespace calque
