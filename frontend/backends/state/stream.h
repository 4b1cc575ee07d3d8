// A machine's state as a stream of records, wherever it goes: a file, a disk image, another process. Each record has
// its length and a checksum, so that what was damaged on the way is found before it is believed.
//
// "CALQUE-STATE-02\n", then records of a header (24 bytes, little-endian) and a payload:
//   u32 kind, u32 CRC-32 of the payload, u64 length of the payload, u32 number of the record from 0, u32 CRC-32 of the
//   20 bytes before
// The last record is of the kind `end`.
#pragma once

#include "base/result.h"
#include "base/types.h"

#include <functional>
#include <span>
#include <vector>

namespace calque::backends {

class StateSink {
  public:
    virtual ~StateSink() = default;
    virtual Result<void> write(std::span<const u8> bytes) = 0;
};

class StateSource {
  public:
    virtual ~StateSource() = default;
    // All of the bytes, or an error.
    virtual Result<void> read(std::span<u8> bytes) = 0;
};

enum class RecordKind : u32 {
    machine = 1, // What kind of machine it is: an archive.
    ram = 2,     // Some pages.
    devices = 3, // Everything but RAM: an archive, compressed.
    end = 4,     // Nothing follows.
};

constexpr u64 largest_ram_record = u64{4} << 20;
constexpr u64 largest_record = u64{512} << 20; // Of any kind, in bytes.

class StateWriter {
  public:
    explicit StateWriter(StateSink& sink) : sink_(sink) {}
    Result<void> begin();
    Result<void> record(RecordKind kind, std::span<const u8> payload);
    Result<void> end() { return record(RecordKind::end, {}); }
    u64 bytes() const { return bytes_; } // Written so far.

  private:
    Result<void> put(std::span<const u8> bytes);
    StateSink& sink_;
    u32 number_ = 0;
    u64 bytes_ = 0;
};

class StateReader {
  public:
    explicit StateReader(StateSource& source) : source_(source) {}
    Result<void> begin();
    struct Record {
        RecordKind kind{};
        std::span<const u8> payload; // Until the next one is read.
    };
    // Fails on what is damaged or no record; after `end` it must not be called.
    Result<Record> next();

  private:
    StateSource& source_;
    u32 number_ = 0;
    std::vector<u8> payload_;
};

// The payload of a record that is worth it.
std::vector<u8> compress_state(std::span<const u8> bytes);
// Fails on what compress_state() did not make, or what would have more than `limit` bytes.
Result<std::vector<u8>> decompress_state(std::span<const u8> bytes, u64 limit);

} // namespace calque::backends
