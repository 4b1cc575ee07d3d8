#include "frontend/backends/state/stream.h"

#include "base/byte_order.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>
#include <zlib.h>
#include <zstd.h>

namespace calque::backends {

namespace {

constexpr std::string_view magic = "CALQUE-STATE-02\n";
constexpr std::string_view magic_family = "CALQUE-STATE-"; // Of every version.
constexpr std::size_t header_bytes = 24;
constexpr std::size_t checked_bytes = 20; // Of the header.

u32 checksum(std::span<const u8> bytes) { return static_cast<u32>(::crc32_z(0, bytes.data(), bytes.size())); }

} // namespace

Result<void> StateWriter::put(std::span<const u8> bytes) {
    bytes_ += bytes.size();
    return sink_.write(bytes);
}

Result<void> StateWriter::begin() { return put({reinterpret_cast<const u8*>(magic.data()), magic.size()}); }

Result<void> StateWriter::record(RecordKind kind, std::span<const u8> payload) {
    std::array<u8, header_bytes> header;
    store_little(header, 0, static_cast<u32>(kind), 4);
    store_little(header, 4, checksum(payload), 4);
    store_little(header, 8, payload.size(), 8);
    store_little(header, 16, number_++, 4);
    store_little(header, 20, checksum(std::span(header).first(checked_bytes)), 4);
    if (auto done = put(header); !done) return done;
    return payload.empty() ? Result<void>() : put(payload);
}

Result<void> StateReader::begin() {
    std::array<u8, magic.size()> start;
    if (auto read = source_.read(start); !read) return read;
    if (std::memcmp(start.data(), magic.data(), magic.size()) == 0) return {};
    if (std::memcmp(start.data(), magic_family.data(), magic_family.size()) == 0)
        return error("the saved state has another version of the format; load it with the program that saved it");
    return error("this is not a saved machine state (the header is wrong)");
}

Result<StateReader::Record> StateReader::next() {
    const auto damaged = [&](std::string_view how) {
        return error("the saved state is damaged ({} of record {})", how, number_);
    };
    std::array<u8, header_bytes> header;
    if (auto read = source_.read(header); !read) return read.error();
    if (little32(header, 20) != checksum(std::span(header).first(checked_bytes)))
        return damaged("the checksum of the header");
    const u32 kind = little32(header, 0);
    const u64 length = little64(header, 8);
    if (kind < static_cast<u32>(RecordKind::machine) || kind > static_cast<u32>(RecordKind::end))
        return damaged("the kind");
    if (length > (static_cast<RecordKind>(kind) == RecordKind::ram ? largest_ram_record : largest_record))
        return damaged("the length");
    if (little32(header, 16) != number_) return damaged("the number");
    // A length is believed only as far as there is something to read.
    constexpr u64 step = u64{4} << 20;
    payload_.clear();
    while (payload_.size() < length) {
        const u64 at = payload_.size(), part = std::min<u64>(step, length - at);
        payload_.resize(at + part);
        if (auto read = source_.read(std::span(payload_).subspan(at)); !read) return read.error();
    }
    if (little32(header, 4) != checksum(payload_)) return damaged("the checksum");
    ++number_;
    return Record{static_cast<RecordKind>(kind), payload_};
}

std::vector<u8> compress_state(std::span<const u8> bytes) {
    constexpr int level = 1;
    std::vector<u8> packed(ZSTD_compressBound(bytes.size()));
    const std::size_t size = ZSTD_compress(packed.data(), packed.size(), bytes.data(), bytes.size(), level);
    packed.resize(ZSTD_isError(size) ? 0 : size); // It fails only when there is no memory.
    return packed;
}

Result<std::vector<u8>> decompress_state(std::span<const u8> bytes, u64 limit) {
    const unsigned long long size = ZSTD_getFrameContentSize(bytes.data(), bytes.size());
    if (size == ZSTD_CONTENTSIZE_ERROR || size == ZSTD_CONTENTSIZE_UNKNOWN || size > limit)
        return error("the saved state is damaged (what is compressed has no size)");
    std::vector<u8> unpacked(size);
    const std::size_t got = ZSTD_decompress(unpacked.data(), unpacked.size(), bytes.data(), bytes.size());
    if (ZSTD_isError(got) || got != size) return error("the saved state is damaged (it does not decompress)");
    return unpacked;
}

} // namespace calque::backends
