// What clients are told unasked.
#pragma once

#include "base/json.h"
#include "frontend/machine/run_state.h"
#include "frontend/qmp/value.h"

#include <optional>
#include <string_view>

namespace calque::qmp {

struct EventMessage {
    std::string_view name;
    std::optional<Json> data; // None for an event that has none.
};
EventMessage describe(const machine::Event& event);
// VncBasicInfo of an end of a viewer's connection.
Object place_object(const machine::NetworkPlace& place);

} // namespace calque::qmp
