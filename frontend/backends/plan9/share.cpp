#include "frontend/backends/plan9/share.h"

#include "base/byte_order.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <limits>
#include <sys/xattr.h>
#include <unistd.h>

namespace calque::backends::plan9 {

namespace {

constexpr int find_flags = O_PATH | O_NOFOLLOW | O_CLOEXEC;
constexpr std::size_t longest_name = 255, longest_target = 4095;
constexpr u32 permissions = 07777;

int result(int value) { return value < 0 ? errno : 0; }

// One component of a path that stays where it is looked up.
int check_name(const std::string& name) {
    if (name.size() > longest_name) return ENAMETOOLONG;
    const bool good =
        !name.empty() && name != "." && name != ".." && name.find('/') == name.npos && name.find('\0') == name.npos;
    return good ? 0 : EINVAL;
}

// A path to just what the descriptor holds, for calls that take no O_PATH descriptors.
std::string place(const Node& node) { return fmt::format("/proc/self/fd/{}", node.fd.get()); }

// Owners and modes of the mapped model: little-endian numbers.
constexpr const char* uid_name = "user.virtfs.uid";
constexpr const char* gid_name = "user.virtfs.gid";
constexpr const char* mode_name = "user.virtfs.mode";
constexpr const char* device_name = "user.virtfs.rdev";

bool get_number(const std::string& path, const char* name, std::size_t size, u64& value) {
    std::array<u8, 8> bytes{};
    if (::getxattr(path.c_str(), name, bytes.data(), size) != static_cast<ssize_t>(size)) return false;
    value = 0;
    for (std::size_t i = 0; i < size; ++i)
        value |= u64{bytes[i]} << (8 * i);
    return true;
}

int set_number(const std::string& path, const char* name, std::size_t size, u64 value) {
    std::array<u8, 8> bytes{};
    store_little(bytes, 0, value, static_cast<unsigned>(size));
    return result(::setxattr(path.c_str(), name, bytes.data(), size, 0));
}

} // namespace

Result<SecurityModel> parse_security_model(const std::string& text) {
    if (text == "none") return SecurityModel::none;
    if (text == "passthrough") return SecurityModel::passthrough;
    if (text == "mapped" || text == "mapped-xattr") return SecurityModel::mapped_xattr;
    return error("security_model={} does not exist; there are: none, passthrough, mapped-xattr (mapped)", text);
}

Result<std::unique_ptr<Share>> Share::open(const std::string& path, SecurityModel model, bool read_only) {
    UniqueFd fd(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!fd) return error("the folder '{}' cannot be opened ({})", path, std::strerror(errno));
    auto node = std::make_shared<Node>();
    node->fd = std::move(fd);
    if (::access(place(*node).c_str(), R_OK) != 0)
        return error("the folder '{}' cannot be shared ({}); it has to be readable, and /proc mounted", path,
                     std::strerror(errno));
    if (model == SecurityModel::mapped_xattr && !read_only) {
        u64 ignored = 0;
        if (!get_number(place(*node), mode_name, 4, ignored) && errno == EOPNOTSUPP)
            return error("the file system of '{}' has no extended attributes, which security_model=mapped-xattr needs",
                         path);
    }
    return std::unique_ptr<Share>(new Share(std::move(node), model, read_only));
}

int Share::look_up(const NodePtr& folder, const std::string& name, NodePtr& found) const {
    if (name == ".") return found = folder, 0;
    if (name == "..") return found = folder->parent ? folder->parent : folder, 0;
    if (const int wrong = check_name(name)) return wrong == EINVAL ? ENOENT : wrong;
    UniqueFd fd(::openat(folder->fd.get(), name.c_str(), find_flags));
    if (!fd) return errno;
    auto node = std::make_shared<Node>();
    node->fd = std::move(fd);
    node->parent = folder;
    found = std::move(node);
    return 0;
}

int Share::status(const Node& node, struct stat& status) const {
    if (::fstatat(node.fd.get(), "", &status, AT_EMPTY_PATH) != 0) return errno;
    if (!mapped()) return 0;
    u64 value = 0;
    const std::string path = place(node);
    if (get_number(path, uid_name, 4, value)) status.st_uid = static_cast<uid_t>(value);
    if (get_number(path, gid_name, 4, value)) status.st_gid = static_cast<gid_t>(value);
    // A folder stays one, and nothing else becomes one.
    if (get_number(path, mode_name, 4, value) && S_ISDIR(value) == S_ISDIR(status.st_mode))
        status.st_mode = static_cast<mode_t>(value);
    if (get_number(path, device_name, 8, value)) status.st_rdev = value;
    return 0;
}

int Share::open_node(const Node& node, int flags, UniqueFd& opened) const {
    const bool writes = (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC);
    if (writes && read_only_) return EROFS;
    struct stat info {};
    if (::fstatat(node.fd.get(), "", &info, AT_EMPTY_PATH) != 0) return errno;
    if (S_ISLNK(info.st_mode)) return ELOOP;
    if (!S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode)) return ENXIO;
    opened = UniqueFd(::open(place(node).c_str(), flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
    return opened ? 0 : errno;
}

// What was made is found again by its name. Where somebody on the host was quicker it is another file of the folder's,
// which is no harm.
int Share::settle(const NodePtr& folder, const std::string& name, u32 mode, u64 device, Owner owner,
                  NodePtr& made) const {
    if (const int error = look_up(folder, name, made)) return error;
    if (mapped()) {
        const std::string path = place(*made);
        int error = set_number(path, mode_name, 4, mode);
        if (!error) error = set_number(path, uid_name, 4, owner.uid);
        if (!error) error = set_number(path, gid_name, 4, owner.gid);
        if (!error && device) error = set_number(path, device_name, 8, device);
        return error;
    }
    if (const int error = set_owner(*made, owner.uid, owner.gid)) return error;
    return S_ISLNK(mode) ? 0 : set_mode(*made, mode); // After the owner, whose change takes bits away.
}

int Share::create(const NodePtr& folder, const std::string& name, int flags, u32 mode, Owner owner, NodePtr& made,
                  UniqueFd& opened) const {
    if (read_only_) return EROFS;
    if (const int wrong = check_name(name)) return wrong;
    const int how = O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_RDWR;
    UniqueFd fresh(::openat(folder->fd.get(), name.c_str(), how, mapped() ? 0600 : (mode & 0777) | 0600));
    if (!fresh) {
        if (errno != EEXIST || (flags & O_EXCL)) return errno;
        if (const int error = look_up(folder, name, made)) return error;
        return open_node(*made, flags & ~(O_CREAT | O_EXCL), opened);
    }
    if (const int error = settle(folder, name, S_IFREG | (mode & permissions), 0, owner, made)) return error;
    // A mode that does not let its owner write holds from the next time it is opened on.
    opened = std::move(fresh);
    return 0;
}

int Share::make_folder(const NodePtr& folder, const std::string& name, u32 mode, Owner owner, NodePtr& made) const {
    if (read_only_) return EROFS;
    if (const int wrong = check_name(name)) return wrong;
    if (::mkdirat(folder->fd.get(), name.c_str(), mapped() ? 0700 : mode & 0777) != 0) return errno;
    return settle(folder, name, S_IFDIR | (mode & permissions), 0, owner, made);
}

int Share::make_link(const NodePtr& folder, const std::string& name, const std::string& target, Owner owner,
                     NodePtr& made) const {
    if (read_only_) return EROFS;
    if (const int wrong = check_name(name)) return wrong;
    if (target.empty() || target.size() > longest_target || target.find('\0') != target.npos) return EINVAL;
    constexpr u32 mode = S_IFLNK | 0777;
    if (!mapped()) {
        if (::symlinkat(target.c_str(), folder->fd.get(), name.c_str()) != 0) return errno;
        return settle(folder, name, mode, 0, owner, made);
    }
    // Links on the host would be followed there: the target is the contents of a file.
    const int how = O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_WRONLY;
    UniqueFd file(::openat(folder->fd.get(), name.c_str(), how, 0600));
    if (!file) return errno;
    if (::write(file.get(), target.data(), target.size()) != static_cast<ssize_t>(target.size())) return EIO;
    return settle(folder, name, mode, 0, owner, made);
}

// Devices exist in the mapped model alone, where they are files: the host gets none.
int Share::make_special(const NodePtr& folder, const std::string& name, u32 mode, u64 device, Owner owner,
                        NodePtr& made) const {
    if (read_only_) return EROFS;
    if (const int wrong = check_name(name)) return wrong;
    const u32 kind = mode & S_IFMT;
    if (kind != S_IFREG && kind != S_IFIFO && kind != S_IFSOCK && !(mapped() && (kind == S_IFCHR || kind == S_IFBLK)))
        return EPERM;
    const mode_t there = mapped() ? S_IFREG | 0600 : kind | (mode & 0777);
    if (::mknodat(folder->fd.get(), name.c_str(), there, 0) != 0) return errno;
    return settle(folder, name, kind | (mode & permissions), device, owner, made);
}

int Share::read_link(const Node& node, std::string& target) const {
    std::array<char, longest_target> bytes{};
    ssize_t length = -1;
    if (mapped()) {
        struct stat info {};
        if (const int error = status(node, info)) return error;
        if (!S_ISLNK(info.st_mode)) return EINVAL;
        UniqueFd file;
        // One that is a link on the host too is read as such below.
        if (open_node(node, O_RDONLY, file) == 0) length = ::read(file.get(), bytes.data(), bytes.size());
    }
    if (length < 0) length = ::readlinkat(node.fd.get(), "", bytes.data(), bytes.size());
    if (length < 0) return errno == ENOENT ? EINVAL : errno;
    target.assign(bytes.data(), static_cast<std::size_t>(length));
    return 0;
}

int Share::add_name(const NodePtr& folder, const std::string& name, const Node& node) const {
    if (read_only_) return EROFS;
    if (const int wrong = check_name(name)) return wrong;
    return result(::linkat(AT_FDCWD, place(node).c_str(), folder->fd.get(), name.c_str(), AT_SYMLINK_FOLLOW));
}

int Share::remove(const NodePtr& folder, const std::string& name, bool is_folder) const {
    if (read_only_) return EROFS;
    if (const int wrong = check_name(name)) return wrong;
    return result(::unlinkat(folder->fd.get(), name.c_str(), is_folder ? AT_REMOVEDIR : 0));
}

int Share::rename(const NodePtr& from, const std::string& old_name, const NodePtr& to,
                  const std::string& new_name) const {
    if (read_only_) return EROFS;
    if (const int wrong = check_name(old_name)) return wrong;
    if (const int wrong = check_name(new_name)) return wrong;
    return result(::renameat(from->fd.get(), old_name.c_str(), to->fd.get(), new_name.c_str()));
}

int Share::set_mode(const Node& node, u32 mode) const {
    if (read_only_) return EROFS;
    struct stat info {};
    if (const int error = status(node, info)) return error;
    if (mapped()) return set_number(place(node), mode_name, 4, (info.st_mode & S_IFMT) | (mode & permissions));
    if (S_ISLNK(info.st_mode)) return EOPNOTSUPP;
    return result(::chmod(place(node).c_str(), mode & permissions));
}

int Share::set_owner(const Node& node, u32 uid, u32 gid) const {
    if (read_only_) return EROFS;
    if (mapped()) {
        int error = uid != ~0u ? set_number(place(node), uid_name, 4, uid) : 0;
        if (!error && gid != ~0u) error = set_number(place(node), gid_name, 4, gid);
        return error;
    }
    const int error = result(::fchownat(node.fd.get(), "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW));
    return model_ == SecurityModel::none ? 0 : error;
}

int Share::set_size(const Node& node, u64 size) const {
    UniqueFd file;
    if (const int error = open_node(node, O_WRONLY, file)) return error;
    if (size > static_cast<u64>(std::numeric_limits<off_t>::max())) return EFBIG;
    return result(::ftruncate(file.get(), static_cast<off_t>(size)));
}

int Share::set_times(const Node& node, const struct timespec (&times)[2]) const {
    if (read_only_) return EROFS;
    return result(::utimensat(AT_FDCWD, place(node).c_str(), times, 0));
}

} // namespace calque::backends::plan9
