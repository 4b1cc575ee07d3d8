#include "frontend/machine/host_file.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace calque::machine {

namespace {
class Descriptor {
  public:
    explicit Descriptor(int fd) : fd_(fd) {}
    ~Descriptor() {
        if (fd_ >= 0) ::close(fd_);
    }
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    int get() const { return fd_; }

  private:
    int fd_;
};
} // namespace

Result<std::vector<u8>> read_host_file(const std::string& path, const std::string& option, u64 limit) {
    // Non-blocking: a pipe without a writer is refused below, not waited for.
    const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (file.get() < 0)
        return error("{} '{}' cannot be read ({}); check the name and its permissions", option, path,
                     std::strerror(errno));
    struct stat info {};
    if (::fstat(file.get(), &info) != 0 || !S_ISREG(info.st_mode))
        return error("{} '{}' is not a plain file; give the path of the image itself", option, path);
    if (static_cast<u64>(info.st_size) > limit)
        return error("{} '{}' has {} MiB, and {} MiB are the most that it can have; give another file", option, path,
                     info.st_size >> 20, limit >> 20);
    std::vector<u8> data(static_cast<std::size_t>(info.st_size));
    std::size_t done = 0;
    while (done < data.size()) {
        const ssize_t got = ::read(file.get(), data.data() + done, data.size() - done);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0)
            return error("{} '{}' could not be read to its end ({})", option, path,
                         got < 0 ? std::strerror(errno) : "it was truncated meanwhile");
        done += static_cast<std::size_t>(got);
    }
    if (data.empty()) return error("{} '{}' is empty; give the image itself", option, path);
    return data;
}

Result<void> write_host_file(const std::string& path, std::span<const u8> data) {
    struct stat info {};
    if (::stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode))
        return error("'{}' is not a plain file and cannot be replaced by one; give another name", path);
    const std::string temporary = path + ".part";
    const auto failed = [&] {
        const int why = errno;
        ::unlink(temporary.c_str());
        return error("'{}' cannot be written ({}); nothing was changed", path, std::strerror(why));
    };
    const Descriptor file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    if (file.get() < 0) return failed();
    std::size_t done = 0;
    while (done < data.size()) {
        const ssize_t put = ::write(file.get(), data.data() + done, data.size() - done);
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0) return failed();
        done += static_cast<std::size_t>(put);
    }
    if (::rename(temporary.c_str(), path.c_str()) != 0) return failed();
    return {};
}

} // namespace calque::machine
