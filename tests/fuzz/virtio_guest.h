// A hostile driver of a virtio function: sets queues up well enough that the device looks at them, then anything.
#pragma once

#include "devices/pci/pci_bus.h"
#include "devices/virtio/virtio_pci.h"
#include "tests/devices/manual_worker.h"
#include "tests/fuzz/device_driver.h"

namespace calque::fuzz {

inline void drive_virtio(devices::PciBus& pci, devices::VirtioPci& device, devices::Bus& memory, devices::Bus& ports,
                         Ram& ram, ManualClock& clock, devices::test::ManualWorker& worker, unsigned queues,
                         const std::function<void(Input&)>& more, const u8* data, std::size_t size) {
    constexpr u64 port_base = 0xC000, msix_base = 0xFEB0'0000, modern_base = 0xFE00'0000;
    const auto place = [&] {
        for (const auto& [offset, value] :
             {std::pair{0x10u, port_base}, {0x14u, msix_base}, {0x20u, modern_base}, {0x24u, u64{0}}, {0x04u, u64{7}}})
            pci.config_write(0, 4 << 3, offset, static_cast<u32>(value), 4);
    };
    const auto modern = [&](u64 offset, u64 value, unsigned width) {
        memory.write(modern_base + offset, value, width);
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
           memory,
           {{modern_base, 0x40}, {modern_base + 0x2000, 0x100}, {modern_base + 0x3000, 0x20}, {msix_base, 0x100}},
           &clock,
           [&](Input& input) {
               const u8 what = input.byte();
               switch (what & 7) {
               case 0: return begin(device.kind().offered_features() & (input.integer(8) | u64{1} << 32));
               case 1: return static_cast<void>(worker.run(4));
               case 2:
                   return static_cast<void>(
                       ports.write(port_base + input.byte() % 64, input.integer(4), 1u << (what >> 4) % 3));
               case 3: return static_cast<void>(ports.read(port_base + input.byte() % 64, 1u << (what >> 4) % 3));
               case 4: return pci.config_write(0, 4 << 3, input.byte() & 0xFC, static_cast<u32>(input.integer(4)), 4);
               case 5:
                   if (more) more(input);
                   return;
               default: { // Bytes into the rings.
                   const u64 at = input.integer(3) % ram.bytes.size();
                   const auto bytes = input.bytes(input.byte() % 64);
                   for (std::size_t i = 0; i < bytes.size() && at + i < ram.bytes.size(); ++i)
                       ram.bytes[at + i] = bytes[i];
                   // And told at once, half of the time.
                   if (what & 8) modern(0x3000 + 4 * u64{(what >> 4) % (queues + 1)}, 0, 2);
                   if (what & 16) worker.run(4);
                   return;
               }
               }
           }},
          data, size);
    worker.run(4);
}

} // namespace calque::fuzz
