// A hostile driver of a virtio function: sets queues up well enough that the device looks at them, then anything.
#pragma once

#include "devices/virtio/virtio_pci.h"
#include "tests/fuzz/pci_machine.h"

namespace calque::fuzz {

inline void drive_virtio(PciMachine& m, devices::VirtioPci& device, unsigned queues,
                         const std::function<void(Input&)>& more, const u8* data, std::size_t size) {
    constexpr u64 port_base = 0xC000, msix_base = 0xFEB0'0000, modern_base = 0xFE00'0000;
    const auto place = [&] {
        for (const auto& [offset, value] :
             {std::pair{0x10u, port_base}, {0x14u, msix_base}, {0x20u, modern_base}, {0x24u, u64{0}}, {0x04u, u64{7}}})
            m.config_write(offset, static_cast<u32>(value), 4);
    };
    const auto modern = [&](u64 offset, u64 value, unsigned width) {
        m.memory.write(modern_base + offset, value, width);
    };
    const auto begin = [&](u64 features) {
        place();
        modern(0x14, 0, 1);
        modern(0x14, 3, 1);
        for (unsigned half = 0; half < 2; ++half) {
            modern(8, half, 4);
            modern(12, static_cast<u32>(features >> (32 * half)), 4);
        }
        modern(0x14, 11, 1);
        for (unsigned q = 0; q < queues; ++q) {
            modern(0x16, q, 2);
            modern(0x20, 0x4000 * u64{q}, 8);
            modern(0x28, 0x4000 * u64{q} + 0x1000, 8);
            modern(0x30, 0x4000 * u64{q} + 0x2000, 8);
            modern(0x1C, 1, 2);
        }
        modern(0x14, 15, 1);
    };
    begin(u64{1} << 32);
    drive({device,
           m.memory,
           {{modern_base, 0x40}, {modern_base + 0x2000, 0x100}, {modern_base + 0x3000, 0x20}, {msix_base, 0x100}},
           &m.clock,
           [&](Input& input) {
               const u8 what = input.byte();
               switch (what & 7) {
               case 0: return begin(device.kind().offered_features() & (input.integer(8) | u64{1} << 32));
               case 1: return static_cast<void>(m.worker.run(4));
               case 2:
                   return static_cast<void>(
                       m.ports.write(port_base + input.byte() % 64, input.integer(4), 1u << (what >> 4) % 3));
               case 3: return static_cast<void>(m.ports.read(port_base + input.byte() % 64, 1u << (what >> 4) % 3));
               case 4: return m.config_write(input.byte() & 0xFC, static_cast<u32>(input.integer(4)), 4);
               case 5:
                   if (more) more(input);
                   return;
               default: { // Bytes into the rings.
                   const u64 at = input.integer(3) % m.ram.bytes.size();
                   const auto bytes = input.bytes(input.byte() % 64);
                   for (std::size_t i = 0; i < bytes.size() && at + i < m.ram.bytes.size(); ++i)
                       m.ram.bytes[at + i] = bytes[i];
                   // And told at once, half of the time.
                   if (what & 8) modern(0x3000 + 4 * u64{(what >> 4) % (queues + 1)}, 0, 2);
                   if (what & 16) m.worker.run(4);
                   return;
               }
               }
           }},
          data, size);
    m.worker.run(4);
}

} // namespace calque::fuzz
