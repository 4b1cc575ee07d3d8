// The file that holds a qcow2 image: what its parts read and write through.
#pragma once

#include "frontend/backends/block/image.h"
#include "frontend/backends/block/qcow2_header.h"

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

namespace calque::backends::qcow2 {

// Takes a sentence for the person at the terminal. Called on any thread.
using Report = std::function<void(const std::string&)>;

// Safe from several threads. Once the image was found to be corrupt nothing is written to it any more.
class File {
  public:
    File(std::unique_ptr<BlockImage> image, Header header, bool read_only, Report report);

    BlockImage& image() { return *image_; }
    const Geometry& geometry() const { return header.geometry; }
    bool read_only() const { return read_only_; }
    u64 size() const { return image_->size(); }

    // What lies past the file's end reads as zeros.
    int read(u64 offset, std::span<u8> data);
    // Makes the file longer where that is needed.
    int write(u64 offset, std::span<const u8> data);
    int write_header_field(u64 offset, std::span<const u8> data) { return write(offset, data); }
    int flush();
    int discard(u64 offset, u64 length);
    // Makes the file at least `end` bytes long, in large steps. ENOSPC where it cannot grow.
    int reserve(u64 end);
    // What reserve() added reads as zeros until it is written.
    bool grows_with_zeros() const { return grows_; }
    // Ends the file after `end` bytes, if it is longer.
    int trim(u64 end);

    // Whether an L2 entry has bits that it must not have, or a place that is not in the file.
    bool is_wrong(u64 entry) const;

    bool corrupt() const { return corrupt_.load(std::memory_order_relaxed); }
    // Says so once, sets the corrupt bit (version 3) and refuses writes from here on. Gives EIO. An image that is open
    // for reading only is not marked, and what can be read of it still is.
    int mark_corrupt(const std::string& what);
    // Sets or clears the dirty bit, and waits until it is on the platter.
    int set_dirty(bool dirty);
    void report(const std::string& sentence) const;

    // What the header says now. Changed by whoever holds the image's lock, after the file's header was.
    Header header;

  private:
    int write_incompatible();

    std::unique_ptr<BlockImage> image_;
    const bool read_only_;
    Report report_;
    std::atomic<bool> corrupt_{false};
    std::atomic<bool> grows_{true};
    std::mutex grow_mutex_;
    std::mutex feature_mutex_;
};

} // namespace calque::backends::qcow2
