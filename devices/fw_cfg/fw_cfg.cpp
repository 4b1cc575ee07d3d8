#include "devices/fw_cfg/fw_cfg.h"

#include "base/bits.h"

#include <algorithm>
#include <array>

namespace calque::devices {

using namespace fw_cfg_key;

namespace {

constexpr u32 ID_TRADITIONAL = 1 << 0, ID_DMA = 1 << 1;
// The control field of a DMA request; its upper half is the key to select.
constexpr u32 DMA_ERROR = 1 << 0, DMA_READ = 1 << 1, DMA_SKIP = 1 << 2, DMA_SELECT = 1 << 3, DMA_WRITE = 1 << 4;
constexpr u64 DMA_SIGNATURE = 0x5145'4D55'2043'4647; // "QEMU CFG", as the big-endian register reads.
constexpr u16 KEY_WRITE_CHANNEL = 0x4000;            // Part of the selector since the first version; no effect.
constexpr std::size_t file_name_size = 56;           // With its terminating zero.
constexpr std::size_t most_files = 0x4000 - FILE_FIRST;

u64 swap_bytes(u64 value, unsigned size) {
    u64 swapped = 0;
    for (unsigned i = 0; i < size; ++i)
        swapped |= ((value >> (8 * i)) & 0xFF) << (8 * (size - 1 - i));
    return swapped;
}

std::vector<u8> little_endian(u64 value, unsigned size) {
    std::vector<u8> bytes(size);
    for (unsigned i = 0; i < size; ++i)
        bytes[i] = static_cast<u8>(value >> (8 * i));
    return bytes;
}

void append_big_endian(std::vector<u8>& bytes, u64 value, unsigned size) {
    for (unsigned i = size; i-- > 0;)
        bytes.push_back(static_cast<u8>(value >> (8 * i)));
}

u64 big_endian(std::span<const u8> bytes) {
    u64 value = 0;
    for (const u8 byte : bytes)
        value = value << 8 | byte;
    return value;
}

} // namespace

FwCfg::FwCfg(Log& log, DmaPort& dma) : log_(log), dma_(dma) {
    add(SIGNATURE, {'Q', 'E', 'M', 'U'});
    add_u32(ID, ID_TRADITIONAL | ID_DMA);
    rebuild_directory();
}

void FwCfg::add(u16 key, std::vector<u8> data) {
    std::lock_guard lock(mutex_);
    items_[key].data = std::move(data);
}

void FwCfg::add_u16(u16 key, u16 value) { add(key, little_endian(value, 2)); }
void FwCfg::add_u32(u16 key, u32 value) { add(key, little_endian(value, 4)); }
void FwCfg::add_u64(u16 key, u64 value) { add(key, little_endian(value, 8)); }

void FwCfg::add_string(u16 key, std::string_view text) {
    std::vector<u8> bytes(text.begin(), text.end());
    bytes.push_back(0);
    add(key, std::move(bytes));
}

Result<void> FwCfg::add_file(std::string_view name, std::vector<u8> data) {
    Item item;
    item.data = std::move(data);
    return add_active_file(name, std::move(item));
}

Result<void> FwCfg::add_active_file(std::string_view name, Item item) {
    if (name.empty() || name.size() >= file_name_size)
        return error("the fw_cfg file name '{}' has {} bytes; give it 1 to {}", name, name.size(), file_name_size - 1);
    std::lock_guard lock(mutex_);
    auto found = std::find(files_.begin(), files_.end(), name);
    if (found == files_.end()) {
        if (files_.size() >= most_files) return error("fw_cfg has no room for the file '{}'", name);
        found = files_.insert(files_.end(), std::string(name));
    }
    items_[static_cast<u16>(FILE_FIRST + (found - files_.begin()))] = std::move(item);
    rebuild_directory();
    return {};
}

bool FwCfg::has_file(std::string_view name) const {
    std::lock_guard lock(mutex_);
    return std::find(files_.begin(), files_.end(), name) != files_.end();
}

std::vector<u8> FwCfg::file(std::string_view name) const {
    std::lock_guard lock(mutex_);
    const auto found = std::find(files_.begin(), files_.end(), name);
    if (found == files_.end()) return {};
    return items_.at(static_cast<u16>(FILE_FIRST + (found - files_.begin()))).data;
}

// A count, then per file: size (4 bytes), key (2), reserved (2), name (56); all numbers big-endian.
void FwCfg::rebuild_directory() {
    std::vector<u8> directory;
    append_big_endian(directory, files_.size(), 4);
    for (std::size_t i = 0; i < files_.size(); ++i) {
        const u16 key = static_cast<u16>(FILE_FIRST + i);
        append_big_endian(directory, items_[key].data.size(), 4);
        append_big_endian(directory, key, 2);
        append_big_endian(directory, 0, 2);
        directory.insert(directory.end(), files_[i].begin(), files_[i].end());
        directory.resize(directory.size() + file_name_size - files_[i].size());
    }
    items_[FILE_DIR].data = std::move(directory);
}

FwCfg::Item* FwCfg::current() {
    const auto found = items_.find(state_.key);
    return found == items_.end() ? nullptr : &found->second;
}

void FwCfg::select(u16 key) {
    state_.key = static_cast<u16>(key & ~KEY_WRITE_CHANNEL);
    state_.offset = 0;
    Item* item = current();
    log_.trace(Channel::fw, "fw_cfg: key {:#x} selected{}", state_.key, item ? "" : ", which is empty");
    if (!item || !item->on_select) return;
    const std::size_t size = item->data.size();
    item->on_select(item->data);
    // The directory tells each file's size; it follows a file that was refilled.
    if (item->data.size() != size && state_.key >= FILE_FIRST && state_.key < FILE_FIRST + files_.size())
        rebuild_directory();
}

// Past the end of an item, and where there is none, everything reads as zero.
u8 FwCfg::next_byte() {
    const Item* item = current();
    if (!item || state_.offset >= item->data.size()) return 0;
    return item->data[state_.offset++];
}

// The selector is 16 bits wide at 510; data is a byte at 511, inside the selector's range.
u64 FwCfg::Ports::read(u64 offset, unsigned size) {
    std::lock_guard lock(device_.mutex_);
    if (offset == 1 && size == 1) return device_.next_byte();
    return 0;
}

void FwCfg::Ports::write(u64 offset, u64 value, unsigned size) {
    std::lock_guard lock(device_.mutex_);
    if (offset == 0 && size == 2) device_.select(static_cast<u16>(value));
    // Writing data through the port was given up by the interface; writes go through DMA.
}

u64 FwCfg::DmaRegister::read(u64 offset, unsigned size) {
    u64 value = 0;
    for (unsigned i = 0; i < size; ++i)
        value |= ((DMA_SIGNATURE >> (8 * (7 - (offset + i)))) & 0xFF) << (8 * i);
    return value;
}

// Big-endian, in one 64-bit access or two of 32 bits; writing the lower half starts the transfer.
void FwCfg::DmaRegister::write(u64 offset, u64 value, unsigned size) {
    std::lock_guard lock(device_.mutex_);
    u64& address = device_.state_.dma_address;
    if (offset == 0 && size == 8) {
        address = swap_bytes(value, 8);
        device_.run_dma();
    } else if (offset == 0 && size == 4) {
        address = with_bits(address, 32, 32, swap_bytes(value, 4));
    } else if (offset == 4 && size == 4) {
        address = with_bits(address, 0, 32, swap_bytes(value, 4));
        device_.run_dma();
    }
}

void FwCfg::run_dma() {
    const PhysicalAddress request(state_.dma_address);
    state_.dma_address = 0;
    std::array<u8, 16> fields{};
    if (!dma_.dma_read(request, fields)) {
        log_.trace(Channel::fw, "fw_cfg: the DMA request at {:#x} is not in RAM", request.value);
        return;
    }
    const std::span<const u8> all(fields);
    const u32 control = static_cast<u32>(big_endian(all.subspan(0, 4)));
    const u32 length = static_cast<u32>(big_endian(all.subspan(4, 4)));
    const PhysicalAddress address(big_endian(all.subspan(8, 8)));
    if (control & DMA_SELECT) select(static_cast<u16>(control >> 16));

    bool ok = true;
    if (control & DMA_READ) {
        ok = transfer_to_guest(address, length);
    } else if (control & DMA_WRITE) {
        ok = transfer_from_guest(address, length);
    } else if (control & DMA_SKIP) {
        const Item* item = current();
        const u64 left = item && state_.offset < item->data.size() ? item->data.size() - state_.offset : 0;
        state_.offset += std::min<u64>(left, length);
    }
    std::vector<u8> result;
    append_big_endian(result, ok ? 0 : DMA_ERROR, 4);
    dma_.dma_write(request, result);
}

bool FwCfg::transfer_to_guest(PhysicalAddress address, u32 length) {
    const Item* item = current();
    u64 done = 0;
    if (item && state_.offset < item->data.size()) {
        done = std::min<u64>(length, item->data.size() - state_.offset);
        if (!dma_.dma_write(address, std::span(item->data).subspan(state_.offset, done))) return false;
        state_.offset += done;
    }
    const std::vector<u8> zeros(std::min<u64>(length - done, 0x10000));
    while (done < length) {
        const u64 count = std::min<u64>(length - done, zeros.size());
        if (!dma_.dma_write(address + done, std::span(zeros).first(count))) return false;
        done += count;
    }
    return true;
}

bool FwCfg::transfer_from_guest(PhysicalAddress address, u32 length) {
    Item* item = current();
    if (!item || !item->writable || state_.offset > item->data.size() || length > item->data.size() - state_.offset)
        return false;
    std::vector<u8> bytes(length);
    if (!dma_.dma_read(address, bytes)) return false;
    std::copy(bytes.begin(), bytes.end(), item->data.begin() + static_cast<std::ptrdiff_t>(state_.offset));
    const u64 offset = state_.offset;
    state_.offset += length;
    if (item->on_write) item->on_write(item->data, offset, length);
    return true;
}

// Contents stay: they belong to the machine, and what the guest wrote is for it to read after a reset.
void FwCfg::reset() {
    std::lock_guard lock(mutex_);
    state_ = {};
}

void FwCfg::serialize(Archive& archive) {
    std::lock_guard lock(mutex_);
    archive.section("fw_cfg", 1, [&](u32) {
        archive.field("key", state_.key);
        archive.field("offset", state_.offset);
        archive.field("dma_address", state_.dma_address);
        // Only what the guest can change; the rest comes from the same options again.
        for (auto& [key, item] : items_) {
            if (!item.writable) continue;
            archive.bytes("item", item.data);
        }
    });
}

} // namespace calque::devices
