// -vnc and what it needs.
#pragma once

#include "frontend/cli/options.h"

namespace calque::cli {

Result<void> vnc_option(Options& o, const std::string& text); // -vnc, and -display vnc=
// When all options are known: the password that an -object secret has; nothing else may show the screen.
Result<void> settle_vnc(Options& o);

} // namespace calque::cli
