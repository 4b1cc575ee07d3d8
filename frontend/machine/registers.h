// What people read of a processor: registers and counters as text.
#pragma once

#include "frontend/machine/vcpu.h"

#include <string>

namespace calque::machine {

std::string describe_registers(const cpu::Cpu& cpu);
std::string describe_stats(Vcpu& vcpu);

} // namespace calque::machine
