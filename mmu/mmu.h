// One vCPU's view of memory: linear addresses in, bytes or a fault out.
#pragma once

#include "base/log.h"
#include "mmu/guest_access.h"
#include "mmu/paging_context.h"
#include "mmu/physical_map.h"
#include "mmu/tlb_table.h"
#include "mmu/walker.h"
#include "mmu/watchpoints.h"

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <string>

namespace calque::mmu {

struct MmuCounters {
    u64 fills = 0;       // Entries of the first level written: its misses that were plain memory.
    u64 second_hits = 0; // Translations that the second level had.
    u64 walks = 0;       // Walks of the guest's tables.
    u64 page_faults = 0;
    u64 io_accesses = 0;  // Loads and stores that went to devices.
    u64 crossings = 0;    // Accesses over a page boundary.
    u64 flushes = 0;      // Whole or per-context.
    u64 page_flushes = 0; // INVLPG.
    u64 context_switches = 0;
    u64 code_writes = 0;     // Stores to pages that hold decoded code.
    u64 evictions = 0;       // Fills that drove a live entry of another page out of its table.
    u64 grows = 0;           // Times a table was made larger.
    u64 restarts = 0;        // Times the numbers of spaces ran out and the TLB was emptied.
    u64 refills = 0;         // Misses of translated code.
    u64 write_protects = 0;  // Pages whose writable entries went because somebody decodes code there.
    u64 map_changes = 0;     // Times the physical map changed.
    u64 mirrored = 0;        // Pages put into a mirror.
    u64 spaces_verified = 0; // Times an address space was loaded again and its entries compared (ShadowTables),
    u64 entries_changed = 0; // of which so many had changed.
};

class RendezvousMember;

// Loads and stores return false on a fault, which fault() then describes; nothing has been written then.
// Owned and used by one vCPU's thread; other threads may only call request_* functions, requests_pending() and kicks.
// The Mmu is parked (see park()) until its vCPU's thread calls unpark().
class Mmu {
  public:
    Mmu(PhysicalMap& map, Log& log);
    ~Mmu();
    Mmu(const Mmu&) = delete;
    Mmu& operator=(const Mmu&) = delete;

    // The context in force. Cheap when nothing changed, and when only CPL or AC did.
    void set_context(const PagingContext& context);
    // The same when nothing else than these fields of the context has changed.
    void set_privilege(u8 cpl, bool ac, bool alignment_check);
    bool checks_alignment() const { return context_.alignment_check; } // Unaligned data accesses raise #AC.
    const PagingContext& context() const { return context_; }
    PhysicalMap& physical() { return map_; }

    // CR3 was written: new context (PDPTEs already in it). Without `keep` (bit 63 with PCIDs on), the non-global
    // translations of its PCID go.
    void load_cr3(const PagingContext& context, bool keep);
    void flush_page(LinearAddress address); // INVLPG: every context's non-global of this PCID, and global ones.
    void flush_all(bool global);            // CR0/CR4 writes, INVPCID 2 (with global) and 3.
    void flush_pcid(u16 pcid);              // INVPCID 1.
    void flush_pcid_page(u16 pcid, LinearAddress address); // INVPCID 0.

    template <class T>
    [[nodiscard]] bool load(LinearAddress address, T& out, Privilege privilege = Privilege::current) {
        const TlbView& view = views_[static_cast<unsigned>(privilege)];
        const TlbEntry& entry = view.entry(address.value);
        if (tlb_hit(entry.read_tag, address.value, sizeof(T))) [[likely]] {
            out = load_guest<T>(reinterpret_cast<const u8*>(entry.host + (address.value ^ entry.read_tag)));
            return true;
        }
        static_assert(sizeof(T) <= sizeof(slow_value_));
        if (!load_slow(address, slow_value_.data(), sizeof(T), privilege)) return false;
        std::memcpy(&out, slow_value_.data(), sizeof(T));
        return true;
    }
    template <class T>
    [[nodiscard]] bool store(LinearAddress address, const T& value, Privilege privilege = Privilege::current) {
        const TlbView& view = views_[static_cast<unsigned>(privilege)];
        const TlbEntry& entry = view.entry(address.value);
        if (tlb_hit(entry.write_tag, address.value, sizeof(T))) [[likely]] {
            store_guest<T>(reinterpret_cast<u8*>(entry.host + (address.value ^ entry.write_tag)), value);
            return true;
        }
        static_assert(sizeof(T) <= sizeof(slow_value_));
        std::memcpy(slow_value_.data(), &value, sizeof(T));
        return store_slow(address, slow_value_.data(), sizeof(T), privilege);
    }

