#include "frontend/backends/block/open_image.h"

#include "frontend/backends/block/guarded_image.h"
#include "frontend/backends/block/nbd_image.h"
#include "frontend/backends/block/overlay_image.h"
#include "frontend/backends/block/qcow2_header.h"
#include "frontend/backends/block/qcow2_image.h"
#include "frontend/backends/block/raw_image.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <optional>
#include <sys/stat.h>
#include <vector>

namespace calque::backends {

namespace {

using Image = std::unique_ptr<BlockImage>;

constexpr std::size_t longest_chain = 200; // Files behind each other.
constexpr std::size_t probe_bytes = 2048;

// A dotted path as an option tree has it becomes nested objects: "file.filename" is "filename" in "file".
Result<Json> unflatten(const Json& node);

// Opens one image and what is behind it.
class Opener {
  public:
    explicit Opener(const ImageOptions& options) : common_(options) {}

    Result<Image> open_name(const std::string& name, const std::string& format, bool read_only);
    Result<Image> open_node(const Json& node, bool read_only);

  private:
    struct Backing {
        bool given = false;         // By the options, instead of what the image says.
        const Json* node = nullptr; // Null: none.
    };
    Result<Image> open_file(const std::string& path, bool read_only, const CacheMode& cache);
    Result<Image> open_nbd(const NbdAddress& address, bool read_only);
    Result<Image> open_protocol(const std::string& name, bool read_only);
    Result<Image> open_format(Image file, std::string format, bool read_only, const Backing& backing);
    Result<Image> open_qcow2(Image file, bool read_only, const Backing& backing);
    Result<Image> open_backing(const BlockImage& file, const qcow2::Header& header);
    Result<Image> open_file_node(const Json& node, bool read_only, const CacheMode& cache);
    Result<Image> open_nbd_node(const Json& node, bool read_only);
    Result<void> enter(const std::string& identity, const std::string& name);
    // The format does what writethrough asks for.
    CacheMode file_cache() const {
        CacheMode cache = common_.cache;
        cache.writethrough = false;
        return cache;
    }
    void report(const std::string& sentence) const {
        if (common_.report) common_.report(sentence);
    }

