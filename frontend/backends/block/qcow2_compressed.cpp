#include "frontend/backends/block/qcow2_compressed.h"

#include <algorithm>
#include <cerrno>
#include <memory>
#include <zlib.h>
#include <zstd.h>

namespace calque::backends::qcow2 {

namespace {

constexpr int window_bits = -12; // Raw deflate with a window of 4 KiB: what the format has.

bool inflate_cluster(std::span<const u8> data, std::span<u8> cluster) {
    z_stream stream{};
    if (inflateInit2(&stream, window_bits) != Z_OK) return false;
    stream.next_in = const_cast<u8*>(data.data()); // zlib does not write there.
    stream.avail_in = static_cast<uInt>(data.size());
    stream.next_out = cluster.data();
    stream.avail_out = static_cast<uInt>(cluster.size());
    const int result = inflate(&stream, Z_FINISH);
    const bool whole = stream.avail_out == 0 && (result == Z_STREAM_END || result == Z_BUF_ERROR);
    inflateEnd(&stream);
    return whole;
}

bool unzstd_cluster(std::span<const u8> data, std::span<u8> cluster) {
    const std::unique_ptr<ZSTD_DCtx, decltype(&ZSTD_freeDCtx)> context(ZSTD_createDCtx(), &ZSTD_freeDCtx);
    if (!context) return false;
    ZSTD_inBuffer in{data.data(), data.size(), 0};
    ZSTD_outBuffer out{cluster.data(), cluster.size(), 0};
    while (out.pos < out.size) {
        const std::size_t in_before = in.pos, out_before = out.pos;
        if (ZSTD_isError(ZSTD_decompressStream(context.get(), &out, &in))) return false;
        if (in.pos == in_before && out.pos == out_before) return false;
    }
    return true;
}

} // namespace

bool decompress(u8 compression_type, std::span<const u8> data, std::span<u8> cluster) {
    return compression_type == 0 ? inflate_cluster(data, cluster) : unzstd_cluster(data, cluster);
}

bool CompressedClusters::copy_known(u64 entry, u64 offset, std::span<u8> data) {
    std::lock_guard lock(mutex_);
    for (Known& known : known_) {
        if (known.entry != entry) continue;
        known.used = ++uses_;
        std::copy_n(known.bytes.begin() + static_cast<std::ptrdiff_t>(offset), data.size(), data.begin());
        return true;
    }
    return false;
}

int CompressedClusters::read(u64 entry, u64 offset, std::span<u8> data) {
    if (copy_known(entry, offset, data)) return 0;
    const CompressedPlace place = compressed_place(entry, file_.geometry());
    std::vector<u8> packed(place.length);
    if (const int error = file_.read(place.offset, packed)) return error;
    std::vector<u8> cluster(file_.geometry().cluster_size());
    if (!decompress(file_.header.compression_type, packed, cluster)) return EIO;
    std::copy_n(cluster.begin() + static_cast<std::ptrdiff_t>(offset), data.size(), data.begin());
    std::lock_guard lock(mutex_);
    Known& oldest =
        *std::min_element(known_.begin(), known_.end(), [](const Known& a, const Known& b) { return a.used < b.used; });
    oldest = {entry, ++uses_, std::move(cluster)};
    return 0;
}

} // namespace calque::backends::qcow2
