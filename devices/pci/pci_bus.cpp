#include "devices/pci/pci_bus.h"

#include "base/bits.h"

namespace calque::devices {

namespace {
constexpr u64 CONFADD_PORT = 0xCF8, CONFDATA_PORT = 0xCFC;
constexpr u32 CONFADD_ENABLE = 1u << 31;
constexpr u32 CONFADD_WRITABLE = 0x80FF'FFFC; // Bits 30-24 and 1-0 are reserved.
} // namespace

PciBus::PciBus(Log& log, Bus& ports, Bus& memory) : log_(log), ports_(ports), memory_(memory) {}

PciBus::~PciBus() {
    for (auto& [devfn, function] : functions_)
        function->detached();
    ports_.unmap(address_port_);
    ports_.unmap(data_port_);
    if (bridge_) bridge_->secondary_ = nullptr;
}

void PciBus::set_bridge(PciFunction& bridge) {
    bridge_ = &bridge;
    bridge.secondary_ = this;
}

MsiSink* PciBus::messages() const {
    if (!bridge_) return messages_;
    return bridge_->bus_ ? bridge_->bus_->messages() : nullptr;
}

void PciBus::map_config_ports() {
    ports_.map(CONFADD_PORT, 4, address_port_, "PCI CONFADD");
    ports_.map(CONFDATA_PORT, 4, data_port_, "PCI CONFDATA");
}

Result<void> PciBus::attach(PciFunction& function, unsigned device, unsigned number) {
    if (device > 31 || number > 7)
        return error("PCI slot {:x}.{} does not exist; give a device from 0 to 1f and a function from 0 to 7", device,
                     number);
    const unsigned devfn = device * 8 + number;
    std::lock_guard lock(config_mutex_);
    if (const auto taken = functions_.find(devfn); taken != functions_.end())
        return error("PCI slot {:x}.{} is taken by {}; give {} another addr=", device, number,
                     taken->second->descriptor().name, function.descriptor().name);
    functions_[devfn] = &function;
    function.attached(*this, devfn);
    return {};
}

void PciBus::detach(PciFunction& function) {
    std::lock_guard lock(config_mutex_);
    functions_.erase(function.devfn_);
    function.detached();
}

PciFunction* PciBus::at(u8 devfn) const {
    const auto found = functions_.find(devfn);
    return found != functions_.end() ? found->second : nullptr;
}

PciFunction* PciBus::find(u8 bus, u8 devfn) const { return bus == 0 ? at(devfn) : find_behind_bridges(bus, devfn); }

// A type 1 cycle: a bridge takes it when the bus number is in its range, and makes it a type 0 cycle on its own
// secondary bus (PCI-to-PCI Bridge 1.2, 3.1.2). Nobody answers on a bus that is held in reset.
PciFunction* PciBus::find_behind_bridges(u8 bus, u8 devfn) const {
    for (const auto& [slot, bridge] : functions_) {
        if (!bridge->secondary_) continue;
        const u32 numbers = bridge->get(pci::PRIMARY_BUS, 4);
        const u32 secondary = bits(numbers, 8, 8), subordinate = bits(numbers, 16, 8);
        if (bus < secondary || bus > subordinate) continue;
        if (bridge->get(pci::BRIDGE_CONTROL, 2) & pci::BRIDGE_RESET) return nullptr;
        return bus == secondary ? bridge->secondary_->at(devfn) : bridge->secondary_->find_behind_bridges(bus, devfn);
    }
    return nullptr;
}

u32 PciBus::config_read(u8 bus, u8 devfn, unsigned offset, unsigned size) {
    std::lock_guard lock(config_mutex_);
    const PciFunction* function = find(bus, devfn);
    const u32 value = function ? function->read(offset, size) : static_cast<u32>(low_mask(8 * size));
    log_.trace(Channel::pci, "{:02x}:{:02x}.{} read{} {:#04x} -> {:#x}", bus, devfn >> 3, devfn & 7, 8 * size, offset,
               value);
    return value;
}

void PciBus::config_write(u8 bus, u8 devfn, unsigned offset, u32 value, unsigned size) {
    std::lock_guard lock(config_mutex_);
    log_.trace(Channel::pci, "{:02x}:{:02x}.{} write{} {:#04x} <- {:#x}", bus, devfn >> 3, devfn & 7, 8 * size, offset,
               value);
    if (PciFunction* function = find(bus, devfn)) function->write(offset, value, size);
}

std::vector<PciBus::Slot> PciBus::slots() const {
    std::vector<Slot> slots;
    for (const auto& [devfn, function] : functions_)
        slots.push_back({devfn / 8, devfn % 8, function});
    return slots;
}

// A bridge hands pin p of device d on as pin p + d, modulo 4, of its own slot (PCI-to-PCI Bridge 1.2, 9.1).
void PciBus::drive_pirq(unsigned devfn, unsigned pin, bool level) {
    if (bridge_) {
        if (bridge_->bus_) bridge_->bus_->drive_pirq(bridge_->devfn_, (pin + devfn / 8) & 3, level);
        return;
    }
    const unsigned pirq = (pin + devfn / 8 + 3) & 3; // + 3 is - 1, modulo 4.
    std::lock_guard lock(intx_mutex_);
    unsigned& count = pirq_count_[pirq];
    const bool before = count > 0;
    count += level ? 1 : -1u;
    if ((count > 0) != before && pirq_) pirq_->set_irq(pirq, count > 0);
}

// Only a doubleword access reaches CONFADD; bytes and words at these ports are ordinary I/O cycles that nobody claims
// here (440FX datasheet, 3.1.1).
u64 PciBus::AddressPort::read(u64 offset, unsigned size) {
    if (offset != 0 || size != 4) return low_mask(8 * size);
    std::lock_guard lock(bus_.config_mutex_);
    return bus_.state_.confadd;
}

void PciBus::AddressPort::write(u64 offset, u64 value, unsigned size) {
    if (offset != 0 || size != 4) return;
    std::lock_guard lock(bus_.config_mutex_);
    bus_.state_.confadd = static_cast<u32>(value) & CONFADD_WRITABLE;
}

namespace {
struct ConfigTarget {
    bool enabled;
    u8 bus;
    u8 devfn;
    unsigned offset;
};
ConfigTarget decode(u32 confadd, u64 port_offset) {
    return {(confadd & CONFADD_ENABLE) != 0, static_cast<u8>(bits(confadd, 16, 8)),
            static_cast<u8>(bits(confadd, 8, 8)), static_cast<unsigned>((confadd & 0xFC) + port_offset)};
}
} // namespace

u64 PciBus::DataPort::read(u64 offset, unsigned size) {
    u32 confadd = 0;
    {
        std::lock_guard lock(bus_.config_mutex_);
        confadd = bus_.state_.confadd;
    }
    const ConfigTarget target = decode(confadd, offset);
    return target.enabled ? bus_.config_read(target.bus, target.devfn, target.offset, size) : low_mask(8 * size);
}

void PciBus::DataPort::write(u64 offset, u64 value, unsigned size) {
    u32 confadd = 0;
    {
        std::lock_guard lock(bus_.config_mutex_);
        confadd = bus_.state_.confadd;
    }
    const ConfigTarget target = decode(confadd, offset);
    if (target.enabled) bus_.config_write(target.bus, target.devfn, target.offset, static_cast<u32>(value), size);
}

void PciBus::reset() {
    std::lock_guard lock(config_mutex_);
    state_ = {};
}

void PciBus::serialize(Archive& archive) {
    std::lock_guard lock(config_mutex_);
    archive.section("pci", 1, [&](u32) { archive.field("confadd", state_.confadd); });
    state_.confadd &= CONFADD_WRITABLE;
}

} // namespace calque::devices
