// Addresses that are no plain memory, and memory that devices have.
#include "base/bits.h"
#include "frontend/machine/machine.h"

#include <algorithm>

namespace calque::machine {

devices::LocalApic* Machine::IoSpace::apic_at(PhysicalAddress address) {
    Vcpu* const vcpu = Vcpu::current();
    if (!vcpu) return nullptr;
    devices::LocalApic& apic = vcpu->lapic();
    return apic.mmio_enabled() && apic.base() == address.page() ? &apic : nullptr;
}
// SMRAM is memory for a processor in SMM and the VGA's window for everyone else. It is not part of the memory map then:
// entering SMM must not change what all processors have cached, as firmware enters it for each sector that it reads.
bool Machine::IoSpace::smram_at(PhysicalAddress address) {
    return Memory::in_smram(address) && machine_.memory_->smram_hidden() && Vcpu::current()
           && Vcpu::current()->in_smm();
}
u64 Machine::IoSpace::read(PhysicalAddress address, unsigned size) {
    if (smram_at(address)) return machine_.memory_->read_smram(address, size);
    if (auto* apic = apic_at(address)) return apic->mmio().read(address.page_offset(), size);
    return machine_.chipset_->memory_bus().read(address.value, size);
}
void Machine::IoSpace::write(PhysicalAddress address, u64 value, unsigned size) {
    if (smram_at(address)) return machine_.memory_->write_smram(address, value, size);
    if (auto* apic = apic_at(address)) return apic->mmio().write(address.page_offset(), value, size);
    machine_.chipset_->memory_bus().write(address.value, value, size);
}

void Machine::move_apics() {
    std::vector<PhysicalAddress> pages;
    for (auto& vcpu : vcpus_)
        if (vcpu->lapic().mmio_enabled()) pages.push_back(vcpu->lapic().base());
    memory_->set_apic_pages(std::move(pages));
}

// Of each piece of the bus, the whole pages that have memory behind them.
void Machine::place_device_memory() {
    std::lock_guard lock(device_memory_mutex_);
    std::vector<Memory::DeviceMemory> ranges;
    for (const auto& piece : chipset_->memory_bus().pieces()) {
        const u64 length = piece.last - piece.first + 1, end = piece.offset + length;
        for (const auto& memory : piece.region->direct_memory()) {
            const u64 from = std::max(piece.offset, memory.offset), to = std::min(end, memory.offset + memory.length);
            const u64 first = align_up(piece.first + (from - piece.offset), page_size);
            const u64 last = (piece.first + (to - piece.offset)) & ~u64{page_size - 1};
            if (from >= to || first >= last) continue;
            const u64 offset = piece.offset + (first - piece.first);
            ranges.push_back(
                {PhysicalAddress(first), last - first, memory.data + (offset - memory.offset), memory.writable});
        }
    }
    memory_->set_device_memory(std::move(ranges));
}

} // namespace calque::machine
