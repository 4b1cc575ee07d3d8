// The guest-physical address space: which addresses are RAM, ROM or devices. Shared by all vCPUs and by DMA.
#pragma once

#include "base/log.h"
#include "base/types.h"
#include "mmu/mirror.h"

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
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

// Told before bytes that hold decoded or translated code are written (in a race with the decoder perhaps just after),
// by whichever thread writes, once for each address at which those bytes appear; the range is widened to whole
// granules, whose marks are gone. After it returns, no vCPU runs what was made of the old bytes beyond what the
// architecture allows (SDM volume 3, 9.1.3 on cross-modifying code). It may not wait for a vCPU, nor add or remove
// observers.
class CodeWriteObserver {
  public:
    virtual ~CodeWriteObserver() = default;
    virtual void code_written(PhysicalAddress address, u64 length) = 0;
};

// Told when the map changes (a BAR moves, PAM, SMRAM, A20): every cached translation to host memory must go. It may not
// wait for a vCPU, nor add or remove observers.
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
    std::string name{}; // For `info mtree`.
};

// RAM that lies over the regions for processors in system management mode alone (PagingContext::smm), whatever its
// accesses by physical address get. Whole pages. Code in it is not cached.
struct SmmMemory {
    PhysicalAddress base;
    u64 length = 0;
    u8* host = nullptr; // Not owned.
};

class CodeMarks;
class ExecuteIds;
class FlatMap;
class Mmu;
class Rendezvous;

class PhysicalMap {
  public:
    explicit PhysicalMap(Log& log);
    ~PhysicalMap();

    // Replaces the whole map. Safe while vCPUs run: they see the old or the new one, and observers are told afterwards.
    void set_regions(std::vector<Region> regions, const SmmMemory& smm = {});
    std::vector<Region> regions() const;
    // The file that the guest's RAM is, so that it can be mapped again. Set before there is a vCPU.
    void set_ram_file(const RamFile& file) { ram_file_ = file; }
    const RamFile& ram_file() const { return ram_file_; }
    // Address line 20 masked or not (8042, port 92h).
    void set_a20(bool enabled);
    bool a20() const { return a20_.load(std::memory_order_relaxed); }
    // What the processor's address becomes on the bus: bit 20 is low while A20 is masked.
    PhysicalAddress on_bus(PhysicalAddress address) const {
        return a20() ? address : PhysicalAddress(address.value & ~(u64{1} << 20));
    }
    // What answers accesses that no region claims for I/O (the device bus): all addresses without RAM or ROM go there.
    void set_default_target(IoTarget* target);

    // What one page is. `host` is null where the page, or part of it, is not plain memory for that kind of access.
    struct Page {
        u8* read_host = nullptr;
        u8* write_host = nullptr;
    };
    Page page(PhysicalAddress address) const;

    // Any size and alignment; RAM, ROM and I/O. These are the slow paths, and DMA. An access to a device is split into
    // naturally aligned pieces of up to 8 bytes, in ascending order.
    void read(PhysicalAddress address, std::span<u8> out);
    void write(PhysicalAddress address, std::span<const u8> in); // Tells code observers.
    u64 read_value(PhysicalAddress address, unsigned size);      // 1 to 8 bytes.
    void write_value(PhysicalAddress address, u64 value, unsigned size);
    // The same from a bus master other than a processor: A20 does not mask its addresses.
    void dma_read(PhysicalAddress address, std::span<u8> out);
    void dma_write(PhysicalAddress address, std::span<const u8> in);
    // True when every byte is RAM (or ROM, for reads).
    bool is_memory(PhysicalAddress address, u64 length, bool for_write) const;

