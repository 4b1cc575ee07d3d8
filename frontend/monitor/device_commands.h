// What a person does to devices while the machine runs.
#pragma once

#include "frontend/machine/machine.h"

#include <optional>
#include <string>

namespace calque::monitor {

// Each returns what is to be printed; empty when it simply worked.

// "NAME on|off": a network's cable, by the name of the network or the card.
std::string set_link(machine::Machine& machine, const std::string& argument);
// "MEGABYTES": how much memory the guest is to have.
std::string set_balloon(machine::Machine& machine, const std::string& argument);
std::string describe_balloon(machine::Machine& machine);
// Bytes that the guest has left; none without a balloon.
std::optional<u64> balloon_actual(machine::Machine& machine);

} // namespace calque::monitor
