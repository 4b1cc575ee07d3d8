#include "devices/e1000/e1000.h"

#include "base/bits.h"
#include "devices/e1000/registers.h"

#include <algorithm>

namespace calque::devices {

using namespace e1000;

PciDescriptor E1000::describe(const std::string& name, IoRegion& registers, IoRegion& ports) {
    PciDescriptor d;
    d.name = fmt::format("{}.pci", name);
    d.vendor_id = 0x8086;
    d.device_id = 0x100E;
    d.revision_id = 3;
    d.class_code = 0x020000;
    d.subsystem_vendor_id = 0x1AF4;
    d.subsystem_id = 0x1100;
    d.interrupt_pin = 1;
    d.bars[0] = {PciBar::Kind::memory32, register_space, false, &registers};
    d.bars[1] = {PciBar::Kind::io, 64, false, &ports};
    return d;
}

E1000::E1000(Log& log, DmaPort& memory, NetBackend& backend, const std::array<u8, 6>& mac, std::string name)
    : log_(log), name_(std::move(name)), backend_(backend), mac_(mac),
      pci_(describe(name_, register_region_, port_region_), log), dma_(pci_, memory) {
    fill_eeprom();
    reset_registers();
    transmit_task_ = backend_.worker().make_task([this] { transmit(); });
    backend_.set_client(this);
}

E1000::~E1000() { backend_.set_client(nullptr); }

// 5.6: the address, the identifiers, and a checksum that makes all words sum up to BABA.
void E1000::fill_eeprom() {
    auto& words = state_.eeprom;
    for (unsigned i = 0; i < 3; ++i)
        words[i] = static_cast<u16>(mac_[2 * i] | mac_[2 * i + 1] << 8);
    words[0x03] = 0x0040;
    words[0x0A] = 0x4408; // Word 0Ah: signature, and the interrupt pin.
    words[0x0B] = 0x1100;
    words[0x0C] = 0x1AF4;
    words[0x0D] = 0x100E;
    words[0x0E] = 0x8086;
    u16 sum = 0;
    for (unsigned i = 0; i < 0x3F; ++i)
        sum = static_cast<u16>(sum + words[i]);
    words[0x3F] = static_cast<u16>(0xBABA - sum);
}

void E1000::reset_registers() {
    state_.registers = {};
    state_.phy = {};
    state_.phy[0] = 0x1140; // Control: auto-negotiation, full duplex, 1000 Mb/s.
    state_.phy[1] = 0x796D; // Status: link up, negotiation complete.
    state_.phy[2] = 0x0141; // Identifiers of the 88E1011.
    state_.phy[3] = 0x0C20;
    state_.phy[4] = 0x0DE1;
    state_.phy[5] = 0x41E0; // The link partner's abilities,
    state_.phy[9] = 0x0E00;
    state_.phy[10] = 0x3C00; // and at 1000 Mb/s.
    state_.phy[17] = 0xAC08; // 1000 Mb/s, full duplex, resolved, link.
    reg(CTRL) = CTRL_SLU | 1;
    reg(STATUS) = STATUS_FD | STATUS_LU | STATUS_SPEED_1000;
    reg(PBA) = 0x0010'0030;
    reg(LEDCTL) = 0x0706'1302;
    context_ = {};
    sending_ = {};
    load_address();
    show_link();
}

// The MAC's status, and the PHY's: link, negotiation complete, and what was resolved.
void E1000::show_link() {
    constexpr u16 PHY_LINK = 0x0024, PHY_SPECIFIC_LINK = 0x0C00;
    const auto show = [&](auto& value, auto mask) {
        value = static_cast<std::remove_reference_t<decltype(value)>>(state_.link ? value | mask : value & ~mask);
    };
    show(reg(STATUS), STATUS_LU);
    show(state_.phy[1], PHY_LINK);
    show(state_.phy[17], PHY_SPECIFIC_LINK);
}

void E1000::set_link(bool up) {
    std::lock_guard lock(mutex_);
    if (std::exchange(state_.link, up) == up) return;
    show_link();
    raise(ICR_LSC);
}

// Receive address 0 comes from the EEPROM (13.5.3).
void E1000::load_address() {
    const auto& words = state_.eeprom;
    reg(RA) = words[0] | u32{words[1]} << 16;
    reg(RA + 4) = words[2] | RA_VALID;
}

void E1000::raise(u32 causes) {
    reg(ICR) |= causes;
    update_line();
}

void E1000::update_line() { pci_.set_intx((reg(ICR) & reg(IMS)) != 0); }

// --- EEPROM and PHY

// 5.3.1: a start bit, an opcode of two bits and six of address; then sixteen bits come out.
void E1000::clock_eeprom(u32 value) {
    const u32 before = reg(EECD);
    constexpr u32 kept = EECD_SK | EECD_CS | EECD_DI | EECD_REQ;
    reg(EECD) = value & kept;
    if (!(value & EECD_CS)) {
        state_.serial_in = 0;
        state_.serial_bits = 0;
        state_.serial_out = 0;
        return;
    }
    if ((before & EECD_SK) || !(value & EECD_SK)) return; // Rising edges only.
    constexpr u32 command_bits = 9, read_opcode = 6;      // 1 for the start, 10 for reading.
    const bool bit_in = value & EECD_DI;
    if (state_.serial_bits < command_bits) {
        if (state_.serial_bits == 0 && !bit_in) return; // Before the start bit.
        state_.serial_in = state_.serial_in << 1 | bit_in;
        if (++state_.serial_bits == command_bits && state_.serial_in >> 6 == read_opcode)
            state_.serial_out = state_.eeprom[state_.serial_in & 0x3F];
        return;
    }
    if (state_.serial_bits < command_bits + 16) ++state_.serial_bits;
}

u32 E1000::phy(u32 command) {
    const u32 index = bits(command, 16, 5), operation = bits(command, 26, 2);
    if (bits(command, 21, 5) != 1) return (command & ~0xFFFFu) | MDIC_READY | MDIC_ERROR;
    if (operation == MDIC_READ) return (command & ~0xFFFFu) | state_.phy[index] | MDIC_READY;
    if (operation == MDIC_WRITE) {
        constexpr u16 self_clearing = 0x8200; // Reset and restart of the negotiation are over at once.
        if (index == 0) state_.phy[0] = static_cast<u16>(command & 0xFFFF & ~self_clearing);
        if (index == 4 || index == 9 || index == 16 || index == 20) state_.phy[index] = static_cast<u16>(command);
    }
    return command | MDIC_READY;
}

// --- Registers

u32 E1000::read_register(u32 offset) {
    if (offset >= STATISTICS && offset < STATISTICS_END) return std::exchange(reg(offset), 0); // Cleared by reading.
    switch (offset) {
    case ICR: {
        const u32 causes = std::exchange(reg(ICR), 0);
        update_line();
        return causes;
    }
    case IMC:
    case ICS: return 0;
    case EECD: {
        u32 value = reg(EECD) | EECD_PRES;
        if (value & EECD_REQ) value |= EECD_GNT;
        // Between the command and the word there is a zero; the word's bits follow, highest first.
        const unsigned out = state_.serial_bits >= 10 ? state_.serial_bits - 10u : 16u;
        if ((value & EECD_CS) && out < 16 && (state_.serial_out >> (15 - out) & 1)) value |= EECD_DO;
        if (!(value & EECD_CS)) value |= EECD_DO; // Not busy.
        return value;
    }
    default: return offset / 4 < state_.registers.size() ? reg(offset) : 0;
    }
}

void E1000::write_register(u32 offset, u32 value) {
    switch (offset) {
    case CTRL:
        if (value & CTRL_RST) {
            reset_registers();
            return update_line();
        }
        reg(CTRL) = value & ~CTRL_PHY_RST;
        return;
    case EECD: return clock_eeprom(value);
    case EERD: reg(EERD) = (value & ~EERD_START) | EERD_DONE | u32{state_.eeprom[bits(value, 8, 6)]} << 16; return;
    case MDIC: reg(MDIC) = phy(value); return;
    case ICR: reg(ICR) &= ~value; return update_line();
    case ICS: return raise(value & ICR_ALL);
    case IMS: reg(IMS) |= value & ICR_ALL; return update_line();
    case IMC: reg(IMS) &= ~value; return update_line();
    case STATUS: return;
    case RDLEN:
    case TDLEN: reg(offset) = value & 0xFFF80; return;
    case RDBAL:
    case TDBAL: reg(offset) = value & ~15u; return;
    case RDH:
    case TDH: reg(offset) = value & 0xFFFF; return;
    case RCTL:
    case RDT: reg(offset) = offset == RDT ? value & 0xFFFF : value; return backend_.resume();
    case TCTL:
    case TDT: reg(offset) = offset == TDT ? value & 0xFFFF : value; return transmit_task_->schedule();
    default:
        if (offset / 4 < state_.registers.size()) reg(offset) = value;
    }
}

u64 E1000::Registers::read(u64 offset, unsigned size) {
    std::lock_guard lock(device_.mutex_);
    u64 value = device_.read_register(static_cast<u32>(offset & ~u64{3}));
    if (size == 8) return value | u64{device_.read_register(static_cast<u32>(offset + 4))} << 32;
    return bits(value, 8 * static_cast<unsigned>(offset & 3), 8 * size);
}

// Registers are doublewords; a narrower write reaches none (13.1).
void E1000::Registers::write(u64 offset, u64 value, unsigned size) {
    if (size < 4 || offset % 4) return;
    std::lock_guard lock(device_.mutex_);
    device_.write_register(static_cast<u32>(offset), static_cast<u32>(value));
    if (size == 8) device_.write_register(static_cast<u32>(offset + 4), static_cast<u32>(value >> 32));
}

// 13.2: IOADDR at 0, IODATA at 4.
u64 E1000::Ports::read(u64 offset, unsigned size) {
    if (size != 4) return low_mask(8 * size);
    std::lock_guard lock(device_.mutex_);
    if (offset == 0) return device_.state_.port_address;
    return offset == 4 && device_.state_.port_address < register_space
               ? device_.read_register(device_.state_.port_address & ~3u)
               : 0;
}

void E1000::Ports::write(u64 offset, u64 value, unsigned size) {
    if (size != 4) return;
    std::lock_guard lock(device_.mutex_);
    if (offset == 0) device_.state_.port_address = static_cast<u32>(value);
    if (offset == 4 && device_.state_.port_address < register_space)
        device_.write_register(device_.state_.port_address & ~3u, static_cast<u32>(value));
}

void E1000::reset() {
    {
        std::lock_guard lock(mutex_);
        const bool link = state_.link;
        state_ = {};
        state_.link = link;
        fill_eeprom();
        reset_registers();
    }
    pci_.set_intx(false);
    pci_.reset();
}

void E1000::serialize(Archive& archive) {
    pci_.serialize(archive);
    std::lock_guard lock(mutex_);
    archive.section(name_, 2, [&](u32 version) {
        archive.field("registers", state_.registers);
        archive.field("phy", state_.phy);
        archive.field("port_address", state_.port_address);
        archive.field("serial_in", state_.serial_in);
        archive.field("serial_out", state_.serial_out);
        archive.field("serial_bits", state_.serial_bits);
        for (u8* field :
             {&context_.ip_start, &context_.ip_offset, &context_.tcp_start, &context_.tcp_offset, &context_.header})
            archive.field("context", *field);
        archive.field("segment", context_.segment);
        // A frame of which some descriptors were taken.
        archive.field("frame", sending_.bytes);
        archive.field("options", sending_.options);
        archive.field("segments", sending_.segments);
        archive.field("insert_checksum", sending_.insert_checksum);
        archive.field("spoiled", sending_.spoiled);
        archive.field("tag", sending_.tag);
        archive.field("checksum_start", sending_.checksum_start);
        archive.field("checksum_offset", sending_.checksum_offset);
        archive.field("vlan", sending_.vlan);
        if (version >= 2) archive.field("link", state_.link);
    });
    if (!archive.loading()) return;
    if (!archive.ok() || sending_.bytes.size() > largest_frame) sending_ = {};
    state_.registers[RDLEN / 4] &= 0xFFF80;
    state_.registers[TDLEN / 4] &= 0xFFF80;
    update_line();
    transmit_task_->schedule();
    backend_.resume();
}

} // namespace calque::devices
