#include "devices/virtio/virtio_device.h"

#include "base/bits.h"

namespace calque::devices {

using namespace virtio;

VirtioDevice::VirtioDevice(Log& log, DmaPort& memory, Id id, std::string name, u64 features)
    : log_(log), id_(id), name_(std::move(name)), memory_(memory),
      features_(features | u64{1} << F_INDIRECT_DESC | u64{1} << F_EVENT_IDX | u64{1} << F_VERSION_1) {}

unsigned VirtioDevice::add_queue(Worker& worker, u16 size, std::function<void()> handler, bool by_driver) {
    const unsigned index = queue_count();
    queues_.emplace_back(memory_, size);
    handlers_.push_back({std::move(handler), by_driver});
    tasks_.push_back(worker.make_task([this, index] { run(index); }));
    return index;
}

// Notifications are off while the queue is worked on; what comes just before they are on again is found by the second
// look. What the handler left on purpose is not new.
void VirtioDevice::run(unsigned index) {
    std::lock_guard lock(mutex_);
    while (more_after(index)) {
    }
}

// Calls the handler; true when more came meanwhile.
bool VirtioDevice::more_after(unsigned index) {
    Virtqueue& queue = queues_[index];
    if (!running() || !queue.usable()) return false;
    const auto made_available = [&] { return static_cast<u16>(queue.taken() + queue.waiting()); };
    const u16 before = made_available();
    queue.set_notifications(false);
    handlers_[index].function();
    queue.set_notifications(true);
    return queue.waiting() != 0 && made_available() != before;
}

// The worker has the lock while it works, and will see what is new; the vCPU does not wait for it.
void VirtioDevice::kick(unsigned index) {
    if (index >= tasks_.size()) return;
    if (handlers_[index].by_driver) {
        const std::unique_lock lock(mutex_, std::try_to_lock);
        if (lock && !more_after(index)) return;
    }
    tasks_[index]->schedule();
}

u64 VirtioDevice::driver_features() const {
    std::lock_guard lock(mutex_);
    return driver_features_;
}

void VirtioDevice::set_driver_features(u64 features) {
    std::lock_guard lock(mutex_);
    if (status_ & STATUS_FEATURES_OK) return; // Virtio 1.1, 3.1.1: settled.
    driver_features_ = features;
}

u8 VirtioDevice::status() const {
    std::lock_guard lock(mutex_);
    return status_;
}

void VirtioDevice::set_status(u8 status) {
    std::lock_guard lock(mutex_);
    log_.trace(Channel::pci, "{}: status {:#x} -> {:#x}", name_, status_, status);
    if (status == 0) return reset_locked();
    // Virtio 1.1, 2.2.2: a set of features that the device cannot do leaves FEATURES_OK clear.
    if ((status & STATUS_FEATURES_OK) && !(status_ & STATUS_FEATURES_OK)
        && ((driver_features_ & ~features_) || !features_fit(driver_features_)))
        status = static_cast<u8>(status & ~STATUS_FEATURES_OK);
    const bool starts = (status & STATUS_DRIVER_OK) && !(status_ & STATUS_DRIVER_OK);
    status_ = static_cast<u8>(status | (status_ & STATUS_NEEDS_RESET));
    if (!starts) return;
    driver_features_ &= features_ | u64{1} << F_ANY_LAYOUT;
    for (Virtqueue& queue : queues_)
        queue.set_features(driver_features_);
    started();
    for (auto& task : tasks_)
        task->schedule();
}

Virtqueue::Layout VirtioDevice::queue(unsigned index) const {
    std::lock_guard lock(mutex_);
    return queues_[index].layout();
}

void VirtioDevice::set_queue(unsigned index, const Virtqueue::Layout& layout) {
    {
        std::lock_guard lock(mutex_);
        queues_[index].layout() = layout;
        queues_[index].set_features(driver_features_);
    }
    if (layout.enabled) notify(index); // Buffers may be there from before.
}

u16 VirtioDevice::config_vector() const {
    std::lock_guard lock(mutex_);
    return config_vector_;
}

void VirtioDevice::set_config_vector(u16 vector) {
    std::lock_guard lock(mutex_);
    config_vector_ = vector;
}

u8 VirtioDevice::config_generation() const {
    std::lock_guard lock(mutex_);
    return generation_;
}

std::size_t VirtioDevice::config_size() {
    std::lock_guard lock(mutex_);
    return config().size();
}

u64 VirtioDevice::read_config(u64 offset, unsigned size) {
    std::lock_guard lock(mutex_);
    const std::vector<u8> bytes = config();
    u64 value = 0;
    for (unsigned i = 0; i < size; ++i)
        if (offset + i < bytes.size()) value |= u64{bytes[offset + i]} << (8 * i);
    return value;
}

void VirtioDevice::write_config(u64 offset, u64 value, unsigned size) {
    std::lock_guard lock(mutex_);
    config_written(offset, value, size);
}

void VirtioDevice::notify(unsigned index) {
    if (index < tasks_.size()) tasks_[index]->schedule();
}

bool VirtioDevice::pop(unsigned index, VirtioChain& chain) {
    switch (queues_[index].pop(chain)) {
    case Virtqueue::Popped::chain: return true;
    case Virtqueue::Popped::nothing: return false;
    case Virtqueue::Popped::broken: break;
    }
    needs_reset(queues_[index].why());
    return false;
}

void VirtioDevice::push(unsigned index, u16 head, u32 written) {
    if (!queues_[index].push(head, written)) needs_reset("the used ring is not in memory");
}

void VirtioDevice::interrupt_if_wanted(unsigned index) {
    if (queues_[index].wants_interrupt() && interrupts_.queue) interrupts_.queue(queues_[index].layout().vector);
}

void VirtioDevice::config_changed() {
    ++generation_;
    if ((status_ & STATUS_DRIVER_OK) && interrupts_.config) interrupts_.config(config_vector_);
}

// Virtio 1.1, 2.1.2. Counted, so that --stats shows it.
void VirtioDevice::needs_reset(std::string_view why) {
    if (status_ & STATUS_NEEDS_RESET) return;
    log_.unimplemented(Channel::pci, fmt::format("{}.driver-error", name_));
    log_.trace(Channel::pci, "{}: the device needs a reset: {}", name_, why);
    const bool tell = status_ & STATUS_DRIVER_OK;
    status_ |= STATUS_NEEDS_RESET;
    if (tell && interrupts_.config) interrupts_.config(config_vector_);
}

void VirtioDevice::reset_locked() {
    status_ = 0;
    driver_features_ = 0;
    config_vector_ = NO_VECTOR;
    for (Virtqueue& queue : queues_)
        queue.reset();
    stopped();
}

void VirtioDevice::reset() {
    std::lock_guard lock(mutex_);
    reset_locked();
}

void VirtioDevice::serialize(Archive& archive) {
    std::lock_guard lock(mutex_);
    if (archive.loading()) reset_locked();
    archive.section(name_, 1, [&](u32) {
        archive.field("status", status_);
        archive.field("features", driver_features_);
        archive.field("config_vector", config_vector_);
        archive.field("generation", generation_);
        u64 count = queues_.size();
        archive.field("queues", count);
        if (count != queues_.size())
            return archive.fail(fmt::format("the saved {} has another number of queues", name_));
        for (Virtqueue& queue : queues_)
            queue.serialize(archive);
        save(archive);
    });
    if (!archive.loading()) return;
    if (driver_features_ & ~(features_ | u64{1} << F_ANY_LAYOUT))
        archive.fail(
            fmt::format("the saved {} has features that this one has not; start with the same -device", name_));
    if (!archive.ok()) return reset_locked();
    for (Virtqueue& queue : queues_)
        queue.set_features(driver_features_);
    if (!(status_ & STATUS_DRIVER_OK)) return;
    started();
    for (auto& task : tasks_)
        task->schedule();
}

} // namespace calque::devices
