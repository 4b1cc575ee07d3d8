// The snapshot table of a qcow2 image.
#pragma once

#include "base/result.h"
#include "frontend/backends/block/qcow2_file.h"
#include "frontend/backends/block/qcow2_refcounts.h"

#include <functional>
#include <string>
#include <vector>

namespace calque::backends::qcow2 {

struct Snapshot {
    std::string id;
    std::string name;
    u64 l1_offset = 0;
    u32 l1_size = 0; // In entries.
    u32 seconds = 0; // Since 1970, when it was taken.
    u32 nanoseconds = 0;
    u64 guest_nanoseconds = 0; // How long the guest had been running.
    u64 machine_bytes = 0;     // Of a saved machine; 0: the disk alone.
    u64 disk_size = 0;         // In bytes.
    std::vector<u8> more;      // Extra data that this program does not know, kept.
    u64 entry_bytes = 0;       // What the entry takes in the file's table.
};

// A machine's state that is on its way into a snapshot. Its clusters are in use, and nothing refers to them yet.
struct StateDraft {
    std::vector<u64> clusters; // Their numbers in the file, in order.
    u64 bytes = 0;
};

// Where a snapshot's machine is in the file.
struct SavedState {
    std::vector<u64> clusters; // Offsets; 0: zeros.
    u64 bytes = 0;
};

// Reads and checks the table.
Result<std::vector<Snapshot>> read_snapshots(File& file);
// By ID, else by name; the end where there is none.
std::vector<Snapshot>::iterator find_snapshot(std::vector<Snapshot>& list, const std::string& id_or_name);
std::vector<u8> encode_snapshots(const std::vector<Snapshot>& snapshots);
// The clusters of the table and of the snapshots' L1 tables, as read.
std::vector<Refcounts::Run> snapshot_places(const File& file, const std::vector<Snapshot>& snapshots);

// An L1 table that is not the active one. EIO (and the corrupt bit) where it is damaged.
int read_l1(File& file, u64 offset, u32 entries, std::vector<u64>& l1);

// Calls `visit` with each run of clusters that the L1 table refers to, as often as it does: tables and data. Stops at
// the first error.
using Visit = std::function<int(u64 first, u64 count)>;
int visit_references(File& file, const std::vector<u64>& l1, const Visit& visit);

} // namespace calque::backends::qcow2
