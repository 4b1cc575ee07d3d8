#include "devices/virtio/virtio_9p.h"

#include "base/byte_order.h"

#include <algorithm>

namespace calque::devices {

using namespace virtio;

namespace {

constexpr unsigned F_MOUNT_TAG = 0;
constexpr std::size_t least_message = 7, least_answer = 11; // Size, type, tag; and an error.
constexpr u64 longest_message = (1 << 20) + 4096;
constexpr u16 queue_size = 128;

} // namespace

Virtio9p::Virtio9p(Log& log, DmaPort& memory, Worker& worker, FileServer& server, std::string tag, std::string name)
    : VirtioDevice(log, memory, Id::plan9, std::move(name), u64{1} << F_MOUNT_TAG), server_(server),
      tag_(tag.substr(0, longest_tag)) {
    owner_->device = this;
    add_queue(worker, queue_size, [this] { serve(); });
}

Virtio9p::~Virtio9p() {
    {
        std::lock_guard alive(owner_->mutex);
        owner_->device = nullptr;
    }
    end_tasks();
    server_.close_all();
}

void Virtio9p::serve() {
    while (under_way_ < queue_size) {
        auto chain = std::make_shared<VirtioChain>();
        if (!pop(0, *chain)) break;
        const u64 length = chain->readable_bytes(), room = std::min(chain->writable_bytes(), longest_message);
        if (length < least_message || length > longest_message || room < least_answer)
            return needs_reset("a message that is too short, too long, or without room for its answer");
        std::vector<u8> message(length);
        if (!chain->read(memory(), 0, message)) return needs_reset("a message is not in memory");
        ++under_way_;
        server_.submit(std::move(message), room, [owner = owner_, chain, epoch = epoch_](std::vector<u8> bytes) {
            std::lock_guard alive(owner->mutex);
            Virtio9p* const device = owner->device;
            if (!device) return;
            std::lock_guard lock(device->mutex());
            const bool waiting = device->under_way_ >= queue_size;
            --device->under_way_;
            if (epoch == device->epoch_ && device->running()) device->answer(*chain, bytes);
            if (waiting) device->schedule(0);
        });
    }
    interrupt_if_wanted(0);
}

void Virtio9p::answer(const VirtioChain& chain, std::span<const u8> bytes) {
    if (!chain.write(memory(), 0, bytes)) return needs_reset("an answer's buffer is not in memory");
    push(0, chain.head, static_cast<u32>(bytes.size()));
    interrupt_if_wanted(0);
}

std::vector<u8> Virtio9p::config() {
    std::vector<u8> bytes(config_size_for(tag_));
    store_little(bytes, 0, tag_.size(), 2);
    std::copy(tag_.begin(), tag_.end(), bytes.begin() + 2);
    return bytes;
}

void Virtio9p::stopped() {
    ++epoch_;
    server_.close_all();
}

// What the guest has open on the host is not saved: after loading it finds its files closed.
void Virtio9p::save(Archive& archive) {
    std::string tag = tag_;
    archive.field("tag", tag);
    if (tag != tag_) archive.fail("the saved shared folder has another mount tag");
}

} // namespace calque::devices
