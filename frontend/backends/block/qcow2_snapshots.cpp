#include "frontend/backends/block/qcow2_snapshots.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace calque::backends::qcow2 {

namespace {

constexpr u64 fixed_bytes = 40; // Of an entry, before the extra data.
constexpr u64 known_extra = 16; // The machine's size and the disk's.
constexpr u64 max_table_bytes = 64 << 20;

struct EntryReader {
    File& file;
    u64 at;
    u64 used = 0; // Bytes of the table so far.

    int read(std::span<u8> bytes) {
        if (used + bytes.size() > max_table_bytes || at > file.size() || bytes.size() > file.size() - at) return EINVAL;
        const u64 from = at;
        at += bytes.size();
        used += bytes.size();
        return file.read(from, bytes);
    }
};

int read_entry(EntryReader& reader, u64 current_size, Snapshot& snapshot) {
    const u64 start = reader.used;
    std::vector<u8> head(fixed_bytes);
    if (const int error = reader.read(head)) return error;
    snapshot.l1_offset = load<u64>(&head[0]);
    snapshot.l1_size = load<u32>(&head[8]);
    const u16 id_length = load<u16>(&head[12]);
    const u16 name_length = load<u16>(&head[14]);
    snapshot.seconds = load<u32>(&head[16]);
    snapshot.nanoseconds = load<u32>(&head[20]);
    snapshot.guest_nanoseconds = load<u64>(&head[24]);
    snapshot.machine_bytes = load<u32>(&head[32]);
    snapshot.disk_size = current_size;
    const u32 extra_length = load<u32>(&head[36]);
    if (extra_length > max_table_bytes) return EINVAL;
    std::vector<u8> rest(extra_length + id_length + name_length);
    if (const int error = reader.read(rest)) return error;
    if (extra_length >= 8) snapshot.machine_bytes = load<u64>(&rest[0]);
    if (extra_length >= known_extra) {
        snapshot.disk_size = load<u64>(&rest[8]);
        snapshot.more.assign(rest.begin() + known_extra, rest.begin() + extra_length);
    }
    const auto* const text = reinterpret_cast<const char*>(rest.data()) + extra_length;
    snapshot.id.assign(text, id_length);
    snapshot.name.assign(text + id_length, name_length);
    const u64 padding = align_up(reader.used, 8) - reader.used;
    reader.at += padding;
    reader.used += padding;
    snapshot.entry_bytes = reader.used - start;
    return 0;
}

} // namespace

Result<std::vector<Snapshot>> read_snapshots(File& file) {
    const Header& header = file.header;
    const auto fail = [&](const std::string& what) {
        return error("'{}' is a damaged qcow2 image: {}; try qemu-img check -r all", file.image().name(), what);
    };
    std::vector<Snapshot> snapshots;
    EntryReader reader{file, header.snapshots_offset};
    for (u32 i = 0; i < header.snapshot_count; ++i) {
        Snapshot snapshot;
        if (const int code = read_entry(reader, header.size, snapshot))
            return fail(fmt::format("entry {} of its snapshot table cannot be read ({})", i, std::strerror(code)));
        const u64 bytes = u64{snapshot.l1_size} * 8;
        if (bytes > max_l1_bytes || header.geometry.in_cluster(snapshot.l1_offset) != 0
            || snapshot.l1_offset > file.size() || bytes > file.size() - snapshot.l1_offset)
            return fail(
                fmt::format("the L1 table of snapshot {} at {:#x} lies outside the file", i, snapshot.l1_offset));
        if (snapshot.disk_size > static_cast<u64>(INT64_MAX)
            || header.geometry.l1_entries(snapshot.disk_size) > max_l1_bytes / 8)
            return fail(fmt::format("snapshot {} has a disk size of {} bytes", i, snapshot.disk_size));
        snapshots.push_back(std::move(snapshot));
    }
    return snapshots;
}

std::vector<Snapshot>::iterator find_snapshot(std::vector<Snapshot>& list, const std::string& id_or_name) {
    const auto by_id = std::find_if(list.begin(), list.end(), [&](const Snapshot& s) { return s.id == id_or_name; });
    if (by_id != list.end()) return by_id;
    return std::find_if(list.begin(), list.end(), [&](const Snapshot& s) { return s.name == id_or_name; });
}

