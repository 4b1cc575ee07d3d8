// A stream of state over a file descriptor: a file, a pipe or a socket.
#pragma once

#include "frontend/backends/state/stream.h"
#include "frontend/backends/unique_fd.h"

#include <atomic>
#include <memory>
#include <string>

namespace calque::backends {

// Writes until somebody else sets `cancelled`, which is noticed within a fraction of a second even while the other end
// does not read; null: nobody does. `name` is for messages.
class DescriptorSink final : public StateSink {
  public:
    DescriptorSink(UniqueFd fd, std::string name, const std::atomic<bool>* cancelled = nullptr);
    Result<void> write(std::span<const u8> bytes) override;
    void close() { fd_.reset(); }

  private:
    UniqueFd fd_;
    const std::string name_;
    const std::atomic<bool>* const cancelled_;
};

class DescriptorSource final : public StateSource {
  public:
    DescriptorSource(UniqueFd fd, std::string name, const std::atomic<bool>* cancelled = nullptr);
    Result<void> read(std::span<u8> bytes) override;
    Result<void> rewind(); // To the start, of a plain file.

  private:
    UniqueFd fd_;
    const std::string name_;
    const std::atomic<bool>* const cancelled_;
    // What was read ahead: records have small headers.
    std::vector<u8> buffer_;
    std::size_t at_ = 0;
};

// Replaces a plain file or makes a new one: written beside it, and renamed by commit(). Without that nothing is left.
class StateFile final : public StateSink {
  public:
    static Result<std::unique_ptr<StateFile>> create(const std::string& path);
    ~StateFile() override;
    Result<void> write(std::span<const u8> bytes) override;
    Result<void> commit();

  private:
    StateFile(UniqueFd fd, std::string path) : path_(std::move(path)), sink_(std::move(fd), path_) {}
    std::string temporary() const { return path_ + ".part"; }
    Error failed(const std::string& why) const;
    const std::string path_;
    DescriptorSink sink_;
    bool committed_ = false;
};

// A plain file for reading. `option` is the word that named it, for messages.
Result<std::unique_ptr<DescriptorSource>> open_state_file(const std::string& path, const std::string& option);

} // namespace calque::backends
