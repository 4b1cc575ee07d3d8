// Drives as the command line names them, and how they are opened.
#pragma once

#include "base/json.h"
#include "base/log.h"
#include "base/result.h"
#include "frontend/backends/block/cache_mode.h"
#include "frontend/backends/block/disk.h"

#include <memory>
#include <optional>
#include <string>

namespace calque::backends {

// What -drive and its short forms ask for.
struct DriveOptions {
    enum class Interface : u8 { ide, virtio, floppy, pflash, none }; // none: a -device takes it by its id.
    Interface interface = Interface::ide;
    std::optional<unsigned> index; // Its place among those of one interface; absent: the next that is free.
    std::string file;              // Empty: a CD or floppy drive without a medium.
    std::optional<Json> node;      // From -blockdev: the image as a tree of options, instead of file and format.
    std::string format;            // Empty: found out from the file's first bytes.
    std::string id, serial;
    std::optional<u64> boot_index; // Of one on the PC's own IDE cables: its place in the order of booting.
    bool cdrom = false;
    bool read_only = false;
    bool snapshot = false; // Changes go to a temporary file.
    bool discard = false;  // The guest may give room back to the host.
    bool lock = true;
    bool inactive = false; // Another process still writes to it (Disk::set_active).
    CacheMode cache{};
    bool removable() const { return cdrom || interface == Interface::floppy; }
    ErrorAction on_write_error = ErrorAction::enospc, on_read_error = ErrorAction::report;
};

// The contents of a file: its format opened over the file. `snapshot` puts a temporary overlay over it. The log hears
// warnings and, later, of damage; it must outlive the image.
Result<std::shared_ptr<BlockImage>> open_drive_image(Log& log, const DriveOptions& options);
// The drive with its disc or without. The pool and the log must outlive it.
Result<std::unique_ptr<Disk>> open_drive(IoPool& pool, Log& log, const DriveOptions& options);

} // namespace calque::backends
