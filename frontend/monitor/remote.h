// The monitor's commands for the screen's remote viewers.
#pragma once

#include "base/result.h"
#include "frontend/machine/machine.h"

#include <optional>
#include <string>

namespace calque::monitor {

// Fails where there is no -vnc.
Result<machine::RemoteScreen*> remote_screen(machine::Machine& machine);
// "now", "never", "+SECONDS" from `now` on, or "SECONDS", both since 1970. None: never.
Result<std::optional<i64>> parse_expiry(const std::string& text, i64 now);

// Each of the following gives what there is to say.
std::string describe_viewers(machine::Machine& machine);
// "PROTOCOL PASSWORD [keep]"; of `change vnc password`: "vnc password PASSWORD".
std::string set_password(machine::Machine& machine, const std::string& argument);
std::string change_password(machine::Machine& machine, const std::string& argument);
// "PROTOCOL TIME".
std::string expire_password(machine::Machine& machine, const std::string& argument);

} // namespace calque::monitor
