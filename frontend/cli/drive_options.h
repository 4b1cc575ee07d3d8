// -drive and its short forms.
#pragma once

#include "base/result.h"
#include "frontend/backends/block/drive.h"
#include "frontend/machine/device_request.h"

#include <string>
#include <vector>

namespace calque::cli {

// -drive file=F,if=ide,...: one drive, without the ids and places that assign_drives() gives.
Result<backends::DriveOptions> parse_drive(const std::string& text);
// -hda to -hdd (0 to 3), -cdrom.
backends::DriveOptions short_drive(const std::string& file, unsigned index, bool cdrom);
backends::DriveOptions pflash_drive(const std::string& file); // -pflash
// -fda and -fdb (0 and 1).
backends::DriveOptions short_floppy(const std::string& file, unsigned index);
// Every drive gets its index and, where it has none, an id as QEMU's monitor would show it ("ide0-hd0"). Errors: two in
// one place, a place that there is not, an id used twice. `snapshot` is the option for all.
Result<void> assign_drives(std::vector<backends::DriveOptions>& drives, bool snapshot);
// What -device NAME,drive=ID says of the drive: werror=, rerror=, write-cache=, and by its name that it is a CD drive.
Result<void> take_drive_behaviour(std::vector<backends::DriveOptions>& drives,
                                  std::vector<machine::DeviceRequest>& devices);
// -device ide-hd and ide-cd that name no other controller's bus become places on the PC's own IDE cables. Before
// assign_drives().
Result<void> place_ide_devices(std::vector<backends::DriveOptions>& drives,
                               std::vector<machine::DeviceRequest>& devices);
// Each -drive with if=virtio becomes a -device; each drive= of a -device names a drive that nobody else has. What no
// device takes is an error.
Result<void> connect_drives(const std::vector<backends::DriveOptions>& drives,
                            std::vector<machine::DeviceRequest>& devices);

} // namespace calque::cli
