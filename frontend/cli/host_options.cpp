#include "frontend/cli/host_options.h"

#include "frontend/cli/keyval.h"

namespace calque::cli {

Result<void> overcommit_option(Options&, const std::string& text) {
    auto kv = KeyValues::parse("-overcommit", text);
    if (!kv) return kv.error();
    for (const char* key : {"mem-lock", "cpu-pm"}) {
        const auto on = kv->take_bool(key, false);
        if (!on) return on.error();
        if (*on) return error("-overcommit {}=on does not exist here; there is: off", key);
    }
    return kv->rest("mem-lock, cpu-pm");
}

Result<void> audiodev_option(Options&, const std::string& text) {
    auto kv = KeyValues::parse("-audiodev", text, "driver");
    if (!kv) return kv.error();
    const std::string driver = kv->take("driver");
    if (driver != "none") return error("-audiodev {} does not exist here; there is: none", driver);
    kv->take("id");
    return kv->rest("driver, id");
}

Result<void> msg_option(Options&, const std::string& text) {
    auto kv = KeyValues::parse("-msg", text, "timestamp");
    if (!kv) return kv.error();
    for (const char* key : {"timestamp", "guest-name"}) {
        const auto on = kv->take_bool(key, false); // Messages stay as they are: they go to people.
        if (!on) return on.error();
    }
    return kv->rest("timestamp, guest-name");
}

Result<void> check_secret(const machine::DeviceRequest& secret) {
    if (secret.id.empty()) return error("-object secret has no id; add id=NAME");
    for (const auto& property : secret.properties)
        if (property.key != "file" && property.key != "data" && property.key != "format" && property.key != "keyid"
            && property.key != "iv")
            return error("-object secret has no property '{}'", property.key);
    return {};
}

} // namespace calque::cli
