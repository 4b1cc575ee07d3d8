// A device's state as bytes, and back. The one place of these for all tests of devices: they are one program.
#pragma once

#include "base/archive.h"
#include "devices/device.h"

#include <vector>

namespace calque::devices::test {

inline std::vector<u8> save(Device& device) {
    Archive archive = Archive::saver();
    device.serialize(archive);
    return archive.take();
}

inline Result<void> load(Device& device, std::vector<u8> data) {
    Archive archive = Archive::loader(std::move(data));
    device.serialize(archive);
    return archive.result();
}

} // namespace calque::devices::test
