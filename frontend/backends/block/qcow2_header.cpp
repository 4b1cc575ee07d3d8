#include "frontend/backends/block/qcow2_header.h"

#include <algorithm>
#include <cstring>

namespace calque::backends::qcow2 {

namespace {

constexpr u64 known_incompatible = incompatible::dirty | incompatible::corrupt | incompatible::compression;
constexpr u32 max_backing_name = 1023;

struct Reader {
    BlockImage& file;
    std::vector<u8> bytes; // The first cluster, as far as the file goes; at least a version 2 header.

    template <class T> T get(u64 offset) const { return load<T>(bytes.data() + offset); }
    template <class... Args> Error fail(fmt::format_string<Args...> format, Args&&... args) const {
        return error("'{}' is a damaged qcow2 image: {}", file.name(),
                     fmt::format(format, std::forward<Args>(args)...));
    }
    template <class... Args> Error unsupported(fmt::format_string<Args...> format, Args&&... args) const {
        return error("'{}' cannot be opened: {}", file.name(), fmt::format(format, std::forward<Args>(args)...));
    }
};

Result<void> read_bytes(Reader& reader, u64 length) {
    reader.bytes.assign(length, 0);
    const u64 there = std::min(length, reader.file.size());
    if (const int code = reader.file.read(0, std::span(reader.bytes).first(there)))
        return error("'{}' cannot be read ({})", reader.file.name(), std::strerror(code));
    return {};
}

Result<void> read_basics(const Reader& reader, Header& header) {
    header.version = reader.get<u32>(field::version);
    if (header.version != 2 && header.version != 3)
        return reader.unsupported("its qcow2 version is {}, and this program has 2 and 3", header.version);
    const u32 cluster_bits = reader.get<u32>(field::cluster_bits);
    if (cluster_bits < min_cluster_bits || cluster_bits > max_cluster_bits)
        return reader.fail("clusters of 2^{} bytes; 512 bytes to 2 MiB are possible", cluster_bits);
    header.geometry.cluster_bits = cluster_bits;
    header.size = reader.get<u64>(field::size);
    header.l1_size = reader.get<u32>(field::l1_size);
    header.l1_offset = reader.get<u64>(field::l1_offset);
    header.refcount_offset = reader.get<u64>(field::refcount_offset);
    header.refcount_clusters = reader.get<u32>(field::refcount_clusters);
    header.snapshot_count = reader.get<u32>(field::snapshot_count);
    header.snapshots_offset = reader.get<u64>(field::snapshots_offset);
    switch (const u32 method = reader.get<u32>(field::crypt_method)) {
    case 0: return {};
    case 1:
        return reader.unsupported("it is encrypted with AES; convert it with: qemu-img convert --image-opts "
                                  "--object secret,...");
    case 2:
        return reader.unsupported("it is encrypted with LUKS, which this program does not have; decrypt a copy "
                                  "with qemu-img convert");
    default: return reader.fail("an encryption method of {}", method);
    }
}

// What the image calls an incompatible feature, by its feature name table.
std::string feature_name(const Reader& reader, u64 first_extension, unsigned number) {
    for (u64 at = first_extension; at + 8 <= reader.bytes.size();) {
        const u32 type = reader.get<u32>(at);
        const u64 length = reader.get<u32>(at + 4);
        if (type == extension::end || length > reader.bytes.size() - at - 8) break;
        for (u64 entry = at + 8; type == extension::feature_names && entry + 48 <= at + 8 + length; entry += 48) {
            if (reader.bytes[entry] != 0 || reader.bytes[entry + 1] != number) continue;
            const auto* const text = reinterpret_cast<const char*>(&reader.bytes[entry + 2]);
            std::string name(text, ::strnlen(text, 46));
            std::replace_if(
                name.begin(), name.end(), [](char c) { return c < 0x20 || c > 0x7e; }, '?');
            return "\"" + name + "\"";
        }
        at += 8 + align_up(length, 8);
    }
    return fmt::format("number {}", number);
}

Result<void> refuse_features(const Reader& reader, const Header& header, u64 first_extension) {
    const u64 unknown = header.incompatible & ~known_incompatible;
    if (unknown & incompatible::data_file)
        return reader.unsupported("it keeps its data in an external data file, which this program does not have; "
                                  "convert it with: qemu-img convert -O qcow2");
    if (unknown & incompatible::subclusters)
        return reader.unsupported("it uses extended L2 entries (subclusters), which this program does not have; "
                                  "convert it with: qemu-img convert -O qcow2");
    for (unsigned number = 0; number < 64; ++number)
        if (bit(unknown, number))
            return reader.unsupported("it needs the feature {}, which this program does not have; convert it with: "
                                      "qemu-img convert -O qcow2",
                                      feature_name(reader, first_extension, number));
    return {};
}

// Version 3's fields; gives the header's length.
Result<u64> read_features(const Reader& reader, Header& header) {
    if (header.version == 2) return field::end_of_v2;
    const u64 length = reader.get<u32>(field::header_length);
    if (length < field::end_of_v3 || length % 8 != 0 || length > reader.bytes.size())
        return reader.fail("a header length of {}", length);
    header.incompatible = reader.get<u64>(field::incompatible);
    header.compatible = reader.get<u64>(field::compatible);
    header.autoclear = reader.get<u64>(field::autoclear);
    const u32 order = reader.get<u32>(field::refcount_order);
    if (order > 6) return reader.fail("refcounts of 2^{} bits; 1 to 64 bits are possible", order);
    header.geometry.refcount_order = order;
    if (auto known = refuse_features(reader, header, length); !known) return known.error();
    if (length > field::compression_type) header.compression_type = reader.bytes[field::compression_type];
    const bool declared = header.incompatible & incompatible::compression;
    if (declared != (header.compression_type != 0)) return reader.fail("its compression type contradicts its features");
    if (header.compression_type > 1)
        return reader.unsupported("its compression type is {}, and this program has zlib and zstd",
                                  header.compression_type);
    return length;
}

Result<void> read_extensions(const Reader& reader, Header& header, u64 first) {
    const u64 name_offset = reader.get<u64>(field::backing_offset);
    const u64 end = name_offset != 0 ? std::min<u64>(name_offset, reader.bytes.size()) : reader.bytes.size();
    for (u64 at = first; at + 8 <= end;) {
        const u32 type = reader.get<u32>(at);
        const u64 length = reader.get<u32>(at + 4);
        if (type == extension::end) break;
        if (length > end - at - 8) return reader.fail("a header extension of {} bytes does not fit", length);
        if (type == extension::backing_format) {
            if (length > max_backing_name) return reader.fail("a backing format's name of {} bytes", length);
            header.backing_format.assign(reinterpret_cast<const char*>(&reader.bytes[at + 8]), length);
        }
        if (type == extension::bitmaps) header.has_bitmaps = true;
        at += 8 + align_up(length, 8);
    }
    if (name_offset == 0) return {};
    const u32 length = reader.get<u32>(field::backing_length);
    if (length > max_backing_name) return reader.fail("a backing file's name of {} bytes", length);
    if (name_offset > reader.bytes.size() || length > reader.bytes.size() - name_offset)
        return reader.fail("its backing file's name is outside the first cluster");
    header.backing_name.assign(reinterpret_cast<const char*>(&reader.bytes[name_offset]), length);
    if (header.backing_name.find('\0') != std::string::npos)
        return reader.fail("its backing file's name contains a zero byte");
    return {};
}

Result<void> check_range(const Reader& reader, const char* what, u64 offset, u64 length, const Header& header) {
    if (header.geometry.in_cluster(offset) != 0)
        return reader.fail("the {} at {:#x} does not start at a cluster", what, offset);
    if (offset == 0) return reader.fail("the {} overlaps the header", what);
    if (offset > reader.file.size() || length > reader.file.size() - offset)
        return reader.fail("the {} at {:#x} lies outside the file, which may have been truncated", what, offset);
    return {};
}

Result<void> check_tables(const Reader& reader, const Header& header) {
    const Geometry& geometry = header.geometry;
    if (header.size > static_cast<u64>(INT64_MAX)) return reader.fail("a disk size of {} bytes", header.size);
    if (header.l1_size > max_l1_bytes / 8) return reader.fail("an L1 table of {} entries", header.l1_size);
    if (geometry.l1_entries(header.size) > header.l1_size)
        return reader.fail("its L1 table of {} entries is too small for a disk of {} bytes", header.l1_size,
                           header.size);
    if (header.l1_size != 0)
        if (auto good = check_range(reader, "L1 table", header.l1_offset, u64{header.l1_size} * 8, header); !good)
            return good;
    const u64 refcount_bytes = u64{header.refcount_clusters} << geometry.cluster_bits;
    if (header.refcount_clusters == 0 || refcount_bytes > std::max(max_refcount_table_bytes, geometry.cluster_size()))
        return reader.fail("a refcount table of {} clusters", header.refcount_clusters);
    if (auto good = check_range(reader, "refcount table", header.refcount_offset, 8, header); !good) return good;
    if (header.snapshot_count > max_snapshots) return reader.fail("{} snapshots", header.snapshot_count);
    if (header.snapshot_count != 0)
        return check_range(reader, "snapshot table", header.snapshots_offset, u64{header.snapshot_count} * 40, header);
    return {};
}

} // namespace

Result<Header> read_header(BlockImage& file) {
    Reader reader{file, {}};
    if (auto read = read_bytes(reader, field::end_of_v3); !read) return read.error();
    if (file.size() < field::end_of_v2 || reader.get<u32>(0) != magic)
        return error("'{}' is not a qcow2 image; say what it is with format=", file.name());
    Header header;
    if (auto good = read_basics(reader, header); !good) return good.error();
    if (auto read = read_bytes(reader, header.geometry.cluster_size()); !read) return read.error();
    const auto length = read_features(reader, header);
    if (!length) return length.error();
    if (auto good = read_extensions(reader, header, *length); !good) return good.error();
    if (auto good = check_tables(reader, header); !good) return good.error();
    return header;
}

Result<std::vector<u8>> encode_header(const Header& header) {
    std::vector<u8> bytes(header.geometry.cluster_size());
    const auto put = [&]<class T>(u64 offset, T value) { store<T>(bytes.data() + offset, value); };
    put(0, magic);
    put(field::version, header.version);
    put(field::cluster_bits, u32{header.geometry.cluster_bits});
    put(field::size, header.size);
    put(field::l1_size, header.l1_size);
    put(field::l1_offset, header.l1_offset);
    put(field::refcount_offset, header.refcount_offset);
    put(field::refcount_clusters, header.refcount_clusters);
    put(field::snapshot_count, header.snapshot_count);
    put(field::snapshots_offset, header.snapshots_offset);
    u64 at = field::end_of_v2;
    if (header.version >= 3) {
        at = 112; // The compression type and what pads it.
        put(field::incompatible, header.incompatible);
        put(field::compatible, header.compatible);
        put(field::autoclear, header.autoclear);
        put(field::refcount_order, u32{header.geometry.refcount_order});
        put(field::header_length, static_cast<u32>(at));
        bytes[field::compression_type] = header.compression_type;
    }
    const u64 format_room = header.backing_format.empty() ? 0 : 8 + align_up(header.backing_format.size(), 8);
    if (header.backing_name.size() > max_backing_name
        || at + format_room + 8 + header.backing_name.size() > bytes.size())
        return error("the backing file's name '{}' is too long to be kept in an image with clusters of {} bytes",
                     header.backing_name, bytes.size());
    if (format_room != 0) {
        put(at, extension::backing_format);
        put(at + 4, static_cast<u32>(header.backing_format.size()));
        std::copy(header.backing_format.begin(), header.backing_format.end(), bytes.begin() + static_cast<i64>(at) + 8);
        at += format_room;
    }
    at += 8; // The end of the extensions is zeros.
    if (!header.backing_name.empty()) {
        put(field::backing_offset, at);
        put(field::backing_length, static_cast<u32>(header.backing_name.size()));
        std::copy(header.backing_name.begin(), header.backing_name.end(), bytes.begin() + static_cast<i64>(at));
    }
    return bytes;
}

} // namespace calque::backends::qcow2