std::vector<u8> encode_snapshots(const std::vector<Snapshot>& snapshots) {
    std::vector<u8> bytes;
    for (const Snapshot& snapshot : snapshots) {
        const u64 extra = known_extra + snapshot.more.size();
        const u64 start = bytes.size();
        bytes.resize(start + fixed_bytes + known_extra);
        u8* const head = bytes.data() + start;
        store(head, snapshot.l1_offset);
        store(head + 8, snapshot.l1_size);
        store(head + 12, static_cast<u16>(snapshot.id.size()));
        store(head + 14, static_cast<u16>(snapshot.name.size()));
        store(head + 16, snapshot.seconds);
        store(head + 20, snapshot.nanoseconds);
        store(head + 24, snapshot.guest_nanoseconds);
        store(head + 32, static_cast<u32>(std::min<u64>(snapshot.machine_bytes, UINT32_MAX)));
        store(head + 36, static_cast<u32>(extra));
        store(head + 40, snapshot.machine_bytes);
        store(head + 48, snapshot.disk_size);
        bytes.insert(bytes.end(), snapshot.more.begin(), snapshot.more.end());
        bytes.insert(bytes.end(), snapshot.id.begin(), snapshot.id.end());
        bytes.insert(bytes.end(), snapshot.name.begin(), snapshot.name.end());
        bytes.resize(align_up(bytes.size(), 8));
    }
    return bytes;
}

std::vector<Refcounts::Run> snapshot_places(const File& file, const std::vector<Snapshot>& snapshots) {
    std::vector<Refcounts::Run> runs;
    if (snapshots.empty()) return runs;
    const Geometry& geometry = file.geometry();
    const auto add = [&](u64 offset, u64 bytes) {
        if (bytes != 0) runs.push_back({offset >> geometry.cluster_bits, geometry.clusters(bytes)});
    };
    u64 table_bytes = 0;
    for (const Snapshot& snapshot : snapshots)
        table_bytes += snapshot.entry_bytes;
    add(file.header.snapshots_offset, table_bytes);
    for (const Snapshot& snapshot : snapshots)
        add(snapshot.l1_offset, u64{snapshot.l1_size} * 8);
    return runs;
}

int read_l1(File& file, u64 offset, u32 entries, std::vector<u64>& l1) {
    std::vector<u8> bytes(u64{entries} * 8);
    if (const int error = file.read(offset, bytes)) return error;
    l1.resize(entries);
    std::vector<u64> places;
    for (u32 i = 0; i < entries; ++i) {
        l1[i] = load64(bytes, i);
        const u64 place = l1[i] & entry_offset_mask;
        if ((l1[i] & l1_reserved_mask) != 0 || file.geometry().in_cluster(place) != 0 || place >= file.size())
            return file.mark_corrupt(fmt::format("entry {} of the L1 table at {:#x} is wrong", i, offset));
        if (place != 0) places.push_back(place);
    }
    std::sort(places.begin(), places.end());
    if (std::adjacent_find(places.begin(), places.end()) != places.end())
        return file.mark_corrupt(fmt::format("two entries of the L1 table at {:#x} name one L2 table", offset));
    return 0;
}

int visit_references(File& file, const std::vector<u64>& l1, const Visit& visit) {
    const Geometry& geometry = file.geometry();
    std::vector<u8> table(geometry.cluster_size());
    for (const u64 l1_entry : l1) {
        const u64 place = l1_entry & entry_offset_mask;
        if (place == 0) continue;
        if (const int error = visit(place >> geometry.cluster_bits, 1)) return error;
        if (const int error = file.read(place, table)) return error;
        for (u64 i = 0; i < geometry.l2_entries(); ++i) {
            const u64 entry = load64(table, i);
            u64 first = (entry & entry_offset_mask) >> geometry.cluster_bits;
            u64 last = first;
            if ((entry & entry_compressed) != 0) {
                const CompressedPlace packed = compressed_place(entry, geometry);
                first = packed.offset >> geometry.cluster_bits;
                last = (packed.offset + packed.length - 1) >> geometry.cluster_bits;
            }
            if (first == 0 && (entry & entry_compressed) == 0) continue;
            if (const int error = visit(first, last - first + 1)) return error;
        }
    }
    return 0;
}

} // namespace calque::backends::qcow2
