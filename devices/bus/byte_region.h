// A range of byte-wide registers: what sits on an 8-bit ISA bus.
#pragma once

#include "devices/device.h"

namespace calque::devices {

// Wider accesses arrive as bytes in ascending order, as the ISA bus controller makes them.
class ByteRegion : public IoRegion {
  public:
    virtual u8 read_byte(u64 offset) = 0;
    virtual void write_byte(u64 offset, u8 value) = 0;

    u64 read(u64 offset, unsigned size) final {
        u64 value = 0;
        for (unsigned i = 0; i < size; ++i)
            value |= u64{read_byte(offset + i)} << (8 * i);
        return value;
    }
    void write(u64 offset, u64 value, unsigned size) final {
        for (unsigned i = 0; i < size; ++i)
            write_byte(offset + i, static_cast<u8>(value >> (8 * i)));
    }
};

} // namespace calque::devices
