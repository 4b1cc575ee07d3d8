// Where a disk on an NBD server is.
#pragma once

#include "base/result.h"

#include <string>
#include <string_view>

namespace calque::backends {

struct NbdAddress {
    std::string unix_path; // Or, empty:
    std::string host;
    std::string port = "10809";
    std::string export_name;

    // As a URI, for messages.
    std::string text() const;
};

inline bool is_nbd_name(std::string_view name) { return name.starts_with("nbd:") || name.starts_with("nbd+unix:"); }

// nbd:host:port[:exportname=E], nbd:unix:PATH[:exportname=E], nbd://host[:port][/E], nbd+unix:///[E]?socket=PATH.
// An IPv6 address stands in brackets.
Result<NbdAddress> parse_nbd_name(std::string_view name);

} // namespace calque::backends
