// The guest's RAM: one anonymous file in memory, mapped once.
#pragma once

#include "base/archive.h"
#include "base/result.h"
#include "base/types.h"
#include "mmu/mirror.h"

#include <vector>

namespace calque::mmu {

class GuestRam {
  public:
    // Reserves `bytes` (a multiple of the page size) of zeroed memory, committed as it is touched.
    static Result<GuestRam> create(u64 bytes);
    GuestRam(GuestRam&& other) noexcept;
    GuestRam& operator=(GuestRam&& other) noexcept;
    ~GuestRam();

    u64 size() const { return size_; }
    u8* data() { return data_; }
    const u8* data() const { return data_; }
    int descriptor() const { return fd_; } // The memfd; -1 where the host has none.
    // For mapping it again, which translated code wants: without a descriptor on hosts that it does not run on.
    RamFile file() const;

    // The contents; pages of zeros take no room. Loading fails the archive when the size differs or the data is
    // malformed. No vCPU may run.
    void serialize(Archive& archive);

  private:
    void save_chunk(u64 start, u64 length, std::vector<u8>& out) const;
    bool load_chunk(u64 start, u64 length, const std::vector<u8>& in);
    void zero();
    GuestRam() = default;
    u8* data_ = nullptr;
    u64 size_ = 0;
    int fd_ = -1;
};

} // namespace calque::mmu
