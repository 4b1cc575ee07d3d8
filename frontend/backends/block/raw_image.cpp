#include "frontend/backends/block/raw_image.h"

#include "frontend/backends/block/file_lock.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <limits>
#include <linux/falloc.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#include <vector>

namespace calque::backends {

namespace {

constexpr bool is_aligned(u64 value, u64 alignment) { return value % alignment == 0; }

constexpr std::size_t bounce_size = 1 << 20; // What goes past the page cache from memory that is not aligned.

// All of `data`, however the host cuts it. What a file lacks at its end reads as zeros.
int read_all(int fd, u64 offset, std::span<u8> data) {
    while (!data.empty()) {
        const ssize_t got = ::pread(fd, data.data(), data.size(), static_cast<off_t>(offset));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return errno;
        if (got == 0) {
            std::fill(data.begin(), data.end(), u8{0});
            return 0;
        }
        data = data.subspan(static_cast<std::size_t>(got));
        offset += static_cast<u64>(got);
    }
    return 0;
}

int write_all(int fd, u64 offset, std::span<const u8> data) {
    while (!data.empty()) {
        const ssize_t put = ::pwrite(fd, data.data(), data.size(), static_cast<off_t>(offset));
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return errno;
        if (put == 0) return EIO;
        data = data.subspan(static_cast<std::size_t>(put));
        offset += static_cast<u64>(put);
    }
    return 0;
}

int allocate(int fd, int mode, u64 offset, u64 length) {
    int result;
    do
        result = ::fallocate(fd, mode, static_cast<off_t>(offset), static_cast<off_t>(length));
    while (result != 0 && errno == EINTR);
    return result == 0 ? 0 : errno;
}

// The file system or the device cannot do it, or not at these ends.
bool cannot(int error) { return error == EOPNOTSUPP || error == ENOSYS || error == EINVAL || error == ENODEV; }

struct AlignedBuffer {
    explicit AlignedBuffer(std::size_t alignment, std::size_t size)
        : memory(static_cast<u8*>(std::aligned_alloc(alignment, size)), &std::free) {}
    std::unique_ptr<u8, decltype(&std::free)> memory;
};

} // namespace

Result<std::unique_ptr<RawImage>> RawImage::open(const std::string& path, const RawOptions& options) {
    std::unique_ptr<RawImage> image(new RawImage);
    image->name_ = path;
    image->cache_ = options.cache;
    image->read_only_ = options.read_only;
    struct stat info {};
    if (::stat(path.c_str(), &info) != 0)
        return error("'{}' cannot be opened ({}); check its name and the folders' permissions", path,
                     std::strerror(errno));
    if (!S_ISREG(info.st_mode) && !S_ISBLK(info.st_mode))
        return error("'{}' is neither a file nor a block device, so it cannot be a disk image", path);
    image->block_device_ = S_ISBLK(info.st_mode);
    image->fd_ = UniqueFd(::open(path.c_str(), (options.read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC));
    if (!image->fd_) {
        if (!options.read_only && (errno == EACCES || errno == EROFS || errno == EPERM))
            return error("'{}' cannot be opened for writing ({}); change its permissions, or use readonly=on or "
                         "-snapshot",
                         path, std::strerror(errno));
        return error("'{}' cannot be opened ({})", path, std::strerror(errno));
    }
    if (options.lock)
        if (auto locked = lock_image(image->fd_.get(), !options.read_only, path); !locked) return locked.error();
    if (options.cache.direct)
        if (auto opened = image->open_direct(path); !opened) return opened.error();
    if (auto measured = image->measure(); !measured) return measured.error();
    return image;
}

Result<std::unique_ptr<RawImage>> RawImage::temporary(u64 size, const std::string& folder) {
    const char* const variable = std::getenv("TMPDIR");
    const std::string place = !folder.empty() ? folder : variable && *variable ? variable : "/var/tmp";
    std::unique_ptr<RawImage> image(new RawImage);
    image->name_ = place + " (temporary file)";
    image->cache_ = cache_unsafe; // It never outlives the process.
    image->fd_ = UniqueFd(::open(place.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    if (!image->fd_) { // Some file systems have no files without a name.
        std::string path = place + "/calque-XXXXXX";
        image->fd_ = UniqueFd(::mkostemp(path.data(), O_CLOEXEC));
        if (image->fd_) ::unlink(path.c_str());
    }
    if (!image->fd_ || ::ftruncate(image->fd_.get(), static_cast<off_t>(size)) != 0)
        return error("no temporary file can be made in '{}' ({}); set TMPDIR to a folder with room", place,
                     std::strerror(errno));
    image->size_ = size;
    return image;
}

Result<void> RawImage::measure() {
    const off_t end = ::lseek(fd_.get(), 0, SEEK_END); // Block devices say their size this way too.
    if (end < 0) return error("the size of '{}' cannot be found out ({})", name_, std::strerror(errno));
    size_ = static_cast<u64>(end);
    return {};
}

Result<void> RawImage::open_direct(const std::string& path) {
    direct_ = UniqueFd(::open(path.c_str(), (read_only_ ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_DIRECT));
    if (!direct_)
        return error("'{}' cannot be opened past the host's page cache ({}); its file system may not have that, so use "
                     "cache=writeback",
                     path, std::strerror(errno));
    return {};
}

bool RawImage::fits_direct(u64 offset, u64 length) const {
    return direct_ && is_aligned(offset, alignment_) && is_aligned(length, alignment_);
}

int RawImage::read_direct(u64 offset, std::span<u8> data) {
    if (is_aligned(reinterpret_cast<u64>(data.data()), alignment_)) return read_all(direct_.get(), offset, data);
    const AlignedBuffer bounce(alignment_, std::min(bounce_size, data.size()));
    if (!bounce.memory) return ENOMEM;
    while (!data.empty()) {
        const std::span<u8> part(bounce.memory.get(), std::min(bounce_size, data.size()));
        if (const int error = read_all(direct_.get(), offset, part)) return error;
        std::copy(part.begin(), part.end(), data.begin());
        data = data.subspan(part.size());
        offset += part.size();
    }
    return 0;
}

int RawImage::write_direct(u64 offset, std::span<const u8> data) {
    if (is_aligned(reinterpret_cast<u64>(data.data()), alignment_)) return write_all(direct_.get(), offset, data);
    const AlignedBuffer bounce(alignment_, std::min(bounce_size, data.size()));
    if (!bounce.memory) return ENOMEM;
    while (!data.empty()) {
        const std::span<u8> part(bounce.memory.get(), std::min(bounce_size, data.size()));
        std::copy_n(data.begin(), part.size(), part.begin());
        if (const int error = write_all(direct_.get(), offset, part)) return error;
        data = data.subspan(part.size());
        offset += part.size();
    }
    return 0;
}

int RawImage::read(u64 offset, std::span<u8> data) {
    if (!in_range(offset, data.size())) return EINVAL;
    return fits_direct(offset, data.size()) ? read_direct(offset, data) : read_all(fd_.get(), offset, data);
}

int RawImage::write(u64 offset, std::span<const u8> data) {
    if (read_only_) return EROFS;
    if (!in_range(offset, data.size())) return EINVAL;
    return written(fits_direct(offset, data.size()) ? write_direct(offset, data) : write_all(fd_.get(), offset, data));
}

bool RawImage::read_now(u64 offset, std::span<u8> data) {
    if (direct_ || !reads_now_ || !in_range(offset, data.size())) return false;
    iovec part{data.data(), data.size()};
    const ssize_t got = ::preadv2(fd_.get(), &part, 1, static_cast<off_t>(offset), RWF_NOWAIT);
    if (got < 0 && errno == EOPNOTSUPP) reads_now_ = false; // Not this file system.
    return got == static_cast<ssize_t>(data.size());
}

// What ends each change of the contents.
int RawImage::written(int error) { return error == 0 && cache_.writethrough ? sync() : error; }

int RawImage::flush() { return cache_.no_flush || read_only_ ? 0 : sync(); }

int RawImage::sync() {
    if (const int earlier = sync_error_) return earlier;
    int result;
    do
        result = ::fdatasync(fd_.get());
    while (result != 0 && errno == EINTR);
    if (result == 0) return 0;
    return sync_error_ = errno;
}

int RawImage::discard(u64 offset, u64 length) {
    if (read_only_) return EROFS;
    if (!in_range(offset, length)) return EINVAL;
    if (length == 0) return 0;
    const int error = allocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length);
    return cannot(error) ? 0 : written(error);
}

int RawImage::write_zeroes(u64 offset, u64 length, bool may_unmap) {
    if (read_only_) return EROFS;
    if (!in_range(offset, length)) return EINVAL;
    if (length == 0) return 0;
    const int modes[] = {may_unmap ? FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
                                   : FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
                         FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE};
    for (const int mode : modes)
        if (const int error = allocate(fd_.get(), mode, offset, length); !cannot(error)) return written(error);
    return written(write_zero_bytes(offset, length));
}

int RawImage::write_zero_bytes(u64 offset, u64 length) {
    const std::vector<u8> zeros(std::min<u64>(length, bounce_size));
    while (length != 0) {
        const u64 part = std::min<u64>(length, zeros.size());
        if (const int error = write_all(fd_.get(), offset, {zeros.data(), part})) return error;
        offset += part;
        length -= part;
    }
    return 0;
}

int RawImage::resize(u64 size) {
    if (read_only_) return EROFS;
    if (block_device_) return ENOTSUP;
    if (size > static_cast<u64>(std::numeric_limits<off_t>::max())) return EFBIG;
    if (::ftruncate(fd_.get(), static_cast<off_t>(size)) != 0) return errno;
    size_ = size;
    return 0;
}

} // namespace calque::backends
