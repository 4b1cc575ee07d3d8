#include "mmu/patch_fields.h"

namespace calque::mmu {

namespace {
u64 address_of(const u8* host) { return reinterpret_cast<std::uintptr_t>(host); }
const u8* host_of(u64 address) { return reinterpret_cast<const u8*>(static_cast<std::uintptr_t>(address)); }
} // namespace

// Bytes that are written in turn with others of the same slot lose what they had gathered.
bool PatchFields::note_write(const u8* host, u64 length) {
    if (length == 0 || length > longest) return false;
    const std::lock_guard lock(mutex_);
    Written& written = history_[slot(address_of(host), history_bits)];
    ++writes_;
    if (written.address == address_of(host) && written.size == length && writes_ - written.last <= soon) {
        written.last = writes_;
        if (written.times < often) ++written.times;
    } else if (written.times > 1) {
        --written.times;
    } else {
        written = {address_of(host), writes_, static_cast<u8>(length), 1};
    }
    return written.times == often && written.address == address_of(host);
}

std::optional<PatchFields::Field> PatchFields::often_written(const u8* host, u64 length) const {
    const u64 first = address_of(host);
    const std::lock_guard lock(mutex_);
    for (u64 at = first - (longest - 1); at != first + length; ++at) {
        const Written& written = history_[slot(at, history_bits)];
        if (written.address == at && written.times >= often && at + written.size > first)
            return Field{host_of(at), written.size};
    }
    return std::nullopt;
}

u64 PatchFields::size_at(u64 address) const {
    const u64 packed = entry(address).load(std::memory_order_acquire);
    return packed >> size_bits == address ? packed & ((1u << size_bits) - 1) : 0;
}

bool PatchFields::add(const Field& field) {
    const std::lock_guard lock(mutex_);
    std::atomic<u64>& at = fields_[slot(address_of(field.host), table_bits)];
    const u64 packed = pack(address_of(field.host), field.size);
    ++added_;
    u64 none = 0;
    return at.compare_exchange_strong(none, packed) || none == packed;
}

void PatchFields::forget(const u8* host, u64 length) {
    const std::lock_guard lock(mutex_);
    const u64 first = address_of(host);
    for (u64 at = first - (longest - 1); at != first + length; ++at)
        if (const u64 size = size_at(at); size != 0 && at + size > first) fields_[slot(at, table_bits)].store(0);
}

bool PatchFields::covers(const u8* host, u64 length) const {
    if (length > longest) return false;
    for (u64 before = 0; before + length <= longest; ++before)
        if (size_at(address_of(host) - before) >= before + length) return true;
    return false;
}

std::optional<PatchFields::Field> PatchFields::find(const u8* host, u64 length) const {
    const u64 first = address_of(host);
    for (u64 at = first - (longest - 1); at != first + length; ++at)
        if (const u64 size = size_at(at); size != 0 && at + size > first)
            return Field{host_of(at), static_cast<u8>(size)};
    return std::nullopt;
}

} // namespace calque::mmu
