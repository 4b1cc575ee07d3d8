// The IDE function on a port bus with a disk as first and a CD as third drive, and what drivers do with them.
#pragma once

#include "devices/ide/piix3_ide.h"
#include "devices/pci/pci_bus.h"
#include "tests/devices/fake_disk.h"
#include "tests/devices/harness.h"

namespace calque::devices::test {

class IdeFixture : public testing::Test {
  protected:
    static constexpr u16 master_base = 0xC000;
    static constexpr u32 table = 0x1000; // Of PRDs.

    IdeFixture() {
        pci.map_config_ports();
        EXPECT_TRUE(pci.attach(ide.function(), 1, 1).ok());
        enable();
    }
    // As firmware does: channels decoded, BAR 4 placed, I/O and bus mastering on.
    void enable() {
        pci.config_write(0, 9, 0x40, 0x8000, 2);
        pci.config_write(0, 9, 0x42, 0x8000, 2);
        pci.config_write(0, 9, 0x20, master_base, 4);
        pci.config_write(0, 9, 0x04, 5, 2);
    }
    u8 in(u16 port) { return static_cast<u8>(ports.read(port, 1)); }
    void out(u16 port, u8 value) { ports.write(port, value, 1); }
    u8 status(u16 base = 0x1F0) { return in(base + 7); }

    // Writes LBA28 registers and a command.
    void command(u8 code, u32 lba = 0, u8 count = 0, u8 features = 0, u16 base = 0x1F0, bool second = false) {
        out(base + 6, static_cast<u8>(0xE0 | (second ? 0x10 : 0) | (lba >> 24 & 0x0F)));
        out(base + 1, features);
        out(base + 2, count);
        out(base + 3, static_cast<u8>(lba));
        out(base + 4, static_cast<u8>(lba >> 8));
        out(base + 5, static_cast<u8>(lba >> 16));
        out(base + 7, code);
    }
    void command_ext(u8 code, u64 lba, u16 count) {
        out(0x1F6, 0x40);
        for (const unsigned shift : {8u, 0u}) {
            out(0x1F2, static_cast<u8>(count >> shift));
            out(0x1F3, static_cast<u8>(lba >> (shift ? 24 : 0)));
            out(0x1F4, static_cast<u8>(lba >> (shift ? 32 : 8)));
            out(0x1F5, static_cast<u8>(lba >> (shift ? 40 : 16)));
        }
        out(0x1F7, code);
    }
    std::vector<u8> read_data(std::size_t size, u16 base = 0x1F0, unsigned width = 2) {
        std::vector<u8> bytes;
        while (bytes.size() < size) {
            const u64 value = ports.read(base, width);
            for (unsigned i = 0; i < width; ++i)
                bytes.push_back(static_cast<u8>(value >> (8 * i)));
        }
        return bytes;
    }
    void write_data(std::span<const u8> bytes, u16 base = 0x1F0) {
        for (std::size_t i = 0; i < bytes.size(); i += 2)
            ports.write(base, u64{bytes[i]} | u64{bytes[i + 1]} << 8, 2);
    }
    void put32(u64 at, u32 value) {
        for (unsigned i = 0; i < 4; ++i)
            memory.bytes[at + i] = static_cast<u8>(value >> (8 * i));
    }
    // A table of regions, in memory, given to a channel.
    void describe(const std::vector<std::pair<u32, u32>>& regions, u16 channel = 0) {
        for (std::size_t i = 0; i < regions.size(); ++i) {
            put32(table + 8 * i, regions[i].first);
            put32(table + 8 * i + 4, (regions[i].second & 0xFFFF) | (i + 1 == regions.size() ? 0x8000'0000u : 0));
        }
        ports.write(master_base + channel * 8 + 4, table, 4);
    }
    void start_master(bool to_memory, u16 channel = 0) {
        out(static_cast<u16>(master_base + channel * 8), to_memory ? 0x09 : 0x01);
    }
    u8 master_status(u16 channel = 0) { return in(static_cast<u16>(master_base + channel * 8 + 2)); }

    // A packet to the CD, with the host taking up to `limit` bytes at a time.
    void packet(std::vector<u8> bytes, u16 limit = 0xFFFE, bool dma = false) {
        out(0x176, 0xA0);
        out(0x171, dma);
        out(0x174, static_cast<u8>(limit));
        out(0x175, static_cast<u8>(limit >> 8));
        out(0x177, 0xA0);
        EXPECT_EQ(status(0x170), 0x58) << "ready for the packet";
        EXPECT_EQ(in(0x172), 0x01);
        bytes.resize(12);
        write_data(bytes, 0x170);
        cd.settle();
    }
    // Everything that a command gives, by the data port.
    std::vector<u8> answer() {
        std::vector<u8> all;
        while (status(0x170) & 0x08) {
            EXPECT_EQ(in(0x172), 0x02) << "data for the host";
            const std::size_t count = in(0x174) | in(0x175) << 8;
            auto part = read_data((count + 1) / 2 * 2, 0x170);
            part.resize(count);
            all.insert(all.end(), part.begin(), part.end());
            cd.settle();
        }
        EXPECT_EQ(in(0x172), 0x03) << "the command is complete";
        return all;
    }
    std::vector<u8> sense() {
        packet({0x03, 0, 0, 0, 18});
        const auto bytes = answer();
        return bytes.size() == 18 ? std::vector<u8>{bytes[2], bytes[12], bytes[13]} : std::vector<u8>{};
    }

    Log log;
    Bus ports{Bus::Kind::ports, log};
    Bus memory_bus{Bus::Kind::memory, log};
    SmallMemory memory{4 << 20};
    RecordedLines lines;
    FakeDisk disk{70'000};
    FakeDisk cd{4096};
    PciBus pci{log, ports, memory_bus};
    Piix3Ide ide{log,
                 ports,
                 memory,
                 IrqLine(lines, 14),
                 IrqLine(lines, 15),
                 Piix3Ide::Drives{{{&disk, false, "SERIAL01"}, {}, {&cd, true, "SERIAL03"}, {}}}};
};

} // namespace calque::devices::test