    const ImageOptions& common_;
    std::vector<std::string> chain_; // What tells the files that are open from others.
    int nesting_ = 0;
};

Result<void> Opener::enter(const std::string& identity, const std::string& name) {
    if (std::find(chain_.begin(), chain_.end(), identity) != chain_.end())
        return error("'{}' is, by way of its backing files, its own backing file", name);
    if (chain_.size() >= longest_chain)
        return error("there are more than {} backing files behind each other, the last is '{}'; join some with "
                     "qemu-img commit or rebase",
                     longest_chain, name);
    chain_.push_back(identity);
    return {};
}

Result<Image> Opener::open_file(const std::string& path, bool read_only, const CacheMode& cache) {
    struct stat info {};
    if (::stat(path.c_str(), &info) == 0)
        if (auto entered = enter(fmt::format("{}:{}", info.st_dev, info.st_ino), path); !entered)
            return entered.error();
    auto file = RawImage::open(path, {read_only, cache, common_.lock});
    if (!file) return file.error();
    return Image(std::move(*file));
}

Result<Image> Opener::open_nbd(const NbdAddress& address, bool read_only) {
    if (auto entered = enter(address.text(), address.text()); !entered) return entered.error();
    NbdImage::Options options;
    options.read_only = read_only;
    options.report = common_.report;
    auto image = NbdImage::open(address, std::move(options));
    if (!image) return image.error();
    return Image(std::move(*image));
}

// The word before a colon, where it can be a protocol's: "file", "http".
std::string protocol_of(const std::string& name) {
    const auto end = name.find(':');
    if (end == std::string::npos || end == 0 || name.find('/') < end) return {};
    return name.substr(0, end);
}

Result<Image> Opener::open_protocol(const std::string& name, bool read_only) {
    const std::string protocol = protocol_of(name);
    if (is_nbd_name(name)) {
        const auto address = parse_nbd_name(name);
        if (!address) return address.error();
        return open_nbd(*address, read_only);
    }
    if (protocol == "file") return open_file(name.substr(5), read_only, file_cache());
    constexpr std::array others{"http", "https",   "ftp", "ftps",  "ssh",      "iscsi",   "nfs",  "rbd",
                                "nbds", "gluster", "fat", "vvfat", "blkdebug", "null-co", "nvme", "host_device"};
    std::error_code code;
    if (std::find(others.begin(), others.end(), protocol) != others.end() && !std::filesystem::exists(name, code))
        return error("'{}' cannot be opened: there is no protocol '{}' here; there are files and nbd", name, protocol);
    return open_file(name, read_only, file_cache());
}

Result<Image> Opener::open_name(const std::string& name, const std::string& format, bool read_only) {
    if (name.starts_with("json:")) {
        const auto node = Json::parse(std::string_view(name).substr(5));
        if (!node) return error("'{}' is not JSON: {}", name, node.error().message);
        if (format.empty()) return open_node(*node, read_only);
        return open_node(Json(Json::Object{{"driver", Json(format)}, {"file", *node}}), read_only);
    }
    auto file = open_protocol(name, read_only);
    if (!file) return file;
    return open_format(std::move(*file), format, read_only, {});
}

Result<Image> Opener::open_format(Image file, std::string format, bool read_only, const Backing& backing) {
    const bool guessed = format.empty();
    if (guessed) {
        std::vector<u8> start(std::min<u64>(probe_bytes, file->size()));
        if (const int code = file->read(0, start))
            return error("'{}' cannot be read ({})", file->name(), std::strerror(code));
        format = probe_format(start);
    }
    if (format == "qcow2") return open_qcow2(std::move(file), read_only, backing);
    if (format != "raw")
        return error("'{}' {} a {} image; there are raw and qcow2 here, so convert it with: qemu-img convert -O qcow2",
                     file->name(), guessed ? "is" : "is said to be", format);
    if (backing.node) return error("'{}' is raw, and raw images have no backing file", file->name());
    if (!guessed || read_only) return file;
    report(fmt::format("nothing says which format '{}' has, and it looks raw. A guest that writes another format's "
                       "header there could deceive the next start, so such writes to its first sector are refused; "
                       "say format=raw to allow them",
                       file->name()));
    return Image(std::make_unique<GuardedImage>(std::move(file), common_.report));
}

// Relative names start where the image is.
std::string backing_path(const std::string& image, const std::string& backing) {
    if (!protocol_of(backing).empty() || backing.starts_with('/') || !protocol_of(image).empty()) return backing;
    return (std::filesystem::path(image).parent_path() / backing).string();
}

Result<Image> Opener::open_backing(const BlockImage& file, const qcow2::Header& header) {
    const std::string name = backing_path(file.name(), header.backing_name);
    std::string format = header.backing_format;
    if (format == "file" || format == "host_device") format = "raw"; // As old programs wrote it.
    auto backing = open_name(name, format, true);
    if (!backing) return error("the backing file of '{}' is not there: {}", file.name(), backing.error().message);
    return backing;
}

Result<Image> Opener::open_qcow2(Image file, bool read_only, const Backing& backing) {
    const auto header = qcow2::read_header(*file);
    if (!header) return header.error();
    Image below;
    if (backing.given ? backing.node != nullptr : !header->backing_name.empty()) {
        auto opened = backing.given ? open_node(*backing.node, true) : open_backing(*file, *header);
        if (!opened) return opened;
        below = std::move(*opened);
    }
    Qcow2Image::Options options;
    options.read_only = read_only;
    options.writethrough = common_.cache.writethrough;
    options.report = common_.report;
    auto image = Qcow2Image::open(std::move(file), std::move(below), std::move(options));
    if (!image) return image.error();
    return Image(std::move(*image));
}

// Takes known members out of a node; what is left is an error.
class Members {
  public:
    explicit Members(const Json& node) : node_(node) {}
    const Json* take(const char* key) {
        taken_.push_back(key);
        return node_.find(key);
    }
    std::string take_string(const char* key) {
        const Json* const value = take(key);
        if (!value) return {};
        if (const auto* const number = value->get_if<i64>()) return std::to_string(*number);
        return value->string() ? *value->string() : std::string();
    }
    Result<bool> take_bool(const char* key, bool fallback) {
        const Json* const value = take(key);
        if (!value) return fallback;
        if (const bool* const flag = value->get_if<bool>()) return *flag;
        if (value->string() && (*value->string() == "on" || *value->string() == "off")) return *value->string() == "on";
        return error("'{}' of a block node is on or off", key);
    }
    Result<void> rest(const std::string& driver) const {
        for (const Json::Member& member : *node_.object())
            if (std::find(taken_.begin(), taken_.end(), member.first) == taken_.end())
                return error("'{}' is nothing that a block node with the driver '{}' has here", member.first, driver);
        return {};
    }
    // What changes nothing here.
    void skip(std::initializer_list<const char*> keys) { taken_.insert(taken_.end(), keys.begin(), keys.end()); }

