// A driver of a virtio PCI function, as small as a test needs: finds the BARs, sets up queues in memory, adds buffers.
#pragma once

#include "devices/pci/pci_bus.h"
#include "devices/virtio/virtio_pci.h"
#include "tests/devices/harness.h"
#include "tests/devices/manual_worker.h"

#include <cstring>

namespace calque::devices::test {

struct RecordedMessages final : MsiSink {
    void send_msi(PhysicalAddress address, u32 data) override { sent.emplace_back(address.value, data); }
    std::vector<std::pair<u64, u32>> sent;
};

// A PCI bus with memory and interrupts, and one function in slot 4.
class PciBoard {
  public:
    PciBoard() {
        pci.set_interrupt_sink(&lines);
        pci.set_msi_sink(&messages);
    }
    void plug(PciFunction& function) {
        EXPECT_TRUE(pci.attach(function, 4, 0).ok());
        write_config(pci::BAR0, port_base, 4);
        write_config(pci::BAR0 + 4, msix_base, 4);
        write_config(pci::BAR0 + 16, modern_base, 4);
        write_config(pci::BAR0 + 20, 0, 4);
        write_config(pci::COMMAND, pci::COMMAND_IO | pci::COMMAND_MEMORY | pci::COMMAND_MASTER, 2);
    }
    u32 config(unsigned offset, unsigned size) { return pci.config_read(0, 4 << 3, offset, size); }
    void write_config(unsigned offset, u32 value, unsigned size) { pci.config_write(0, 4 << 3, offset, value, size); }
    // Opens a vector of an MSI-X table at `msix_base`.
    void open_vector(unsigned vector, u32 data) {
        memory_bus.write(msix_base + 16 * vector, 0xFEE0'0000, 4);
        memory_bus.write(msix_base + 16 * vector + 8, data, 4);
        memory_bus.write(msix_base + 16 * vector + 12, 0, 4);
    }

    static constexpr u64 port_base = 0xC000, msix_base = 0xFEB0'0000, modern_base = 0xFE00'0000;
    Log log;
    Bus ports{Bus::Kind::ports, log};
    Bus memory_bus{Bus::Kind::memory, log};
    RecordedLines lines;
    RecordedMessages messages;
    SmallMemory ram{1 << 20};
    PciBus pci{log, ports, memory_bus};
};

class VirtioDriver {
  public:
    VirtioDriver(PciBoard& board) : board_(board) {}

    u64 read(u64 offset, unsigned size) { return board_.memory_bus.read(PciBoard::modern_base + offset, size); }
    void write(u64 offset, u64 value, unsigned size) {
        board_.memory_bus.write(PciBoard::modern_base + offset, value, size);
    }
    u64 features() {
        write(0, 1, 4);
        const u64 high = read(4, 4);
        write(0, 0, 4);
        return high << 32 | read(4, 4);
    }
    u8 status() { return static_cast<u8>(read(0x14, 1)); }
    // Up to FEATURES_OK; false when the device did not take them.
    bool begin(u64 features) {
        write(0x14, 0, 1);
        write(0x14, 3, 1);
        for (unsigned half = 0; half < 2; ++half) {
            write(8, half, 4);
            write(12, static_cast<u32>(features >> (32 * half)), 4);
        }
        write(0x14, 11, 1);
        features_ = features;
        return status() == 11;
    }
    // Places queue `index` at 0x10000 * (index + 1), with 8 entries.
    void set_queue(unsigned index, u16 vector = virtio::NO_VECTOR) {
        const u64 at = base(index);
        write(0x16, index, 2);
        write(0x18, size, 2);
        write(0x1A, vector, 2);
        write(0x20, at, 8);
        write(0x28, at + 0x1000, 8);
        write(0x30, at + 0x2000, 8);
        write(0x1C, 1, 2);
    }
    void go() { write(0x14, 15, 1); }

    static u64 base(unsigned queue) { return 0x10000 * (u64{queue} + 1); }
    template <class T> T peek(u64 address) {
        T value;
        std::memcpy(&value, board_.ram.bytes.data() + address, sizeof value);
        return value;
    }
    template <class T> void poke(u64 address, T value) {
        std::memcpy(board_.ram.bytes.data() + address, &value, sizeof value);
    }
    void descriptor(unsigned queue, unsigned index, u64 address, u32 length, u16 flags, u16 next = 0) {
        const u64 at = base(queue) + 16 * index;
        poke<u64>(at, address);
        poke<u32>(at + 8, length);
        poke<u16>(at + 12, flags);
        poke<u16>(at + 14, next);
    }
    void make_available(unsigned queue, u16 head) {
        const u64 at = base(queue) + 0x1000;
        const u16 index = peek<u16>(at + 2);
        poke<u16>(at + 4 + 2 * (index % size), head);
        poke<u16>(at + 2, static_cast<u16>(index + 1));
    }
    void notify(unsigned queue) { write(VirtioPci::notify_offset + 4 * queue, queue, 2); }
    u16 used(unsigned queue) { return peek<u16>(base(queue) + 0x2002); }
    std::pair<u32, u32> used_element(unsigned queue, u16 index) {
        const u64 at = base(queue) + 0x2004 + 8 * (index % size);
        return {peek<u32>(at), peek<u32>(at + 4)};
    }

    static constexpr u16 size = 8, NEXT = 1, WRITE = 2, INDIRECT = 4;

  private:
    PciBoard& board_;
    u64 features_ = 0;
};

} // namespace calque::devices::test
