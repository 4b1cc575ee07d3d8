// The guest-physical address space: which addresses are RAM, ROM or devices. Shared by all vCPUs and by DMA.
#pragma once

#include "base/log.h"
#include "base/types.h"

#include <atomic>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

namespace calque::mmu {

// Whoever answers for memory-mapped registers. Sizes are 1, 2, 4 or 8; values little-endian. Any thread.
class IoTarget {
  public:
    virtual ~IoTarget() = default;
    virtual u64 read(PhysicalAddress address, unsigned size) = 0;
    virtual void write(PhysicalAddress address, u64 value, unsigned size) = 0;
};

// Told before bytes that hold decoded or translated code are written, by whichever thread writes. After it returns, no
// vCPU runs what was made of the old bytes beyond what the architecture allows (SDM volume 3, 9.1.3 on cross-modifying
// code).
class CodeWriteObserver {
  public:
    virtual ~CodeWriteObserver() = default;
    virtual void code_written(PhysicalAddress address, u64 length) = 0;
};

// Told when the map changes (a BAR moves, PAM, SMRAM, A20): every cached translation to host memory must go.
class MapObserver {
  public:
    virtual ~MapObserver() = default;
    virtual void map_changed() = 0;
};

enum class RegionKind : u8 {
    unassigned, // Reads as ones, ignores writes.
    ram,
    rom, // Host memory that ignores writes.
    io,  // An IoTarget.
};

// A range of physical addresses. Higher priority lies over lower; within one priority the later one wins.
struct Region {
    PhysicalAddress base;
    u64 length = 0; // RAM and ROM: whole pages. I/O regions may be any size.
    RegionKind kind = RegionKind::unassigned;
    u8* host = nullptr; // ram, rom: the first byte (not owned). An alias is a second region with the same host memory.
    RegionKind write_kind = RegionKind::unassigned; // ram/rom/io/unassigned for writes when they differ (PAM: read ROM,
                                                    // write RAM); unassigned = as `kind`.
    u8* write_host = nullptr;
    IoTarget* target = nullptr; // io (not owned).
    int priority = 0;
    std::string name; // For `info mtree`.
};

class PhysicalMap {
  public:
    explicit PhysicalMap(Log& log);
    ~PhysicalMap();

    // Replaces the whole map. Safe while vCPUs run: they see the old or the new one, and observers are told afterwards.
    void set_regions(std::vector<Region> regions);
    std::vector<Region> regions() const;
    // Address line 20 masked or not (8042, port 92h).
    void set_a20(bool enabled);
    bool a20() const { return a20_.load(std::memory_order_relaxed); }
    // What answers accesses that no region claims for I/O (the device bus): all addresses without RAM or ROM go there.
    void set_default_target(IoTarget* target);

    // What one page is. `host` is null where the page, or part of it, is not plain memory for that kind of access.
    struct Page {
        u8* read_host = nullptr;
        u8* write_host = nullptr;
    };
    Page page(PhysicalAddress address) const;

    // Any size and alignment; RAM, ROM and I/O. These are the slow paths, and DMA.
    void read(PhysicalAddress address, std::span<u8> out);
    void write(PhysicalAddress address, std::span<const u8> in); // Tells code observers.
    u64 read_value(PhysicalAddress address, unsigned size);
    void write_value(PhysicalAddress address, u64 value, unsigned size);
    // True when every byte is RAM (or ROM, for reads).
    bool is_memory(PhysicalAddress address, u64 length, bool for_write) const;

    // Code tracking, at a granularity of 128 bytes of RAM. Marking returns true when the page had no code before: the
    // caller then has every TLB drop its writable entries of the page *before* it reads the bytes it decodes.
    bool mark_code(PhysicalAddress address, u64 length);
    bool page_has_code(PhysicalAddress address) const;
    // Called on the write path of pages that have code, before the bytes change: clears the marks of the touched
    // granules and tells the observers when any was set.
    void before_code_write(PhysicalAddress address, u64 length);

    // Locked accesses that do not fit one aligned host atomic hold this, as the bus lock is held: one for all vCPUs.
    std::mutex& split_lock() { return split_lock_; }

    void add_observer(CodeWriteObserver& observer);
    void remove_observer(CodeWriteObserver& observer);
    void add_observer(MapObserver& observer);
    void remove_observer(MapObserver& observer);

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
    std::atomic<bool> a20_{true};
    std::mutex split_lock_;
};

} // namespace calque::mmu
