#include "frontend/backends/block/qcow2_check.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace calque::backends::qcow2 {

namespace {

constexpr u64 max_clusters = u64{1} << 26;
constexpr std::size_t max_messages = 100;

// How often each cluster of the file is referred to.
class References {
  public:
    explicit References(u64 clusters) : counts_(clusters) {}

    int add(u64 first, u64 count) {
        for (u64 cluster = first; cluster < first + count; ++cluster) {
            // The last sectors that a compressed cluster says it may have can lie behind the file's end.
            if (cluster >= counts_.size() + (count > 1)) return ERANGE;
            if (cluster < counts_.size()) ++counts_[cluster];
        }
        return 0;
    }
    u64 operator[](u64 cluster) const { return cluster < counts_.size() ? counts_[cluster] : 0; }
    u64 size() const { return counts_.size(); }

  private:
    std::vector<u32> counts_;
};

Error too_large(const File& file, const std::string& name) {
    return error("'{}' has {} clusters, more than can be checked here; use qemu-img check", name,
                 file.geometry().clusters(file.size()));
}

int count_all(File& file, const Refcounts& refcounts, const std::vector<Snapshot>& snapshots, References& references) {
    if (const int error = references.add(0, 1)) return error;
    for (const Refcounts::Run& run : refcounts.places())
        if (const int error = references.add(run.first, run.count)) return error;
    for (const Refcounts::Run& run : snapshot_places(file, snapshots))
        if (const int error = references.add(run.first, run.count)) return error;
    const Header& header = file.header;
    const u64 l1_clusters = file.geometry().clusters(u64{header.l1_size} * 8);
    if (const int error = references.add(header.l1_offset >> file.geometry().cluster_bits, l1_clusters)) return error;
    const Visit visit = [&](u64 first, u64 count) { return references.add(first, count); };
    std::vector<u64> l1;
    if (const int error = read_l1(file, header.l1_offset, header.l1_size, l1)) return error;
    if (const int error = visit_references(file, l1, visit)) return error;
    for (const Snapshot& snapshot : snapshots) {
        if (const int error = read_l1(file, snapshot.l1_offset, snapshot.l1_size, l1)) return error;
        if (const int error = visit_references(file, l1, visit)) return error;
    }
    return 0;
}

struct Checker {
    File& file;
    Refcounts& refcounts;
    CheckResult result{};

    void say(std::string message) {
        if (result.messages.size() < max_messages) result.messages.push_back(std::move(message));
    }
    int compare(const References& references);
    int check_copied(const std::vector<u64>& l1);
    int check_entry(u64 entry, const char* what);
};

int Checker::compare(const References& references) {
    const unsigned cluster_bits = file.geometry().cluster_bits;
    for (u64 cluster = 0; cluster < references.size(); ++cluster) {
        u64 count;
        if (const int error = refcounts.get(cluster, count)) return error;
        const u64 wanted = references[cluster];
        if (count != 0 || wanted != 0) result.end = (cluster + 1) << cluster_bits;
        if (count == wanted) continue;
        ++(count < wanted ? result.errors : result.leaks);
        say(fmt::format("{} cluster {} refcount={} reference={}", count < wanted ? "ERROR" : "Leaked", cluster, count,
                        wanted));
    }
    return 0;
}

int Checker::check_entry(u64 entry, const char* what) {
    const u64 place = entry & entry_offset_mask;
    u64 count = 0;
    if (const int error = refcounts.get(place >> file.geometry().cluster_bits, count)) return error;
    const bool wrong = file.geometry().in_cluster(place) != 0 || ((entry & entry_copied) != 0) != (count == 1);
    if (wrong) {
        ++result.errors;
        say(fmt::format("ERROR {} entry {:#x} has refcount {}", what, entry, count));
    }
    return 0;
}

int Checker::check_copied(const std::vector<u64>& l1) {
    const Geometry& geometry = file.geometry();
    std::vector<u8> table(geometry.cluster_size());
    result.clusters = geometry.clusters(file.header.size);
    for (const u64 l1_entry : l1) {
        if (l1_entry == 0) continue;
        if (const int error = check_entry(l1_entry, "L1")) return error;
        if (const int error = file.read(l1_entry & entry_offset_mask, table)) return error;
        for (u64 i = 0; i < geometry.l2_entries(); ++i) {
            const u64 entry = load64(table, i);
            if (file.is_wrong(entry)) {
                ++result.errors;
                say(fmt::format("ERROR L2 entry {:#x} is wrong", entry));
            } else if ((entry & entry_compressed) != 0) {
                ++result.compressed;
                ++result.allocated;
            } else if ((entry & entry_offset_mask) != 0) {
                ++result.allocated;
                if (const int error = check_entry(entry, "L2")) return error;
            }
        }
    }
    return 0;
}

} // namespace

Result<CheckResult> check_image(std::unique_ptr<BlockImage> image) {
    const std::string name = image->name();
    auto header = read_header(*image);
    if (!header) return header.error();
    File file(std::move(image), std::move(*header), true, nullptr);
    Refcounts refcounts(file, [](u64) { return false; });
    if (auto loaded = refcounts.load(); !loaded) return loaded.error();
    const auto snapshots = read_snapshots(file);
    if (!snapshots) return snapshots.error();
    const u64 clusters = file.geometry().clusters(file.size());
    if (clusters > max_clusters) return too_large(file, name);
    References references(clusters);
    Checker checker{file, refcounts};
    int code = count_all(file, refcounts, *snapshots, references);
    if (code == ERANGE) return error("'{}' refers to clusters outside the file; try qemu-img check -r all", name);
    if (code == 0) code = checker.compare(references);
    std::vector<u64> l1;
    if (code == 0) code = read_l1(file, file.header.l1_offset, file.header.l1_size, l1);
    if (code == 0) code = checker.check_copied(l1);
    if (code != 0) return error("'{}' cannot be checked ({})", name, std::strerror(code));
    return std::move(checker.result);
}

Result<void> repair_refcounts(File& file, Refcounts& refcounts, const std::vector<Snapshot>& snapshots) {
    const std::string& name = file.image().name();
    const u64 clusters = file.geometry().clusters(file.size());
    if (clusters > max_clusters) return too_large(file, name);
    References references(clusters);
    const auto fail = [&](int code) {
        return error("'{}' was not closed by the program that used it, and cannot be repaired ({}); try qemu-img "
                     "check -r all",
                     name, std::strerror(code));
    };
    if (const int code = count_all(file, refcounts, snapshots, references)) return fail(code);
    for (u64 cluster = 0; cluster < references.size(); ++cluster) {
        u64 count;
        if (const int code = refcounts.get(cluster, count)) return fail(code);
        const u64 wanted = references[cluster];
        // Bitmaps have clusters of their own, which were not looked for.
        if (count == wanted || (count > wanted && file.header.has_bitmaps)) continue;
        const i64 delta = static_cast<i64>(wanted) - static_cast<i64>(count);
        if (const int code = refcounts.change(cluster, 1, delta)) return fail(code);
    }
    if (const int code = refcounts.write_back()) return fail(code);
    if (const int code = file.flush()) return fail(code);
    if (const int code = file.set_dirty(false)) return fail(code);
    return {};
}

} // namespace calque::backends::qcow2
