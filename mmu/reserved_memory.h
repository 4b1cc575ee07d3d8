// Host memory that is reserved at once and committed as it is touched.
#pragma once

#include "base/types.h"

namespace calque::mmu {

class ReservedMemory {
  public:
    // `low`: below 2 GiB where the host has room there, so that an instruction of x86-64 can name it.
    enum class Place : u8 { anywhere, low };

    // `bytes` of zeros. Throws std::bad_alloc when the host has no room in its address space.
    explicit ReservedMemory(u64 bytes, Place place = Place::anywhere);
    ~ReservedMemory();
    ReservedMemory(const ReservedMemory&) = delete;
    ReservedMemory& operator=(const ReservedMemory&) = delete;

    u8* data() const { return data_; }

  private:
    u8* data_;
    u64 size_;
};

// Address space for mappings: what nobody has mapped there cannot be accessed.
class ReservedSpace {
  public:
    // Throws std::bad_alloc when the host has no room in its address space.
    ReservedSpace(u64 bytes, u64 alignment);
    ~ReservedSpace();
    ReservedSpace(const ReservedSpace&) = delete;
    ReservedSpace& operator=(const ReservedSpace&) = delete;

    u8* data() const { return data_; }

  private:
    u8* mapping_;
    u8* data_;
    u64 size_; // Of the mapping.
};

// Makes part of reserved space plain memory: zeros, committed as it is touched. Whole pages; throws std::bad_alloc.
void commit(u8* start, u64 bytes);
// In reserved space: maps part of a file, for reading and writing; makes a range inaccessible again, if the
// host lets it. Whole pages. False when the host refuses. `all_used`: it is not worth waiting for each page's use.
bool map_file(u8* start, u64 bytes, int descriptor, u64 offset, bool all_used);
void unmap(u8* start, u64 bytes);

// Makes bytes of reserved memory zeros again and gives them back to the host. `start` is aligned to 64 KiB.
void discard(u8* start, u64 bytes);

} // namespace calque::mmu
