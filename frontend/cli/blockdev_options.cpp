#include "frontend/cli/blockdev_options.h"

#include "frontend/cli/keyval.h"

#include <map>
#include <set>

namespace calque::cli {

namespace {

std::string text_of(const Json& node, std::string_view key) {
    const Json* const value = node.find(key);
    return value && value->string() ? *value->string() : std::string();
}

// The members of a node that are nodes themselves, or name one.
bool is_child(const Json::Member& member) { return member.first == "file" || member.first == "backing"; }

using Nodes = std::map<std::string, const Json*>;

// The node with what it names. Each name is taken once, so that no ring can be gone round.
Result<Json> expand(const Json& node, const std::string& owner, Nodes& left) {
    Json::Object members;
    for (const Json::Member& member : *node.object()) {
        const Json* child = is_child(member) ? &member.second : nullptr;
        if (child && child->string()) {
            const auto found = left.find(*child->string());
            if (found == left.end())
                return error("-blockdev {}: there is no node '{}' for {}=, or another one has it", owner,
                             *child->string(), member.first);
            child = found->second;
            left.erase(found);
        }
        if (!child || !child->object()) {
            members.push_back(member);
            continue;
        }
        auto inner = expand(*child, owner, left);
        if (!inner) return inner;
        members.emplace_back(member.first, std::move(*inner));
    }
    return Json(std::move(members));
}

void collect_names(const Json& node, std::set<std::string>& names) {
    for (const Json::Member& member : *node.object()) {
        if (!is_child(member)) continue;
        if (member.second.string()) names.insert(*member.second.string());
        if (member.second.object()) collect_names(member.second, names);
    }
}

bool is_on(const Json& node, std::string_view key) {
    const Json* const value = node.find(key);
    const bool* const flag = value ? value->get_if<bool>() : nullptr;
    return text_of(node, key) == "on" || (flag && *flag);
}

} // namespace

Result<Json> parse_blockdev(const std::string& text) {
    Json node;
    if (text.starts_with("{")) {
        auto parsed = Json::parse(text);
        if (!parsed) return error("-blockdev: {}", parsed.error().message);
        node = std::move(*parsed);
    } else {
        auto kv = KeyValues::parse("-blockdev", text, "driver");
        if (!kv) return kv.error();
        Json::Object members;
        for (auto& [key, value] : kv->take_all())
            members.emplace_back(std::move(key), Json(std::move(value)));
        node = Json(std::move(members));
    }
    if (text_of(node, "node-name").empty())
        return error("-blockdev '{}' has no node-name=, by which a -device finds it", text);
    if (text_of(node, "driver").empty())
        return error("-blockdev '{}' has no driver=; there are raw, qcow2, file and nbd", text);
    return node;
}

Result<void> join_blockdevs(const std::vector<Json>& nodes, std::vector<backends::DriveOptions>& drives) {
    Nodes left;
    std::set<std::string> named;
    for (const Json& node : nodes) {
        const std::string name = text_of(node, "node-name");
        if (!left.emplace(name, &node).second) return error("two -blockdev have node-name={}", name);
        collect_names(node, named);
    }
    for (const Json& node : nodes) {
        const std::string name = text_of(node, "node-name");
        if (named.contains(name)) continue;
        left.erase(name);
        auto joined = expand(node, name, left);
        if (!joined) return joined.error();
        backends::DriveOptions drive;
        drive.interface = backends::DriveOptions::Interface::none;
        drive.id = name;
        drive.file = name; // For messages.
        drive.node = std::move(*joined);
        drive.read_only = is_on(node, "read-only");
        const std::string discard = text_of(node, "discard");
        drive.discard = discard == "unmap" || discard == "on";
        drives.push_back(std::move(drive));
    }
    if (!left.empty()) return error("-blockdev {}: the node is, by way of others, part of itself", left.begin()->first);
    return {};
}

} // namespace calque::cli
