// -smbios type=N,field=value,... and -uuid

#include "base/result.h"
#include "firmware/smbios/smbios.h"

#include <charconv>
#include <functional>
#include <map>

namespace calque::firmware {

namespace {

using Fields = std::vector<std::pair<std::string, std::string>>;
using Setter = std::function<Result<void>(const std::string& value)>;
using Setters = std::map<std::string, Setter, std::less<>>;

// Splits at commas; two together stand for one that belongs to the value.
Result<Fields> split(std::string_view option) {
    Fields fields;
    std::string part;
    for (std::size_t i = 0; i <= option.size(); ++i) {
        if (i < option.size() && option[i] != ',') {
            part += option[i];
        } else if (i + 1 < option.size() && option[i] == ',' && option[i + 1] == ',') {
            part += ',';
            ++i;
        } else {
            const auto equals = part.find('=');
            if (equals == part.npos || equals == 0)
                return error("-smbios {}: '{}' is not of the form field=value", option, part);
            fields.emplace_back(part.substr(0, equals), part.substr(equals + 1));
            part.clear();
        }
    }
    return fields;
}

Setter text(std::string& target) {
    return [&target](const std::string& value) -> Result<void> {
        target = value;
        return {};
    };
}

template <class T> Setter number(T& target) {
    return [&target](const std::string& value) -> Result<void> {
        T parsed{};
        const char* end = value.data() + value.size();
        const auto [at, failure] = std::from_chars(value.data(), end, parsed);
        if (failure != std::errc() || at != end)
            return error("'{}' is not a number from 0 to {}", value, std::numeric_limits<T>::max());
        target = parsed;
        return {};
    };
}

// "major.minor"
Setter release(Identity::Bios& bios) {
    return [&bios](const std::string& value) -> Result<void> {
        const auto dot = value.find('.');
        if (dot == value.npos) return error("'{}' is not of the form major.minor", value);
        if (auto major = number(bios.release_major)(value.substr(0, dot)); !major) return major;
        return number(bios.release_minor)(value.substr(dot + 1));
    };
}

Setter on_off(bool& target) {
    return [&target](const std::string& value) -> Result<void> {
        if (value != "on" && value != "off") return error("'{}' is neither on nor off", value);
        target = value == "on";
        return {};
    };
}

Setter uuid(std::optional<std::array<u8, 16>>& target) {
    return [&target](const std::string& value) -> Result<void> {
        auto parsed = parse_uuid(value);
        if (!parsed) return parsed.error();
        target = *parsed;
        return {};
    };
}

Setter one_more(std::vector<std::string>& target) {
    return [&target](const std::string& value) -> Result<void> {
        if (value.empty()) return error("the string is empty");
        if (target.size() == 255) return error("there are 255 strings already, as many as a table holds");
        target.push_back(value);
        return {};
    };
}

// The fields of each type that can be set; none for a type that is not served.
Setters setters_of(Identity& identity, unsigned type) {
    auto& [vendor, bios_version, date, major, minor, uefi] = identity.bios;
    auto& system = identity.system;
    auto& board = identity.board;
    auto& chassis = identity.chassis;
    auto& cpu = identity.processor;
    auto& memory = identity.memory;
    switch (type) {
    case 0:
        return {{"vendor", text(vendor)},
                {"version", text(bios_version)},
                {"date", text(date)},
                {"release", release(identity.bios)},
                {"uefi", on_off(uefi)}};
    case 1:
        return {{"manufacturer", text(system.manufacturer)},
                {"product", text(system.product)},
                {"version", text(system.version)},
                {"serial", text(system.serial)},
                {"uuid", uuid(identity.uuid)},
                {"sku", text(system.sku)},
                {"family", text(system.family)}};
    case 2:
        return {{"manufacturer", text(board.manufacturer)},
                {"product", text(board.product)},
                {"version", text(board.version)},
                {"serial", text(board.serial)},
                {"asset", text(board.asset)},
                {"location", text(board.location)}};
    case 3:
        return {{"manufacturer", text(chassis.manufacturer)},
                {"version", text(chassis.version)},
                {"serial", text(chassis.serial)},
                {"asset", text(chassis.asset)},
                {"sku", text(chassis.sku)}};
    case 4:
        return {{"sock_pfx", text(cpu.socket_prefix)},
                {"manufacturer", text(cpu.manufacturer)},
                {"version", text(cpu.version)},
                {"serial", text(cpu.serial)},
                {"asset", text(cpu.asset)},
                {"part", text(cpu.part)},
                {"max-speed", number(cpu.max_speed_mhz)},
                {"current-speed", number(cpu.current_speed_mhz)}};
    case 11: return {{"value", one_more(identity.oem_strings)}};
    case 17:
        return {{"loc_pfx", text(memory.locator_prefix)},
                {"bank", text(memory.bank)},
                {"manufacturer", text(memory.manufacturer)},
                {"serial", text(memory.serial)},
                {"asset", text(memory.asset)},
                {"part", text(memory.part)},
                {"speed", number(memory.speed_mts)}};
    default: return {};
    }
}

std::string known_names(const Setters& setters) {
    std::string out;
    for (const auto& [name, setter] : setters)
        out += (out.empty() ? "" : ", ") + name;
    return out;
}

} // namespace

Result<void> apply_smbios_option(Identity& identity, std::string_view option) {
    auto fields = split(option);
    if (!fields) return fields.error();
    unsigned type = ~0u;
    for (const auto& [name, value] : *fields)
        if (name == "type")
            if (auto parsed = number(type)(value); !parsed)
                return error("-smbios {}: type: {}", option, parsed.error().message);
    const Setters setters = setters_of(identity, type);
    if (setters.empty())
        return error("-smbios {}: give type=0, 1, 2, 3, 4, 11 or 17; other types and file= are not supported", option);
    for (const auto& [name, value] : *fields) {
        if (name == "type") continue;
        const auto setter = setters.find(name);
        if (setter == setters.end())
            return error("-smbios {}: type {} has no field '{}'; it has {}", option, type, name, known_names(setters));
        if (auto done = setter->second(value); !done)
            return error("-smbios {}: {}: {}", option, name, done.error().message);
    }
    return {};
}

Result<std::array<u8, 16>> parse_uuid(std::string_view text) {
    const auto failure = error("'{}' is not a UUID: write it as 8-4-4-4-12 hexadecimal digits", text);
    std::array<u8, 16> out{};
    std::size_t digits = 0;
    if (text.size() != 36) return failure;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (i == 8 || i == 13 || i == 18 || i == 23) {
            if (text[i] != '-') return failure;
            continue;
        }
        u8 digit = 0;
        if (std::from_chars(&text[i], &text[i] + 1, digit, 16).ec != std::errc()) return failure;
        out[digits / 2] = static_cast<u8>(out[digits / 2] << 4 | digit);
        ++digits;
    }
    return out;
}

} // namespace calque::firmware
