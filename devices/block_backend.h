// What a disk device keeps its sectors in: the asynchronous side of a disk on the host.
#pragma once

#include "base/types.h"

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace calque::devices {

enum class BlockStatus : u8 {
    ok,
    io_error,     // The host could not do it.
    no_space,     // The host has no room left.
    read_only,    // A change of what is write-protected.
    out_of_range, // Beyond the medium's end, or not whole sectors.
    no_medium,
};

// One access. Offsets and lengths are bytes, multiples of BlockBackend::sector.
struct BlockRequest {
    enum class Kind : u8 { read, write, flush, discard, write_zeroes };
    Kind kind = Kind::read;
    u64 offset = 0;
    u64 length = 0; // discard, write_zeroes. Reads and writes are as long as their buffers.
    // Where the bytes go or come from, in order; each a multiple of one byte, all together whole sectors. Not owned:
    // they stay until `done` has been called.
    std::vector<std::span<u8>> buffers{};
    bool force_unit_access = false; // write, write_zeroes: on the platter before it counts as done.
    bool may_unmap = false;         // write_zeroes: the room on the host may be given back.
    // Called once, on a thread of the backend, never inside submit(). It may submit more.
    std::function<void(BlockStatus)> done{};
};

class BlockBackend {
  public:
    static constexpr u32 sector = 512; // The unit of sizes and offsets, in bytes.

    virtual ~BlockBackend() = default;
    virtual void submit(BlockRequest request) = 0; // Any thread; never waits for the host.
    // Does a read here and now when its bytes are at hand, which saves the way to another thread and back; `done` is
    // not called. Null: nothing was done, submit() it. Any thread; never waits for the host.
    virtual std::optional<BlockStatus> try_now(const BlockRequest& request) {
        return static_cast<void>(request), std::nullopt;
    }

    // --- The medium. All but write_cache() can change while the machine runs, where the drive is removable.
    virtual bool has_medium() const = 0;
    virtual u64 size() const = 0; // In bytes, whole sectors; 0 without a medium.
    virtual bool read_only() const = 0;
    // How often a medium was put in or taken out: a device sees by it that this is another one.
    virtual u32 medium_changes() const = 0;
    // The guest locks its drive (true), so that a person cannot take the medium out, or lets it go.
    virtual void lock_medium(bool locked) = 0;
    // Called, on any thread, after a medium was put in, taken out or resized, and (`wanted`) when a person would like
    // a locked one back. One observer; set before the machine runs.
    virtual void set_medium_observer(std::function<void(bool wanted)> observer) = 0;

    // --- The cache in front of the medium, as the guest sees it: without, each write is flushed before it is done.
    virtual bool write_cache() const = 0;
    virtual void set_write_cache(bool on) = 0;

    virtual bool discards() const = 0;      // Does discard do anything?
    virtual std::string serial() const = 0; // What the drive calls itself; empty: the device chooses.
};

} // namespace calque::devices