  private:
    const Json& node_;
    std::vector<std::string> taken_;
};

Result<Image> Opener::open_file_node(const Json& node, bool read_only, const CacheMode& cache) {
    Members members(node);
    const std::string driver = members.take_string("driver");
    const std::string path = members.take_string("filename");
    members.skip({"read-only", "node-name", "cache", "aio", "locking", "auto-read-only", "discard", "detect-zeroes"});
    if (auto good = members.rest(driver); !good) return good.error();
    if (path.empty()) return error("a block node with the driver '{}' needs a filename", driver);
    return open_file(path, read_only, cache);
}

Result<Image> Opener::open_nbd_node(const Json& node, bool read_only) {
    Members members(node);
    NbdAddress address;
    members.take("driver");
    members.skip({"read-only", "node-name", "cache", "auto-read-only", "discard", "detect-zeroes"});
    address.export_name = members.take_string("export");
    const Json* const server = members.take("server");
    Members at(server ? *server : node);
    const std::string type = server ? at.take_string("type") : "";
    address.unix_path = type != "inet" ? at.take_string("path") : "";
    address.host = type != "unix" ? at.take_string("host") : "";
    if (const std::string port = at.take_string("port"); !port.empty()) address.port = port;
    if (!server) members.skip({"path", "host", "port"});
    if (auto good = members.rest("nbd"); !good) return good.error();
    if (address.unix_path.empty() == address.host.empty())
        return error("a block node with the driver 'nbd' needs a server: a type of unix and a path, or a type of inet, "
                     "a host and a port");
    return open_nbd(address, read_only);
}

Result<Image> Opener::open_node(const Json& tree, bool read_only) {
    if (const std::string* const name = tree.string()) return open_name(*name, "", read_only);
    if (!tree.object()) return error("a block node is an object with a driver");
    if (++nesting_ > static_cast<int>(longest_chain)) return error("block nodes are nested too deep");
    auto flat = unflatten(tree);
    if (!flat) return flat.error();
    const Json& node = *flat;
    Members members(node);
    const std::string driver = members.take_string("driver");
    const auto node_read_only = members.take_bool("read-only", false);
    if (!node_read_only) return node_read_only.error();
    read_only |= *node_read_only;
    CacheMode cache = file_cache();
    if (const Json* const given = members.take("cache")) {
        Members parts(*given);
        const auto direct = parts.take_bool("direct", cache.direct);
        const auto no_flush = parts.take_bool("no-flush", cache.no_flush);
        if (!direct || !no_flush) return direct ? no_flush.error() : direct.error();
        cache.direct = *direct;
        cache.no_flush = *no_flush;
    }
    if (driver == "file" || driver == "host_device" || (driver.empty() && node.find("filename")))
        return open_file_node(node, read_only, cache);
    if (driver == "nbd") return open_nbd_node(node, read_only);
    if (!driver.empty() && driver != "raw" && driver != "qcow2")
        return error("there is no block driver '{}' here; there are raw, qcow2, file and nbd", driver);
    const Json* const file = members.take("file");
    if (!file) return error("a block node with the driver '{}' needs a file", driver);
    const Json* const below = members.take("backing");
    Backing backing{below != nullptr, below && (below->object() || below->string()) ? below : nullptr};
    members.skip({"node-name", "auto-read-only", "discard", "detect-zeroes"});
    if (auto good = members.rest(driver); !good) return good.error();
    auto opened = file->string() ? open_protocol(*file->string(), read_only) : open_node(*file, read_only);
    if (!opened) return opened;
    return open_format(std::move(*opened), driver, read_only, backing);
}

Result<Json> unflatten(const Json& node) {
    Json::Object result;
    for (const Json::Member& member : *node.object()) {
        const auto dot = member.first.find('.');
        const std::string key = member.first.substr(0, dot);
        auto found = std::find_if(result.begin(), result.end(), [&](const auto& one) { return one.first == key; });
        if (dot == std::string::npos) {
            if (found != result.end()) return error("'{}' is there twice in a block node", key);
            result.push_back(member);
            continue;
        }
        if (found == result.end()) found = result.insert(result.end(), {key, Json(Json::Object{})});
        auto* const nested = found->second.get_if<Json::Object>();
        if (!nested) return error("'{}' is a value and has parts too in a block node", key);
        nested->emplace_back(member.first.substr(dot + 1), member.second);
    }
    for (Json::Member& member : result) // Parts of parts.
        if (member.first == "cache" || member.first == "server")
            if (member.second.object()) {
                auto inner = unflatten(member.second);
                if (!inner) return inner;
                member.second = std::move(*inner);
            }
    return Json(std::move(result));
}

Result<Image> finish(Result<Image> opened, const ImageOptions& options) {
    if (!opened || !options.temporary) return opened;
    auto changes = RawImage::temporary((*opened)->size());
    if (!changes) return changes.error();
    return Image(std::make_unique<OverlayImage>(std::move(*opened), std::move(*changes)));
}

} // namespace

Result<std::unique_ptr<BlockImage>> open_image(const ImageOptions& options) {
    const bool read_only = options.read_only || options.temporary;
    return finish(Opener(options).open_name(options.name, options.format, read_only), options);
}

Result<std::unique_ptr<BlockImage>> open_image_node(const Json& node, const ImageOptions& options) {
    return finish(Opener(options).open_node(node, options.read_only || options.temporary), options);
}

} // namespace calque::backends
