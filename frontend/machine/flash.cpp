#include "frontend/machine/flash.h"

#include "devices/pflash/pflash.h"

#include <cstring>

namespace calque::machine {

Result<std::vector<u8>> read_flash(const backends::Disk& disk) {
    const auto image = disk.image();
    if (!image) return error("the flash chip {} has no file; give its -drive file=", disk.options().id);
    const u64 size = image->size();
    if (size == 0 || size % devices::Pflash::block != 0 || size > flash_limit)
        return error("the flash chip {} has {} bytes: a chip has a multiple of {}, and all together at most {} MiB",
                     image->name(), size, devices::Pflash::block, flash_limit >> 20);
    std::vector<u8> contents(size);
    if (const int problem = image->read(0, contents))
        return error("the flash chip {} cannot be read: {}", image->name(), std::strerror(problem));
    return contents;
}

} // namespace calque::machine
