#include "frontend/backends/entropy.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/random.h>

namespace calque::backends {

std::size_t HostEntropy::fill(std::span<u8> bytes) {
    const ssize_t got = ::getrandom(bytes.data(), bytes.size(), GRND_NONBLOCK);
    return got > 0 ? static_cast<std::size_t>(got) : 0;
}

Result<std::unique_ptr<FileEntropy>> FileEntropy::open(const std::string& path) {
    UniqueFd file(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    if (!file) return error("'{}' cannot be opened ({})", path, std::strerror(errno));
    return std::unique_ptr<FileEntropy>(new FileEntropy(std::move(file)));
}

std::size_t FileEntropy::fill(std::span<u8> bytes) {
    const ssize_t got = ::read(file_.get(), bytes.data(), bytes.size());
    return got > 0 ? static_cast<std::size_t>(got) : 0;
}

} // namespace calque::backends
