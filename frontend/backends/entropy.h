// Random numbers from the host: its own generator, or a file.
#pragma once

#include "base/result.h"
#include "devices/entropy_source.h"
#include "frontend/backends/unique_fd.h"

#include <memory>
#include <string>

namespace calque::backends {

// The kernel's generator (-object rng-builtin).
class HostEntropy final : public devices::EntropySource {
  public:
    std::size_t fill(std::span<u8> bytes) override;
};

// A file that is read without waiting (-object rng-random,filename=F).
class FileEntropy final : public devices::EntropySource {
  public:
    static Result<std::unique_ptr<FileEntropy>> open(const std::string& path);
    std::size_t fill(std::span<u8> bytes) override;

  private:
    explicit FileEntropy(UniqueFd file) : file_(std::move(file)) {}
    UniqueFd file_;
};

} // namespace calque::backends
