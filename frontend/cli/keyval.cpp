#include "frontend/cli/keyval.h"

#include "base/json.h"

#include <algorithm>
#include <charconv>

namespace calque::cli {

namespace {

std::string joined(std::string_view prefix, std::string_view name) {
    return prefix.empty() ? std::string(name) : fmt::format("{}.{}", prefix, name);
}

// What stands in JSON, as it would be written with keys: numbers in decimal, on and off, dots for nesting.
void flatten(const Json& value, const std::string& key, std::vector<std::pair<std::string, std::string>>& out) {
    if (const auto* members = value.object()) {
        for (const auto& [name, member] : *members)
            flatten(member, joined(key, name), out);
    } else if (const auto* elements = value.get_if<Json::Array>()) {
        for (std::size_t i = 0; i < elements->size(); ++i)
            flatten((*elements)[i], joined(key, std::to_string(i)), out);
    } else if (const auto* truth = value.get_if<bool>()) {
        out.emplace_back(key, *truth ? "on" : "off");
    } else {
        out.emplace_back(key, value.string() ? *value.string() : value.text());
    }
}

} // namespace

Result<KeyValues> KeyValues::parse(std::string_view option, std::string_view text, std::string_view implied) {
    KeyValues out;
    out.option_ = option;
    if (text.starts_with('{')) {
        const auto json = Json::parse(text);
        if (!json) return error("{} {}: this is not JSON: {}", option, text, json.error().message);
        std::vector<std::pair<std::string, std::string>> pairs;
        flatten(*json, {}, pairs);
        for (auto& [key, value] : pairs)
            out.pairs_.push_back({std::move(key), std::move(value)});
        return out;
    }
    std::vector<std::string> parts(1);
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != ',')
            parts.back() += text[i];
        else if (i + 1 < text.size() && text[i + 1] == ',')
            parts.back() += text[i++];
        else
            parts.emplace_back();
    }
    for (std::size_t i = 0; i < parts.size(); ++i) {
        const std::string& part = parts[i];
        const std::size_t equals = part.find('=');
        if (equals == 0) return error("{} {}: '{}' has no name before its '='", option, text, part);
        if (part.empty()) {
            if (parts.size() == 1) break;
            return error("{} {}: there is an empty part between commas; write ',,' for a comma", option, text);
        }
        if (equals != std::string::npos)
            out.pairs_.push_back({part.substr(0, equals), part.substr(equals + 1)});
        else if (i == 0 && !implied.empty())
            out.pairs_.push_back({std::string(implied), part});
        else
            out.pairs_.push_back({part, "on"});
    }
    return out;
}

bool KeyValues::has(std::string_view key) const {
    return std::any_of(pairs_.begin(), pairs_.end(), [&](const Pair& p) { return p.key == key; });
}

std::string KeyValues::take(std::string_view key, std::string_view fallback) {
    std::string value(fallback);
    std::erase_if(pairs_, [&](const Pair& p) {
        if (p.key != key) return false;
        value = p.value;
        return true;
    });
    return value;
}

std::vector<std::pair<std::string, std::string>> KeyValues::take_all() {
    std::vector<std::pair<std::string, std::string>> all;
    for (Pair& pair : pairs_)
        all.emplace_back(std::move(pair.key), std::move(pair.value));
    pairs_.clear();
    return all;
}

Result<bool> KeyValues::take_bool(std::string_view key, bool fallback) {
    const std::string value = take(key, fallback ? "on" : "off");
    if (value == "on" || value == "yes" || value == "true") return true;
    if (value == "off" || value == "no" || value == "false") return false;
    return error("{}: {}={} is neither on nor off", option_, key, value);
}

Result<u64> KeyValues::take_number(std::string_view key, u64 fallback) {
    if (!has(key)) return fallback;
    return parse_number(fmt::format("{}: {}", option_, key), take(key));
}

Result<void> KeyValues::rest(std::string_view known) const {
    if (pairs_.empty()) return {};
    return error("{}: there is no '{}' here; it takes {}", option_, pairs_.front().key, known);
}

Result<u64> parse_number(std::string_view option, std::string_view text) {
    u64 value = 0;
    std::string_view digits = text;
    int base = 10;
    if (digits.starts_with("0x") || digits.starts_with("0X")) {
        digits.remove_prefix(2);
        base = 16;
    }
    const auto [end, failed] = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
    if (failed != std::errc() || end != digits.data() + digits.size() || digits.empty())
        return error("{} takes a number, not '{}'", option, text);
    return value;
}

Result<u64> parse_size(std::string_view option, std::string_view text, u64 unit) {
    std::string_view digits = text;
    static constexpr std::string_view suffixes = "bkmgt";
    if (!digits.empty()) {
        const char last = static_cast<char>(digits.back() | 0x20);
        const std::size_t power = suffixes.find(last);
        if (power != std::string_view::npos && !digits.starts_with("0x")) {
            unit = u64{1} << (10 * power);
            digits.remove_suffix(1);
        }
    }
    auto number = parse_number(option, digits);
    if (!number) return error("{} takes a size such as 512M or 4G, not '{}'", option, text);
    if (*number > ~u64{0} / unit) return error("{} {} is more than any machine has", option, text);
    return *number * unit;
}

} // namespace calque::cli