    // For read-modify-write, and for string operations: a host pointer to `size` bytes at `address` that may be written
    // (or read) now, code observers told, A and D bits set. Null when the access faults (fault().kind says so) or when
    // it is not plain memory within one page (fault().kind is none): then the caller uses load() and store(). The
    // pointer is good until the next instruction boundary, or until this Mmu is used for something that reaches a
    // device. With alignment checks on, only naturally aligned 1, 2, 4 and 8 bytes get a pointer.
    u8* host_for_write(LinearAddress address, u64 size, Privilege privilege = Privilege::current) {
        const TlbView& view = views_[static_cast<unsigned>(privilege)];
        const TlbEntry& entry = view.entry(address.value);
        if (size - 1 < page_size && tlb_hit(entry.write_tag, address.value, size)) [[likely]]
            return reinterpret_cast<u8*>(entry.host + (address.value ^ entry.write_tag));
        return host_for_write_slow(address, size, privilege);
    }
    const u8* host_for_read(LinearAddress address, u64 size, Privilege privilege = Privilege::current) {
        const TlbView& view = views_[static_cast<unsigned>(privilege)];
        const TlbEntry& entry = view.entry(address.value);
        if (size - 1 < page_size && tlb_hit(entry.read_tag, address.value, size)) [[likely]]
            return reinterpret_cast<const u8*>(entry.host + (address.value ^ entry.read_tag));
        return host_for_read_slow(address, size, privilege);
    }
    // True when a write of `size` bytes (may cross pages) would not fault now, alignment checks included; sets A and D
    // bits. For instructions that must not write part of their result (page-crossing stores of more than one piece,
    // PUSHA, ENTER, task switches...).
    [[nodiscard]] bool probe_write(LinearAddress address, u64 size, Privilege privilege = Privilege::current);
    [[nodiscard]] bool probe_read(LinearAddress address, u64 size, Privilege privilege = Privilege::current);

    // Translates for an instruction fetch of one byte; `host` is null when the code is not in plain memory (then read
    // through physical()).
    struct CodePage {
        PhysicalAddress address;  // Of the byte.
        const u8* host = nullptr; // Of the byte.
    };
    [[nodiscard]] bool fetch(LinearAddress address, CodePage& out);

    // For translated code.
    //
    // The current address space's table for RightsMode::user; the others' follow at distances of tlb_table_size.
    TlbTable& first_table() { return table(0); }
    TlbTable& table(unsigned rights_mode);
    void set_no_return(const void* code); // Of all tables (TlbTable::set_no_return).
    bool mirrors() const;                 // Whether there are any (mmu/mirror.h).
    // The id of the pair of the address's linear page and the host page that it may be executed from now; fetches when
    // the table has none yet. 0 on a fault (fault().kind says so), and when the page is not plain memory. While the
    // pair stands, the id also stands in the table (tlb_execute_ids_offset), unless another page has taken its slot or
    // alignment checks are in force. An id never stands for another pair, in no vCPU's tables.
    ExecuteId execute_id(LinearAddress address);
    // Enters `code` in the current table's target cache, for an address that may be executed now. Emptied when the
    // translation of its page or of the following page goes; what else the code depends on, it has to check itself.
    // Nothing is remembered while alignment checks are in force.
    void remember_target(LinearAddress address, const void* code);
    void forget_target(LinearAddress address); // Of every table: the code for one address went.
    void forget_targets();                     // All of every table.
    // What host_for_read() and host_for_write() do when the TLB does not have the page, at the current privilege: fills
    // the table. Null, with nothing told to anybody and nothing written but A and D bits, when the access faults,
    // crosses a page, is not of plain memory, or writes to bytes that code is made of: interpret the instruction then.
    // Likewise where accesses are watched. `access` is read or write. A pointer beside code, which is in no table, is
    // good as one from host_for_write() is.
    u8* refill(LinearAddress address, u64 size, Access access) noexcept;
    // A page that is used often: puts it into the mirror, if a table of the current address space has it. Only while no
    // pointer from before is in use; without `pointers_end` at any time, but then it may have to wait: false.
    bool mirror(LinearAddress address, bool pointers_end = true) noexcept;

    const Fault& fault() const { return fault_; }

