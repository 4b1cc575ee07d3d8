#include "frontend/backends/block/file_lock.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <initializer_list>

namespace calque::backends {

namespace {

// A read lock on byte uses + p says "I do p with this file", one on byte refuses + p "nobody else may". Whoever comes
// later sets its own and then looks for somebody whose locks contradict them.
constexpr off_t uses = 100, refuses = 200;
enum Permission : off_t { consistent_read = 0, write = 1, resize = 3 };

struct flock one_byte(off_t at, short type) {
    struct flock lock {};
    lock.l_type = type;
    lock.l_whence = SEEK_SET;
    lock.l_start = at;
    lock.l_len = 1;
    return lock;
}

bool set_lock(int fd, off_t at) {
    auto lock = one_byte(at, F_RDLCK);
    return ::fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

bool held_by_another(int fd, off_t at) {
    auto lock = one_byte(at, F_WRLCK);
    return ::fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

} // namespace

Result<void> lock_image(int fd, bool writer, const std::string& name) {
    const auto locked = [&] {
        if (writer && (!set_lock(fd, uses + write) || !set_lock(fd, uses + resize))) return false;
        return set_lock(fd, uses + consistent_read) && set_lock(fd, refuses + write) && set_lock(fd, refuses + resize);
    };
    if (!locked()) {
        if (errno == EAGAIN || errno == EACCES)
            return error("'{}' is locked by another program; end that program first", name);
        return {}; // ENOLCK, EINVAL, EOPNOTSUPP: this file system has no locks.
    }
    for (const off_t what : {write, resize})
        if (held_by_another(fd, uses + what))
            return error("'{}' is being written by another program (another machine with this disk?); end it first, or "
                         "give each its own copy or overlay",
                         name);
    if (writer && (held_by_another(fd, refuses + write) || held_by_another(fd, refuses + resize)))
        return error("'{}' is in use by another program, which reads it; end it first, or open the image with "
                     "readonly=on or -snapshot",
                     name);
    return {};
}

} // namespace calque::backends
