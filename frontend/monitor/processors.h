// What the monitor says of the processors: interrupts, the translator.
#pragma once

#include "frontend/machine/machine.h"

#include <string>

namespace calque::monitor {

// All of these: only while the machine is stopped.

// `info irq`: the interrupt controllers, and what waits in them.
std::string describe_interrupts(machine::Machine& machine);
// `info jit`: what the translator has done for each vCPU.
std::string describe_translator(machine::Machine& machine);

} // namespace calque::monitor
