#include "frontend/backends/block/qcow2_image.h"

#include "frontend/backends/block/qcow2_check.h"
#include "frontend/backends/block/qcow2_requests.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace calque::backends {

using namespace qcow2;

Result<std::unique_ptr<Qcow2Image>> Qcow2Image::open(std::unique_ptr<BlockImage> file,
                                                     std::unique_ptr<BlockImage> backing, Options options) {
    auto header = read_header(*file);
    if (!header) return header.error();
    if (!options.read_only && (header->incompatible & incompatible::corrupt) != 0)
        return error("'{}' is marked as corrupt; repair it with qemu-img check -r all, or open it with readonly=on",
                     file->name());
    std::unique_ptr<Qcow2Image> image(
        new Qcow2Image(std::move(file), std::move(backing), std::move(*header), std::move(options)));
    if (auto loaded = image->load(); !loaded) {
        image->closed_ = true;
        return loaded.error();
    }
    return image;
}

Qcow2Image::Qcow2Image(std::unique_ptr<BlockImage> file, std::unique_ptr<BlockImage> backing, Header header,
                       Options options)
    : file_(std::move(file), std::move(header), options.read_only, options.report), backing_(std::move(backing)),
      options_(std::move(options)), name_(file_.image().name()), size_(file_.header.size), compressed_(file_),
      refcounts_(file_, [this](u64 cluster) { return owns(cluster); }), tables_(file_) {}

Qcow2Image::~Qcow2Image() {
    if (const int code = close())
        file_.report(fmt::format("'{}' could not be closed properly ({})", name_, std::strerror(code)));
}

Result<void> Qcow2Image::load() {
    if (auto loaded = tables_.load(); !loaded) return loaded;
    if (options_.read_only) return {};
    if (auto loaded = refcounts_.load(); !loaded) return loaded;
    const auto list = read_snapshots(file_);
    if (!list) return list.error();
    snapshot_places_ = snapshot_places(file_, *list);
    if (auto good = check_places(); !good) return good;
    if ((file_.header.incompatible & incompatible::dirty) == 0) return {};
    return repair_refcounts(file_, refcounts_, *list);
}

// Whether something other than data, and other than refcounts, is at the cluster.
bool Qcow2Image::owns(u64 cluster) const {
    if (cluster == 0 || tables_.owns(cluster)) return true;
    return std::any_of(snapshot_places_.begin(), snapshot_places_.end(),
                       [&](const Refcounts::Run& run) { return cluster - run.first < run.count; });
}

