#include "devices/pci/message_interrupts.h"

#include <algorithm>

namespace calque::devices {

namespace {
constexpr unsigned DATA = 8, VECTOR_CONTROL = 12; // Offsets in an entry (PCI 3.0, 6.8.2).
constexpr u8 MASK_BIT = 1;

u64 take(const std::vector<u8>& bytes, std::size_t offset, unsigned size) {
    u64 value = 0;
    for (unsigned i = 0; i < size; ++i)
        value |= u64{bytes[offset + i]} << (8 * i);
    return value;
}
} // namespace

void MsixTable::reset() {
    enabled_ = function_masked_ = false;
    table_.assign(std::size_t{vectors_} * entry_size, 0);
    for (unsigned v = 0; v < vectors_; ++v)
        table_[v * entry_size + VECTOR_CONTROL] = MASK_BIT;
    pending_.assign((vectors_ + 63) / 64 * 8, 0);
}

bool MsixTable::masked(unsigned vector) const {
    return function_masked_ || (table_[vector * entry_size + VECTOR_CONTROL] & MASK_BIT);
}

void MsixTable::send(unsigned vector) {
    const std::size_t entry = std::size_t{vector} * entry_size;
    send_(take(table_, entry, 8), static_cast<u32>(take(table_, entry + DATA, 4)));
}

void MsixTable::notify(unsigned vector) {
    if (!enabled_ || vector >= vectors_) return;
    if (masked(vector))
        pending_[vector / 8] = static_cast<u8>(pending_[vector / 8] | 1u << (vector % 8));
    else
        send(vector);
}

void MsixTable::deliver_pending(unsigned vector) {
    if (!enabled_ || !pending(vector) || masked(vector)) return;
    pending_[vector / 8] = static_cast<u8>(pending_[vector / 8] & ~(1u << (vector % 8)));
    send(vector);
}

void MsixTable::set_control(bool enabled, bool masked) {
    const bool opened = enabled && !masked && (!enabled_ || function_masked_);
    enabled_ = enabled;
    function_masked_ = masked;
    for (unsigned v = 0; opened && v < vectors_; ++v)
        deliver_pending(v);
}

void MsixTable::write_table(u64 offset, u64 value, unsigned size) {
    for (unsigned i = 0; i < size && offset + i < table_.size(); ++i) {
        const u64 at = offset + i;
        const u8 byte = static_cast<u8>(value >> (8 * i));
        // Bits 31-1 of the vector control are reserved.
        const unsigned in_entry = at % entry_size;
        if (in_entry > VECTOR_CONTROL) continue;
        table_[at] = in_entry == VECTOR_CONTROL ? byte & MASK_BIT : byte;
    }
    if (offset < table_.size()) deliver_pending(static_cast<unsigned>(offset / entry_size));
}

void MsixTable::serialize(Archive& archive) {
    archive.bytes("table", table_);
    archive.bytes("pending", pending_);
    if (!archive.loading()) return;
    for (unsigned v = 0; v < pending_.size() * 8; ++v)
        if (v >= vectors_) pending_[v / 8] = static_cast<u8>(pending_[v / 8] & ~(1u << (v % 8)));
}

} // namespace calque::devices
