#include "devices/i8237/i8237.h"

#include <algorithm>

namespace calque::devices {

namespace {

// 8237A datasheet, register description. Registers 0-7 are address and count of channels 0-3.
enum Register : unsigned {
    STATUS_COMMAND = 8,
    REQUEST = 9,
    SINGLE_MASK = 10,
    MODE = 11,
    CLEAR_BYTE_POINTER = 12,
    TEMPORARY_MASTER_CLEAR = 13,
    CLEAR_MASK = 14,
    ALL_MASK = 15
};
constexpr u8 COMMAND_MEMORY_TO_MEMORY = 1 << 0, COMMAND_DISABLE = 1 << 2;
constexpr u8 MODE_AUTOINIT = 1 << 4, MODE_DECREMENT = 1 << 5;
constexpr unsigned VERIFY = 0, WRITE = 1, READ = 2; // The mode's transfer type: WRITE is into memory.
constexpr unsigned CASCADE = 3;

// The page register of each channel, counted from port 80 (IBM PC AT technical reference); 4's refreshes memory.
constexpr std::array<u8, 8> page_register{0x7, 0x3, 0x1, 0x2, 0xF, 0xB, 0x9, 0xA};

} // namespace

I8237::I8237(Log& log, DmaPort& memory) : log_(log), memory_(memory) {}

// The second controller is wired to A1-A4: each register has two ports.
u8 I8237::Registers::read_byte(u64 offset) {
    std::lock_guard lock(device_.mutex_);
    return device_.read_register(device_.state_.controllers[controller_],
                                 static_cast<unsigned>(controller_ ? offset >> 1 : offset) & 15);
}

void I8237::Registers::write_byte(u64 offset, u8 value) {
    std::lock_guard lock(device_.mutex_);
    device_.write_register(device_.state_.controllers[controller_],
                           static_cast<unsigned>(controller_ ? offset >> 1 : offset) & 15, value);
}

u8 I8237::Pages::read_byte(u64 offset) {
    std::lock_guard lock(device_.mutex_);
    return device_.state_.pages[(offset + 1) & 15];
}

void I8237::Pages::write_byte(u64 offset, u8 value) {
    std::lock_guard lock(device_.mutex_);
    device_.state_.pages[(offset + 1) & 15] = value;
}

u8 I8237::read_register(Controller& c, unsigned reg) {
    if (reg < 8) {
        const Channel& channel = c.channels[reg / 2];
        const u16 value = reg & 1 ? channel.count : channel.address;
        const u8 byte = static_cast<u8>(c.high_byte ? value >> 8 : value);
        c.high_byte = !c.high_byte;
        return byte;
    }
    switch (reg) {
    case STATUS_COMMAND: {
        const u8 status = static_cast<u8>(c.requests << 4 | c.terminal_counts);
        c.terminal_counts = 0;
        return status;
    }
    case TEMPORARY_MASTER_CLEAR: return c.temporary;
    case ALL_MASK: return static_cast<u8>(0xF0 | c.mask); // As the 82C37 in chipsets.
    default: return 0xFF;
    }
}

void I8237::write_register(Controller& c, unsigned reg, u8 value) {
    if (reg < 8) {
        Channel& channel = c.channels[reg / 2];
        u16& base = reg & 1 ? channel.base_count : channel.base_address;
        base = static_cast<u16>(c.high_byte ? (base & 0x00FF) | value << 8 : (base & 0xFF00) | value);
        (reg & 1 ? channel.count : channel.address) = base;
        c.high_byte = !c.high_byte;
        return;
    }
    const u8 channel_bit = static_cast<u8>(1 << (value & 3));
    switch (reg) {
    case STATUS_COMMAND:
        c.command = value;
        if (value & COMMAND_MEMORY_TO_MEMORY) log_.unimplemented(calque::Channel::io, "i8237.memory_to_memory");
        break;
    case REQUEST:
        if (value & 4) log_.unimplemented(calque::Channel::io, "i8237.software_request");
        break;
    case SINGLE_MASK: c.mask = value & 4 ? c.mask | channel_bit : static_cast<u8>(c.mask & ~channel_bit); break;
    case MODE: c.channels[value & 3].mode = value & 0xFC; break;
    case CLEAR_BYTE_POINTER: c.high_byte = false; break;
    case TEMPORARY_MASTER_CLEAR:
        c.command = c.terminal_counts = c.temporary = 0;
        c.high_byte = false;
        c.mask = 0x0F;
        break;
    case CLEAR_MASK: c.mask = 0; break;
    case ALL_MASK: c.mask = value & 0x0F; break;
    }
}

// Word channels shift the address by one and leave out the page's lowest bit: they stay within 128 KiB.
PhysicalAddress I8237::address_of(unsigned channel) const {
    const u16 address = state_.controllers[channel / 4].channels[channel % 4].address;
    const u32 page = state_.pages[page_register[channel]];
    return PhysicalAddress(channel < 4 ? page << 16 | address : (page & 0xFE) << 16 | u32{address} << 1);
}

I8237::Transfer I8237::transfer(unsigned number, std::size_t bytes, unsigned kind, u8* in, const u8* out) {
    Controller& c = state_.controllers[number / 4];
    Channel& channel = c.channels[number % 4];
    const u8 bit = static_cast<u8>(1 << (number % 4));
    const unsigned type = (channel.mode >> 2) & 3;
    Transfer result;
    if ((c.mask & bit) || (c.command & COMMAND_DISABLE) || channel.mode >> 6 == CASCADE) return result;
    if (type != VERIFY && type != kind) return result;
    const unsigned unit = number < 4 ? 1 : 2;
    while (result.bytes + unit <= bytes) {
        const PhysicalAddress at = address_of(number);
        // What is not memory reads as all ones and takes no writes, as on the bus.
        if (type == WRITE && !memory_.dma_write(at, {out + result.bytes, unit}))
            log_.trace(calque::Channel::bus, "DMA channel {} writes outside memory at {:#x}", number, at.value);
        if (in && (type != READ || !memory_.dma_read(at, {in + result.bytes, unit})))
            std::fill_n(in + result.bytes, unit, u8{0xFF});
        result.bytes += unit;
        channel.address = static_cast<u16>(channel.mode & MODE_DECREMENT ? channel.address - 1 : channel.address + 1);
        if (channel.count-- != 0) continue;
        result.terminal_count = true;
        c.terminal_counts |= bit;
        if (channel.mode & MODE_AUTOINIT) {
            channel.address = channel.base_address;
            channel.count = channel.base_count;
        } else {
            c.mask |= bit;
        }
        break;
    }
    return result;
}

I8237::Transfer I8237::to_memory(unsigned channel, std::span<const u8> data) {
    std::lock_guard lock(mutex_);
    return channel < 8 ? transfer(channel, data.size(), WRITE, nullptr, data.data()) : Transfer{};
}

I8237::Transfer I8237::from_memory(unsigned channel, std::span<u8> data) {
    std::lock_guard lock(mutex_);
    return channel < 8 ? transfer(channel, data.size(), READ, data.data(), nullptr) : Transfer{};
}

void I8237::set_request(unsigned channel, bool level) {
    if (channel >= 8) return;
    std::lock_guard lock(mutex_);
    u8& requests = state_.controllers[channel / 4].requests;
    const u8 bit = static_cast<u8>(1 << (channel % 4));
    requests = level ? requests | bit : static_cast<u8>(requests & ~bit);
}

void I8237::reset() {
    std::lock_guard lock(mutex_);
    state_ = {};
}

void I8237::serialize(Archive& archive) {
    std::lock_guard lock(mutex_);
    archive.section("i8237", 1, [&](u32) {
        for (Controller& c : state_.controllers) {
            for (Channel& channel : c.channels) {
                archive.field("base_address", channel.base_address);
                archive.field("base_count", channel.base_count);
                archive.field("address", channel.address);
                archive.field("count", channel.count);
                archive.field("mode", channel.mode);
            }
            archive.field("command", c.command);
            archive.field("mask", c.mask);
            archive.field("terminal_counts", c.terminal_counts);
            archive.field("requests", c.requests);
            archive.field("temporary", c.temporary);
            archive.field("high_byte", c.high_byte);
            c.mask &= 0x0F;
            c.terminal_counts &= 0x0F;
            c.requests &= 0x0F;
        }
        archive.field("pages", state_.pages);
    });
}

} // namespace calque::devices
