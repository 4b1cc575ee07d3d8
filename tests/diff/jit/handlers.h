// The handlers of a random program's exceptions: each notes what it is in the log, and goes on behind the instruction.
// The one of vector_end stops the processor, that of vector_interrupt does nothing.
#pragma once

#include "tests/diff/jit/image.h"

namespace calque::diff {

void write_handlers64(Image& image);
void write_handlers32(Image& image);    // For programs at level 3 in protected mode without long mode.
void write_real_handlers(Image& image); // With the interrupt table.

} // namespace calque::diff