// Two structures at one place: changing one would break the other.
Result<void> Qcow2Image::check_places() const {
    std::vector<Refcounts::Run> runs = refcounts_.places();
    runs.insert(runs.end(), snapshot_places_.begin(), snapshot_places_.end());
    const Geometry& geometry = file_.geometry();
    const auto at = [&](u64 offset) { return offset >> geometry.cluster_bits; };
    runs.push_back({0, 1});
    if (file_.header.l1_size != 0)
        runs.push_back({at(file_.header.l1_offset), geometry.clusters(u64{file_.header.l1_size} * 8)});
    for (const u64 entry : tables_.l1())
        if (entry != 0) runs.push_back({at(entry & entry_offset_mask), 1});
    std::sort(runs.begin(), runs.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    for (std::size_t i = 1; i < runs.size(); ++i)
        if (runs[i - 1].first + runs[i - 1].count > runs[i].first)
            return error("'{}' is a damaged qcow2 image: two of its tables overlap at {:#x}; try qemu-img check -r "
                         "all, or open it with readonly=on",
                         name_, runs[i].first << geometry.cluster_bits);
    return {};
}

// Before the first change of this session.
int Qcow2Image::begin_changes(Lock&) {
    if (changing_) return 0;
    if (file_.header.autoclear != 0) { // Features that a program may only keep if it knows them.
        const std::array<u8, 8> none{};
        if (const int error = file_.write_header_field(field::autoclear, none)) return error;
        file_.header.autoclear = 0;
    }
    if (file_.header.lazy_refcounts())
        if (const int error = file_.set_dirty(true)) return error;
    changing_ = true;
    return 0;
}

int Qcow2Image::check_request(u64 offset, u64 length, bool change) const {
    if (change && options_.read_only) return EROFS;
    if (change && file_.corrupt()) return EIO;
    const u64 size = size_;
    return offset <= size && length <= size - offset ? 0 : EINVAL;
}

int Qcow2Image::write_batch(const Batch& batch) {
    for (const Batch::Piece& piece : batch.detached)
        if (const int error = file_.write(piece.offset, piece.bytes)) return error;
    if (batch.attached.empty()) return 0;
    if (const int error = file_.flush()) return error;
    for (const Batch::Piece& piece : batch.attached)
        if (const int error = file_.write(piece.offset, piece.bytes)) return error;
    return 0;
}

// Puts what is in memory now into the file, in order. The last writes are not flushed.
int Qcow2Image::commit() {
    Batch batch;
    std::vector<Freed> freed;
    {
        Lock lock(mutex_);
        if (file_.corrupt()) return EIO;
        const bool lazy = file_.header.lazy_refcounts();
        if (const int error = refcounts_.write_back(lazy)) return error;
        tables_.collect(batch);
        freed = frees_.begin_commit();
    }
    const int error = batch.empty() ? 0 : write_batch(batch);
    Lock lock(mutex_);
    tables_.finish(batch, error == 0);
    if (error == 0)
        frees_.written(freed);
    else
        frees_.commit_failed(freed);
    return error;
}

int Qcow2Image::commit_and_settle() {
    if (const int error = commit()) return error;
    Lock lock(mutex_);
    std::vector<Freed> freed = frees_.begin_flush();
    lock.unlock();
    const int error = file_.flush();
    lock.lock();
    if (error != 0) {
        frees_.written(freed);
        return error;
    }
    frees_.settled(std::move(freed), generations_.current());
    generations_.advance();
    apply_frees(lock);
    return 0;
}

// Counts clusters as free. What goes wrong here leaks clusters; what was asked for has been done.
void Qcow2Image::apply_frees(Lock& lock) {
    const std::vector<Freed> ready = frees_.take(generations_);
    std::vector<Freed> holes;
    for (const Freed& freed : ready) {
        for (u64 cluster = freed.first; freed.unmap && cluster < freed.first + freed.count; ++cluster) {
            u64 count = 0;
            if (refcounts_.get(cluster, count) != 0 || count != 1) continue;
            if (!holes.empty() && holes.back().first + holes.back().count == cluster)
                ++holes.back().count;
            else
                holes.push_back({cluster, 1, true});
        }
    }
    if (!holes.empty()) { // The clusters are not given to anyone before they are counted as free.
        lock.unlock();
        for (const Freed& hole : holes)
            file_.discard(hole.first << geometry().cluster_bits, hole.count << geometry().cluster_bits);
        lock.lock();
    }
    for (const Freed& freed : ready)
        if (refcounts_.change(freed.first, freed.count, -1) != 0) return;
}

int Qcow2Image::flush() {
    if (options_.read_only) return 0;
    Lock commits(commit_mutex_);
    return commit_and_settle();
}

int Qcow2Image::close() {
    if (std::exchange(closed_, true) || options_.read_only || file_.corrupt()) return 0;
    Lock commits(commit_mutex_);
    if (const int error = commit_and_settle()) return error;
    Lock lock(mutex_);
    generations_.advance(); // Nothing is running.
    apply_frees(lock);
    if (const int error = refcounts_.write_back()) return error;
    if (!changing_) return 0;
    if (const int error = file_.trim(refcounts_.end() << geometry().cluster_bits)) return error;
    if (const int error = file_.flush()) return error;
    return file_.header.lazy_refcounts() ? file_.set_dirty(false) : 0;
}

int Qcow2Image::grow_l1(u64 entries) {
    if (entries * 8 > max_l1_bytes) return EFBIG;
    const u64 clusters = geometry().clusters(entries * 8);
    u64 first;
    if (const int error = refcounts_.allocate_together(clusters, first)) return error;
    std::vector<u8> table(clusters << geometry().cluster_bits);
    for (u32 i = 0; i < tables_.l1_size(); ++i)
        store64(table, i, tables_.l1_entry(i));
    if (const int error = refcounts_.write_back()) return error;
    if (const int error = file_.write(first << geometry().cluster_bits, table)) return error;
    if (const int error = file_.flush()) return error;
    std::array<u8, 12> place; // The size and the offset are neighbours.
    store(place.data(), static_cast<u32>(entries));
    store(place.data() + 4, first << geometry().cluster_bits);
    if (const int error = file_.write_header_field(field::l1_size, place)) return error;
    if (const int error = file_.flush()) return error;
    const u64 old_first = file_.header.l1_offset >> geometry().cluster_bits;
    const u64 old_clusters = geometry().clusters(u64{file_.header.l1_size} * 8);
    file_.header.l1_size = static_cast<u32>(entries);
    file_.header.l1_offset = first << geometry().cluster_bits;
    if (auto reloaded = tables_.reload(); !reloaded) return EIO;
    return refcounts_.change(old_first, old_clusters, -1);
}

int Qcow2Image::resize(u64 size) {
    if (const int error = check_request(0, 0, true)) return error;
    const u64 before = size_;
    if (size > static_cast<u64>(INT64_MAX)) return EFBIG;
    if (size < before) {
        if (file_.header.version == 2 && file_.header.snapshot_count != 0) return ENOTSUP; // They keep no size.
        if (const int error = zero_range(size, before - size, {.discard = true, .unmap = true})) return error;
    }
    if (geometry().l1_entries(size) > tables_.l1_size()) {
        Exclusive exclusive(*this);
        if (const int error = commit_and_settle()) return error;
        Lock lock(mutex_);
        if (const int error = begin_changes(lock)) return error;
        if (const int error = grow_l1(geometry().l1_entries(size))) return error;
    }
    if (size > before) { // Neither what a longer backing file has nor what was beyond the end is to appear.
        const u64 to = std::max(align_up(before, geometry().cluster_size()), backing_ ? backing_->size() : 0);
        if (const int error = zero_range(before, std::min(size, to) - before, {.discard = false, .unmap = true}))
            return error;
    }
    Exclusive exclusive(*this);
    if (const int error = commit_and_settle()) return error;
    Lock lock(mutex_);
    if (const int error = begin_changes(lock)) return error;
    std::array<u8, 8> bytes;
    store(bytes.data(), size);
    if (const int error = file_.write_header_field(field::size, bytes)) return error;
    if (const int error = file_.flush()) return error;
    file_.header.size = size;
    size_ = size;
    return 0;
}

} // namespace calque::backends
