#include "jit/debug/unit_dump_request.h"

#include <charconv>
#include <optional>
#include <utility>

namespace calque::jit {

namespace {

std::optional<u64> parse_address(std::string_view text) {
    const bool hexadecimal = text.starts_with("0x") || text.starts_with("0X");
    if (hexadecimal) text.remove_prefix(2);
    u64 value = 0;
    const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value, hexadecimal ? 16 : 10);
    if (failed != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return value;
}

} // namespace

Result<UnitDumpRequest> parse_unit_dump(std::string_view text) {
    UnitDumpRequest request;
    request.parts = {false, false, false};
    const std::size_t at = text.find('@');
    if (at == std::string_view::npos)
        return error("'{}' has no address; write guest,ir,host@ADDRESS, for example host@0xffffffff81000000", text);
    const auto address = parse_address(text.substr(at + 1));
    if (!address) return error("'{}' is not an address; give a number such as 0xffffffff81000000", text.substr(at + 1));
    request.address = *address;
    std::string_view rest = text.substr(0, at);
    for (bool more = true; more;) {
        const std::size_t comma = rest.find(',');
        const std::string_view word = rest.substr(0, comma);
        more = comma != std::string_view::npos;
        rest.remove_prefix(more ? comma + 1 : rest.size());
        bool* const part = word == "guest"  ? &request.parts.guest
                           : word == "ir"   ? &request.parts.ir
                           : word == "host" ? &request.parts.host
                                            : nullptr;
        if (!part) return error("'{}' cannot be shown; in front of the @ there are: guest, ir, host", word);
        if (std::exchange(*part, true)) return error("'{}' is asked for twice", word);
    }
    return request;
}

} // namespace calque::jit
