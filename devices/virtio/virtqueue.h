// A split virtqueue as the device sees it (virtio 1.1, 2.6).
#pragma once

#include "base/archive.h"
#include "devices/dma.h"

#include <string_view>
#include <vector>

namespace calque::devices {

namespace virtio {
// Feature bits that are the transport's and the rings' (virtio 1.1, section 6 and 6.3).
inline constexpr unsigned F_NOTIFY_ON_EMPTY = 24, F_ANY_LAYOUT = 27, F_INDIRECT_DESC = 28, F_EVENT_IDX = 29,
                          F_VERSION_1 = 32;
inline constexpr u16 NO_VECTOR = 0xFFFF;
inline constexpr u16 largest_queue = 1024;
} // namespace virtio

// What the driver made available: guest buffers, first those that the device reads, then those that it writes.
struct VirtioChain {
    struct Part {
        PhysicalAddress address;
        u32 length;
    };
    u16 head = 0;
    std::vector<Part> readable, writable;

    u64 readable_bytes() const;
    u64 writable_bytes() const;
    // Copies from the readable parts, or to the writable ones, from byte `offset` of all of them together. False when
    // they are shorter, or not memory.
    bool read(DmaPort& memory, u64 offset, std::span<u8> data) const;
    bool write(DmaPort& memory, u64 offset, std::span<const u8> data) const;
};

// Not thread-safe: its device guards it. Everything in the rings is the guest's; what makes no sense breaks the queue,
// which the device reports.
class Virtqueue {
  public:
    Virtqueue(DmaPort& memory, u16 maximum) : memory_(&memory), maximum_(maximum) { reset(); }

    struct Layout {
        u16 size = 0; // Entries.
        u64 descriptors = 0, driver = 0, device = 0;
        bool enabled = false;
        u16 vector = virtio::NO_VECTOR;
    };
    u16 maximum() const { return maximum_; }
    const Layout& layout() const { return layout_; }
    Layout& layout() { return layout_; }
    bool usable() const { return layout_.enabled && layout_.size != 0; }
    // The driver's choice.
    void set_features(u64 features);

    enum class Popped : u8 { nothing, chain, broken };
    // Takes the next available chain. After `broken`, why() says what was wrong.
    Popped pop(VirtioChain& chain);
    // Gives the last `count` chains back to the available ring, as if they had not been taken.
    void unpop(u16 count);
    // How many chains wait; 0 when the ring cannot be read.
    u16 waiting();
    u16 taken() const { return taken_; } // How many were taken, modulo 2^16.
    // Puts a chain into the used ring at place `ahead` behind the last published one; publish() shows `count` of them
    // to the driver. False: the ring is not memory.
    bool fill(u16 ahead, u16 head, u32 written);
    bool publish(u16 count);
    bool push(u16 head, u32 written) { return fill(0, head, written) && publish(1); }
    // Whether the driver wants an interrupt for what was published since this was last asked.
    bool wants_interrupt();
    // Asks the driver to notify about new chains, or not to. After turning them on, look for chains once more.
    void set_notifications(bool on);
    std::string_view why() const { return why_; }

    void reset();
    void serialize(Archive& archive);

  private:
    bool read16(u64 address, u16& value);
    bool write16(u64 address, u16 value);
    Popped broken(std::string_view why);
    bool refresh();
    Popped collect(VirtioChain& chain, u16 head);

    DmaPort* memory_;
    u16 maximum_;
    Layout layout_;
    bool event_index_ = false, indirect_ = false;
    u16 available_ = 0; // The driver's index as it was last read.
    u16 taken_ = 0;     // Chains taken.
    u16 used_ = 0;      // Chains published.
    u16 signalled_ = 0; // `used_` when the driver was last told.
    bool signalled_valid_ = false;
    bool news_ = false; // Something was published since wants_interrupt().
    std::string_view why_;
};

} // namespace calque::devices
