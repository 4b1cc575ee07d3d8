#include "jit/regions.h"

#include <algorithm>

namespace calque::jit {

namespace {

using Path = std::span<const u64>;

// The path, and what is left of it each time that it is back at its start.
void add_rounds(std::vector<Path>& rounds, Path path) {
    rounds.push_back(path);
    for (std::size_t n = 1; n < path.size(); ++n)
        if (path[n] == path.front()) rounds.push_back(path.subspan(n));
}

// As far as three of four go the same way, and there are two.
std::vector<u64> way_of_most(std::vector<Path> rounds) {
    std::vector<u64> way;
    for (;;) {
        const std::size_t step = way.size();
        std::erase_if(rounds, [&](Path path) { return path.size() <= step; });
        std::size_t most = 0;
        u64 next = 0;
        for (const Path path : rounds) {
            const auto votes = static_cast<std::size_t>(
                std::count_if(rounds.begin(), rounds.end(), [&](Path other) { return other[step] == path[step]; }));
            if (votes > most) most = votes, next = path[step];
        }
        if (most < 2 || most * 4 < rounds.size() * 3) return way;
        way.push_back(next);
        std::erase_if(rounds, [&](Path path) { return path[step] != next; });
    }
}

} // namespace

bool Regions::wants_path(const UnitKey& key) {
    Place& p = place(key);
    return !p.hopeless && ++p.samples > 1;
}

std::span<const PathStep> Regions::add_path(const UnitKey& key, std::span<const PathStep> path) {
    Place& p = place(key);
    if (p.hopeless) return {};
    std::vector<u64>& added = p.paths.emplace_back();
    for (const PathStep& step : path)
        added.push_back(step.linear);
    if (p.paths.size() < enough) return {};
    std::vector<Path> rounds, own;
    for (const std::vector<u64>& one : p.paths)
        add_rounds(rounds, one);
    add_rounds(own, added);
    const std::vector<u64> way = way_of_most(rounds);
    std::span<const PathStep> best;
    for (const Path round : own) {
        const auto same = static_cast<std::size_t>(
            std::mismatch(round.begin(), round.end(), way.begin(), way.end()).first - round.begin());
        if (same > best.size()) best = path.last(round.size()).first(same);
    }
    if (!best.empty() && best.size() == way.size()) return best;
    if (p.paths.size() >= most) give_up(key); // Else with the next one, perhaps: this went another way than most.
    return {};
}

} // namespace calque::jit
