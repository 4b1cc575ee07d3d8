// Message-signalled interrupts of a PCI function: MSI and MSI-X (PCI 3.0, 6.8).
#pragma once

#include "base/archive.h"
#include "devices/device.h"

#include <functional>
#include <vector>

namespace calque::devices {

// Asks for an MSI capability: 64-bit addresses, with a mask bit per vector.
struct PciMsi {
    unsigned vectors = 0; // 1, 2, 4, 8, 16 or 32; 0: no MSI.
};

// Asks for an MSI-X capability.
struct PciMsix {
    unsigned vectors = 0;   // 1 to 2048; 0: no MSI-X.
    unsigned bar = 1;       // The memory BAR that holds both structures, with PciFunction::msix_region() behind it.
    u32 table_offset = 0;   // In that BAR, in bytes, a multiple of 8.
    u32 pba_offset = 0x800; // Behind the table.
};

// The MSI-X table and pending bits of one function. Knows nothing of locks: PciFunction calls it under its own.
class MsixTable {
  public:
    using Send = std::function<void(u64 address, u32 data)>;
    MsixTable(unsigned vectors, Send send) : vectors_(vectors), send_(std::move(send)) { reset(); }

    unsigned vectors() const { return vectors_; }
    // The capability's message control changed.
    void set_control(bool enabled, bool masked);
    // The same after a load, of a table that is enabled: nothing is sent.
    void restore_control(bool masked) {
        enabled_ = true;
        function_masked_ = masked;
    }
    bool enabled() const { return enabled_; }
    void notify(unsigned vector);

    // Byte accesses to the two structures; what lies beyond them reads as zero and ignores writes.
    u8 read_table(u64 offset) const { return offset < table_.size() ? table_[offset] : 0; }
    u8 read_pending(u64 offset) const { return offset < pending_.size() ? pending_[offset] : 0; }
    void write_table(u64 offset, u64 value, unsigned size);

    void reset();
    void serialize(Archive& archive);

    static constexpr unsigned entry_size = 16;

  private:
    bool masked(unsigned vector) const;
    bool pending(unsigned vector) const { return pending_[vector / 8] >> (vector % 8) & 1; }
    void deliver_pending(unsigned vector);
    void send(unsigned vector);

    unsigned vectors_;
    Send send_;
    bool enabled_ = false, function_masked_ = false; // Follow from the capability.
    std::vector<u8> table_;   // Entries: address, data and vector control as software wrote them.
    std::vector<u8> pending_; // A bit for each vector, whole quadwords.
};

} // namespace calque::devices
