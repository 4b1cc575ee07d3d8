// The legacy registers of a virtio function, in ports (virtio 1.1, 4.1.4.8): what old drivers and firmware use.
#include "base/bits.h"
#include "devices/virtio/virtio_pci.h"

namespace calque::devices {

using namespace virtio;

namespace {
enum LegacyRegister : u64 {
    DEVICE_FEATURES = 0,
    DRIVER_FEATURES = 4,
    QUEUE_ADDRESS = 8, // In pages.
    QUEUE_SIZE = 12,
    QUEUE_SELECT = 14,
    QUEUE_NOTIFY = 16,
    DEVICE_STATUS = 18,
    ISR_STATUS = 19,
    CONFIG_MSIX_VECTOR = 20, // These two only while MSI-X is enabled.
    QUEUE_MSIX_VECTOR = 22,
};
} // namespace

u64 VirtioPci::Legacy::read(u64 offset, unsigned size) { return device_.legacy_read(offset, size); }
void VirtioPci::Legacy::write(u64 offset, u64 value, unsigned size) { device_.legacy_write(offset, value, size); }

u64 VirtioPci::legacy_read(u64 offset, unsigned size) {
    if (offset >= legacy_config_offset()) return kind_->read_config(offset - legacy_config_offset(), size);
    const Virtqueue::Layout queue = selected_exists() ? kind_->queue(selected()) : Virtqueue::Layout{};
    switch (offset) {
    case DEVICE_FEATURES: return static_cast<u32>(kind_->offered_features()) | u32{1} << F_ANY_LAYOUT;
    case DRIVER_FEATURES: return static_cast<u32>(kind_->driver_features());
    case QUEUE_ADDRESS: return queue.enabled ? queue.descriptors >> page_shift : 0;
    case QUEUE_SIZE: return selected_exists() ? kind_->queue_maximum(selected()) : 0;
    case QUEUE_SELECT: return selected();
    case DEVICE_STATUS: return kind_->status();
    case ISR_STATUS: return read_isr();
    case CONFIG_MSIX_VECTOR: return kind_->config_vector();
    case QUEUE_MSIX_VECTOR: return selected_exists() ? queue.vector : NO_VECTOR;
    default: return 0;
    }
}

void VirtioPci::legacy_write(u64 offset, u64 value, unsigned size) {
    if (offset >= legacy_config_offset()) return kind_->write_config(offset - legacy_config_offset(), value, size);
    switch (offset) {
    case DRIVER_FEATURES: return kind_->set_driver_features(static_cast<u32>(value));
    case QUEUE_ADDRESS: return legacy_place_queue(static_cast<u32>(value));
    case QUEUE_SELECT: selected_ = static_cast<u16>(value); return;
    case QUEUE_NOTIFY: return kind_->kick(static_cast<u16>(value));
    case DEVICE_STATUS:
        kind_->set_status(static_cast<u8>(value));
        if (static_cast<u8>(value) == 0) read_isr();
        return;
    case CONFIG_MSIX_VECTOR: return kind_->set_config_vector(accepted_vector(static_cast<u16>(value)));
    case QUEUE_MSIX_VECTOR: return change_queue([&](auto& q) { q.vector = accepted_vector(static_cast<u16>(value)); });
    default: return;
    }
}

// Virtio 1.1, 2.6.2: descriptors, available ring, and on the next page the used ring. Page 0 takes the queue away.
void VirtioPci::legacy_place_queue(u32 page) {
    change_queue([&](Virtqueue::Layout& q) {
        q.size = kind_->queue_maximum(selected());
        q.descriptors = u64{page} << page_shift;
        q.driver = q.descriptors + 16 * u64{q.size};
        q.device = align_up(q.driver + 6 + 2 * u64{q.size}, page_size);
        q.enabled = page != 0;
    });
}

} // namespace calque::devices
