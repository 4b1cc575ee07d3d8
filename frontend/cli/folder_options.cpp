#include "frontend/cli/folder_options.h"

#include "frontend/cli/keyval.h"
#include "frontend/machine/kinds/kinds.h"

namespace calque::cli {

namespace {

// What both options say of a folder.
Result<backends::plan9::FolderOptions> parse_folder(std::string_view option, KeyValues& kv) {
    const std::string kind = kv.take("type");
    if (kind != "local") return error("{} {} does not exist here; there is: local", option, kind);
    backends::plan9::FolderOptions folder;
    folder.path = kv.take("path");
    folder.id = kv.take("id");
    folder.security_model = kv.take("security_model", "none");
    auto read_only = kv.take_bool("readonly", false);
    if (!read_only) return read_only.error();
    folder.read_only = *read_only;
    if (folder.path.empty()) return error("{} needs path=FOLDER", option);
    if (const auto model = backends::plan9::parse_security_model(folder.security_model); !model)
        return error("{}: {}", option, model.error().message);
    return folder;
}

Result<void> add_folder(std::string_view option, Options& o, backends::plan9::FolderOptions folder) {
    for (const auto& other : o.folders)
        if (other.id == folder.id) return error("{} id={} is given twice; names are unique", option, folder.id);
    o.folders.push_back(std::move(folder));
    return {};
}

} // namespace

Result<void> fsdev_option(Options& o, const std::string& text) {
    auto kv = KeyValues::parse("-fsdev", text, "type");
    if (!kv) return kv.error();
    auto folder = parse_folder("-fsdev", *kv);
    if (!folder) return folder.error();
    if (folder->id.empty()) return error("-fsdev needs id=NAME");
    if (auto good = kv->rest("id, path, security_model, readonly"); !good) return good;
    return add_folder("-fsdev", o, std::move(*folder));
}

Result<void> virtfs_option(Options& o, const std::string& text) {
    auto kv = KeyValues::parse("-virtfs", text, "type");
    if (!kv) return kv.error();
    auto folder = parse_folder("-virtfs", *kv);
    if (!folder) return folder.error();
    const std::string tag = kv->take("mount_tag");
    if (tag.empty()) return error("-virtfs needs mount_tag=TAG, which the guest mounts");
    if (auto good = kv->rest("path, mount_tag, security_model, readonly, id"); !good) return good;
    if (folder->id.empty()) folder->id = fmt::format("virtfs-{}", tag);
    machine::DeviceRequest device{"virtio-9p-pci", {}, {{"fsdev", folder->id}, {"mount_tag", tag}}};
    if (auto good = machine::check_device(device); !good) return good;
    o.machine.devices.push_back(std::move(device));
    return add_folder("-virtfs", o, std::move(*folder));
}

} // namespace calque::cli
