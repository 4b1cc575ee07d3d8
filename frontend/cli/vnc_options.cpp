#include "frontend/cli/vnc_options.h"

#include "frontend/cli/keyval.h"
#include "frontend/machine/host_file.h"

#include <algorithm>
#include <arpa/inet.h>

namespace calque::cli {

namespace {

constexpr u64 first_port = 5900, most_displays = 65536 - first_port;
constexpr std::size_t longest_password = 8; // RFC 6143, 7.2.2: the key of a DES cipher.

// What -object secret keeps, by its data= or in its file=.
Result<std::string> secret_text(const Options& o, const std::string& id) {
    const auto at = std::find_if(o.secrets.begin(), o.secrets.end(), [&](const auto& s) { return s.id == id; });
    if (at == o.secrets.end()) return error("-vnc password-secret={}: there is no -object secret,id={}", id, id);
    std::string data, file;
    for (const auto& property : at->properties) {
        if (property.key == "data") data = property.value;
        if (property.key == "file") file = property.value;
        if (property.key == "keyid" || (property.key == "format" && property.value != "raw"))
            return error("-object secret,id={}: only format=raw without keyid= can be read here", id);
    }
    if (data.empty() == file.empty()) return error("-object secret,id={}: give one of data= and file=", id);
    if (file.empty()) return data;
    const auto bytes = machine::read_host_file(file, "-object secret", 4096);
    if (!bytes) return bytes.error();
    return std::string(bytes->begin(), bytes->end());
}

} // namespace

Result<void> vnc_option(Options& o, const std::string& text) {
    auto kv = KeyValues::parse("-vnc", text, "vnc");
    if (!kv) return kv.error();
    const std::string place = kv->take("vnc");
    if (place == "none") {
        o.vnc.asked = false;
        return kv->rest("");
    }
    const std::size_t colon = place.rfind(':');
    const auto number = colon == place.npos ? Result<u64>(error("")) : machine::parse_count(place.substr(colon + 1));
    if (!number || *number >= most_displays)
        return error("-vnc {}: give [ADDRESS]:NUMBER; viewers connect to port {} plus the number", text, first_port);
    const std::string address = place.substr(0, colon);
    in_addr parsed{};
    if (!address.empty() && address != "localhost" && ::inet_pton(AF_INET, address.c_str(), &parsed) != 1)
        return error("-vnc {}: '{}' is no address of four numbers; 0.0.0.0 is every one of this host", text, address);
    if (!address.empty() && address != "localhost") o.vnc.address = address;
    o.vnc.asked = true;
    o.vnc.port = static_cast<u16>(first_port + *number);
    const auto by_monitor = kv->take_bool("password", false);
    if (!by_monitor) return by_monitor.error();
    o.vnc.secret = kv->take("password-secret");
    if (*by_monitor && !o.vnc.secret.empty())
        return error("-vnc {}: a password is that of password-secret=, or the monitor's (password=on); leave one out",
                     place);
    o.vnc.wants_password = *by_monitor || !o.vnc.secret.empty();
    kv->take("audiodev"); // There is no sound, and -audiodev none is all that can be named.
    if (const std::string share = kv->take("share", "force-shared"); share == "allow-exclusive" || share == "ignore")
        return error("-vnc share={} does not exist here: viewers share the screen (force-shared)", share);
    return kv->rest("password, password-secret, share");
}

Result<void> settle_vnc(Options& o) {
    if (!o.vnc.asked) return {};
    if (o.window.asked) return error("-vnc and -display sdl: the screen is shown in one way at a time; leave one out");
    o.display_none = true;
    if (o.vnc.secret.empty()) return {};
    auto password = secret_text(o, o.vnc.secret);
    if (!password) return password.error();
    while (!password->empty() && (password->back() == '\n' || password->back() == '\r'))
        password->pop_back();
    if (password->empty()) return error("-vnc password-secret={}: the secret is empty", o.vnc.secret);
    if (password->size() > longest_password)
        return error("-vnc password-secret={}: the protocol's passwords have {} characters at most", o.vnc.secret,
                     longest_password);
    o.vnc.password = std::move(*password);
    return {};
}

} // namespace calque::cli