    // Locked accesses that no host instruction does (device memory, over the end of a page) hold this while they load
    // and store.
    std::mutex& split_lock() { return map_.split_lock(); }

    // Accesses that a debugger is told of. Only while parked; in force from unpark() on. Accesses by the page walker
    // and by devices are not watched.
    void set_watchpoints(std::vector<Watchpoint> watchpoints, Watchpoints::Hit hit);
    const std::vector<Watchpoint>& watchpoints() const { return watchpoints_.all(); }
    // Something in the page is watched for such accesses (read or write): they have no pointer that outlasts them.
    bool watches(LinearAddress address, Access access) const {
        return watching_ && watchpoints_.in_page(address.value, access == Access::write);
    }

    // From any thread: the vCPU carries these out at its next safe point (between two instructions), by calling
    // serve_requests(), before it touches guest memory again. The Mmu makes the first request itself when the physical
    // map changes.
    void request_flush_all();                         // The physical map changed.
    void request_write_protect(PhysicalAddress page); // A page got code: drop its writable entries.
    bool requests_pending() const { return requests_.load(std::memory_order_acquire); }
    void serve_requests();
    // Called, from any thread, with each request: makes the vCPU leave its execution loop soon. Set before it runs.
    void set_kick(std::function<void()> kick);

    // A vCPU's thread parks its Mmu while it may not reach a safe point for long: while the vCPU is halted, stopped or
    // not started, and around port I/O or other waiting for a device. Whoever decodes code waits for the others' safe
    // points (rendezvous.h), but not for those that are parked. While parked the Mmu may not be used, except that it
    // parks itself around the device accesses that it makes. unpark() serves what was asked meanwhile.
    void park();
    void unpark();
    bool parked() const;
    RendezvousMember& rendezvous_member();

    const MmuCounters& counters() const { return counters_; }
    const TlbView& view(Privilege privilege = Privilege::current) const {
        return views_[static_cast<unsigned>(privilege)];
    }
    // What the TLB holds under the current context, at most `most` lines (`info tlb`); the counters with their names
    // (--stats).
    std::string describe_tlb(std::size_t most = 1000) const;
    std::string describe_counters() const;

  private:
    struct Impl;
    struct Page;

    void select(bool keep = true);
    void select_space();
    bool verify_space();
    void update_views();
    void forget(u64 id);
    void restart();
    void drop_page(LinearAddress address, u64 space);
    void drop_small_page(u64 linear, u64 space);
    void grow(TlbTable& table);
    ExecuteId note_execute(LinearAddress address, const u8* host_page);
    u64 next_page(LinearAddress address) const;
    bool check_address(LinearAddress& address, u64 size, Privilege privilege, bool data);
    bool translate(u64 linear, Access access, Privilege privilege, Page& out);
    void fill(u64 linear, const Rights& rights, Privilege privilege, const Page& page);
    void read_part(const Page& page, u64 offset, void* out, u64 size);
    void write_part(const Page& page, u64 offset, const void* value, u64 size);
    void note_watched(LinearAddress address, u64 size, bool write) const {
        if (watching_) [[unlikely]]
            watchpoints_.note(address.value, size, write);
    }
    u8* store_beside_code(u64 linear, u64 size, Privilege privilege, bool tell);
    bool probe(LinearAddress address, u64 size, Access access, Privilege privilege);
    u8* host_slow(LinearAddress address, u64 size, Access access, Privilege privilege, Page& page);
    bool load_slow(LinearAddress address, void* out, unsigned size, Privilege privilege);
    bool store_slow(LinearAddress address, const void* value, unsigned size, Privilege privilege);
    u8* host_for_write_slow(LinearAddress address, u64 size, Privilege privilege);
    const u8* host_for_read_slow(LinearAddress address, u64 size, Privilege privilege);

    std::array<TlbView, 2> views_; // By Privilege: the current CPL's, and the processor's own.
    PhysicalMap& map_;
    Log& log_;
    PagingContext context_;
    Fault fault_;
    Watchpoints watchpoints_;
    bool watching_ = false; // There are any.
    // What a slow access reads or writes. Not the caller's variable: a handler whose locals never escape can end in a
    // tail call.
    alignas(32) std::array<u8, 512> slow_value_{};
    MmuCounters counters_;
    std::atomic<bool> requests_{false};
    std::unique_ptr<Impl> impl_;
};

} // namespace calque::mmu