    // Code tracking, at a granularity of 128 bytes of RAM. To decode code at an address:
    //   1. mark_code(); when it returns true, some vCPU may be able to write to a page of it without telling anybody:
    //      protect_code_page() for each page;
    //   2. only now read the bytes, and enter the result in the cache of decoded code;
    //   3. code_marked(): when false, somebody wrote meanwhile. Throw the result away and start again. When true,
    //   whoever
    //      has written since or writes later tells the observers: before the bytes change, or (when the marks came
    //      after it had looked for them) at once afterwards.
    // Bytes that are not RAM or ROM cannot be marked.
    bool mark_code(PhysicalAddress address, u64 length);
    // Returns when no running vCPU has a writable TLB entry of the page; rendezvous.h has the protocol. `self` is the
    // caller's own, or null on a thread that is no vCPU's.
    void protect_code_page(PhysicalAddress page, Mmu* self);
    bool code_marked(PhysicalAddress address, u64 length) const;
    // Both of bytes in one page of RAM or ROM, by their host address.
    bool mark_code(const u8* host, u64 length);
    bool code_marked(const u8* host, u64 length) const;
    bool page_has_code(PhysicalAddress address) const;
    // Code that is written again and again (patch_fields.h). The bytes among these, which lie in one page, that should
    // become a field: just these have been written often; or those that are one.
    struct PatchedBytes {
        const u8* host = nullptr;
        u8 size = 0;
        bool field = false;
    };
    std::optional<PatchedBytes> patched_bytes(const u8* host, u64 length) const;
    u64 patch_fields_made() const;                         // Changes with each make_patch_field().
    bool in_patch_field(const u8* host, u64 length) const; // All of the bytes in one field.
    bool touches_patch_field(const u8* host, u64 length) const;
    bool page_patched(const u8* host) const; // Whether there can be any in the page.
    // Makes bytes a field; the observers are told as of a write. Who caches code looks for fields between mark_code()
    // and code_marked(), or sees by patch_fields_made() that none has come since it looked. False when there is no
    // room.
    bool make_patch_field(const PatchedBytes& bytes);
    // Called on the write path of pages that have code, before the bytes change: clears the marks of the touched
    // granules and tells the observers when any was set.
    void before_code_write(PhysicalAddress address, u64 length);

    // Which pages of RAM were written. The pages from `host` on, `count` of them: calls `dirty` with the number of each
    // that may have been written since the last call (or ever), which are clean then. What is copied after
    // end_of_writers() is marked again if it changes. No vCPU's thread may call either.
    void take_dirty_pages(const u8* host, u64 count, const std::function<void(u64 page)>& dirty);
    void end_of_writers();                       // Returns when no running vCPU has a writable TLB entry.
    void note_dirty(const u8* host, u64 length); // By whoever writes to RAM by its host address.

    // Locked accesses that no host instruction does hold this, as the bus lock is held: one for all vCPUs.
    std::mutex& split_lock() { return split_lock_; }

    void add_observer(CodeWriteObserver& observer);
    void remove_observer(CodeWriteObserver& observer);
    void add_observer(MapObserver& observer);
    void remove_observer(MapObserver& observer);

    // The table of regions as a person reads it (`info mtree`).
    std::string describe() const;

    // For the rest of the mmu. The map in force; it stays good for as long as it is held, and is out of date when
    // generation() has moved on.
    std::shared_ptr<const FlatMap> snapshot() const;
    u64 generation() const { return generation_.load(std::memory_order_acquire); }
    CodeMarks& code_marks();
    ExecuteIds& execute_ids();
    Rendezvous& rendezvous();
    // Clears the marks of host bytes (of one page) and tells the observers when any was set, unless the bytes lie in a
    // patch field.
    void before_host_write(const u8* host, u64 length);
    // Writes to host memory that may hold code, by whoever takes no part in the rendezvous or has no writable entry.
    void write_host(u8* host, std::span<const u8> in);
    // read() and write() with a map at hand and an address as it is on the bus.
    void read_from(const FlatMap& map, PhysicalAddress address, std::span<u8> out);
    void write_to(const FlatMap& map, PhysicalAddress address, std::span<const u8> in);

  private:
    void tell_code_written(const u8* host, u64 length);
    void publish();
    void tell_map_changed();

    struct Impl;
    std::unique_ptr<Impl> impl_;
    std::atomic<bool> a20_{true};
    std::atomic<u64> generation_{0};
    RamFile ram_file_;
    std::mutex split_lock_;
};

} // namespace calque::mmu
