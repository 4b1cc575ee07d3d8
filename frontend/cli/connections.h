// The host's ends of serial ports, debug console and monitor: opened as the options say, shared where they say so.
#pragma once

#include "frontend/backends/chardev.h"
#include "frontend/backends/io_loop.h"
#include "frontend/backends/multiplexer.h"
#include "frontend/cli/options.h"
#include "frontend/machine/chipset.h"

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace calque::cli {

class Connections {
  public:
    explicit Connections(Log& log) : log_(log) {}

    // Ctrl-A x of a multiplexer; may be set after open().
    std::function<void()> quit;
    std::function<u64()> milliseconds;

    Result<void> open(const Options& options);
    machine::ChipsetBackends chipset_backends() const { return chipset_; }
    const std::vector<devices::CharBackend*>& monitors() const { return monitors_; }

  private:
    Result<devices::CharBackend*> connect(const std::string& text, const std::string& option, bool monitor);
    Result<devices::CharBackend*> use(const backends::ChardevOptions& chardev, const std::string& key, bool monitor);

    Log& log_;
    backends::IoLoop loop_;
    std::map<std::string, backends::ChardevOptions> named_;
    std::map<std::string, std::unique_ptr<backends::Multiplexer>> multiplexers_;
    std::map<std::string, std::unique_ptr<backends::Chardev>> chardevs_;
    bool stdio_taken_ = false;
    machine::ChipsetBackends chipset_;
    std::vector<devices::CharBackend*> monitors_;
};

} // namespace calque::cli
