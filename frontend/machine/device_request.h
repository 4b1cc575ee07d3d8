// What -device, -netdev, -object ask for, as given: a kind and its properties. The tables of kinds check them.
#pragma once

#include "base/result.h"
#include "base/types.h"

#include <array>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace calque::machine {

struct Property {
    std::string key, value;
};

struct DeviceRequest {
    std::string driver;
    std::string id; // Empty: none was given.
    std::vector<Property> properties;

    bool has(std::string_view key) const;
    std::string get(std::string_view key, std::string_view fallback = {}) const;
    // As its table says the property is: never fails after check_device().
    bool get_bool(std::string_view key, bool fallback) const;
    u64 get_number(std::string_view key, u64 fallback) const;
};

// A property that a kind of device takes.
struct PropertyKind {
    enum class Type : u8 { text, boolean, number, size, slot, mac, vectors };
    std::string_view name;
    Type type;
    std::string_view help; // With the default.
};

// The name among `known` that is nearest to what was typed; empty when none is near.
std::string nearest_name(std::string_view typed, std::span<const std::string_view> known);

Result<bool> parse_bool(std::string_view text);                          // on, off, yes, no, true, false.
Result<u64> parse_count(std::string_view text);                          // Decimal, or hexadecimal with 0x.
Result<u64> parse_bytes(std::string_view text);                          // The same with a suffix k, M, G, T.
Result<std::pair<unsigned, unsigned>> parse_slot(std::string_view text); // "4" or "4.1", hexadecimal.
Result<std::array<u8, 6>> parse_mac(std::string_view text);

// Checks the values of a request against what its kind takes.
Result<void> check_properties(const DeviceRequest& request, std::span<const PropertyKind> own,
                              std::span<const PropertyKind> common);

} // namespace calque::machine
