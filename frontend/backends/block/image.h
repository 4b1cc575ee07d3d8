// The contents of a disk, as bytes: what every image format gives, and what a format reads its own file through.
#pragma once

#include "base/types.h"

#include <span>
#include <string>

namespace calque::backends {

// Calls block and run on I/O threads, several at a time; an image guards itself. Each returns 0 or a positive errno
// value (EIO, ENOSPC, EROFS, EINVAL for a range outside the image), which `werror` and `rerror` judge by. What write(),
// discard() and write_zeroes() did is on the platter after the next flush() that returned 0, and not promised before;
// accesses that overlap in time and place have no order.
class BlockImage {
  public:
    virtual ~BlockImage() = default;

    virtual u64 size() const = 0; // In bytes.
    virtual bool read_only() const = 0;
    // What it is called in messages: the file's name.
    virtual const std::string& name() const = 0;

    virtual int read(u64 offset, std::span<u8> data) = 0;
    // Reads only what the host has in memory, without waiting. False: some of it may have to be waited for, or failed.
    virtual bool read_now(u64 offset, std::span<u8> data) {
        return static_cast<void>(offset), static_cast<void>(data), false;
    }
    virtual int write(u64 offset, std::span<const u8> data) = 0;
    virtual int flush() = 0;
    // The range's contents may be forgotten; reads give zeros or what was there.
    virtual int discard(u64 offset, u64 length) = 0;
    // Reads give zeros afterwards. `may_unmap`: the room in the host's file may be given back.
    virtual int write_zeroes(u64 offset, u64 length, bool may_unmap) = 0;
    // Makes the image larger or smaller, in bytes; ENOTSUP where it cannot be.
    virtual int resize(u64 size) = 0;
};

} // namespace calque::backends
