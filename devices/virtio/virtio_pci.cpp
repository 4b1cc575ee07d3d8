#include "devices/virtio/virtio_pci.h"

#include "base/bits.h"

#include <algorithm>
#include <bit>

namespace calque::devices {

using namespace virtio;

namespace {

constexpr u16 VENDOR_RED_HAT = 0x1AF4;
constexpr u16 MODERN_DEVICE_IDS = 0x1040; // Plus the virtio device ID (virtio 1.1, 4.1.2).
constexpr u8 modern_revision = 1;
constexpr u8 ISR_QUEUE = 1, ISR_CONFIG = 2;

// Virtio 1.1, 4.1.2: the PCI device IDs of transitional devices.
u16 transitional_id(Id id) {
    switch (id) {
    case Id::net: return 0x1000;
    case Id::block: return 0x1001;
    case Id::balloon: return 0x1002;
    case Id::console: return 0x1003;
    case Id::scsi: return 0x1004;
    case Id::entropy: return 0x1005;
    case Id::plan9: return 0x1009;
    case Id::gpu:
    case Id::input: break; // Younger than virtio 1.0: there is no transitional one.
    }
    return static_cast<u16>(MODERN_DEVICE_IDS + static_cast<u16>(id));
}

// Virtio 1.1, 4.1.4: which structure, where in which BAR. Without the two leading bytes.
enum StructureType : u8 { COMMON_CFG = 1, NOTIFY_CFG = 2, ISR_CFG = 3, DEVICE_CFG = 4, PCI_CFG = 5 };
constexpr u8 structures_bar = 4;

PciCapability structure(StructureType type, u64 offset, u64 length, unsigned extra = 0, u32 extra_value = 0) {
    PciCapability c{pci::CAPABILITY_VENDOR, {}, {}, {}};
    const auto append = [&](u64 value, unsigned size) {
        for (unsigned i = 0; i < size; ++i)
            c.reset.push_back(static_cast<u8>(value >> (8 * i)));
    };
    append(16 + extra, 1); // The capability's length.
    append(type, 1);
    append(structures_bar, 1);
    append(0, 3);
    append(offset, 4);
    append(length, 4);
    append(extra_value, extra);
    return c;
}

// Offsets in the PCI configuration access capability (virtio 1.1, 4.1.4.7).
constexpr unsigned ACCESS_BAR = 4, ACCESS_OFFSET = 8, ACCESS_LENGTH = 12, ACCESS_DATA = 16;

PciCapability access_structure() {
    PciCapability c = structure(PCI_CFG, 0, 0, 4);
    c.reset[ACCESS_BAR - 2] = 0;
    c.writable.assign(c.reset.size(), 0);
    c.writable[ACCESS_BAR - 2] = 0xFF;
    std::fill(c.writable.begin() + ACCESS_OFFSET - 2, c.writable.end(), u8{0xFF});
    return c;
}

} // namespace

PciDescriptor VirtioPci::describe(const VirtioPciOptions& options, Id id, std::size_t config_size, unsigned queues,
                                  IoRegion& legacy, IoRegion& modern) {
    PciDescriptor d;
    d.name = fmt::format("{}.pci", options.name);
    d.vendor_id = d.subsystem_vendor_id = VENDOR_RED_HAT;
    d.device_id = options.legacy ? transitional_id(id) : static_cast<u16>(MODERN_DEVICE_IDS + static_cast<u16>(id));
    d.subsystem_id = options.legacy ? static_cast<u16>(id) : 0x1100;
    if (options.legacy)
        d.bars[0] = {PciBar::Kind::io, std::bit_ceil(std::max<u64>(24 + config_size, 32)), false, &legacy};
    else
        d.revision_id = modern_revision;
    d.class_code = options.class_code;
    d.interrupt_pin = 1;
    if (options.modern) {
        d.bars[structures_bar] = {PciBar::Kind::memory64, 4 * structure_size, true, &modern};
        d.capabilities.push_back(structure(COMMON_CFG, common_offset, structure_size));
        d.capabilities.push_back(structure(ISR_CFG, isr_offset, structure_size));
        d.capabilities.push_back(structure(DEVICE_CFG, device_offset, structure_size));
        d.capabilities.push_back(structure(NOTIFY_CFG, notify_offset, structure_size, 4, notify_multiplier));
        d.capabilities.push_back(access_structure());
    }
    for (const auto& [number, bar] : options.more_bars)
        d.bars[number] = bar;
    d.msix.vectors = std::min(options.vectors, queues + 1);
    d.msix.bar = 1;
    d.msix.pba_offset = std::max<u32>(0x800, static_cast<u32>(align_up(d.msix.vectors * MsixTable::entry_size, 0x800)));
    return d;
}

VirtioPci::VirtioPci(Log& log, DmaPort& memory, const VirtioPciOptions& options, Id id, std::size_t config_size,
                     unsigned queues, const MakeKind& make)
    : log_(log), name_(options.name), pci_(describe(options, id, config_size, queues, legacy_, modern_), log),
      dma_(pci_, memory), kind_(make(dma_)) {
    kind_->set_interrupts(
        {[this](u16 vector) { interrupt(ISR_QUEUE, vector); }, [this](u16 vector) { interrupt(ISR_CONFIG, vector); }});
    if (!options.modern) return;
    // The last of the vendor capabilities.
    for (unsigned at = pci_.get(pci::CAPABILITIES_POINTER, 1); at != 0; at = pci_.get(at + 1, 1))
        if (pci_.get(at, 1) == pci::CAPABILITY_VENDOR && pci_.get(at + 3, 1) == PCI_CFG) access_at_ = at;
    pci_.set_write_hook([this](unsigned offset, unsigned size) { config_access(offset, size); });
}

VirtioPci::~VirtioPci() = default;

// Without MSI-X every reason shows in the ISR, and the line is up until it is read.
void VirtioPci::interrupt(u8 isr, u16 vector) {
    if (pci_.msix_enabled()) {
        if (vector != NO_VECTOR) pci_.send_message(vector);
        return;
    }
    std::lock_guard lock(isr_mutex_);
    isr_ |= isr;
    pci_.set_intx(true);
}

u8 VirtioPci::read_isr() {
    std::lock_guard lock(isr_mutex_);
    const u8 isr = isr_;
    isr_ = 0;
    pci_.set_intx(false);
    return isr;
}

// A vector that the function does not have reads back as none (virtio 1.1, 4.1.5.1.2.1).
u16 VirtioPci::accepted_vector(u64 vector) const {
    return vector < pci_.descriptor().msix.vectors ? static_cast<u16>(vector) : NO_VECTOR;
}

void VirtioPci::change_queue(const std::function<void(Virtqueue::Layout&)>& change) {
    if (!selected_exists()) return;
    Virtqueue::Layout layout = kind_->queue(selected());
    change(layout);
    kind_->set_queue(selected(), layout);
}

// --- The modern structures

u64 VirtioPci::Modern::read(u64 offset, unsigned size) {
    const u64 inside = offset % structure_size;
    switch (offset - inside) {
    case device_offset: return device_.kind_->read_config(inside, size);
    case isr_offset: return inside == 0 ? device_.read_isr() : 0;
    case common_offset: break;
    default: return 0;
    }
    // Fields are read whole by drivers that keep to the rules; a part is cut out of the doubleword's fields.
    u64 value = 0;
    for (u64 at = inside; at < inside + size;) {
        const u64 field = at & ~u64{1};
        const bool wide = field < 0x10 || field >= 0x20; // Doublewords; the rest are words.
        const u64 start = wide ? at & ~u64{3} : field;
        const unsigned width = wide ? 4 : 2;
        const unsigned count = static_cast<unsigned>(std::min(start + width, inside + size) - at);
        const u64 part = bits(device_.common_read(start), static_cast<unsigned>(8 * (at - start)), 8 * count);
        value |= part << (8 * (at - inside));
        at += count;
    }
    return value;
}

void VirtioPci::Modern::write(u64 offset, u64 value, unsigned size) {
    const u64 inside = offset % structure_size;
    switch (offset - inside) {
    case device_offset: return device_.kind_->write_config(inside, value, size);
    case notify_offset: return device_.kind_->kick(static_cast<unsigned>(inside / notify_multiplier));
    case common_offset: break;
    default: return;
    }
    if (size == 8) { // As two doublewords, as drivers write addresses.
        device_.common_write(inside, static_cast<u32>(value));
        device_.common_write(inside + 4, value >> 32);
    } else {
        device_.common_write(inside, value);
    }
}

namespace {
// struct virtio_pci_common_cfg (virtio 1.1, 4.1.4.3).
enum Common : u64 {
    DEVICE_FEATURE_SELECT = 0x00,
    DEVICE_FEATURE = 0x04,
    DRIVER_FEATURE_SELECT = 0x08,
    DRIVER_FEATURE = 0x0C,
    MSIX_CONFIG = 0x10,
    NUM_QUEUES = 0x12,
    DEVICE_STATUS = 0x14,
    CONFIG_GENERATION = 0x15,
    QUEUE_SELECT = 0x16,
    QUEUE_SIZE = 0x18,
    QUEUE_MSIX_VECTOR = 0x1A,
    QUEUE_ENABLE = 0x1C,
    QUEUE_NOTIFY_OFF = 0x1E,
    QUEUE_DESC = 0x20,
    QUEUE_DRIVER = 0x28,
    QUEUE_DEVICE = 0x30,
};

u64 with_half(u64 address, bool high, u64 half) { return with_bits(address, high ? 32 : 0, 32, half); }
} // namespace

u64 VirtioPci::common_read(u64 offset) {
    Virtqueue::Layout queue;
    if (selected_exists()) queue = kind_->queue(selected());
    switch (offset) {
    case DEVICE_FEATURE_SELECT: return device_feature_select_;
    case DEVICE_FEATURE:
        return device_feature_select_ < 2 ? static_cast<u32>(kind_->offered_features() >> (32 * device_feature_select_))
                                          : 0;
    case DRIVER_FEATURE_SELECT: return driver_feature_select_;
    case DRIVER_FEATURE:
        return driver_feature_select_ < 2 ? static_cast<u32>(kind_->driver_features() >> (32 * driver_feature_select_))
                                          : 0;
    case MSIX_CONFIG: return kind_->config_vector();
    case NUM_QUEUES: return kind_->queue_count();
    case DEVICE_STATUS: return kind_->status() | u32{kind_->config_generation()} << 8;
    case QUEUE_SELECT: return selected();
    case QUEUE_SIZE: return queue.size; // 0: no such queue.
    case QUEUE_MSIX_VECTOR: return selected_exists() ? queue.vector : NO_VECTOR;
    case QUEUE_ENABLE: return queue.enabled;
    case QUEUE_NOTIFY_OFF: return selected();
    case QUEUE_DESC: return static_cast<u32>(queue.descriptors);
    case QUEUE_DESC + 4: return queue.descriptors >> 32;
    case QUEUE_DRIVER: return static_cast<u32>(queue.driver);
    case QUEUE_DRIVER + 4: return queue.driver >> 32;
    case QUEUE_DEVICE: return static_cast<u32>(queue.device);
    case QUEUE_DEVICE + 4: return queue.device >> 32;
    default: return 0;
    }
}

void VirtioPci::common_write(u64 offset, u64 value) {
    switch (offset) {
    case DEVICE_FEATURE_SELECT: device_feature_select_ = static_cast<u32>(value); return;
    case DRIVER_FEATURE_SELECT: driver_feature_select_ = static_cast<u32>(value); return;
    case DRIVER_FEATURE:
        if (driver_feature_select_ < 2)
            kind_->set_driver_features(with_half(kind_->driver_features(), driver_feature_select_ == 1, value));
        return;
    case MSIX_CONFIG: return kind_->set_config_vector(accepted_vector(static_cast<u16>(value)));
    case DEVICE_STATUS:
        kind_->set_status(static_cast<u8>(value));
        if (static_cast<u8>(value) == 0) read_isr();
        return;
    case QUEUE_SELECT: selected_ = static_cast<u16>(value); return;
    case QUEUE_SIZE:
        // A size that is no power of two, or too large, leaves things as they are.
        if (const u16 size = static_cast<u16>(value); std::has_single_bit(size))
            change_queue([&](auto& q) { q.size = std::min(size, kind_->queue_maximum(selected())); });
        return;
    case QUEUE_MSIX_VECTOR: return change_queue([&](auto& q) { q.vector = accepted_vector(static_cast<u16>(value)); });
    case QUEUE_ENABLE:
        if (value & 1) change_queue([](auto& q) { q.enabled = true; });
        return;
    case QUEUE_DESC:
    case QUEUE_DESC + 4:
        return change_queue([&](auto& q) { q.descriptors = with_half(q.descriptors, offset & 4, value); });
    case QUEUE_DRIVER:
    case QUEUE_DRIVER + 4: return change_queue([&](auto& q) { q.driver = with_half(q.driver, offset & 4, value); });
    case QUEUE_DEVICE:
    case QUEUE_DEVICE + 4: return change_queue([&](auto& q) { q.device = with_half(q.device, offset & 4, value); });
    default: return;
    }
}

// A window onto the structures through configuration space, for whoever cannot reach memory: the data field is read or
// written by the access to it, and holds what the last access gave.
void VirtioPci::config_access(unsigned offset, unsigned size) {
    if (!access_at_ || offset < access_at_ + ACCESS_BAR || offset >= access_at_ + ACCESS_DATA + 4) return;
    const u32 at = pci_.get(access_at_ + ACCESS_OFFSET, 4), length = pci_.get(access_at_ + ACCESS_LENGTH, 4);
    const bool sound = pci_.get(access_at_ + ACCESS_BAR, 1) == structures_bar
                       && (length == 1 || length == 2 || length == 4) && at % length == 0
                       && u64{at} + length <= 4 * structure_size;
    if (!sound) return;
    if (at >= notify_offset && at < notify_offset + structure_size) // The bus's configuration lock is held here.
        return kind_->notify(static_cast<unsigned>((at - notify_offset) / notify_multiplier));
    if (offset + size > access_at_ + ACCESS_DATA)
        modern_.write(at, pci_.get(access_at_ + ACCESS_DATA, 4) & low_mask(8 * length), length);
    else if (offset + size > access_at_ + ACCESS_OFFSET) // Read when the address is complete: the length comes last.
        pci_.set_register(access_at_ + ACCESS_DATA, static_cast<u32>(modern_.read(at, length)), 4);
}

void VirtioPci::reset() {
    kind_->reset();
    read_isr();
    device_feature_select_ = driver_feature_select_ = 0;
    selected_ = 0;
    pci_.reset();
}

void VirtioPci::serialize(Archive& archive) {
    pci_.serialize(archive); // First: the queues are looked at as soon as they are loaded.
    archive.section(fmt::format("{}.transport", name_), 1, [&](u32) {
        u32 device_select = device_feature_select_, driver_select = driver_feature_select_;
        u16 queue = selected_;
        std::lock_guard lock(isr_mutex_);
        archive.field("device_feature_select", device_select);
        archive.field("driver_feature_select", driver_select);
        archive.field("queue_select", queue);
        archive.field("isr", isr_);
        device_feature_select_ = device_select;
        driver_feature_select_ = driver_select;
        selected_ = queue;
    });
    kind_->serialize(archive);
}

} // namespace calque::devices
