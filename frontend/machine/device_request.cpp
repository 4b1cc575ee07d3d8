#include "frontend/machine/device_request.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace calque::machine {

namespace {

const Property* find(const DeviceRequest& request, std::string_view key) {
    const Property* last = nullptr; // The later one of two counts.
    for (const Property& property : request.properties)
        if (property.key == key) last = &property;
    return last;
}

// How many letters have to change, come or go (Levenshtein).
std::size_t distance(std::string_view a, std::string_view b) {
    std::vector<std::size_t> row(b.size() + 1);
    for (std::size_t i = 0; i <= b.size(); ++i)
        row[i] = i;
    for (std::size_t i = 0; i < a.size(); ++i) {
        std::size_t diagonal = row[0];
        row[0] = i + 1;
        for (std::size_t j = 0; j < b.size(); ++j) {
            const std::size_t changed = diagonal + (a[i] != b[j]);
            diagonal = row[j + 1];
            row[j + 1] = std::min({changed, row[j] + 1, row[j + 1] + 1});
        }
    }
    return row.back();
}

template <class T> Result<T> number(std::string_view text, int base) {
    T value{};
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value, base);
    if (text.empty() || problem != std::errc() || end != text.data() + text.size())
        return error("'{}' is not a number", text);
    return value;
}

Result<void> check_value(PropertyKind::Type type, const std::string& value) {
    using Type = PropertyKind::Type;
    const auto only_error = [](const auto& result) -> Result<void> {
        if (!result) return result.error();
        return {};
    };
    switch (type) {
    case Type::text: return {};
    case Type::boolean: return only_error(parse_bool(value));
    case Type::number: return only_error(parse_count(value));
    case Type::vectors: return only_error(parse_count(value));
    case Type::size: return only_error(parse_bytes(value));
    case Type::slot: return only_error(parse_slot(value));
    case Type::mac: return only_error(parse_mac(value));
    }
    return {};
}

} // namespace

bool DeviceRequest::has(std::string_view key) const { return find(*this, key) != nullptr; }

std::string DeviceRequest::get(std::string_view key, std::string_view fallback) const {
    const Property* property = find(*this, key);
    return property ? property->value : std::string(fallback);
}

bool DeviceRequest::get_bool(std::string_view key, bool fallback) const {
    const Property* property = find(*this, key);
    const auto value = property ? parse_bool(property->value) : Result<bool>(fallback);
    return value ? *value : fallback;
}

u64 DeviceRequest::get_number(std::string_view key, u64 fallback) const {
    const Property* property = find(*this, key);
    const auto value = property ? parse_bytes(property->value) : Result<u64>(fallback);
    return value ? *value : fallback;
}

std::string nearest_name(std::string_view typed, std::span<const std::string_view> known) {
    std::string_view best;
    std::size_t least = std::max<std::size_t>(typed.size() / 2, 2) + 1;
    for (const std::string_view name : known) {
        // A name of which only the start or the middle was typed is near too.
        const bool part = typed.size() >= 3 && name.find(typed) != name.npos;
        const std::size_t far = part ? 1 : distance(typed, name);
        if (far < least) {
            least = far;
            best = name;
        }
    }
    return std::string(best);
}

Result<bool> parse_bool(std::string_view text) {
    for (const char* yes : {"on", "yes", "true", "y"})
        if (text == yes) return true;
    for (const char* no : {"off", "no", "false", "n"})
        if (text == no) return false;
    return error("'{}' is neither on nor off", text);
}

Result<u64> parse_count(std::string_view text) {
    const bool hex = text.starts_with("0x") || text.starts_with("0X");
    return number<u64>(hex ? text.substr(2) : text, hex ? 16 : 10);
}

Result<u64> parse_bytes(std::string_view text) {
    static constexpr std::string_view suffixes = "bkmgt";
    std::string_view digits = text;
    u64 unit = 1;
    if (!digits.empty() && !digits.starts_with("0x")) {
        const std::size_t power = suffixes.find(static_cast<char>(digits.back() | 0x20));
        if (power != suffixes.npos) {
            unit = u64{1} << (10 * power);
            digits.remove_suffix(1);
        }
    }
    const auto count = parse_count(digits);
    if (!count || *count > ~u64{0} / unit) return error("'{}' is not a size such as 512 or 64k", text);
    return *count * unit;
}

Result<std::pair<unsigned, unsigned>> parse_slot(std::string_view text) {
    std::string_view digits = text;
    if (digits.starts_with("0x")) digits.remove_prefix(2);
    const std::size_t point = digits.find('.');
    const auto device = number<unsigned>(digits.substr(0, point), 16);
    const auto function = point == digits.npos ? Result<unsigned>(0u) : number<unsigned>(digits.substr(point + 1), 16);
    if (!device || !function || *device > 31 || *function > 7)
        return error("'{}' is not a PCI slot such as 4 or 1f.7 (device and function, hexadecimal)", text);
    return std::pair{*device, *function};
}

Result<std::array<u8, 6>> parse_mac(std::string_view text) {
    std::array<u8, 6> mac{};
    const auto wrong = error("'{}' is not a MAC address such as 52:54:00:12:34:56", text);
    if (text.size() != 17) return wrong;
    for (unsigned i = 0; i < 6; ++i) {
        const auto byte = number<unsigned>(text.substr(3 * i, 2), 16);
        if (!byte || (i < 5 && text[3 * i + 2] != ':' && text[3 * i + 2] != '-')) return wrong;
        mac[i] = static_cast<u8>(*byte);
    }
    if (mac[0] & 1) return error("MAC address '{}' is a multicast address; a card's has an even first byte", text);
    return mac;
}

Result<void> check_properties(const DeviceRequest& request, std::span<const PropertyKind> own,
                              std::span<const PropertyKind> common) {
    for (const Property& property : request.properties) {
        const PropertyKind* kind = nullptr;
        std::vector<std::string_view> names;
        for (const auto& list : {own, common})
            for (const PropertyKind& candidate : list) {
                names.push_back(candidate.name);
                if (candidate.name == property.key) kind = &candidate;
            }
        if (!kind) {
            const std::string near = nearest_name(property.key, names);
            return error("{} has no property '{}'{}; -device {},help lists them", request.driver, property.key,
                         near.empty() ? "" : fmt::format("; there is '{}'", near), request.driver);
        }
        if (auto good = check_value(kind->type, property.value); !good)
            return error("{},{}={}: {}", request.driver, property.key, property.value, good.error().message);
    }
    return {};
}

} // namespace calque::machine
