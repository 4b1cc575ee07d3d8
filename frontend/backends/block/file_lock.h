// Locks that keep two machines from one image.
#pragma once

#include "base/result.h"

#include <string>

namespace calque::backends {

// Locks an open image for as long as the descriptor (and no duplicate of it) is open: one writer, or any number of
// readers. These are open-file-description locks on the bytes that QEMU's programs use, so that those and this one
// keep out of each other's images. A file system that knows no locks is no error. `name` is for the message.
Result<void> lock_image(int fd, bool writer, const std::string& name);

} // namespace calque::backends
