#include "frontend/tools/commands.h"

#include "frontend/backends/block/qcow2_check.h"
#include "frontend/backends/block/qcow2_create.h"
#include "frontend/backends/block/qcow2_image.h"
#include "frontend/backends/block/raw_image.h"
#include "frontend/backends/unique_fd.h"

#include <array>
#include <charconv>
#include <chrono>
#include <cstring>
#include <ctime>
#include <fcntl.h>
#include <optional>
#include <sys/stat.h>

namespace calque::tools {

using namespace backends;

namespace {

void warn(const std::string& sentence) { fmt::print(stderr, "calque-img: {}\n", sentence); }

// What an option that some of QEMU's users write out means.
std::string short_form(const std::string& word) {
    static const std::map<std::string, std::string> forms{
        {"--force-share", "-U"}, {"--quiet", "-q"}, {"--shrink", "-S"}};
    const auto found = forms.find(word);
    return found == forms.end() ? word : found->second;
}

Result<void> one_name(const Arguments& arguments, std::size_t least, std::size_t most) {
    if (arguments.names.size() >= least && arguments.names.size() <= most) return {};
    return error("{} is needed; see calque-img --help",
                 least == 1 ? "the name of an image" : "a file and a size or name");
}

Result<Qcow2CreateOptions> parse_create_options(const std::string& text) {
    Qcow2CreateOptions options;
    for (std::string_view rest = text; !rest.empty();) {
        const std::string_view part = rest.substr(0, rest.find(','));
        rest.remove_prefix(std::min(rest.size(), part.size() + 1));
        const auto equals = part.find('=');
        const std::string_view key = part.substr(0, equals);
        const std::string value(equals == std::string_view::npos ? "" : part.substr(equals + 1));
        if (key == "compat" && (value == "1.1" || value == "v3")) {
            options.version = 3;
        } else if (key == "compat" && (value == "0.10" || value == "v2")) {
            options.version = 2;
        } else if (key == "cluster_size" || key == "refcount_bits" || key == "size") {
            const auto number = parse_size(value);
            if (!number) return number.error();
            if (key == "size") options.size = *number;
            if (key == "cluster_size") options.cluster_size = *number;
            if (key == "refcount_bits") options.refcount_bits = static_cast<u32>(std::min<u64>(*number, 1u << 20));
        } else if (key == "lazy_refcounts" && (value == "on" || value == "off")) {
            options.lazy_refcounts = value == "on";
        } else if (key == "backing_file") {
            options.backing_name = value;
        } else if (key == "backing_fmt") {
            options.backing_format = value;
        } else if (!(key == "preallocation" && value == "off")) {
            return error("-o {} is not possible here; there are compat=, cluster_size=, refcount_bits=, "
                         "lazy_refcounts=, backing_file=, backing_fmt= and size=",
                         part);
        }
    }
    return options;
}

} // namespace

Result<Arguments> parse_arguments(const std::vector<std::string>& words, std::string_view flags,
                                  std::string_view valued) {
    Arguments arguments;
    for (std::size_t i = 0; i < words.size(); ++i) {
        const std::string word = short_form(words[i]);
        if (word.size() < 2 || word[0] != '-' || (word[1] >= '0' && word[1] <= '9')) {
            arguments.names.push_back(word);
            continue;
        }
        const char option = word[1];
        if (flags.find(option) != std::string_view::npos && word.size() == 2) {
            arguments.options[option];
        } else if (valued.find(option) != std::string_view::npos && word.size() > 2 && word[1] != '-') {
            arguments.options[option] = word.substr(2);
        } else if (valued.find(option) != std::string_view::npos && i + 1 < words.size()) {
            arguments.options[option] = words[++i];
        } else {
            return error("the option '{}' does not exist here or lacks its value; see calque-img --help", words[i]);
        }
    }
    return arguments;
}

Result<u64> parse_size(std::string_view text) {
    u64 number = 0;
    const auto read = std::from_chars(text.data(), text.data() + text.size(), number);
    const std::string_view suffix(read.ptr, static_cast<std::size_t>(text.data() + text.size() - read.ptr));
    constexpr std::string_view suffixes = "bkMGTPE";
    unsigned shift = 0;
    if (suffix == "K")
        shift = 10;
    else if (suffix.size() == 1 && suffixes.find(suffix[0]) != std::string_view::npos)
        shift = static_cast<unsigned>(suffixes.find(suffix[0])) * 10;
    else if (!suffix.empty())
        shift = 64;
    if (read.ec != std::errc() || shift > 60 || number > (~u64{0} >> shift))
        return error("'{}' is no size; a size is a number with an optional k, M, G or T", text);
    return number << shift;
}

std::string human_size(u64 bytes) {
    constexpr std::array units{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = static_cast<double>(bytes);
    std::size_t unit = 0;
    for (; value >= 1000 && unit + 1 < units.size(); ++unit)
        value /= 1024;
    return fmt::format("{:.3g} {}", value, units[unit]);
}

Result<std::unique_ptr<BlockImage>> open(const std::string& name, const std::string& format, bool read_only,
                                         bool lock) {
    ImageOptions options;
    options.name = name;
    options.format = format;
    options.read_only = read_only;
    options.lock = lock;
    options.report = warn;
    return open_image(options);
}

Result<void> create(const std::string& path, const std::string& format, const std::string& options, u64 size,
                    const std::string& backing, const std::string& backing_format) {
    auto parsed = parse_create_options(options);
    if (!parsed) return parsed.error();
    if (format != "raw" && format != "qcow2")
        return error("images of the format '{}' cannot be made here; there are raw and qcow2", format);
    if (format == "raw" && !options.empty()) return error("-o {}: a raw image has no options", options);
    parsed->size = size;
    if (!backing.empty()) parsed->backing_name = backing;
    if (!backing_format.empty()) parsed->backing_format = backing_format;
    if (format == "raw" && !parsed->backing_name.empty()) return error("a raw image cannot have a backing file");
    const UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
    if (!fd) return error("'{}' cannot be made ({})", path, std::strerror(errno));
    auto file = RawImage::open(path, {});
    if (!file) return file.error();
    if (format == "qcow2") return create_qcow2(**file, *parsed);
    int code = (*file)->resize(0);
    if (code == 0) code = (*file)->resize(size);
    if (code != 0) return error("'{}' cannot be {} bytes long ({})", path, size, std::strerror(code));
    return {};
}

Result<int> create_command(const std::vector<std::string>& words) {
    const auto arguments = parse_arguments(words, "qu", "fbFo");
    if (!arguments) return arguments.error();
    if (auto good = one_name(*arguments, 1, 2); !good) return good.error();
    const std::string& path = arguments->names[0];
    const std::string format = arguments->has('f') ? arguments->value('f') : "raw";
    const auto parsed = parse_create_options(arguments->value('o'));
    if (!parsed) return parsed.error();
    const std::string backing = arguments->has('b') ? arguments->value('b') : parsed->backing_name;
    const std::string backing_format = arguments->has('F') ? arguments->value('F') : parsed->backing_format;
    u64 size = parsed->size;
    if (arguments->names.size() == 2) {
        const auto given = parse_size(arguments->names[1]);
        if (!given) return given.error();
        size = *given;
    } else if (!backing.empty()) {
        if (backing_format.empty()) return error("a backing file needs its format: -F raw or -F qcow2");
        const auto slash = path.rfind('/');
        const bool relative = !backing.starts_with('/') && backing.find(':') == std::string::npos;
        const std::string folder = relative && slash != std::string::npos ? path.substr(0, slash + 1) : "";
        const auto base = open(folder + backing, backing_format, true);
        if (!base) return base.error();
        size = (*base)->size();
    } else if (size == 0) {
        return error("'{}' needs a size", path);
    }
    if (auto made = create(path, format, arguments->value('o'), size, backing, backing_format); !made)
        return made.error();
    if (!arguments->has('q')) fmt::print("Formatting '{}', fmt={} size={}\n", path, format, size);
    return 0;
}

Result<int> info_command(const std::vector<std::string>& words) {
    const auto arguments = parse_arguments(words, "U", "f");
    if (!arguments) return arguments.error();
    if (auto good = one_name(*arguments, 1, 1); !good) return good.error();
    const auto image = open(arguments->names[0], arguments->value('f'), true, !arguments->has('U'));
    if (!image) return image.error();
    auto* const qcow2 = dynamic_cast<Qcow2Image*>(image->get());
    fmt::print("image: {}\nfile format: {}\nvirtual size: {} ({} bytes)\n", arguments->names[0],
               qcow2 ? "qcow2" : "raw", human_size((*image)->size()), (*image)->size());
    struct stat info {};
    if (::stat(arguments->names[0].c_str(), &info) == 0)
        fmt::print("disk size: {}\n", human_size(static_cast<u64>(info.st_blocks) * 512));
    if (!qcow2) return 0;
    const qcow2::Header& header = qcow2->header();
    fmt::print("cluster_size: {}\n", header.geometry.cluster_size());
    if (!header.backing_name.empty()) fmt::print("backing file: {}\n", header.backing_name);
    if (!header.backing_format.empty()) fmt::print("backing file format: {}\n", header.backing_format);
    fmt::print("Format specific information:\n    compat: {}\n    compression type: {}\n",
               header.version == 2 ? "0.10" : "1.1", header.compression_type == 0 ? "zlib" : "zstd");
    if (header.version >= 3)
        fmt::print("    lazy refcounts: {}\n    refcount bits: {}\n    corrupt: {}\n", header.lazy_refcounts(),
                   1u << header.geometry.refcount_order, (header.incompatible & qcow2::incompatible::corrupt) != 0);
    return 0;
}

Result<int> check_command(const std::vector<std::string>& words) {
    const auto arguments = parse_arguments(words, "qU", "f");
    if (!arguments) return arguments.error();
    if (auto good = one_name(*arguments, 1, 1); !good) return good.error();
    if (arguments->has('f') && arguments->value('f') != "qcow2") {
        warn(fmt::format("images of the format {} have nothing to check", arguments->value('f')));
        return 63;
    }
    auto file = RawImage::open(arguments->names[0], {.read_only = true, .cache = {}, .lock = !arguments->has('U')});
    if (!file) return file.error();
    const auto result = qcow2::check_image(std::move(*file));
    if (!result) return result.error();
    const bool quiet = arguments->has('q');
    for (const std::string& message : result->messages)
        if (!quiet) fmt::print("{}\n", message);
    if (!quiet) {
        if (result->errors == 0 && result->leaks == 0) fmt::print("No errors were found on the image.\n");
        if (result->errors != 0) fmt::print("{} errors: the image is damaged\n", result->errors);
        if (result->leaks != 0)
            fmt::print("{} clusters are counted and not used: room is lost, not data\n", result->leaks);
        fmt::print("{}/{} clusters allocated, {} compressed\nImage end offset: {}\n", result->allocated,
                   result->clusters, result->compressed, result->end);
    }
    return result->errors != 0 ? 2 : result->leaks != 0 ? 3 : 0;
}

namespace {

void list_snapshots(const std::vector<qcow2::Snapshot>& list) {
    if (list.empty()) return;
    fmt::print("Snapshot list:\n{:<10}{:<20}{:>10}{:>21}\n", "ID", "TAG", "VM SIZE", "DATE");
    for (const qcow2::Snapshot& snapshot : list) {
        const std::time_t seconds = snapshot.seconds;
        std::tm local{};
        std::array<char, 32> date{};
        std::strftime(date.data(), date.size(), "%Y-%m-%d %H:%M:%S", ::localtime_r(&seconds, &local));
        fmt::print("{:<10}{:<20}{:>10}{:>21}\n", snapshot.id, snapshot.name, human_size(snapshot.machine_bytes),
                   date.data());
    }
}

} // namespace

Result<int> snapshot_command(const std::vector<std::string>& words) {
    const auto arguments = parse_arguments(words, "qlU", "fcad");
    if (!arguments) return arguments.error();
    if (auto good = one_name(*arguments, 1, 1); !good) return good.error();
    const bool change = arguments->has('c') || arguments->has('a') || arguments->has('d');
    const auto image =
        open(arguments->names[0], arguments->has('f') ? arguments->value('f') : "qcow2", !change, !arguments->has('U'));
    if (!image) return image.error();
    auto* const qcow2 = dynamic_cast<Qcow2Image*>(image->get());
    if (!qcow2) return error("'{}' is raw, and raw images have no snapshots", arguments->names[0]);
    if (!change) {
        const auto list = qcow2->snapshots();
        if (!list) return list.error();
        list_snapshots(*list);
        return 0;
    }
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    const u64 nanoseconds = static_cast<u64>(std::chrono::duration_cast<std::chrono::nanoseconds>(now).count());
    const Result<void> done = arguments->has('c')
                                  ? qcow2->create_snapshot(arguments->value('c'), nanoseconds / 1'000'000'000,
                                                           static_cast<u32>(nanoseconds % 1'000'000'000))
                              : arguments->has('a') ? qcow2->apply_snapshot(arguments->value('a'))
                                                    : qcow2->delete_snapshot(arguments->value('d'));
    if (!done) return done.error();
    if (const int code = qcow2->close())
        return error("'{}' cannot be written ({})", qcow2->name(), std::strerror(code));
    return 0;
}

Result<int> resize_command(const std::vector<std::string>& words) {
    const auto arguments = parse_arguments(words, "qS", "f");
    if (!arguments) return arguments.error();
    if (auto good = one_name(*arguments, 2, 2); !good) return good.error();
    const auto image = open(arguments->names[0], arguments->value('f'), false);
    if (!image) return image.error();
    const std::string& text = arguments->names[1];
    const bool relative = text.starts_with('+') || text.starts_with('-');
    const auto number = parse_size(std::string_view(text).substr(relative ? 1 : 0));
    if (!number) return number.error();
    const u64 before = (*image)->size();
    if (text.starts_with('-') && *number > before) return error("'{}' has only {} bytes", arguments->names[0], before);
    const u64 size = !relative ? *number : text[0] == '+' ? before + *number : before - *number;
    if (size < before && !arguments->has('S'))
        return error("'{}' would lose what is behind {} bytes; say --shrink if that is meant", arguments->names[0],
                     size);
    int code = (*image)->resize(size);
    if (code == 0) code = (*image)->flush();
    if (code != 0) return error("'{}' cannot be resized ({})", arguments->names[0], std::strerror(code));
    if (!arguments->has('q')) fmt::print("Image resized.\n");
    return 0;
}

} // namespace calque::tools
