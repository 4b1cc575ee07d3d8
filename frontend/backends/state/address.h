// Where a migration goes to or comes from, by QEMU's words: tcp:HOST:PORT, unix:PATH, exec:COMMAND, file:PATH,
// fd:NUMBER.
#pragma once

#include "frontend/backends/state/descriptor.h"

#include <functional>
#include <string>

namespace calque::backends {

struct StateAddress {
    enum class Kind : u8 { tcp, unix_socket, exec, file, descriptor };
    Kind kind = Kind::file;
    std::string text; // The host, the path or the command.
    std::string port;
    int descriptor = -1;
    std::string name; // All of it, as it was given.
};

// `named` gives the descriptor that a client has passed by that name, or -1; it may be empty.
Result<StateAddress> parse_state_address(const std::string& uri, const std::function<int(const std::string&)>& named);

// The way out. Connecting and writing can be cancelled.
class StateOutput final : public StateSink {
  public:
    static Result<std::unique_ptr<StateOutput>> open(const StateAddress& address, const std::atomic<bool>& cancelled);
    ~StateOutput() override;
    Result<void> write(std::span<const u8> bytes) override;
    // All is on its way, a file is in its place, and a command has ended well.
    Result<void> finish();

  private:
    StateOutput() = default;
    std::unique_ptr<StateFile> file_;
    std::unique_ptr<DescriptorSink> sink_;
    int process_ = -1;
    std::string name_;
    const std::atomic<bool>* cancelled_ = nullptr;
};

// The way in: a place where one state comes.
class StateInput final : public StateSource {
  public:
    // Sockets listen when it returns.
    static Result<std::unique_ptr<StateInput>> open(const StateAddress& address);
    ~StateInput() override;
    // Waits for whoever connects. Fails when it is cancelled.
    Result<void> accept(const std::atomic<bool>& cancelled);
    Result<void> read(std::span<u8> bytes) override { return source_->read(bytes); }

  private:
    StateInput() = default;
    UniqueFd listener_;
    UniqueFd opened_;
    std::unique_ptr<DescriptorSource> source_;
    int process_ = -1;
    std::string name_, unix_path_;
};

} // namespace calque::backends
