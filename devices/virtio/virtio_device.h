// What all virtio devices have in common, whatever carries them: status, features, queues (virtio 1.1, chapters 2 and
// 3).
#pragma once

#include "base/archive.h"
#include "base/log.h"
#include "devices/virtio/virtqueue.h"
#include "devices/worker.h"

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace calque::devices {

namespace virtio {
inline constexpr u8 STATUS_ACKNOWLEDGE = 1, STATUS_DRIVER = 2, STATUS_DRIVER_OK = 4, STATUS_FEATURES_OK = 8,
                    STATUS_NEEDS_RESET = 64, STATUS_FAILED = 128;
enum class Id : u16 {
    net = 1,
    block = 2,
    console = 3,
    entropy = 4,
    balloon = 5,
    scsi = 8,
    plan9 = 9,
    gpu = 16,
    input = 18
};
} // namespace virtio

// A device of one kind derives from it. The transport (virtio_pci.h) calls the upper half for the driver's register
// accesses; the kind overrides the hooks, and handles its queues on the worker's thread under mutex(). A vCPU's thread
// looks at a queue only where the kind says that this takes less than waking the worker.
class VirtioDevice {
  public:
    struct Interrupts {
        std::function<void(u16 vector)> queue;  // A queue's used ring has news.
        std::function<void(u16 vector)> config; // The configuration changed, or the device needs a reset.
    };

    VirtioDevice(Log& log, DmaPort& memory, virtio::Id id, std::string name, u64 features);
    virtual ~VirtioDevice() = default;
    VirtioDevice(const VirtioDevice&) = delete;
    VirtioDevice& operator=(const VirtioDevice&) = delete;

    const std::string& name() const { return name_; }
    virtio::Id id() const { return id_; }
    // For MSI-X: as many as the queues and the configuration can use.
    unsigned useful_vectors() const { return static_cast<unsigned>(queues_.size()) + 1; }
    // Set by the transport before the machine runs.
    void set_interrupts(Interrupts interrupts) { interrupts_ = std::move(interrupts); }
    // Which memory the device reaches: the transport's view of it.
    DmaPort& memory() { return memory_; }

    // --- For the transport; each takes the lock.
    u64 offered_features() const { return features_; }
    u64 driver_features() const;
    void set_driver_features(u64 features);
    u8 status() const;
    void set_status(u8 status); // 0 resets.
    unsigned queue_count() const { return static_cast<unsigned>(queues_.size()); }
    // The registers of one queue; index below queue_count(). After a change, queue_changed().
    Virtqueue::Layout queue(unsigned index) const;
    u16 queue_maximum(unsigned index) const { return queues_[index].maximum(); }
    void set_queue(unsigned index, const Virtqueue::Layout& layout);
    u16 config_vector() const;
    void set_config_vector(u16 vector);
    u8 config_generation() const;
    // The configuration space of the kind; what lies behind its end reads as zero.
    u64 read_config(u64 offset, unsigned size);
    void write_config(u64 offset, u64 value, unsigned size);
    std::size_t config_size();
    // The driver's notification. Any thread; takes no lock: the queue is looked at by the worker.
    void notify(unsigned index);
    // The same by a register write of a vCPU, which holds no lock.
    void kick(unsigned index);

    void reset();
    void serialize(Archive& archive);

  protected:
    // --- For the kind.
    // Adds a queue whose chains `handler` takes, on the worker's thread and under the lock, after each notification.
    // `by_driver`: kick() may call the handler too, once, so that it never waits for the host, and does little at a
    // time.
    unsigned add_queue(Worker& worker, u16 size, std::function<void()> handler, bool by_driver = false);
    std::mutex& mutex() const { return mutex_; }
    // The rest under the lock.
    Virtqueue& virtqueue(unsigned index) { return queues_[index]; }
    bool running() const {
        return (status_ & (virtio::STATUS_DRIVER_OK | virtio::STATUS_NEEDS_RESET)) == virtio::STATUS_DRIVER_OK;
    }
    bool negotiated(unsigned feature) const { return driver_features_ >> feature & 1; }
    // Takes a chain; a ring that is broken stops the device.
    bool pop(unsigned index, VirtioChain& chain);
    void push(unsigned index, u16 head, u32 written);
    void interrupt_if_wanted(unsigned index); // Once, after a batch of push().
    void config_changed();
    void needs_reset(std::string_view why);
    // Runs the handler of a queue again, later.
    void schedule(unsigned index) { tasks_[index]->schedule(); }
    // No handler runs any more: for the destructor of a kind whose handlers use its own members.
    void end_tasks() { tasks_.clear(); }

    // Hooks, under the lock.
    virtual std::vector<u8> config() { return {}; }
    virtual void config_written(u64 offset, u64 value, unsigned size) { (void)offset, (void)value, (void)size; }
    virtual bool features_fit(u64 features) const { return (void)features, true; }
    virtual void started() {}                              // DRIVER_OK.
    virtual void stopped() {}                              // Reset by the driver or the machine.
    virtual void save(Archive& archive) { (void)archive; } // The kind's own fields, both directions.

    Log& log_;

  private:
    void reset_locked();
    struct Handler {
        std::function<void()> function;
        bool by_driver;
    };
    void run(unsigned index);
    bool more_after(unsigned index);

    virtio::Id id_;
    std::string name_;
    DmaPort& memory_;
    u64 features_;
    Interrupts interrupts_;

    mutable std::mutex mutex_;
    u8 status_ = 0;
    u64 driver_features_ = 0;
    u16 config_vector_ = virtio::NO_VECTOR;
    u8 generation_ = 0;
    std::vector<Virtqueue> queues_;
    std::vector<Handler> handlers_;            // By queue.
    std::vector<std::unique_ptr<Task>> tasks_; // By queue. Last: no task runs when the rest goes.
};

} // namespace calque::devices
